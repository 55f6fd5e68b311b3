package proxy

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// tokenGateway is a gateway in front of instances, whose route asks for a token or a password.
func tokenGateway(t *testing.T, policy func(*route.Policy), instances ...*instance) *gateway {
	t.Helper()
	g := between(t, func(p *route.Policy) {
		p.Auth = "basic, bearer"
		if policy != nil {
			policy(p)
		}
	}, instances...)
	g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, Users: users(t, "user", "pass"), Tokens: tokensOf(t, auth.TokenFrom{})})
	return g
}

func withToken(token string) *ws.DialOptions {
	return &ws.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}}
}

func withPassword() *ws.DialOptions {
	return &ws.DialOptions{HTTPHeader: http.Header{"Authorization": {"Basic dXNlcjpwYXNz"}}}
}

// ended wants the end that an authentication has, on the client's side and in the log.
func ended(t *testing.T, g *gateway, p *player, user string) {
	t.Helper()
	if reason := p.end(1008); reason != "authentication ended" {
		t.Errorf("reason %q", reason)
	}
	if rec := g.log.next(t); rec["close_code"] != 1008.0 || rec["cause"] != "authentication ended" || rec["closed_by"] != "gateway" || rec["user"] != user {
		t.Errorf("line %v", rec)
	}
}

// shorten has the newest of so many sessions' licence, which has to expire at that time, expire soon.
func shorten(t *testing.T, g *gateway, sessions int, at time.Time) {
	t.Helper()
	eventually(t, "a licence", func() bool {
		views, _ := g.Sessions.List(0, 100)
		return len(views) == sessions && len(g.licences.pick(func(*licence) bool { return true })) == sessions
	})
	views, _ := g.Sessions.List(0, 100)
	ss := g.Sessions.find(views[len(views)-1].Record.SessionID)
	was := g.licences.of(ss)
	if was == nil || was.id.Expires.Unix() != at.Unix() {
		t.Fatalf("licence %+v, want one until %v", was, at)
	}
	soon := *was.id
	soon.Expires = time.Now().Add(50 * time.Millisecond)
	g.licences.remove(ss)
	g.let(ss, &soon)
}

// A session ends with its token, and not before; its service is told 1001. One whose route says so goes on.
func TestSessionsEndWithTheirTokens(t *testing.T) {
	a := startInstance(t, "a", "")
	g := tokenGateway(t, nil, a)
	exp := time.Now().Add(time.Hour)
	token := makeToken(t, map[string]any{"exp": exp.Unix(), "jti": "k"})
	long := play(t, g, "/svc/ws/v1/room", withToken(token))
	short := play(t, g, "/svc/ws/v1/room", withToken(token))
	shorten(t, g, 2, exp)
	ended(t, g, short, "ada")
	long.say("one")
	long.hear("a one")

	keep := tokenGateway(t, func(p *route.Policy) { p.WebSocket.OnAuthExpiry = route.IgnoreOnAuthExpiry }, a)
	p := play(t, keep, "/svc/ws/v1/room", withToken(token))
	shorten(t, keep, 1, exp)
	<-time.After(60 * time.Millisecond) // its time has come
	p.say("two")
	p.hear("a two")
	if done, err := keep.Revoke(&Revocation{Tokens: []string{"k"}}); done.Sessions != 1 || err != nil {
		t.Errorf("%+v, %v", done, err)
	}
	ended(t, keep, p, "ada")
}

