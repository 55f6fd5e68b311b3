package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/bcrypt"
)

// The password of the gateway's user `admin`.
const adminPassword = "interop"

// A gateway is a running `fairlead run`, or the one inside `fairlead demo`.
type gateway struct {
	*process
	https     string // host:port
	plain     string // host:port of its listener without TLS
	registry  string // host:port; answers TLS and plain HTTP
	pki       *pki
	caFile    string // what its clients trust
	accessLog string // file
	client    *http.Client
}

// binary is the built gateway.
func binary(t *testing.T) string {
	t.Helper()
	name := os.Getenv("FAIRLEAD_BIN")
	if name == "" {
		name = "../bin/fairlead"
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("no gateway to try: %v; run `make interop`", err)
	}
	return absolute(t, name)
}

// startGateway runs the gateway on ports of its own, with the certificate of keys or, if that
// has none for it, the one that the gateway generates. The services' certificates are of keys.
func startGateway(t *testing.T, keys *pki) *gateway {
	t.Helper()
	requireInterop(t)
	dir := t.TempDir()
	ownTLS, caFile := "{}", filepath.Join(dir, "data", "certificate.pem")
	if keys.gateway.certFile != "" {
		ownTLS = fmt.Sprintf("{certFile: %q, keyFile: %q}", keys.gateway.certFile, keys.gateway.keyFile)
		caFile = keys.caFile
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(adminPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 3)
	config := filepath.Join(dir, "fairlead.yaml")
	fill(t, "fairlead.yaml", config, map[string]string{
		"HTTPS_PORT":    ports[0],
		"HTTP_PORT":     ports[1],
		"REGISTRY_PORT": ports[2],
		"TLS":           ownTLS,
		"CA_FILE":       keys.caFile,
		"ADMIN_HASH":    string(hash),
		"DIR":           dir,
	})
	g := &gateway{
		https:     "localhost:" + ports[0],
		plain:     "127.0.0.1:" + ports[1],
		registry:  "localhost:" + ports[2],
		pki:       keys,
		caFile:    caFile,
		accessLog: filepath.Join(dir, "access.log"),
	}
	g.process = start(t, command{name: "fairlead run", dir: dir, argv: []string{binary(t), "run", "--config", config}})
	g.client = httpsClient(g.trusted(t))
	g.waitReady(t)
	return g
}

// trusted is the pool of caFile, which the gateway itself may have to write first. It also
// has the authority of the services, for the tests that ask one directly.
func (g *gateway) trusted(t *testing.T) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	waitFor(t, "a certificate in "+g.caFile, wait, []*process{g.process}, func() error {
		for _, file := range []string{g.caFile, g.pki.caFile} {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if !pool.AppendCertsFromPEM(text) {
				return fmt.Errorf("no certificate in %s", file)
			}
		}
		return nil
	})
	return &tls.Config{RootCAs: pool}
}

