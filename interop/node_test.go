package interop

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startNode starts the Node.js service, which registers through the Zowe enabler, and waits
// until it is registered as the n-th.
func (g *gateway) startNode(t *testing.T, n int) *process {
	t.Helper()
	dir := t.TempDir()
	port := freePorts(t, 1)[0]
	fill(t, "node/config/service-configuration.yml", filepath.Join(dir, "config/service-configuration.yml"), map[string]string{
		"PORT":          port,
		"REGISTRY_PORT": portOf(g.registry),
		"CERT_FILE":     g.pki.server.certFile,
		"KEY_FILE":      g.pki.server.keyFile,
		"CA_FILE":       g.caFile,
	})
	service := start(t, command{
		name: fmt.Sprintf("node service %d", n),
		dir:  dir,
		env:  []string{"PORT=" + port},
		argv: []string{"node", absolute(t, "node/service.js")},
	})
	g.waitInstances(t, "NODESERVICE", n, wait, service)
	service.prints(t, "registered with eureka", wait)
	return service
}

// The Zowe enabler for Node.js onboards an HTTPS service from its YAML file; npm `ws` and
// Node's HTTPS client talk to it through the gateway; its heartbeats renew the lease and its
// end removes it. Everybody trusts the certificate that the gateway generated.
func TestNodeEnabler(t *testing.T) {
	keys := newPKI(t)
	keys.gateway = keyPair{} // the gateway generates its own
	g := startGateway(t, keys)
	service := g.startNode(t, 1)

	run(t, 5*time.Minute, command{
		name: "node --test gateway.test.js",
		dir:  "node",
		env:  []string{"GATEWAY=" + g.https, "CA_FILE=" + g.caFile},
		argv: []string{"node", "--test", "--test-reporter=spec", "gateway.test.js"},
	})
	g.waitHeartbeat(t, "NODESERVICE", wait)

	open := g.dial(t, "/nodeservice/ws/v1/echo", nil)
	open.ask("still here", "still here")
	service.signal(syscall.SIGTERM)
	if reason := open.wantClose(1001); reason != "going away" {
		t.Errorf("the service's Close came with the reason %q, want %q", reason, "going away")
	}
	g.waitInstances(t, "NODESERVICE", 0, wait)
	service.prints(t, "de-registered with eureka", wait)
	if err := service.wait(wait); err != nil {
		t.Errorf("node service: %v", err)
	}

	gone := g.dial(t, "/nodeservice/ws/v1/echo", nil)
	want := "Requested service nodeservice does not have available instance"
	if reason := gone.wantClose(1012); reason != want {
		t.Errorf("Close 1012 has the reason %q, want %q", reason, want)
	}
}

// Zowe's chaotic test, cases 2 and 3, with two Node.js services: when one is taken off, new
// sessions work at once, whether it deregistered or died.
func TestNodeInstanceTakenOff(t *testing.T) {
	for _, how := range []struct {
		name string
		sig  syscall.Signal
	}{{"deregistered", syscall.SIGTERM}, {"killed", syscall.SIGKILL}} {
		t.Run(how.name, func(t *testing.T) {
			g := startGateway(t, newPKI(t))
			first := g.startNode(t, 1)
			g.startNode(t, 2)
			for range 4 {
				g.dial(t, "/ws/v1/nodeservice/echo", nil).ask("hello world!", "hello world!")
			}
			first.signal(how.sig)
			_ = first.wait(wait)
			for range 6 {
				g.dial(t, "/ws/v1/nodeservice/echo", nil).ask("hello world 2!", "hello world 2!")
			}
		})
	}
}
