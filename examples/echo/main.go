// Command echo is a service that registers itself with a gateway's Eureka registry, echoes
// WebSocket messages, and deregisters when it is stopped.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

func main() {
	registry := flag.String("registry", "http://127.0.0.1:10011/eureka", "base URL of the registry")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *registry); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, registry string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws/", echo)
	mux.HandleFunc("/api/hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Hello") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	go stayRegistered(ctx, registry, ln.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return call(context.Background(), http.MethodDelete, registry+"/apps/ECHO/echo-example", nil)
}

// echo answers each message with itself.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow() //nolint:errcheck // the session is over
	c.SetReadLimit(1 << 20)
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), typ, p) != nil {
			return
		}
	}
}

// stayRegistered registers, renews the lease, and registers again when the registry has
// forgotten the instance.
func stayRegistered(ctx context.Context, registry string, port int) {
	body, err := json.Marshal(map[string]any{"instance": map[string]any{
		"instanceId": "echo-example", "app": "ECHO", "hostName": "127.0.0.1", "ipAddr": "127.0.0.1", "vipAddress": "echo", "status": "UP",
		"port":           map[string]any{"$": port, "@enabled": true},
		"dataCenterInfo": map[string]string{"name": "MyOwn"},
		"metadata": map[string]string{
			"apiml.routes.ws.gatewayUrl": "ws/v1", "apiml.routes.ws.serviceUrl": "/ws",
			"apiml.routes.api.gatewayUrl": "api/v1", "apiml.routes.api.serviceUrl": "/api",
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	for registered := false; ; {
		pause := 30 * time.Second
		if registered {
			registered = call(ctx, http.MethodPut, registry+"/apps/ECHO/echo-example", nil) == nil
		}
		if !registered {
			if err := call(ctx, http.MethodPost, registry+"/apps/ECHO", body); err != nil {
				log.Printf("registration: %v", err)
				pause = time.Second
			} else {
				registered = true
				log.Printf("registered, on port %d", port)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func call(ctx context.Context, method, url string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}
