package proxy

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// keptAt is below with persistence.
func keptAt(prefix string, p route.Persistence, backends ...route.Backend) route.Rule {
	r := below(prefix, backends...)
	r.Persistence = &p
	return r
}

// placed answers with the address that it was reached at.
func placed(t *testing.T) string {
	return httpService(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer).String())
	})
}

func TestPersistence(t *testing.T) {
	g := startProgrammable(t)
	eps := []string{placed(t), placed(t), placed(t), placed(t)}
	a, b := g.backend("a", eps[:2]...), g.backend("b", eps[2:]...)
	own := g.backend("own", eps...)
	own.Persistence = &route.Persistence{Name: "own", Managed: true}
	cookie := route.Persistence{Name: "AGCAffinity", Managed: true, PerRule: true, Path: "/", Lifetime: 24 * time.Hour}
	serve := func(wa, wb int) string {
		a.Weight, b.Weight = wa, wb
		return g.rules(
			keptAt("/c", cookie, a, b), keptAt("/d", cookie, a, b), keptAt("/h", route.Persistence{Name: "X-Session", Header: true, Managed: true}, a, b),
			keptAt("/s", route.Persistence{Name: "s", Managed: true, Absolute: time.Hour}, a, b), below("/own", own),
		)
	}
	addr := serve(1, 1)
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, tt := range []struct{ path, name, set string }{
			{"/c/x", "AGCAffinity", "; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"}, {"/h/x", "X-Session", ""}, {"/s/x", "s", "; HttpOnly; SameSite=Lax"}, {"/own/x", "own", "; HttpOnly; SameSite=Lax"},
		} {
			show := func(value string) []string {
				if tt.name == "X-Session" {
					return []string{tt.name, value}
				}
				return []string{"Cookie", "other=1; " + tt.name + "=bad; " + tt.name + "=\"" + value + "\""}
			}
			seen := map[string]bool{}
			for range 8 {
				resp, first := ask(t, c, "GET", "http://"+addr+tt.path)
				value, isHeader := resp.Header.Get("X-Session"), tt.name == "X-Session"
				if !isHeader {
					var set string
					value, set, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Set-Cookie"), tt.name+"="), ";")
					if ";"+set != tt.set {
						t.Errorf("%s: Set-Cookie: %q", tt.path, resp.Header.Get("Set-Cookie"))
					}
				}
				if list, ok := parsePasses(value); !ok || len(list) != 1 {
					t.Fatalf("%s: %v", tt.path, resp.Header)
				}
				seen[first] = true
				for range 5 {
					resp, again := ask(t, c, "GET", "http://"+addr+tt.path, show(value)...)
					if again != first || resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("X-Session") != "" {
						t.Errorf("%s: first %s, then %s, %v", tt.path, first, again, resp.Header)
					}
				}
			}
			if len(seen) != 4 {
				t.Errorf("%s: new clients went to %d of 4 endpoints", tt.path, len(seen))
			}
			resp, _ := ask(t, c, "GET", "http://"+addr+tt.path, show(strings.Repeat("A", passSize))...) // made up
			if len(resp.Header.Values("Set-Cookie"))+len(resp.Header.Values("X-Session")) != 1 {
				t.Errorf("%s: %v", tt.path, resp.Header)
			}
		}
	})
	c := httpClient(t, false)
	bound := func(path string) (cookie, at string) {
		resp, at := ask(t, c, "GET", "http://"+addr+path)
		cookie, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
		return cookie, at
	}
	value, at := bound("/c")
	for strings.Contains(strings.Join(eps[2:], " "), at) { // until it is one of a
		value, at = bound("/c")
	}
	resp, _ := ask(t, c, "GET", "http://"+addr+"/d", "Cookie", value) // another rule
	if resp.Header.Get("Set-Cookie") == "" {
		t.Error("the cookie of one rule holds for another")
	}
	addr = serve(0, 1) // a client that is there stays, a new one does not go there
	if _, again := ask(t, c, "GET", "http://"+addr+"/c", "Cookie", value); again != at {
		t.Errorf("weight 0: %s, then %s", at, again)
	}
	for range 6 {
		if _, now := bound("/c"); !strings.Contains(strings.Join(eps[2:], " "), now) {
			t.Errorf("weight 0: a new client at %s", now)
		}
	}
	for _, ep := range eps[:2] { // its endpoint goes
		if ep != at {
			a = g.backend("a", ep)
		}
	}
	addr = serve(1, 1)
	resp, again := ask(t, c, "GET", "http://"+addr+"/c", "Cookie", value)
	if again == at || resp.Header.Get("Set-Cookie") == "" {
		t.Errorf("an endpoint that has gone: %s, %v", again, resp.Header)
	}
}

