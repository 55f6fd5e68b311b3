package interop

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// `fairlead check` prints what would be served and what became of each object, and says by its exit code whether all is well.
func TestGatewayCheck(t *testing.T) {
	sound := changingGateway + "---" + strings.ReplaceAll(changingRoute, "${TO}", "one")
	// wants runs check over a file and wants an exit code and pieces of text.
	wants := func(t *testing.T, m *manifests, code int, pieces []string, flags ...string) string {
		t.Helper()
		out, got := m.check(flags...)
		if got != code {
			t.Errorf("exit code %d, want %d", got, code)
		}
		for _, piece := range pieces {
			if !strings.Contains(out, m.filled(piece)) {
				t.Errorf("no %q", m.filled(piece))
			}
		}
		if t.Failed() {
			t.Log(out)
		}
		return out
	}
	t.Run("all is well", func(t *testing.T) {
		m := newManifests(t)
		m.echo("one")
		m.object(m.ca.issue(t, "site.example").secret("site"))
		m.write("good.yaml", sound)
		wants(t, m, 0, []string{
			"default/gw/web", "${ADDRESS}:20080", "default/gw/secure", "${ADDRESS}:20443", "PathPrefix /", "default/one:8080 (1)",
			"Gateway default/gw", "HTTPRoute default/all", "Programmed", "ResolvedRefs",
		})
		text, _ := m.check("--json")
		var list []objectStatus
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 2 {
			t.Errorf("--json: %v: %s", err, text)
		}
		for _, o := range list {
			for _, c := range conditionsIn(o.Status) {
				if (c.Status == "True") == (c.Type == "Conflicted") {
					t.Errorf("%s %s: %+v", o.Kind, o.Metadata.Name, c)
				}
			}
		}
	})
	t.Run("a condition", func(t *testing.T) {
		m := newManifests(t)
		m.object(m.ca.issue(t, "site.example").secret("site"))
		m.write("good.yaml", sound)
		wants(t, m, 1, []string{"ResolvedRefs", "BackendNotFound", "Service default/one", "see their conditions"})
	})
	t.Run("a port that is taken", func(t *testing.T) {
		m := newManifests(t)
		m.echo("one")
		m.object(m.ca.issue(t, "site.example").secret("site"))
		m.write("good.yaml", sound)
		ln, err := net.Listen("tcp", m.at("80"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		wants(t, m, 1, []string{"PortUnavailable", "address already in use"})
	})
	t.Run("a field that does not exist", func(t *testing.T) {
		m := newManifests(t)
		m.write("bad.yaml", strings.Replace(sound, "protocol: HTTP}", "protocol: HTTP, colour: red}", 1))
		wants(t, m, 1, []string{"bad.yaml:9:43", "Gateway default/gw", "spec.listeners[0]", "colour"})
	})
	t.Run("a value that may not be", func(t *testing.T) {
		m := newManifests(t)
		m.write("bad.yaml", strings.Replace(sound, "port: 80,", "port: 80000,", 1))
		wants(t, m, 1, []string{"bad.yaml:9:23", "Gateway default/gw", "65535"})
	})
	t.Run("no YAML", func(t *testing.T) {
		m := newManifests(t)
		m.write("bad.yaml", "kind: [unclosed\n")
		wants(t, m, 1, []string{"bad.yaml:"})
	})
	t.Run("no such directory", func(t *testing.T) {
		wants(t, newManifests(t), 1, []string{
			"manifests: stat: no such file or directory", "hint: --manifests and manifests name files and directories",
		})
	})
	t.Run("a route without a Gateway", func(t *testing.T) {
		m := newManifests(t)
		m.echo("one")
		m.write("route.yaml", strings.ReplaceAll(changingRoute, "${TO}", "one"))
		wants(t, m, 1, []string{"route.yaml:2: HTTPRoute default/all: spec.parentRefs[0]: there is no Gateway default/gw"})
	})
	t.Run("no such flag", func(t *testing.T) {
		m := newManifests(t)
		m.write("good.yaml", sound)
		wants(t, m, 2, []string{"--no-such-flag"}, "--no-such-flag")
	})
	t.Run("the page's HealthCheckPolicy without its indentation", func(t *testing.T) {
		m := newManifests(t)
		m.file("flat.yaml")
		wants(t, m, 1, []string{
			"flat.yaml:3:1", "the indentation of this document is lost", "it probably was:",
			"metadata:\n  name: websockets-health-check-policy\n  namespace: test-infra\nspec:\n  targetRef:\n    group: \"\"\n    kind: Service\n",
			"  default:\n    interval: 5s\n    timeout: 3s\n    healthyThreshold: 1\n    unhealthyThreshold: 1\n    http:\n      path: /health\n",
		})
	})
	t.Run("run refuses the same", func(t *testing.T) {
		m := newManifests(t)
		m.write("bad.yaml", strings.Replace(sound, "protocol: HTTP}", "protocol: HTTP, colour: red}", 1))
		m.run("--config", m.config(), "--manifests", m.dir)
		select {
		case <-m.done:
		case <-t.Context().Done():
		}
		if code := m.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(m.out.String(), "bad.yaml:9:43") {
			t.Errorf("exit code %d: %s", code, m.out)
		}
	})
}

// `fairlead run --to` needs no file.
func TestGatewayTo(t *testing.T) {
	m := newManifests(t)
	one, two := startEcho(t, "one", nil), startEcho(t, "two", nil)
	flags := []string{"--to", "ws://" + one.address, "--to", "/chat=http://" + two.address + "/v1", "--listen", m.address + ":28080"}
	if ln, err := net.Listen("tcp", "127.0.0.1:10080"); err == nil {
		ln.Close()
	} else {
		t.Logf("without the defaults, since something else has their port: %v", err)
		flags = append(flags, "--config", m.config())
	}
	m.run(flags...)
	m.opened("8080")
	m.serves(t, "http://any.example:8080/x", "one")
	m.serves(t, "http://any.example:8080/chat/x", "two")
	if saw := m.get(t, "http://any.example:8080/chat/x?y", http.StatusOK).saw; saw.URI != "/v1/x?y" {
		t.Errorf("the service is asked for %s", saw.URI)
	}
	m.stop(t)
	if entries, err := os.ReadDir(m.base); err != nil {
		t.Error(err)
	} else if len(entries) > 2 {
		t.Errorf("it leaves behind %v", entries)
	}
	m.run("--to", "ftp://"+one.address)
	select {
	case <-m.done:
	case <-t.Context().Done():
	}
	if code := m.cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(m.out.String(), `scheme "ftp"`) {
		t.Errorf("exit code %d: %s", code, m.out)
	}
}
