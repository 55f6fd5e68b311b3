package interop

import (
	"net/http"
	"testing"
	"time"
)

// How long an answer may take, how often it is asked for, and at which endpoint.
func TestGatewayAttempts(t *testing.T) {
	m := newManifests(t)
	one, budget := m.echo("one"), m.echo("budget")
	a, b := startEcho(t, "a", nil), startEcho(t, "b", nil)
	m.service("pair", "", a.address, b.address)
	m.service("half", "", refusing(t), a.address)
	m.file("attempts.yaml")
	m.start("80")

	// outlives wants a session under path to live on when the route's timeouts are over.
	outlives := func(t *testing.T, path string) {
		t.Helper()
		s := m.open(t, "ws://timeouts.example"+path)
		time.Sleep(2500 * time.Millisecond) // more than any of them
		s.ask("still here", "still here")
		m.refuses(t, "http://timeouts.example"+path+"?delay=1m", http.StatusGatewayTimeout)
	}
	t.Run("HTTPRouteRequestTimeout", func(t *testing.T) {
		m.get(t, "http://timeouts.example/request", http.StatusOK)
		outlives(t, "/request")
		m.get(t, "http://timeouts.example/off?delay=2500ms", http.StatusOK)
	})
	t.Run("HTTPRouteBackendTimeout", func(t *testing.T) {
		m.get(t, "http://timeouts.example/backend", http.StatusOK)
		outlives(t, "/backend")
	})
	t.Run("HTTPRouteRetry", func(t *testing.T) {
		m.get(t, "http://retries.example/codes?status=503&fail=2&id=a", http.StatusOK)
		m.get(t, "http://retries.example/codes?status=503&fail=9&id=b", http.StatusServiceUnavailable)
		m.get(t, "http://retries.example/codes?status=500&fail=1&id=c", http.StatusInternalServerError)
		if got := len(one.requests("/codes?status=503&fail=9&id=b")); got != 3 {
			t.Errorf("%d attempts, want 3", got)
		}
		// The body goes with each attempt.
		saw := askWith(t, m.client, http.MethodPut, "http://retries.example/codes?status=502&fail=1&id=d", "a body").saw
		if saw.Method != http.MethodPut || saw.Body != "a body" {
			t.Errorf("the second attempt was %+v", saw)
		}
	})
	t.Run("HTTPRouteRetryBackendTimeout", func(t *testing.T) {
		m.get(t, "http://retries.example/slow?delay=1m&slow=1&id=e", http.StatusOK)
		m.get(t, "http://retries.example/slow?delay=1m&slow=2&id=f", http.StatusGatewayTimeout)
	})
	t.Run("HTTPRouteRetryConnectionError", func(t *testing.T) {
		for range 6 {
			m.serves(t, "http://retries.example/refused", "a")
		}
	})
	t.Run("retry budget", func(t *testing.T) {
		for i, want := range []int{200, 200, 503, 503} {
			url := "/budget?status=500&fail=1&id=" + string(rune('p'+i))
			m.get(t, "http://retries.example"+url, want)
			if tries, more := len(budget.requests(url)), want == 200; tries != 1 && !more || tries != 2 && more {
				t.Errorf("request %d: %d attempts", i, tries)
			}
		}
	})
	t.Run("session persistence", func(t *testing.T) {
		for range 4 {
			first := m.get(t, "http://sticky.example/cookie", http.StatusOK)
			cookie := cookieOf(t, first.Header, "seat")
			if cookie.MaxAge != 0 || !cookie.Expires.IsZero() {
				t.Errorf("the cookie of a session says %v", cookie)
			}
			for range 4 {
				m.serves(t, "http://sticky.example/cookie", first.saw.Service, "Cookie", "other=1; "+cookie.Name+"="+cookie.Value)
			}
		}
		cookie := cookieOf(t, m.get(t, "http://sticky.example/permanent", http.StatusOK).Header, "seat")
		if cookie.MaxAge <= 0 && cookie.Expires.IsZero() {
			t.Errorf("the cookie of an hour says %v", cookie)
		}
		for range 4 {
			first := m.get(t, "http://sticky.example/header", http.StatusOK)
			seat := first.Header.Get("X-Seat")
			if seat == "" {
				t.Fatalf("no X-Seat in %v", first.Header)
			}
			m.serves(t, "http://sticky.example/header", first.saw.Service, "X-Seat", seat)
		}
		// A handshake can be the first.
		s := m.open(t, "ws://sticky.example/cookie")
		cookie = cookieOf(t, s.response.Header, "seat")
		for range 3 {
			m.serves(t, "http://sticky.example/cookie", s.saw.Service, "Cookie", cookie.Name+"="+cookie.Value)
		}
		// It holds for the choice among the rule's backends, too.
		for range 6 {
			first := m.get(t, "http://sticky.example/split", http.StatusOK)
			for range 4 {
				m.serves(t, "http://sticky.example/split", first.saw.Service, "Cookie", "split="+cookieOf(t, first.Header, "split").Value)
			}
		}
		// Whose endpoint has gone gets another, and its cookie.
		a := m.get(t, "http://sticky.example/cookie", http.StatusOK, "Cookie", "seat=of-nobody")
		if cookieOf(t, a.Header, "seat").Value == "of-nobody" {
			t.Error("the cookie of an endpoint that does not exist is kept")
		}
		free := map[string]bool{}
		for range 8 {
			free[m.get(t, "http://sticky.example/free", http.StatusOK).saw.Service] = true
		}
		if len(free) != 2 {
			t.Errorf("without persistence: %v", free)
		}
	})
}

func cookieOf(t *testing.T, h http.Header, name string) *http.Cookie {
	t.Helper()
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no cookie %s in %v", name, h)
	return nil
}
