package sample

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestRegistration(t *testing.T) {
	reg := newRegistry(t, nil)
	i := New(Config{Registry: reg.URL + "/eureka/", RegistryUser: "eureka:password", InstanceName: "two"})
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	post := reg.next(t)
	if post.Method != "POST" || post.Path != "/eureka/apps/discoverableclient" || post.Header.Get("Content-Type") != "application/json" ||
		post.Header.Get("Authorization") != "Basic ZXVyZWthOnBhc3N3b3Jk" {
		t.Errorf("registration %s %s %v", post.Method, post.Path, post.Header)
	}
	var body struct{ Instance map[string]any }
	if err := json.Unmarshal(post.Body, &body); err != nil {
		t.Fatal(err)
	}
	_, portText, _ := net.SplitHostPort(i.Address())
	metadata := body.Instance["metadata"].(map[string]any)
	for key, want := range map[string]string{
		"app": "discoverableclient", "vipAddress": "discoverableclient", "instanceId": "127.0.0.1:discoverableclient:" + portText,
		"hostName": "127.0.0.1", "ipAddr": "127.0.0.1", "status": "UP", "homePageUrl": i.URL("/"),
		"statusPageUrl": i.URL("/application/info"), "healthCheckUrl": i.URL("/application/health"),
	} {
		if body.Instance[key] != want {
			t.Errorf("%s is %v, want %s", key, body.Instance[key], want)
		}
	}
	for key, want := range map[string]string{
		"ws_v1.gatewayUrl": "ws/v1", "ws_v1.serviceUrl": "/discoverableclient/ws",
		"ui_v1.gatewayUrl": "ui/v1", "ui_v1.serviceUrl": "/discoverableclient",
		"api_v1.serviceUrl": "/discoverableclient/api/v1", "sse_v1.serviceUrl": "/discoverableclient/",
	} {
		if metadata["apiml.routes."+key] != want {
			t.Errorf("metadata %s is %v, want %s", key, metadata["apiml.routes."+key], want)
		}
	}
	if got := string(post.Body); !strings.Contains(got, `"port":{"$":`+portText+`,"@enabled":true}`) ||
		!strings.Contains(got, `"securePort":{"$":`+portText+`,"@enabled":false}`) {
		t.Errorf("ports in %s", got)
	}
	if _, ok := body.Instance["leaseInfo"]; ok {
		t.Error("leaseInfo is sent, although the lease is the registry's default")
	}
	if i.ID() != body.Instance["instanceId"] || i.State() != Running {
		t.Errorf("id %s, state %s", i.ID(), i.State())
	}
	stop(t, i)
	if del := reg.next(t); del.Method != "DELETE" || del.Path != "/eureka/apps/discoverableclient/127.0.0.1:discoverableclient:"+portText {
		t.Errorf("deregistration %s %s", del.Method, del.Path)
	}
}

func TestRegistrationIsTriedAgain(t *testing.T) {
	answers := make(chan int, 3)
	answers <- 503
	answers <- 429
	answers <- 204
	reg := newRegistry(t, func(r request) int {
		if r.Method == "DELETE" {
			return 200
		}
		return <-answers
	})
	start(t, Config{Registry: reg.URL})
	if len(answers) != 0 {
		t.Errorf("%d answers are left: it stopped trying", len(answers))
	}
}

func TestRegistrationRefused(t *testing.T) {
	for status, want := range map[int]string{401: "status 401", 400: "status 400"} {
		reg := newRegistry(t, func(request) int { return status })
		i := New(Config{Registry: reg.URL})
		if err := i.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", status, err)
		}
		if len(reg.requests) != 1 || i.State() != Stopped {
			t.Errorf("%d: %d requests, state %s", status, len(reg.requests), i.State())
		}
		if c, err := net.Dial("tcp", i.Address()); err == nil {
			c.Close()
			t.Errorf("%d: it still listens", status)
		}
	}
	reg := newRegistry(t, func(request) int { return 200 }) // not what Eureka says
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := New(Config{Registry: reg.URL}).Start(ctx); err == nil {
		t.Error("a 200 was taken for a registration")
	}
}

