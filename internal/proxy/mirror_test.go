package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A copy of a request goes to each mirror, with what the rule changes; the answer is the backend's.
func TestMirrors(t *testing.T) {
	g := startProgrammable(t)
	got := make(chan string, 100)
	saw := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got <- fmt.Sprintf("%s %s %s%s %s %d%s %s", name, r.Method, r.Host, r.RequestURI, r.Header.Get("X-Set"), len(body), r.Trailer.Get("X-Sum"), r.Header.Get("X-Forwarded-For"))
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) // more than is read
		}
	}
	one, two := g.backend("one", httpService(t, saw("one"))), g.speaking(upstream.H2C, "two", h2Service(t, false, saw("two")))
	never := g.backend("never", httpService(t, saw("never")))
	primary := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "primary %d", len(body))
	})
	addr := g.rules(
		filtered("/m", route.Filters{
			Mirrors: []route.Mirror{
				{Backend: &one},
				{Backend: &two, Numerator: 1, Denominator: 1},
				{Backend: &never, Denominator: 100},
				{Backend: &route.Backend{Name: "invalid", Invalid: "no such Service"}},
			},
			RequestHeaders: route.HeaderEdit{Set: []route.HeaderValue{{Name: "X-Set", Value: "rule"}}},
		}, g.backend("primary", primary)),
		filtered("/gone", route.Filters{Mirrors: []route.Mirror{{Backend: new(g.backend("gone", closedPort(t)))}}}, g.backend("primary", primary)),
		filtered("/ws", route.Filters{Mirrors: []route.Mirror{{Backend: &one}}}, g.backend("ws", echoSession(t))),
	)
	next := func() string {
		select {
		case s := <-got:
			return s
		case <-time.After(wait):
			t.Fatal("no copy came")
		}
		return ""
	}
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, size := range []int{0, 10, maxKeptBody} {
			for _, known := range []bool{true, false} {
				r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/m/a%2Fb?x", strings.NewReader(strings.Repeat("y", size)))
				r.Host = "gw.test"
				if sum := ""; !known {
					r.ContentLength = -1
					r.Trailer = http.Header{"X-Sum": nil}
					sum = "/42"
					r.Body = io.NopCloser(&trailing{Reader: strings.NewReader(strings.Repeat("y", size)), done: func() { r.Trailer.Set("X-Sum", sum) }})
				}
				if resp, body := do(t, c, r); resp.StatusCode != 200 || body != fmt.Sprintf("primary %d", size) {
					t.Errorf("%d %q", resp.StatusCode, body)
				}
				a, b := next(), next()
				if !strings.HasPrefix(a, "one ") {
					a, b = b, a
				}
				want := fmt.Sprintf(" POST gw.test/m/a%%2Fb?x rule %d%s 127.0.0.1", size, map[bool]string{false: "/42"}[known])
				if a != "one"+want || b != "two"+want {
					t.Errorf("copies %q and %q, want each%s", a, b, want)
				}
			}
		}
		if resp, _ := ask(t, c, "GET", "http://"+addr+"/gone"); resp.StatusCode != 200 {
			t.Errorf("with a mirror that is not there: %d", resp.StatusCode)
		}
		before := g.mirrors.dropped.Load()
		r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/m", strings.NewReader(strings.Repeat("y", 16*maxKeptBody)))
		if resp, body := do(t, c, r); resp.StatusCode != 200 || body != fmt.Sprintf("primary %d", 16*maxKeptBody) {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		if n := g.mirrors.dropped.Load() - before; n != 2 {
			t.Errorf("%d copies of a large request were dropped, want 2", n)
		}
	})
	if _, _, head := talkTo(t, addr, handshake("/ws", "a")); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Error(head)
	}
	g.mirrors.wg.Wait()
	if len(got) > 0 {
		t.Errorf("a copy too many: %q", <-got)
	}
}

// A share is a share.
func TestMirrorShares(t *testing.T) {
	for _, c := range []struct{ numerator, denominator, least, most int }{{0, 0, 1000, 1000}, {0, 100, 0, 0}, {100, 100, 1000, 1000}, {1, 4, 150, 350}} {
		m, n := route.Mirror{Numerator: c.numerator, Denominator: c.denominator}, 0
		for range 1000 {
			if m.Chosen() {
				n++
			}
		}
		if n < c.least || n > c.most {
			t.Errorf("%d of %d: %d of 1000", c.numerator, c.denominator, n)
		}
	}
}