// A token's time is over when persistence.absoluteTimeout says so.
func TestPersistenceEnds(t *testing.T) {
	g := startProgrammable(t)
	r := keptAt("/", route.Persistence{Name: "s", Managed: true, Absolute: time.Hour}, g.backend("a", placed(t), placed(t)))
	addr := g.rules(r)
	ep := r.Backends[0].Service.Endpoints[0]
	for _, tt := range []struct {
		age  time.Duration
		kept bool
	}{{0, true}, {59 * time.Minute, true}, {61 * time.Minute, false}, {-2 * time.Hour, false}} {
		x := &exchange{}
		x.to.Route, x.to.stay.rule = r.Route, r.Persistence
		x.record.Time = time.Now().Add(-tt.age)
		fields := x.pin(nil, ep)
		value, _, _ := strings.Cut(fields.Get("Set-Cookie"), ";")
		resp, _ := ask(t, httpClient(t, false), "GET", "http://"+addr+"/", "Cookie", value)
		if kept := resp.Header.Get("Set-Cookie") == ""; kept != tt.kept {
			t.Errorf("after %s: kept %t", tt.age, kept)
		}
	}
}

func TestPersistentSessions(t *testing.T) {
	g := startProgrammable(t)
	addr := g.rules(keptAt("/ws", route.Persistence{Name: "s", Managed: true, Path: "/ws"}, g.backend("ws", echoSession(t), echoSession(t), echoSession(t))))
	_, _, head := talkTo(t, addr, handshake("/ws", "a"))
	value, set, _ := strings.Cut(one(head, "Set-Cookie"), ";")
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || set != " Path=/ws; HttpOnly; SameSite=Lax" {
		t.Fatalf("%q", head)
	}
	for range 5 {
		if _, _, head := talkTo(t, addr, handshake("/ws", "a", "Cookie: "+value)); !strings.HasPrefix(head, "HTTP/1.1 101 ") || len(field(head, "Set-Cookie")) > 0 {
			t.Errorf("%q", head)
		}
	}
	loads := ""
	for _, ep := range g.pool.Endpoints() {
		loads += fmt.Sprint(ep.Total())
	}
	if strings.Trim(loads, "06") != "" || !strings.Contains(loads, "6") {
		t.Errorf("sessions at the endpoints: %s, want 6 at one", loads)
	}
}

// What an application has given its clients leads them to the same endpoint, without the gateway giving them anything.
func TestPersistenceByHash(t *testing.T) {
	g := startProgrammable(t)
	eps := []string{placed(t), placed(t), placed(t), placed(t)}
	a, b := g.backend("a", eps[:2]...), g.backend("b", eps[2:]...)
	a.Weight, b.Weight = 3, 1
	addr := g.rules(keptAt("/c", route.Persistence{Name: "JSESSIONID"}, a, b), keptAt("/h", route.Persistence{Name: "X-Tenant", Header: true}, a, b))
	c := httpClient(t, false)
	for _, path := range []string{"/c", "/h"} {
		at := map[string]int{}
		for i := range 100 {
			show := []string{"Cookie", fmt.Sprintf("JSESSIONID=%d", i)}
			if path == "/h" {
				show = []string{"X-Tenant", fmt.Sprint(i)}
			}
			resp, first := ask(t, c, "GET", "http://"+addr+path, show...)
			_, again := ask(t, c, "GET", "http://"+addr+path, show...)
			if first != again || resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %s, then %s", path, first, again)
			}
			at[first]++
		}
		if n := at[eps[0]] + at[eps[1]]; len(at) != 4 || n < 55 || n > 92 {
			t.Errorf("%s: %v, want three quarters at the first two", path, at)
		}
	}
}