// Revocations end the sessions that they name and no others; what was revoked lets nobody in any more.
func TestRevoke(t *testing.T) {
	g := tokenGateway(t, nil, startInstance(t, "a", ""))
	one, two, bob := makeToken(t, map[string]any{"jti": "1"}), makeToken(t, map[string]any{"jti": "2"}), makeToken(t, map[string]any{"sub": "bob"})
	first, second := play(t, g, "/svc/ws/v1/room", withToken(one)), play(t, g, "/svc/ws/v1/room", withToken(two))
	others := play(t, g, "/svc/ws/v1/room", withToken(bob))
	byPassword := play(t, g, "/svc/ws/v1/room", withPassword())
	for _, p := range []*player{first, second, others, byPassword} { // then each is listed
		p.say("0")
		p.hear("a 0")
	}
	revoke := func(r Revocation, sessions int) {
		t.Helper()
		if done, err := g.Revoke(&r); err != nil || done.Sessions != sessions {
			t.Errorf("%+v: %+v, %v", r, done, err)
		}
	}
	refused := func(token string, want bool) {
		t.Helper()
		_, _, head := talk(t, g, "GET /svc/ws/v1/room HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer "+token+"\r\nConnection: close\r\n\r\n")
		if got := head[:12] == "HTTP/1.1 401"; got != want {
			t.Errorf("refused: %v, %q", got, head)
		}
		g.log.next(t)
	}
	revoke(Revocation{Tokens: []string{"1"}, Issuer: "another"}, 0)
	revoke(Revocation{Tokens: []string{"1"}, Issuer: "test"}, 1)
	ended(t, g, first, "ada")
	refused(one, true)
	refused(two, false)
	revoke(Revocation{Users: []string{"ada"}}, 1)
	ended(t, g, second, "ada")
	refused(two, true)
	refused(bob, false)
	refused(makeToken(t, map[string]any{"iat": time.Now().Unix() + 2, "jti": "3"}), false) // she has logged in again

	views, _ := g.Sessions.List(0, 10)
	if len(views) != 2 {
		t.Fatalf("%d sessions are left", len(views))
	}
	done, err := g.Revoke(&Revocation{Sessions: []string{views[0].Record.SessionID, "nonsense"}})
	if err != nil || done.Sessions != 1 || !slices.Equal(done.Unknown, []string{"nonsense"}) {
		t.Errorf("%+v, %v", done, err)
	}
	ended(t, g, others, "bob")
	refused(bob, false) // the session alone
	byPassword.say("x")
	byPassword.hear("a x")
}

// A reload ends the sessions of users that are gone or have another password, and of issuers that are gone.
func TestReloadEndsSessions(t *testing.T) {
	g := tokenGateway(t, nil, startInstance(t, "a", ""))
	same, tokens := g.Server.settings.Load().users, g.Server.settings.Load().tokens
	reload := func(u *auth.Users, accepted *auth.Tokens) {
		t.Helper()
		g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, Users: u, Tokens: accepted})
	}
	password, token := play(t, g, "/svc/ws/v1/room", withPassword()), play(t, g, "/svc/ws/v1/room", withToken(makeToken(t, nil)))
	reload(same, tokensOf(t, auth.TokenFrom{Cookie: "c"}))
	for _, p := range []*player{password, token} {
		p.say("x")
		p.hear("a x")
	}
	reload(users(t, "user", "other"), tokens)
	ended(t, g, password, "user")
	token.say("y")
	token.hear("a y")
	reload(nil, nil)
	ended(t, g, token, "ada")
}

// A session whose authentication is over is not moved: no other instance hears of it.
func TestNoMoveAfterTheEnd(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := tokenGateway(t, nil, a, b)
	p := play(t, g, "/svc/ws/v1/room", withToken(makeToken(t, map[string]any{"jti": "1"})))
	p.say("one")
	p.hear("a one")
	if err := g.revoked.RevokeToken("", "1", time.Time{}); err != nil {
		t.Fatal(err)
	}
	a.kill(true)
	if reason := p.end(1008); reason != "authentication ended" {
		t.Errorf("reason %q", reason)
	}
	if rec := g.log.next(t); rec["moves"] != 0.0 || rec["close_code"] != 1008.0 {
		t.Errorf("line %v", rec)
	}
	if n := len(b.handshakes()); n != 0 {
		t.Errorf("another instance was asked %d times", n)
	}
}

// Whatever comes and goes, licences expire in the order of their time, each once, and nothing is left of them.
func TestLicencesExpireInOrder(t *testing.T) {
	var l licences
	at := time.Now()
	sessions := make([]Session, 5000)
	gone := map[*Session]bool{}
	for i := range sessions {
		l.add(&sessions[i], &auth.Identity{Expires: at.Add(time.Duration(rand.IntN(1000)) * time.Second)}, i%7 != 0)
		if i%3 == 0 {
			gone[&sessions[i/2]] = true
			l.remove(&sessions[i/2])
		}
	}
	last, count := at, 0
	for step := range 1001 {
		over, next := l.expired(at.Add(time.Duration(step) * time.Second))
		for _, g := range over {
			if count++; g.id.Expires.Before(last) || g.id.Expires.After(at.Add(time.Duration(step)*time.Second)) || gone[g.ss] {
				t.Fatalf("at %d: %v", step, g.id.Expires)
			}
			last = g.id.Expires
		}
		if next < 0 || next > maxClockNap {
			t.Fatalf("next after %v", next)
		}
	}
	want := 0
	for i := range sessions {
		if i%7 != 0 && !gone[&sessions[i]] {
			want++
		}
		l.remove(&sessions[i])
	}
	if count != want || len(l.all) != 0 || len(l.byExpiry) != 0 {
		t.Errorf("%d have expired, want %d; %d and %d are left", count, want, len(l.all), len(l.byExpiry))
	}
}
