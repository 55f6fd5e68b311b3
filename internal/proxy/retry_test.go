package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// flaky answers status to the first requests of each X-Test, as many as X-Fail says, and echoes the body of the next; status 0
// drops the connection.
func flaky(t *testing.T, status int) http.HandlerFunc {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		seen[r.Header.Get("X-Test")]++
		n := seen[r.Header.Get("X-Test")]
		mu.Unlock()
		fail := 0
		_, _ = fmt.Sscan(r.Header.Get("X-Fail"), &fail)
		if n <= fail {
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.Repeat("failed", 10_000))
			return
		}
		fmt.Fprintf(w, "%d %s%s", n, body, r.Trailer.Get("X-Sum"))
	}
}

func retried(r route.Rule, attempts int, codes ...int) route.Rule {
	r.Retry = &route.Retry{Attempts: attempts, Codes: codes, Backoff: time.Millisecond}
	return r
}

func TestRetries(t *testing.T) {
	g := startProgrammable(t)
	h1 := g.backend("h1", httpService(t, flaky(t, 500)))
	h2 := g.speaking(upstream.H2C, "h2", h2Service(t, false, flaky(t, 503)))
	lost := g.backend("lost", httpService(t, flaky(t, 0)))
	gone := closedPort(t)
	addr := g.rules(
		retried(below("/1", h1), 3, 500), retried(below("/2", h2), 2, 500, 502, 503, 504), retried(below("/lost", lost), 2, 500),
		below("/never", h1), retried(below("/gone", g.backend("gone", gone)), 2), retried(below("/other", g.backend("other", gone, naming(t, "other"))), 1),
	)
	tests := 0
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, tt := range []struct {
			method, path, body string
			fail, status       int
			want               string
		}{
			{"GET", "/1", "", 2, 200, "3 "},
			{"GET", "/1", "", 3, 200, "4 "},
			{"GET", "/1", "", 4, 500, "failed"},
			{"POST", "/1", "abc", 2, 200, "3 abc"},
			{"GET", "/2", "", 2, 200, "3 "},
			{"GET", "/2", "", 3, 503, "failed"},
			{"POST", "/2", "abc", 2, 200, "3 abc"},
			{"PUT", "/1", strings.Repeat("x", maxKeptBody), 1, 200, "2 xxx"},
			{"PUT", "/1", strings.Repeat("x", 16*maxKeptBody), 1, 500, "failed"},
			{"PUT", "/2", strings.Repeat("x", maxKeptBody), 1, 200, "2 xxx"},
			{"PUT", "/2", strings.Repeat("x", 16*maxKeptBody), 1, 503, "failed"},
			{"GET", "/lost", "", 2, 200, "3 "},
			{"POST", "/lost", "abc", 1, 502, "{"},
			{"PUT", "/lost", "abc", 1, 200, "2 abc"},
			{"GET", "/never", "", 1, 500, "failed"},
			{"GET", "/gone", "", 0, 502, "{"},
			{"POST", "/other", "abc", 0, 200, "other"},
		} {
			for _, known := range []bool{true, false} {
				if tests++; tt.body == "" && !known {
					continue
				}
				r, _ := http.NewRequestWithContext(t.Context(), tt.method, "http://"+addr+tt.path, strings.NewReader(tt.body))
				r.Header.Set("X-Test", fmt.Sprint(tests))
				r.Header.Set("X-Fail", fmt.Sprint(tt.fail))
				if !known {
					r.ContentLength = -1
				}
				resp, got := do(t, c, r)
				if resp.StatusCode != tt.status || !strings.HasPrefix(got, tt.want) {
					t.Errorf("%s %s, %d bytes (%t), %d failures: %d %.50q", tt.method, tt.path, len(tt.body), known, tt.fail, resp.StatusCode, got)
				}
				if strings.HasPrefix(tt.want, "2 x") && len(got) != len(tt.body)+2 {
					t.Errorf("%s: %d bytes came back of %d", tt.path, len(got)-2, len(tt.body))
				}
			}
		}
	})
}