// Rules that one policy is for share a cookie, whichever services they lead to: none ends a stay at another's. Each gateway
// knows the cookies of the others.
func TestPersistenceIsShared(t *testing.T) {
	sticky := route.Persistence{Name: "AGCAffinity", Managed: true, Path: "/", Lifetime: time.Hour}
	eps := []string{placed(t), placed(t), placed(t), placed(t), placed(t), placed(t)}
	var addrs []string
	for range 2 {
		g := startProgrammable(t)
		a, b := g.backend("a", eps[:3]...), g.backend("b", eps[3:]...)
		own := a
		own.Persistence = &route.Persistence{Name: "AGCAffinity", Managed: true, PerRule: true}
		addrs = append(addrs, g.rules(keptAt("/page", sticky, a), keptAt("/again", sticky, a), keptAt("/api", sticky, b), below("/own", own)))
	}
	c := httpClient(t, false)
	at, cookie := map[string]string{}, ""
	for round := range 4 {
		for _, path := range []string{"/page", "/api", "/own", "/again"} {
			resp, place := ask(t, c, "GET", "http://"+addrs[round%2]+path, "Cookie", cookie)
			if path == "/again" {
				path = "/page"
			}
			if round > 0 && resp.Header.Get("Set-Cookie") != "" || at[path] != "" && at[path] != place {
				t.Errorf("%s: first %s, then %s, %v", path, at[path], place, resp.Header)
			}
			at[path] = place
			if set := resp.Header.Get("Set-Cookie"); set != "" {
				cookie, _, _ = strings.Cut(set, ";")
			}
		}
	}
	_, value, _ := strings.Cut(cookie, "=")
	if list, ok := parsePasses(value); !ok || len(list) != 3 {
		t.Errorf("%q: want three stays", cookie)
	}
	full := strings.Repeat(value[:passSize]+".", 40)
	if resp, _ := ask(t, c, "GET", "http://"+addrs[0]+"/page", "Cookie", "AGCAffinity="+full[:passBound]+"; AGCAffinity="+value+"; AGCAffinity="+full); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// A service sees nothing of the gateway's own; what has the same name and is the application's goes on.
func TestPersistenceIsNoServicesBusiness(t *testing.T) {
	g := startProgrammable(t)
	rest := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q %q", r.Header.Values("Cookie"), r.Header.Values("X-Seat"))
	})
	ws := rawService(t, func(c net.Conn, _ *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head, fmt.Sprintf("Saw: %q %q", field(head, "Cookie"), field(head, "X-Seat"))))
	})
	h2 := g.speaking("h2c", "h2", h2Service(t, false, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Header.Values("Cookie")) }))
	cookie, header := route.Persistence{Name: "s", Managed: true}, route.Persistence{Name: "x-seat", Header: true, Managed: true}
	addr := g.rules(keptAt("/c", cookie, g.backend("rest", rest)), keptAt("/h", header, g.backend("rest", rest)), keptAt("/ws", cookie, g.backend("ws", ws)),
		keptAt("/2", cookie, h2))
	ours := pass{1, 2}.String() + "." + pass{3, 4}.String()
	c := httpClient(t, false)
	for _, tt := range []struct{ path, cookie, seat, want string }{
		{"/c", "s=" + ours, "", `[] []`},
		{"/c", "a=1; s=" + ours + "; b=2;s=theirs", ours, fmt.Sprintf(`["a=1; b=2; s=theirs"] [%q]`, ours)},
		{"/c", "a=s=1;b=\"x y\"", "", `["a=s=1; b=\"x y\""] []`},
		{"/c", "sx=" + ours, "", fmt.Sprintf(`["sx=%s"] []`, ours)},
		{"/h", "s=" + ours, ours, fmt.Sprintf(`["s=%s"] []`, ours)},
		{"/h", "", "theirs", `[] ["theirs"]`},
		{"/2", "a=1; s=" + ours, "", `["a=1"]`},
	} {
		show := []string{"X-None", ""}
		if tt.cookie != "" {
			show = append(show, "Cookie", tt.cookie)
		}
		if tt.seat != "" {
			show = append(show, "X-Seat", tt.seat)
		}
		if _, got := ask(t, c, "GET", "http://"+addr+tt.path, show...); got != tt.want {
			t.Errorf("%s, %q %q: the service saw %s, want %s", tt.path, tt.cookie, tt.seat, got, tt.want)
		}
	}
	if _, _, head := talkTo(t, addr, handshake("/ws", "a", "Cookie: s="+ours)); one(head, "Saw") != "[] []" {
		t.Errorf("a session: %q", head)
	}
}

