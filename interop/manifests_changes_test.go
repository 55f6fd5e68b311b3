package interop

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const changingGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: any
  addresses: [{value: "${ADDRESS}"}]
  listeners:
  - {name: web, port: 80, protocol: HTTP}
  - {name: secure, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: site}]}}
`

// A route that leads to ${TO}.
const changingRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{name: ${TO}, port: 8080}]
`

// Whatever changes, sessions that are open stay as they are.
func TestGatewayChanges(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.echo("two")
	m.write("gateway.yaml", changingGateway)
	m.write("certificate.yaml", m.ca.issue(t, "site.example").secret("site"))
	lead := func(to string) string {
		m.values["TO"] = to
		return changingRoute
	}
	m.write("route.yaml", lead("one"))
	m.start("80", "443")
	answered := func(service string) func(*answerOf) bool {
		return func(a *answerOf) bool { return a.StatusCode == http.StatusOK && a.saw.Service == service }
	}
	const url, secureURL = "http://site.example/", "https://site.example/"
	m.serves(t, url, "one")
	kept := []*echoSession{m.open(t, url), m.open(t, secureURL)}
	stillThere := func(t *testing.T) {
		t.Helper()
		for _, s := range kept {
			if s.saw.Service != "one" {
				t.Errorf("%q has the session", s.saw.Service)
			}
			s.t = t
			s.ask("still here", "still here")
		}
	}

	t.Run("a route", func(t *testing.T) {
		m.write("route.yaml", lead("two"))
		began := time.Now()
		m.eventually(t, url, "the other service", answered("two"))
		t.Logf("live after %v", time.Since(began).Round(time.Millisecond)) // it should be within a second
		m.serves(t, secureURL, "two")
		stillThere(t)
	})
	t.Run("a certificate", func(t *testing.T) {
		shown := func() string {
			conn, err := m.tlsDial("443", "site.example", nil)
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
		}
		before, next := shown(), m.ca.issue(t, "site.example")
		m.write("certificate.yaml", next.secret("site"))
		waitFor(t, "the new certificate", wait, []*process{m.process}, func() error {
			if shown() == before {
				return errTooFew(0)
			}
			return nil
		})
		if got, want := shown(), next.tls.Leaf.SerialNumber.String(); got != want {
			t.Errorf("the certificate %s is shown, want %s", got, want)
		}
		stillThere(t)
	})
	t.Run("a broken file", func(t *testing.T) {
		m.write("route.yaml", strings.Replace(lead("one"), "backendRefs", "backendRef", 1))
		m.prints(t, "objects not loaded, the old ones stay", wait)
		m.prints(t, "route.yaml:8:5", wait)
		m.prints(t, "backendRef", wait)
		m.serves(t, url, "two")
		stillThere(t)
		m.write("route.yaml", lead("one"))
		m.eventually(t, url, "the file that is whole again", answered("one"))
	})
	t.Run("endpoints", func(t *testing.T) {
		made, err := os.ReadFile(filepath.Join(m.dir, "made.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		m.write("made.yaml", strings.Replace(string(made), "ready: true", "ready: false", 1)) // that of one
		m.eventually(t, url, "503 without an endpoint", func(a *answerOf) bool { return a.StatusCode == http.StatusServiceUnavailable })
		m.refusesSession(t, url, http.StatusServiceUnavailable)
		stillThere(t)
		m.write("made.yaml", string(made))
		m.eventually(t, url, "the endpoint again", answered("one"))
	})
	t.Run("everything", func(t *testing.T) {
		for _, name := range []string{"route.yaml", "gateway.yaml"} {
			if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "the end of the listeners", wait, []*process{m.process}, func() error {
			conn, err := net.Dial("tcp", m.at("80"))
			if err == nil {
				conn.Close()
				return errTooFew(0)
			}
			return nil
		})
		stillThere(t)
		m.write("gateway.yaml", changingGateway)
		m.write("route.yaml", lead("two"))
		m.eventually(t, url, "the Gateway again", answered("two"))
		stillThere(t)
		for _, s := range kept {
			s.leave()
		}
		m.logged(t, `"status":101`, `"close_code":1000`, `"service":"default/one:8080"`)
	})
}

// A port that a Gateway wants and cannot have.
func TestGatewayPorts(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.echo("two")
	holder, err := net.Listen("tcp", m.at("81"))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	for _, name := range []string{"one", "two"} {
		m.values["NAME"] = name
		m.write(name+".yaml", `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${NAME}}
spec:
  gatewayClassName: any
  addresses: [{value: "${ADDRESS}"}]
  listeners: [{name: same, port: 80, protocol: HTTP}, {name: ${NAME}, port: 81, protocol: HTTP, hostname: ${NAME}.example}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${NAME}}
spec:
  parentRefs: [{name: ${NAME}}]
  rules: [{backendRefs: [{name: ${NAME}, port: 8080}]}]
`)
	}
	m.start("80")
	t.Run("of another Gateway", func(t *testing.T) {
		m.serves(t, "http://one.example/", "one")
		m.serves(t, "http://two.example/", "one")
		if err := m.condition("Gateway", "default/two", "Accepted", "False", "PortUnavailable"); err != nil {
			t.Error(err)
		}
	})
	t.Run("of another process", func(t *testing.T) {
		waitFor(t, "the condition", wait, nil, func() error {
			return m.condition("Gateway", "default/one", "Accepted", "False", "PortUnavailable")
		})
		holder.Close() // and the port is tried again
		m.eventually(t, "http://one.example:81/", "the port that became free", func(a *answerOf) bool { return a.saw.Service == "one" })
		waitFor(t, "the condition", wait, nil, func() error {
			if m.condition("Gateway", "default/one", "Accepted", "False", "PortUnavailable") == nil {
				return errTooFew(0)
			}
			return m.condition("Gateway", "default/one", "Programmed", "True", "Programmed")
		})
	})
}

// Objects that are none of the gateway's business are skipped, with one notice for each kind.
func TestGatewayUnknownKinds(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.write("gateway.yaml", changingGateway)
	m.object(m.ca.issue(t, "site.example").secret("site"))
	m.values["TO"] = "one"
	m.write("route.yaml", changingRoute)
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${TO}}\nspec: {replicas: 1, anything: [else]}\n"
	m.write("deployments.yaml", deployment+"---\n"+strings.Replace(deployment, "${TO}", "two", 1))
	m.start("80")
	m.serves(t, "http://any.example/", "one")
	m.write("more.yaml", strings.Replace(deployment, "${TO}", "three", 1))
	m.write("route.yaml", strings.Replace(changingRoute, "rules:", "hostnames: [one.example]\n  rules:", 1))
	m.eventually(t, "http://any.example/", "the change", func(a *answerOf) bool { return a.StatusCode == http.StatusNotFound })
	if got := strings.Count(m.out.String(), "kind=Deployment"); got != 1 {
		t.Errorf("%d notices of Deployments, want one", got)
	}
	if out := m.out.String(); !strings.Contains(out, "apps/v1") || !strings.Contains(out, "deployments.yaml") {
		t.Errorf("the notice does not say what and where: %s", out)
	}
}
