package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What curl sees: HTTP/2 with and without TLS, a redirect that it follows, a preflight, and the head of a handshake.
func TestGatewayCurl(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.object(m.ca.issue(t, "site.example").secret("site"))
	m.write("gateway.yaml", changingGateway)
	m.write("route.yaml", `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: secure}
spec:
  parentRefs: [{name: gw, sectionName: secure}]
  rules: [{backendRefs: [{name: one, port: 8080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: plain}
spec:
  parentRefs: [{name: gw, sectionName: web}]
  rules:
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
  - matches: [{path: {value: /plain}}]
    backendRefs: [{name: one, port: 8080}]
`)
	m.start("80", "443")
	ca := filepath.Join(m.base, "ca.pem")
	if err := os.WriteFile(ca, []byte(m.ca.pem), 0o600); err != nil {
		t.Fatal(err)
	}
	// curl gives what curl prints: its head and body, and how it got them.
	curl := func(t *testing.T, args ...string) string {
		t.Helper()
		p := start(t, command{name: "curl", argv: append([]string{
			"curl", "-sSi", "--max-time", "40", "--cacert", ca, "-w", "\nversion %{http_version} redirects %{num_redirects} at %{url_effective}",
			"--connect-to", "site.example:80:" + m.at("80"), "--connect-to", "site.example:443:" + m.at("443"),
			"--connect-to", "site.example:20443:" + m.at("443"),
		}, args...)})
		p.told = true
		if err := p.wait(wait); err != nil {
			t.Logf("curl: %v", err) // a handshake ends in its time limit
		}
		return p.out.String()
	}
	for _, c := range []struct {
		name   string
		args   []string
		pieces []string
	}{
		{"HTTP/2", []string{"https://site.example/x"}, []string{"HTTP/2 200", `"Service":"one"`, "version 2 "}},
		{"HTTP/1.1", []string{"--http1.1", "https://site.example/x"}, []string{"HTTP/1.1 200 OK", "version 1.1 "}},
		{"prior knowledge", []string{"--http2-prior-knowledge", "http://site.example/plain"}, []string{"HTTP/2 200", "version 2 "}},
		{
			"a redirect",
			[]string{"-L", "http://site.example/x?y"},
			[]string{"301 Moved Permanently", `"URI":"/x?y"`, "redirects 1 at https://site.example:20443/x?y"},
		},
		{
			"plain HTTP where TLS is spoken",
			[]string{"http://stranger.example/", "--connect-to", "stranger.example:80:" + m.at("443")},
			[]string{"400 Bad Request"},
		},
		{
			"a handshake", []string{
				"--http1.1", "--max-time", "6", "https://site.example/ws", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
				"-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
			}, []string{"HTTP/1.1 101 Switching Protocols", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := curl(t, c.args...)
			for _, piece := range c.pieces {
				if !strings.Contains(out, piece) {
					t.Errorf("no %q in %s", piece, out)
				}
			}
		})
	}
}
