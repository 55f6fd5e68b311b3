package sample

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is as much of an Eureka server as the client can tell from a real one. Every request is put into
// requests; the tests read from it to wait for one.
type registry struct {
	*httptest.Server
	requests chan request
	answer   func(request) int // nil: 204 for POST, else 200
}

type request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

func newRegistry(t *testing.T, answer func(request) int) *registry {
	t.Helper()
	reg := &registry{requests: make(chan request, 100), answer: answer}
	reg.Server = httptest.NewServer(reg)
	t.Cleanup(reg.Close)
	return reg
}

func (reg *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	req := request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), body}
	reg.requests <- req
	switch {
	case reg.answer != nil:
		w.WriteHeader(reg.answer(req))
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (reg *registry) next(t *testing.T) request {
	t.Helper()
	select {
	case r := <-reg.requests:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("the registry was asked nothing for 10 s")
		return request{}
	}
}

// start starts an instance and stops it when the test ends.
func start(t *testing.T, cfg Config) *Instance {
	t.Helper()
	i := New(cfg)
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, i) })
	return i
}

func stop(t *testing.T, i *Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := i.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// dial opens a session on i and ends it when the test ends.
func dial(t *testing.T, i *Instance, path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response) {
	t.Helper()
	c, resp, err := websocket.Dial(wait(t), i.URL("/ws"+path), opts)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c, resp
}

func wait(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func sendText(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(wait(t), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	kind, message, err := c.Read(wait(t))
	if err != nil {
		t.Fatal(err)
	}
	if kind != websocket.MessageText {
		t.Fatalf("message is %v, want text", kind)
	}
	return string(message)
}

// wantClose reads until the session ends, which must be with this Close.
func wantClose(t *testing.T, c *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	for {
		_, _, err := c.Read(wait(t))
		if err == nil {
			continue
		}
		var closed websocket.CloseError
		if !asClose(err, &closed) || closed.Code != code || closed.Reason != reason {
			t.Fatalf("session ended with %v, want close %d %q", err, code, reason)
		}
		return
	}
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	return do(t, http.MethodGet, url, nil, "")
}

func do(t *testing.T, method, url string, header http.Header, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(wait(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}
