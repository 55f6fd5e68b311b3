package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
	cookie := route.Persistence{Name: "AGCAffinity", Managed: true, Path: "/", Lifetime: 24 * time.Hour}
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
			{"/c/x", "AGCAffinity", "; Path=/; Max-Age=86400; HttpOnly"}, {"/h/x", "X-Session", ""}, {"/s/x", "s", "; HttpOnly"}, {"/own/x", "own", "; HttpOnly"},
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
				if _, _, ok := parseToken(value); !ok {
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
			resp, _ := ask(t, c, "GET", "http://"+addr+tt.path, show(strings.Repeat("A", 22))...) // made up
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
	}{{0, true}, {59 * time.Minute, true}, {61 * time.Minute, false}} {
		x := &exchange{}
		x.to.Route, x.to.persistence = r.Route, r.Persistence
		x.record.Time = time.Now().Add(-tt.age)
		fields := g.pin(x, nil, ep)
		value, _, _ := strings.Cut(fields.Get("Set-Cookie"), ";")
		resp, _ := ask(t, httpClient(t, false), "GET", "http://"+addr+"/", "Cookie", value)
		if kept := resp.Header.Get("Set-Cookie") == ""; kept != tt.kept {
			t.Errorf("after %s: kept %t", tt.age, kept)
		}
	}
	g.persistence.sweep()
	g.persistence.sweep()
	if n := len(g.persistence.places); n != 0 {
		t.Errorf("%d rules are remembered that nobody asks for", n)
	}
}

func TestPersistentSessions(t *testing.T) {
	g := startProgrammable(t)
	addr := g.rules(keptAt("/ws", route.Persistence{Name: "s", Managed: true, Path: "/ws"}, g.backend("ws", echoSession(t), echoSession(t), echoSession(t))))
	_, _, head := talkTo(t, addr, handshake("/ws", "a"))
	value, set, _ := strings.Cut(one(head, "Set-Cookie"), ";")
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || set != " Path=/ws; HttpOnly" {
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

func TestPersistenceKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := PersistenceKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := PersistenceKey(dir)
	if err != nil || !bytes.Equal(first, again) || len(first) != persistenceKeySize {
		t.Errorf("%x, then %x, %v", first, again, err)
	}
	if info, err := os.Stat(filepath.Join(dir, PersistenceKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, PersistenceKeyFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PersistenceKey(dir); err == nil || !strings.Contains(err.Error(), PersistenceKeyFile) {
		t.Errorf("a bad key: %v", err)
	}
}
