package interop

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// seen is what a service saw of a request, and who it is. An echo answers with it, and begins a session with it.
type seen struct {
	Service string
	Method  string
	URI     string
	Host    string
	Proto   string
	Header  http.Header
	Body    string

	ServerName string // over TLS
	Client     string // the common name of the client's certificate
}

// An echo is a service that says what it saw. Queries ask more of it: status=503 answers that, with fail=2 only the first two
// times with one id=; delay=1s waits before the answer, with slow=2 only the first two times; set=Name:Value adds a field.
type echo struct {
	name    string
	address string

	mu    sync.Mutex // guards the following
	seen  []seen
	tries map[string]int // by id
	sick  map[string]int // statuses of paths that a test has set
}

// echo starts one and makes it a Service of that name.
func (m *manifests) echo(name string) *echo {
	m.t.Helper()
	e := startEcho(m.t, name, nil)
	m.service(name, "", e.address)
	m.echoes[name] = e
	return e
}

// startEcho starts an echo. conf is its TLS; nil: none. It speaks HTTP/2 too: negotiated, or with prior knowledge.
func startEcho(t *testing.T, name string, conf *tls.Config) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, short, ok := strings.Cut(name, "/"); ok {
		name = short
	}
	e := &echo{name: name, address: ln.Addr().String(), tries: map[string]int{}, sick: map[string]int{}}
	server := &http.Server{Handler: e, TLSConfig: conf, ErrorLog: silent, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conf != nil {
			_ = server.ServeTLS(ln, "", "") // until Close
		} else {
			_ = server.Serve(ln)
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return e
}

// turn has the echo answer path with status from now on; 0: as ever.
func (e *echo) turn(path string, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sick[path] = status
}

// requests are those that it has seen whose path begins so.
func (e *echo) requests(path string) []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []seen
	for _, s := range e.seen {
		if strings.HasPrefix(s.URI, path) {
			list = append(list, s)
		}
	}
	return list
}

// ServeHTTP implements http.Handler.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	saw := seen{Service: e.name, Method: r.Method, URI: r.RequestURI, Host: r.Host, Proto: r.Proto, Header: r.Header}
	if r.TLS != nil {
		saw.ServerName = r.TLS.ServerName
		if len(r.TLS.PeerCertificates) > 0 {
			saw.Client = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	}
	if r.Header.Get("Upgrade") == "" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		saw.Body = string(body)
	}
	q := r.URL.Query()
	e.mu.Lock()
	e.seen = append(e.seen, saw)
	e.tries[q.Get("id")]++
	tries, status := e.tries[q.Get("id")], e.sick[r.URL.Path]
	e.mu.Unlock()
	if d, err := time.ParseDuration(q.Get("delay")); err == nil && (q.Get("slow") == "" || q.Get("slow") >= strconv.Itoa(tries)) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return
		}
	}
	for _, f := range q["set"] {
		name, value, _ := strings.Cut(f, ":")
		w.Header().Add(name, value)
	}
	if n, err := strconv.Atoi(q.Get("status")); err == nil && status == 0 {
		if fail, err := strconv.Atoi(q.Get("fail")); err != nil || tries <= fail {
			status = n
		}
	}
	text, _ := json.Marshal(saw)
	if r.Header.Get("Upgrade") != "" && (status == 0 || status == http.StatusSwitchingProtocols) {
		e.session(w, r, text)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if status != 0 {
		w.WriteHeader(status)
	}
	_, _ = w.Write(text)
}

// session sends back what comes, after it has said what it saw.
func (e *echo) session(w http.ResponseWriter, r *http.Request, text []byte) {
	options := &websocket.AcceptOptions{InsecureSkipVerify: true}
	if offered := r.Header.Get("Sec-WebSocket-Protocol"); offered != "" {
		options.Subprotocols = strings.Split(strings.ReplaceAll(offered, " ", ""), ",")
	}
	conn, err := websocket.Accept(w, r, options)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	ctx := context.Background()
	if conn.Write(ctx, websocket.MessageText, text) != nil {
		return
	}
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil || conn.Write(ctx, kind, data) != nil {
			return
		}
	}
}

// wait waits until it has seen n requests whose path begins so, and gives them.
func (e *echo) wait(t *testing.T, path string, n int) []seen {
	t.Helper()
	waitFor(t, e.name+" sees "+path, wait, nil, func() error {
		if got := len(e.requests(path)); got < n {
			return errTooFew(got)
		}
		return nil
	})
	return e.requests(path)
}

type errTooFew int

func (n errTooFew) Error() string { return strconv.Itoa(int(n)) + " so far" }

// refusing is an address where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + freePorts(t, 1)[0]
}

// serveAny runs a handler of HTTP/1.1.
func serveAny(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
