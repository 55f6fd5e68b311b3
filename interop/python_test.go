package interop

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// A Python service registers through py_eureka_client (plain HTTP; it reads XML) or through
// the Zowe enabler for Python (TLS), and Python `websockets` talks to it through the gateway.
func TestPython(t *testing.T) {
	for _, how := range []string{"eureka", "enabler"} {
		t.Run(how, func(t *testing.T) {
			g := startGateway(t, newPKI(t))
			service := g.startPython(t, how)
			g.waitInstances(t, "PYTHONSERVICE", 1, wait, service)

			run(t, 3*time.Minute, command{
				name: "client.py",
				dir:  "python",
				env:  []string{"GATEWAY=" + g.https, "CA_FILE=" + g.caFile, "PYTHONDONTWRITEBYTECODE=1"},
				argv: []string{python(t), "client.py"},
			})
			if how == "enabler" {
				// The enabler 3.2.4 sends its heartbeats and the end of its lease as GET, so
				// the lease is neither renewed nor cancelled; but it says DOWN before it goes.
				service.stop(t)
				g.waitStatus(t, "PYTHONSERVICE", "DOWN", wait)
				return
			}
			g.waitHeartbeat(t, "PYTHONSERVICE", wait)
			pythonReadsRegistry(t, g)
			service.stop(t)
			// A heartbeat of the client's other thread may come after its DELETE, be answered 404
			// and register again: the log tells that the DELETE was carried out.
			g.prints(t, `msg="instance cancelled" service=pythonservice`, wait)
		})
	}
}

// waitStatus waits until the only instance of app has the status.
func (g *gateway) waitStatus(t *testing.T, app, status string, limit time.Duration) {
	t.Helper()
	waitFor(t, app+" "+status, limit, []*process{g.process}, func() error {
		list, err := g.instances(app)
		if err == nil && (len(list) != 1 || list[0].Status != status) {
			err = fmt.Errorf("registered: %+v", list)
		}
		return err
	})
}

// python is the interpreter of the virtual environment that `make interop` prepares.
func python(t *testing.T) string {
	t.Helper()
	return absolute(t, "python/.venv/bin/python")
}

func (g *gateway) startPython(t *testing.T, how string) *process {
	t.Helper()
	dir := t.TempDir()
	fill(t, "python/config/"+how+".yml", filepath.Join(dir, "config/service-configuration.yml"), map[string]string{
		"PORT":          freePorts(t, 1)[0],
		"REGISTRY_PORT": portOf(g.registry),
		"CERT_FILE":     g.pki.server.certFile,
		"KEY_FILE":      g.pki.server.keyFile,
		"CA_FILE":       g.caFile,
	})
	return start(t, command{
		name: "python service (" + how + ")",
		dir:  dir,
		env:  []string{"PYTHONDONTWRITEBYTECODE=1"},
		argv: []string{python(t), absolute(t, "python/service.py"), how},
	})
}

// pythonReadsRegistry registers another service and asks the Python service, through the
// gateway, what its client has read from the registry's XML.
func pythonReadsRegistry(t *testing.T, g *gateway) {
	t.Helper()
	g.startNode(t, 1)
	conversation := g.dial(t, "/pythonservice/ws/v1/any", nil)
	defer conversation.conn.CloseNow()
	// The client reads a delta with every heartbeat.
	waitFor(t, "the Python service to know the Node.js service", wait, []*process{g.process}, func() error {
		conversation.send("applications")
		text := conversation.receive()
		var apps map[string]map[string]struct {
			Status   string
			Metadata map[string]string
		}
		if err := json.Unmarshal([]byte(text), &apps); err != nil {
			return err
		}
		for _, i := range apps["NODESERVICE"] {
			// In XML names, Eureka writes two underscores for one; this client leaves them so.
			if i.Status == "UP" && i.Metadata["apiml.routes.ws__v1.serviceUrl"] == "/nodeservice/ws" {
				return nil
			}
		}
		return fmt.Errorf("it answers %s", text)
	})
}