func TestHeartbeat(t *testing.T) {
	forgotten := true
	reg := newRegistry(t, func(r request) int {
		switch {
		case r.Method == "POST":
			return 204
		case r.Method == "PUT" && forgotten:
			forgotten = false
			return 404
		}
		return 200
	})
	i := start(t, Config{Registry: reg.URL, Heartbeat: 10 * time.Millisecond})
	for n, want := range []string{"POST", "PUT", "POST", "PUT", "PUT"} {
		got := reg.next(t)
		if got.Method != want || got.Query != "" {
			t.Fatalf("request %d is %s %s?%s, want %s without query", n, got.Method, got.Path, got.Query, want)
		}
		if want == "PUT" && !strings.HasSuffix(got.Path, "/"+i.ID()) {
			t.Errorf("heartbeat for %s", got.Path)
		}
		if want == "POST" && !strings.Contains(string(got.Body), `"leaseInfo":{"renewalIntervalInSecs":1,"durationInSecs":3}`) {
			t.Errorf("lease in %s", got.Body)
		}
	}
}

func TestTLS(t *testing.T) {
	// The fake registry's certificate serves the instance too.
	reg := &registry{requests: make(chan request, 10)}
	reg.Server = httptest.NewTLSServer(reg)
	t.Cleanup(reg.Close)
	trust := reg.Client().Transport.(*http.Transport).TLSClientConfig
	i := start(t, Config{TLS: reg.TLS, Registry: reg.URL, RegistryTLS: trust, HostName: "localhost"})
	body := string(reg.next(t).Body)
	for _, want := range []string{`"securePort":{"$":`, `,"@enabled":true}`, `"secureHealthCheckUrl":"https://localhost:`, `"instanceId":"localhost:`} {
		if !strings.Contains(body, want) {
			t.Errorf("registration lacks %s: %s", want, body)
		}
	}
	if strings.Contains(body, `"healthCheckUrl"`) {
		t.Errorf("a plain health check is registered: %s", body)
	}
	transport := &http.Transport{TLSClientConfig: trust}
	defer transport.CloseIdleConnections()
	c, _ := dial(t, i, "/uppercase", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	sendText(t, c, "tls")
	if got := readText(t, c); got != "TLS" {
		t.Errorf("got %q", got)
	}
}

func TestStop(t *testing.T) {
	reg := newRegistry(t, nil)
	i := New(Config{Registry: reg.URL, InstanceName: "two"})
	for range 2 { // it may be started again
		if err := i.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := i.Start(t.Context()); err != nil { // and then does nothing
			t.Fatal(err)
		}
		address := i.Address()
		var open []*websocket.Conn
		for range 3 {
			c, _ := dial(t, i, "/uppercase", nil)
			sendText(t, c, "x")
			readText(t, c)
			open = append(open, c)
		}
		if i.Sessions() != 3 {
			t.Errorf("%d sessions, want 3", i.Sessions())
		}
		stopped := make(chan struct{})
		go func() { defer close(stopped); stop(t, i); stop(t, i) }()
		for _, c := range open {
			wantClose(t, c, websocket.StatusGoingAway, "instance two is stopping")
		}
		<-stopped
		if got := reg.next(t).Method + reg.next(t).Method; got != "POSTDELETE" {
			t.Errorf("the registry saw %s", got)
		}
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Error("it still listens")
		}
		if i.Address() != address || i.State() != Stopped || i.Sessions() != 0 {
			t.Errorf("address %s, was %s; state %s; %d sessions", i.Address(), address, i.State(), i.Sessions())
		}
	}
}

// TestStopIsBounded: a client that does not answer the Close holds nothing up once the time is over.
func TestStopIsBounded(t *testing.T) {
	i := New(Config{})
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dial(t, i, "/uppercase", nil) // never read
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_ = i.Stop(ctx) // what was cut is an error or not
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("stop took %v", took)
	}
	if i.State() != Stopped {
		t.Errorf("state %s", i.State())
	}
}

func TestKill(t *testing.T) {
	reg := newRegistry(t, nil)
	i := New(Config{Registry: reg.URL})
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, _ := dial(t, i, "/uppercase", nil)
	sendText(t, c, "x")
	readText(t, c)
	i.Kill()
	if _, _, err := c.Read(wait(t)); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("the session ended with %v, want a lost connection", err)
	}
	reg.next(t)
	if len(reg.requests) != 0 {
		t.Errorf("the registry was told: %s", reg.next(t).Method)
	}
	if err := i.Start(t.Context()); err != nil { // as a crashed process comes back
		t.Fatal(err)
	}
	stop(t, i)
}

func TestRun(t *testing.T) {
	i := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	for i.State() != Running {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil || i.State() != Stopped {
		t.Errorf("run: %v, state %s", err, i.State())
	}
}
