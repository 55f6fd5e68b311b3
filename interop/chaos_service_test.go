package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// chaosEnv makes this test binary an instance of the service of TestChaos: "id|address|registry registry…".
const chaosEnv = "FAIRLEAD_CHAOS_INSTANCE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(chaosEnv); spec != "" {
		if err := runChaosInstance(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// chaosModes are the values of websocket.failover; each is a service of its own, which every instance offers.
var chaosModes = []string{"off", "auto", "reconnect", "replay"}

// A chaosInstance answers numbered messages and is registered in every registry, until it is told to stop.
type chaosInstance struct {
	id, host, port string
	registries     []string
	sessions       atomic.Int64
	stopping       atomic.Bool

	mu    sync.Mutex // guards the following
	conns map[net.Conn]struct{}
}

func runChaosInstance(spec string) error {
	parts := strings.Split(spec, "|")
	c := &chaosInstance{id: parts[0], registries: strings.Fields(parts[2]), conns: map[net.Conn]struct{}{}}
	var err error
	if c.host, c.port, err = net.SplitHostPort(parts[1]); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", parts[1])
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	server := &http.Server{Handler: http.HandlerFunc(c.serve), ReadHeaderTimeout: 10 * time.Second, ConnState: c.track}
	go func() { _ = server.Serve(ln) }()
	c.register(http.MethodPost)
	fmt.Println("serving")
	renew := time.NewTicker(time.Second)
	for {
		select {
		case <-renew.C:
			c.register(http.MethodPut)
		case sig := <-signals:
			if sig == syscall.SIGUSR1 {
				c.reset()
				continue
			}
			// As a good service goes: it says so, and stays until its sessions have left it.
			c.stopping.Store(true)
			c.register(http.MethodDelete)
			for end := time.Now().Add(10 * time.Second); c.sessions.Load() > 0 && time.Now().Before(end); {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		}
	}
}

// track keeps the connections for reset.
func (c *chaosInstance) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.conns[conn] = struct{}{}
	case http.StateClosed:
		delete(c.conns, conn)
	}
}

// reset cuts every connection as a network does that goes away: without a word.
func (c *chaosInstance) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	clear(c.conns)
}

// serve answers each number with itself and the instance's id.
func (c *chaosInstance) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	c.sessions.Add(1)
	defer c.sessions.Add(-1)
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		if err := conn.Write(context.Background(), kind, append(message, " "+c.id...)); err != nil {
			return
		}
	}
}

// register tells every registry of the instance, once for each mode: POST, PUT (renewal, or POST again where it is unknown)
// or DELETE.
func (c *chaosInstance) register(method string) {
	client := &http.Client{Timeout: 2 * time.Second}
	for _, registry := range c.registries {
		for _, mode := range chaosModes {
			c.tell(client, method, registry, "CHAOS-"+strings.ToUpper(mode), mode)
		}
	}
}

func (c *chaosInstance) tell(client *http.Client, method, registry, app, mode string) {
	url := "http://" + registry + "/eureka/apps/" + app
	body := ""
	if method == http.MethodPost {
		body = fmt.Sprintf(`{"instance": {"instanceId": %q, "app": %q, "vipAddress": %q, "hostName": %q, "ipAddr": %q, "status": "UP",
			"port": {"$": %s, "@enabled": true}, "leaseInfo": {"durationInSecs": 9, "renewalIntervalInSecs": 1},
			"dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
			"metadata": {"apiml.routes.ws_v1.gatewayUrl": "ws/v1", "apiml.routes.ws_v1.serviceUrl": "/",
			"fairlead.websocket.failover": %q, "fairlead.websocket.drain": "move", "fairlead.websocket.drainWindow": "2s",
			"fairlead.websocket.onUnhealthy": "move", "fairlead.websocket.pingInterval": "1s", "fairlead.websocket.pongTimeout": "6s"}}}`,
			c.id, app, strings.ToLower(app), c.host, c.host, c.port, mode)
	} else {
		url += "/" + c.id
	}
	req, err := http.NewRequest(method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	resp.Body.Close()
	if method == http.MethodPut && resp.StatusCode == http.StatusNotFound && !c.stopping.Load() {
		c.tell(client, http.MethodPost, registry, app, mode)
	}
}