// AGC's application-cookie: what the application sets leads by its hash; where it sets nothing the gateway does.
func TestPersistenceBesideAnApplication(t *testing.T) {
	g := startProgrammable(t)
	var eps []string
	for range 4 {
		at := new(string)
		*at = httpService(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("login") {
				w.Header().Add("Set-Cookie", "nomnom=theirs; Path=/")
			}
			_, _ = io.WriteString(w, *at)
		})
		eps = append(eps, *at)
	}
	addr := g.rules(keptAt("/", route.Persistence{Name: "nomnom", Path: "/", Lifetime: time.Hour}, g.backend("a", eps...)))
	c := httpClient(t, false)
	resp, first := ask(t, c, "GET", "http://"+addr+"/")
	cookie, set, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if set != " Path=/; Max-Age=3600; HttpOnly; SameSite=Lax" {
		t.Fatalf("%v", resp.Header)
	}
	for range 5 {
		if resp, again := ask(t, c, "GET", "http://"+addr+"/", "Cookie", cookie); again != first || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s, then %s, %v", first, again, resp.Header)
		}
	}
	if resp, _ := ask(t, c, "GET", "http://"+addr+"/?login"); strings.Join(resp.Header.Values("Set-Cookie"), "|") != "nomnom=theirs; Path=/" {
		t.Errorf("%v", resp.Header)
	}
	_, first = ask(t, c, "GET", "http://"+addr+"/", "Cookie", "nomnom=theirs")
	for range 5 {
		if resp, again := ask(t, c, "GET", "http://"+addr+"/", "Cookie", "nomnom=theirs"); again != first || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s, then %s, %v", first, again, resp.Header)
		}
	}
}

// A cookie of a page over https goes nowhere else.
func TestPersistenceOverHTTPS(t *testing.T) {
	x := &exchange{}
	x.to.Route, x.to.stay.rule = leadsTo("r"), &route.Persistence{Name: "s", Managed: true}
	x.origin.proto = "https"
	ep := startProgrammable(t).backend("a", "127.0.0.1:1").Service.Endpoints[0]
	if got := x.pin(nil, ep).Get("Set-Cookie"); !strings.HasSuffix(got, "; HttpOnly; SameSite=Lax; Secure") {
		t.Errorf("%q", got)
	}
}

// The law: what is read of a value, written again, reads the same; and a value is either whole or nobody's.
func FuzzPasses(f *testing.F) {
	f.Add("AAAAAAAAAAAAAAAA")
	f.Add("00\r0000000000000")
	f.Add("\"AAAAAAAAAAAAAAAA.__________-_AAAA\"")
	f.Add(strings.Repeat("AAAAAAAAAAAAAAAA.", 7) + "AAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		list, ok := parsePasses(s)
		if !ok {
			if list != nil {
				t.Errorf("%q: %v", s, list)
			}
			return
		}
		if len(list) == 0 || len(list) > maxPasses {
			t.Fatalf("%q: %d", s, len(list))
		}
		var texts []string
		for _, p := range list {
			texts = append(texts, p.String())
		}
		if again, ok := parsePasses(strings.Join(texts, ".")); !ok || !reflect.DeepEqual(again, list) || strings.Join(texts, ".") != strings.Trim(s, "\"") {
			t.Errorf("%q: %v, then %v", s, list, again)
		}
		next := string(appendPasses(nil, pass{7, 7}, list))
		if read, ok := parsePasses(next); !ok || read[0] != (pass{7, 7}) || len(read) > maxPasses {
			t.Errorf("%q: %v", next, read)
		}
		if got := withoutPasses("a=1; s="+s+"; b=2", "s"); got != "a=1; b=2" {
			t.Errorf("%q: %q", s, got)
		}
	})
	if base64.RawURLEncoding.EncodedLen(passSize*3/4) != passSize {
		f.Error("passSize")
	}
}
