package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A JVM on a busy machine takes its time.
const springStart = 4 * time.Minute

// A Spring Boot service with the metadata-map of the documentation registers over the Netflix
// Eureka client, with TLS to the registry, and its WebSocket answers in both URL orders: as a
// plain service, which the gateway reaches with ws, and behind TLS, which it reaches with wss.
func TestSpring(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", tls), func(t *testing.T) {
			keys := newPKI(t)
			g := startGateway(t, keys)
			service, port := g.startSpring(t, tls)
			list := g.waitInstances(t, "DISCOVERABLECLIENT", 1, springStart, service)
			if got := list[0].Metadata["apiml.routes.ws_v1.gatewayUrl"]; got != "ws/v1" {
				t.Fatalf("the registry has the metadata %v, want apiml.routes.ws_v1.gatewayUrl", list[0].Metadata)
			}
			springSessions(t, g, tls)
			springReadsRegistry(t, g, tls, port)
			g.waitHeartbeat(t, "DISCOVERABLECLIENT", wait)

			open := g.dial(t, "/discoverableclient/ws/v1/header", nil)
			service.signal(syscall.SIGTERM)
			// Tomcat cuts its sessions without a Close. The gateway says 1012 where it already
			// knows that the instance is leaving, which the Eureka client tells just before.
			if code := open.closeCode(); code != 1012 && code != 1011 {
				t.Errorf("the session ended with %d, want 1012 or 1011", code)
			}
			g.waitInstances(t, "DISCOVERABLECLIENT", 0, 2*wait)
			if strings.Contains(service.out.String(), "hashcodes do not match") {
				t.Error("the Eureka client computed another hash code than the registry's delta gave")
			}
		})
	}
}

// startSpring starts the packaged service; it gives the port too.
func (g *gateway) startSpring(t *testing.T, tls bool) (service *process, port string) {
	t.Helper()
	jar := absolute(t, "spring/target/discoverableclient.jar")
	if _, err := os.Stat(jar); err != nil {
		t.Fatalf("%v; run `make interop`", err)
	}
	store := filepath.Join(t.TempDir(), "trust.p12")
	run(t, springStart, command{name: "keytool", argv: []string{
		"keytool", "-importcert", "-noprompt", "-alias", "interop", "-file", g.caFile,
		"-keystore", store, "-storetype", "PKCS12", "-storepass", "changeit",
	}})
	port = freePorts(t, 1)[0]
	argv := []string{"java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-jar", jar}
	if tls {
		argv = append(argv, "--spring.profiles.active=tls")
	}
	service = start(t, command{
		name: "spring service",
		env: []string{
			"PORT=" + port,
			"REGISTRY_URL=https://" + g.registry + "/eureka/",
			"TRUST_STORE=" + store, "TRUST_STORE_PASSWORD=changeit",
			"CERT_FILE=" + g.pki.server.certFile, "KEY_FILE=" + g.pki.server.keyFile,
		},
		argv: argv,
	})
	return service, port
}

// springSessions holds the conversations of Zowe's test with the service.
func springSessions(t *testing.T, g *gateway, tls bool) {
	t.Helper()
	for _, path := range []string{"/ws/v1/discoverableclient", "/discoverableclient/ws/v1"} {
		upper := g.dial(t, path+"/uppercase", basic("user", "pass"))
		upper.ask("hello world!", "HELLO WORLD!")
		upper.ask("bye", "BYE")
		if reason := upper.wantClose(1000); reason != "" {
			t.Errorf("%s: Close 1000 has the reason %q, want none", path, reason)
		}

		refused := g.dial(t, path+"/uppercase", basic("user", "invalidPass"))
		if reason := refused.wantClose(1003); reason != "Invalid login credentials" {
			t.Errorf("%s: Close 1003 has the reason %q, want %q", path, reason, "Invalid login credentials")
		}

		header := g.dial(t, path+"/header?q=%20x", http.Header{"X-Test": {"value"}})
		header.send("any")
		scheme := map[bool]string{false: "ws", true: "wss"}[tls]
		answer := header.receive()
		for _, want := range []string{scheme + "://localhost:", "/discoverableclient/ws/header?q=%20x ", `x-test:"value"`} {
			if !strings.Contains(answer, want) {
				t.Errorf("%s: the service saw %s, want %q in it", path, answer, want)
			}
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*wait)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "wss://"+g.https+"/ws/v1/discoverableclient/uppercase", &websocket.DialOptions{
		HTTPClient:      g.client,
		HTTPHeader:      basic("user", "pass"),
		Subprotocols:    []string{"v11.stomp", "v12.stomp"},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if conn.Subprotocol() != "v12.stomp" {
		t.Errorf("subprotocol %q, want the service's choice v12.stomp", conn.Subprotocol())
	}
	text := strings.Repeat("compress me ", 500)
	(&session{t, conn}).ask(text, strings.ToUpper(text))
}

// springReadsRegistry registers another service and asks the Spring service whether its Eureka
// client has understood the registry's answers: the full one and the deltas.
func springReadsRegistry(t *testing.T, g *gateway, tls bool, port string) {
	t.Helper()
	g.startNode(t, 1)
	scheme := map[bool]string{false: "http", true: "https"}[tls]
	for serviceID, route := range map[string]string{"discoverableclient": "/discoverableclient/ws", "nodeservice": "/nodeservice/ws"} {
		url := scheme + "://localhost:" + port + "/discoverableclient/api/v1/instances/" + serviceID
		waitFor(t, "the Spring service to know "+serviceID, wait, nil, func() error {
			status, body, err := g.get(url, nil)
			if err != nil {
				return err
			}
			var seen []struct{ Route string }
			if err := json.Unmarshal([]byte(body), &seen); err != nil || len(seen) != 1 || seen[0].Route != route {
				return fmt.Errorf("status %d: %s", status, body)
			}
			return nil
		})
	}
}
