package interop

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An endpoint that is found sick gets no new request and no new session; its open sessions go on, and when it is well again so does
// everything else.
func TestGatewayHealth(t *testing.T) {
	m := newManifests(t)
	byHTTP, byWebSocket := m.echo("http"), m.echo("websocket")
	a, b := startEcho(t, "a", nil), startEcho(t, "b", nil)
	m.service("pair", "", a.address, b.address)
	byTCP := startEcho(t, "tcp", nil)
	doors := door(t, byTCP.address)
	m.service("tcp", "", doors.address)
	// This one answers nothing but WebSocket handshakes with good: without a policy nobody may find it sick.
	never := m.echo("never")
	for _, path := range []string{"/", "/health", "/never"} {
		never.turn(path, http.StatusUpgradeRequired)
	}
	// This one says how it is on another port.
	m.echo("elsewhere")
	told := startEcho(t, "told", nil)
	m.values["HEALTH_PORT"] = portOf(told.address)
	podded := startEcho(t, "podded", nil)
	m.values["PODDED_PORT"], m.fromPods = portOf(podded.address), true
	m.file("health.yaml")
	m.start("80")

	// falls wants path to be refused after the service has turned sick, while a session that is open goes on, and to be served again.
	falls := func(t *testing.T, path string, sick func(), well func()) {
		t.Helper()
		url := "http://any.example" + path
		m.eventually(t, url, path+" served", func(a *answerOf) bool { return a.StatusCode == http.StatusOK })
		s := m.open(t, url)
		sick()
		m.eventually(t, url, path+" refused", func(a *answerOf) bool { return a.StatusCode == http.StatusServiceUnavailable })
		m.refuses(t, url, http.StatusServiceUnavailable)
		s.ask("still here", "still here")
		well()
		m.eventually(t, url, path+" served again", func(a *answerOf) bool { return a.StatusCode == http.StatusOK })
		m.open(t, url)
		s.ask("still here", "still here")
	}
	t.Run("alb HealthCheckPolicy", func(t *testing.T) {
		falls(t, "/http", func() { byHTTP.turn("/health", 302) }, func() { byHTTP.turn("/health", 0) })
		probe := byHTTP.requests("/health")[0]
		if probe.Host != "probed.example" || probe.Method != http.MethodGet {
			t.Errorf("the probe is %+v", probe)
		}
		// One of two: the other has everything.
		a.turn("/health", 500)
		waitFor(t, "the requests at the endpoint that is well", wait, nil, func() error {
			for range 4 {
				if got := m.get(t, "http://any.example/pair", http.StatusOK).saw.Service; got != "b" {
					return errTooFew(0)
				}
			}
			return nil
		})
		for range 4 {
			m.serves(t, "http://any.example/pair", "b")
		}
	})
	t.Run("onUnhealthy", func(t *testing.T) {
		kept, left := m.open(t, "ws://any.example/http"), m.open(t, "ws://any.example/leaves")
		byHTTP.turn("/health", 500)
		left.wantClose(1012)
		byHTTP.turn("/health", 0)
		kept.ask("still here", "still here")
		m.eventually(t, "http://any.example/http", "the service well again", func(a *answerOf) bool { return a.StatusCode == http.StatusOK })
	})
	t.Run("drain", func(t *testing.T) {
		kept, left := m.open(t, "ws://any.example/http"), m.open(t, "ws://any.example/leaves")
		made, err := os.ReadFile(filepath.Join(m.dir, "made.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		// As Kubernetes says it of a pod that is to end.
		m.write("made.yaml", strings.Replace(string(made), "addresses: [127.0.0.1], conditions: {ready: true}",
			"addresses: [127.0.0.1], conditions: {ready: false, serving: true, terminating: true}", 1))
		left.wantClose(1012)
		kept.ask("still here", "still here")
		m.write("made.yaml", string(made))
		m.eventually(t, "http://any.example/http", "the endpoint again", func(a *answerOf) bool { return a.StatusCode == http.StatusOK })
	})
	t.Run("alb HealthCheckPolicy on another port", func(t *testing.T) {
		falls(t, "/elsewhere", func() { told.turn("/alive", 503) }, func() { told.turn("/alive", 0) })
	})
	t.Run("HealthCheckPolicy tcp", func(t *testing.T) {
		falls(t, "/tcp", doors.shut, doors.open)
	})
	t.Run("HealthCheckPolicy websocket", func(t *testing.T) {
		falls(t, "/websocket", func() { byWebSocket.turn("/probe", 500) }, func() { byWebSocket.turn("/probe", 0) })
		if probe := byWebSocket.requests("/probe")[0]; probe.Header.Get("Upgrade") != "websocket" {
			t.Errorf("the probe is %+v", probe)
		}
	})
	t.Run("readinessProbe", func(t *testing.T) {
		falls(t, "/podded", func() { podded.turn("/ready", 500) }, func() { podded.turn("/ready", 0) })
	})
	t.Run("no probe unless asked for", func(t *testing.T) {
		m.get(t, "http://any.example/never", http.StatusUpgradeRequired)
		never.turn("/never", http.StatusSwitchingProtocols)
		m.open(t, "ws://any.example/never")
		for _, saw := range never.requests("/") {
			if saw.Header.Get("X-Request-Id") == "" {
				t.Errorf("nobody asked for %+v", saw)
			}
		}
	})
}

// A doorway carries connections to a service as long as it is open. Shut, it refuses new ones; those it has go on.
type doorway struct {
	t       *testing.T
	address string
	to      string
	ln      net.Listener
}

func door(t *testing.T, to string) *doorway {
	t.Helper()
	d := &doorway{t: t, to: to, address: "127.0.0.1:0"}
	d.open()
	d.address = d.ln.Addr().String()
	t.Cleanup(d.shut)
	return d
}

func (d *doorway) shut() { _ = d.ln.Close() }

func (d *doorway) open() {
	ln, err := net.Listen("tcp", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.ln = ln
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return // shut
			}
			out, err := net.Dial("tcp", d.to)
			if err != nil {
				in.Close()
				continue
			}
			carry := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				to.Close()
				from.Close()
			}
			go carry(in, out)
			go carry(out, in)
		}
	}()
}