// TestRetryKeepsTrailers sends a chunked body with trailers twice.
func TestRetryKeepsTrailers(t *testing.T) {
	g := startProgrammable(t)
	addr := g.rules(retried(below("/1", g.backend("h1", httpService(t, flaky(t, 500)))), 1, 500),
		retried(below("/2", g.speaking(upstream.H2C, "h2", h2Service(t, false, flaky(t, 500)))), 1, 500))
	for _, path := range []string{"/1", "/2"} {
		_, br, head := talkTo(t, addr, "PUT "+path+" HTTP/1.1\r\nHost: a\r\nX-Fail: 1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"+
			"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 42\r\n\r\n")
		if strings.HasPrefix(head, "HTTP/1.1 100 ") {
			head, _ = readHead(br)
		}
		if body := readBody(t, br, head); body != "2 abcdef42" {
			t.Errorf("%s: %q %q", path, head, body)
		}
	}
}

// A retry prefers an endpoint that has not failed, and each attempt has its own timeouts.backendRequest.
func TestRetriesGoElsewhere(t *testing.T) {
	g := startProgrammable(t)
	var slow, quick atomic.Int64
	stuck := httpService(t, func(_ http.ResponseWriter, r *http.Request) { slow.Add(1); <-r.Context().Done() })
	well := httpService(t, func(w http.ResponseWriter, _ *http.Request) { quick.Add(1); _, _ = io.WriteString(w, "well") })
	r := retried(below("/", g.backend("b", stuck, well)), 1)
	r.Policy.Timeouts.BackendRequest = 500 * time.Millisecond
	addr := g.rules(r)
	overBoth(t, func(t *testing.T, c *http.Client) {
		slow.Store(0)
		for range 4 {
			if resp, body := ask(t, c, "GET", "http://"+addr+"/"); resp.StatusCode != 200 || body != "well" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		}
		if n := slow.Load(); n != 2 {
			t.Errorf("%d of 4 attempts went to the stuck endpoint first, want 2", n)
		}
	})
	if resp, _ := ask(t, httpClient(t, false), "POST", "http://"+addr+"/"); resp.StatusCode != 504 && resp.StatusCode != 200 {
		t.Error(resp.StatusCode)
	}
}

func TestRetriesEndWithTheRequest(t *testing.T) {
	g := startProgrammable(t)
	r := retried(below("/", g.backend("b", httpService(t, flaky(t, 500)))), 3, 500)
	r.Retry.Backoff = time.Hour
	r.Policy.Timeouts.Request = time.Minute
	asked := make(chan bool, 1)
	forever := retried(below("/forever", g.backend("forever", httpService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		asked <- true
	}))), 3, 500)
	forever.Retry.Backoff = time.Hour
	addr := g.rules(r, forever)
	if resp, _ := ask(t, httpClient(t, false), "GET", "http://"+addr+"/", "X-Fail", "1", "X-Test", "a"); resp.StatusCode != 500 {
		t.Errorf("%d, want the first answer: no retry begins in time", resp.StatusCode)
	}
	g.log.next(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, get("a", "/forever"))
	<-asked
	c.(*net.TCPConn).SetLinger(0)
	c.Close() // while the gateway waits for the retry
	if rec := g.log.next(t); rec["status"] != float64(statusClientGone) {
		t.Errorf("line %v", rec)
	}
}

func TestRetryBudget(t *testing.T) {
	g := startProgrammable(t)
	b := g.backend("b", httpService(t, flaky(t, 500)))
	b.Budget = &route.RetryBudget{Percent: 50, Interval: time.Hour, MinCount: 2, MinEvery: time.Hour}
	addr := g.rules(retried(below("/", b), 1, 500))
	c := httpClient(t, false)
	got := ""
	for i := range 10 {
		resp, _ := ask(t, c, "GET", "http://"+addr+"/", "X-Fail", "1", "X-Test", fmt.Sprint(i))
		got += map[int]string{200: "+", 503: "-"}[resp.StatusCode]
	}
	if want := "++---+-+-+"; got != want { // two always, then one of two requests
		t.Errorf("retried %s, want %s", got, want)
	}
	g.budgets.sweep()
	if len(g.budgets.of) != 1 {
		t.Error("a budget in use was forgotten")
	}
}
