package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
)

// register registers an instance of app at address (host:port) with the gateway's registry. Its routes are api/v1, ui/v1
// and ws/v1, and metadata is added to them. The lease outlives the test.
func (g *gateway) register(t *testing.T, app, address string, metadata map[string]string) {
	t.Helper()
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kind := range []string{"api", "ui", "ws"} {
		all["apiml.routes."+kind+"_v1.gatewayUrl"] = kind + "/v1"
		all["apiml.routes."+kind+"_v1.serviceUrl"] = "/" + kind
	}
	for key, value := range metadata {
		all[key] = value
	}
	body, err := json.Marshal(map[string]any{"instance": map[string]any{
		"app": app, "instanceId": host + ":" + app + ":" + portText, "hostName": host, "ipAddr": host, "status": "UP",
		"vipAddress": app, "secureVipAddress": app,
		"port":             map[string]any{"$": port, "@enabled": "true"},
		"securePort":       map[string]any{"$": 443, "@enabled": "false"},
		"dataCenterInfo":   map[string]any{"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
		"leaseInfo":        map[string]any{"renewalIntervalInSecs": 30, "durationInSecs": 86400},
		"metadata":         all,
		"healthCheckUrl":   "http://" + address + "/",
		"countryId":        1,
		"overriddenStatus": "UNKNOWN",
	}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.client.Post("https://"+g.registry+"/eureka/apps/"+app, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("registration of %s: status %d", app, resp.StatusCode)
	}
}

// serve runs an HTTP service on a free port until the test ends and registers it as app.
func (g *gateway) serve(t *testing.T, app string, handler http.Handler) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln) // until Close
	}()
	t.Cleanup(func() { server.Close(); <-done })
	g.register(t, app, ln.Addr().String(), nil)
	return ln.Addr().String()
}

// answer is a handler that answers everything with n bytes.
func answer(n int) http.Handler {
	body := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = fmt.Fprintf(w, "%s", body)
	})
}