func httpsClient(conf *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       wait,
		Transport:     &http.Transport{TLSClientConfig: conf},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (g *gateway) waitReady(t *testing.T) {
	t.Helper()
	waitFor(t, "the gateway's health", wait, []*process{g.process}, func() error {
		status, body, err := g.get("https://"+g.https+"/application/health", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
}

// get reads url, with the headers given.
func (g *gateway) get(url string, header http.Header) (status int, body string, err error) {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(read), err
}

// An instance is what the tests look at of a registered instance.
type instance struct {
	ID       string            `json:"instanceId"`
	Status   string            `json:"status"`
	Metadata map[string]string `json:"metadata"`
}

// instances reads the instances of one application from the registry.
func (g *gateway) instances(app string) ([]instance, error) {
	status, body, err := g.get("https://"+g.registry+"/eureka/apps/"+app, http.Header{"Accept": {"application/json"}})
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("status %d: %s", status, body)
	}
	var answer struct {
		Application struct {
			Instance []instance `json:"instance"`
		} `json:"application"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, fmt.Errorf("%w: %s", err, body)
	}
	return answer.Application.Instance, nil
}

// waitInstances waits until exactly n instances of app are UP and no other is registered.
func (g *gateway) waitInstances(t *testing.T, app string, n int, limit time.Duration, alive ...*process) []instance {
	t.Helper()
	var list []instance
	waitFor(t, fmt.Sprintf("%d instances of %s in the registry", n, app), limit, append(alive, g.process), func() (err error) {
		list, err = g.instances(app)
		if err == nil && len(list) != n {
			err = fmt.Errorf("%d registered", len(list))
		}
		for _, i := range list {
			if i.Status != "UP" {
				err = errors.Join(err, fmt.Errorf("%s is %s", i.ID, i.Status))
			}
		}
		return err
	})
	return list
}

// waitHeartbeat waits until the only instance of app has renewed its lease. The registry's
// answers show a heartbeat only with the next change of something else, so the log tells.
func (g *gateway) waitHeartbeat(t *testing.T, app string, limit time.Duration) {
	t.Helper()
	line := "instance=" + g.waitInstances(t, app, 1, limit)[0].ID + " known=true"
	before := strings.Count(g.out.String(), line)
	waitFor(t, "a heartbeat of "+app, limit, []*process{g.process}, func() error {
		if strings.Count(g.out.String(), line) == before {
			return fmt.Errorf("no new %q in the gateway's log", line)
		}
		return nil
	})
}

// A session is one WebSocket through the gateway, as coder/websocket sees it.
type session struct {
	t    *testing.T
	conn *websocket.Conn
}

// wait is when a test gives up on what takes moments where nothing is wrong: other machines are slower, and busy.
const wait = 45 * time.Second

// dial opens a WebSocket and fails the test if the handshake does.
func (g *gateway) dial(t *testing.T, path string, header http.Header) *session {
	t.Helper()
	return g.dialWith(t, path, &websocket.DialOptions{HTTPHeader: header})
}

// dialWith is dial with other options.
func (g *gateway) dialWith(t *testing.T, path string, options *websocket.DialOptions) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*wait)
	defer cancel()
	options.HTTPClient = g.client
	conn, resp, err := websocket.Dial(ctx, "wss://"+g.https+path, options)
	if err != nil {
		t.Fatalf("dial %s: %v (%v)", path, err, resp)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &session{t, conn}
}

// send sends a text.
func (s *session) send(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatalf("send %q: %v", text, err)
	}
}

// receive reads the next text.
func (s *session) receive() string {
	s.t.Helper()
	text, err := s.read()
	if err != nil {
		s.t.Fatalf("receive: %v", err)
	}
	return text
}

// wantClose wants a Close as the next event and checks its code; it gives its reason.
func (s *session) wantClose(code websocket.StatusCode) string {
	s.t.Helper()
	text, err := s.read()
	if err == nil {
		s.t.Fatalf("got the message %q, want Close %d", text, code)
	}
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		s.t.Fatalf("got %v, want Close %d", err, code)
	}
	if closed.Code != code {
		s.t.Errorf("got Close %d %q, want %d", closed.Code, closed.Reason, code)
	}
	return closed.Reason
}

// closeCode wants a Close as the next event, whatever its code.
func (s *session) closeCode() websocket.StatusCode {
	s.t.Helper()
	text, err := s.read()
	if err == nil {
		s.t.Fatalf("got the message %q, want a Close", text)
	}
	return websocket.CloseStatus(err)
}

func (s *session) read() (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	_, data, err := s.conn.Read(ctx)
	return string(data), err
}

// ask sends a text and wants an answer.
func (s *session) ask(text, want string) {
	s.t.Helper()
	s.send(text)
	if got := s.receive(); got != want {
		s.t.Errorf("asked %q: got %q, want %q", text, got, want)
	}
}

func basic(user, password string) http.Header {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(user, password)
	return req.Header
}

// logged waits for the access log's line that has all the given pieces of text.
func (g *gateway) logged(t *testing.T, pieces ...string) map[string]any {
	t.Helper()
	var record map[string]any
	waitFor(t, fmt.Sprintf("a line of the access log with %q", pieces), wait, nil, func() error {
		content, err := os.ReadFile(g.accessLog)
		if err != nil {
			return err
		}
	lines:
		for line := range strings.Lines(string(content)) {
			for _, piece := range pieces {
				if !strings.Contains(line, piece) {
					continue lines
				}
			}
			return json.Unmarshal([]byte(line), &record)
		}
		return errors.New("no such line")
	})
	return record
}
