package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A webGateway is a gateway with a webService behind it, and the two ways to it.
func webGateway(t *testing.T) (*gateway, map[string]string) {
	t.Helper()
	g := startGateway(t, newPKI(t))
	g.serve(t, "web", newWebService())
	_, port, _ := strings.Cut(g.plain, ":")
	return g, map[string]string{"plain": "http://localhost:" + port, "TLS": "https://" + g.https}
}

// curl makes the command.
func curl(dir, caFile string, args ...string) command {
	return command{name: "curl", dir: dir, argv: append([]string{"curl", "-sS", "--max-time", "60", "--cacert", caFile}, args...)}
}

func TestHTTPCurl(t *testing.T) {
	g, bases := webGateway(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "data"), strings.Repeat("0123456789abcdef", 1<<16)) // 1 MiB
	const sum = "\"length\":1048576,"
	for name, base := range bases {
		api := base + "/web/api/v1"
		for _, tc := range []struct {
			name string
			args []string
			want []string // in its output, in this order
		}{
			{"GET", []string{"-w", "%{http_code} %{size_download}", "-o", "got", api + "/bytes/100000"}, []string{"200 100000"}},
			{"HEAD", []string{"-I", api + "/bytes/7"}, []string{"200", "Content-Length: 7"}},
			{"POST", []string{"--data-binary", "@data", api + "/echo"}, []string{sum}},
			{"100-continue", []string{"-v", "-H", "Expect: 100-continue", "--expect100-timeout", "50", "--data-binary", "@data", api + "/echo"}, []string{"100", sum}},
			{"100-continue refused", []string{"-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue", "--expect100-timeout", "50", "--data-binary", "@data", api + "/refuse"}, []string{"413 0"}},
			{"chunked", []string{"-X", "PUT", "-H", "Transfer-Encoding: chunked", "--data-binary", "@data", api + "/echo"}, []string{`"encoding":["chunked"]`, sum}},
			{"a trailer", []string{"-i", "--raw", "-d", "x", api + "/echo"}, []string{"200", "X-Sum: 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}},
			{"HTTP/1.0", []string{"-0", "-i", api + "/chunks"}, []string{"200", "one two three "}},
			{"one connection", []string{"-w", "%{num_connects} ", "-o", "1", api + "/bytes/1", "-o", "2", api + "/bytes/2"}, []string{"1 0 "}},
			{"many at once", []string{"-Z", "--parallel-max", "50", "-w", "%{http_code} ", "-o", "n#1", api + "/bytes/[1-50]"}, []string{strings.Repeat("200 ", 50)}},
			{"a path as it is", []string{"--path-as-is", "--globoff", api + "/echo?a=%2f+b&c=[d]"}, []string{`"uri":"/api/echo?a=%2f+b\u0026c=[d]"`}},
		} {
			t.Run(name+" "+tc.name, func(t *testing.T) {
				args := append([]string{"--http1.1"}, tc.args...)
				p := start(t, curl(dir, g.caFile, args...))
				if err := p.wait(70 * time.Second); err != nil {
					t.Fatalf("%v:\n%s", err, p.out.tail(40))
				}
				rest := p.out.String()
				for _, want := range tc.want {
					_, behind, found := strings.Cut(strings.ToLower(rest), strings.ToLower(want))
					if !found {
						t.Fatalf("no %q in\n%.2000s", want, p.out.String())
					}
					rest = behind
				}
			})
		}
	}
}

func TestHTTPPython(t *testing.T) {
	g, bases := webGateway(t)
	for name, base := range bases {
		t.Run(name, func(t *testing.T) {
			run(t, 3*time.Minute, command{name: "python", dir: "http", env: []string{"BASE=" + base, "CA_FILE=" + g.caFile}, argv: []string{"python3", "client.py"}})
		})
	}
}

func TestHTTPNode(t *testing.T) {
	g, bases := webGateway(t)
	for name, base := range bases {
		t.Run(name, func(t *testing.T) {
			run(t, 3*time.Minute, command{name: "node", dir: "http", env: []string{"BASE=" + base, "NODE_EXTRA_CA_CERTS=" + g.caFile}, argv: []string{"node", "client.js"}})
		})
	}
}

func TestHTTPJava(t *testing.T) {
	g, bases := webGateway(t)
	store := filepath.Join(t.TempDir(), "trust.p12")
	run(t, 3*time.Minute, command{name: "keytool", argv: []string{
		"keytool", "-importcert", "-noprompt", "-alias", "gateway", "-file", g.caFile, "-keystore", store, "-storetype", "PKCS12", "-storepass", "changeit",
	}})
	for name, base := range bases {
		t.Run(name, func(t *testing.T) {
			run(t, 3*time.Minute, command{name: "java", dir: "http", env: append(os.Environ(), "BASE="+base), argv: []string{
				"java", "-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=changeit", "Client.java",
			}})
		})
	}
}
