package interop

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// portOffset is where the ports of manifests are found: 80 is bound as 20080, below those that the kernel gives away.
const portOffset = 20000

// A manifests is a directory of manifests and the `fairlead run` that reads it. Its Gateways have a loopback address of
// their own (${ADDRESS}), so that tests may have the same ports and run side by side.
type manifests struct {
	*gateway // once it runs; plain is its own listener

	t        *testing.T
	dir      string // what --manifests names
	base     string // for everything else
	address  string
	registry bool // the embedded registry is on
	fromPods bool // kubernetes.probeFromPods
	values   map[string]string
	ca       *authority
	client   *http.Client // HTTP/1.1, and HTTP/2 over TLS
	echoes   map[string]*echo
}

// newManifests makes an empty directory of manifests. The tests of this kind run in parallel.
func newManifests(t *testing.T) *manifests {
	t.Helper()
	requireInterop(t)
	t.Parallel()
	base := t.TempDir()
	m := &manifests{t: t, base: base, dir: filepath.Join(base, "manifests"), address: loopback(), ca: newAuthority(t)}
	m.values, m.echoes = map[string]string{"ADDRESS": m.address}, map[string]*echo{}
	m.client = m.newClient(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = true })
	return m
}

var loopbacks atomic.Uint32

// loopback is an address of the loopback network that no other test of this or another run has.
func loopback() string {
	pid, n := os.Getpid(), loopbacks.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&127, pid&255, 1+n%254)
}

// file has name in the directory of manifests be what testdata/gateway says, filled in.
func (m *manifests) file(name string) {
	m.t.Helper()
	fill(m.t, filepath.Join("testdata/gateway", name), filepath.Join(m.dir, name), m.values)
}

// write has name in the directory of manifests be text, as an editor does it: another file takes its place.
func (m *manifests) write(name, text string) {
	m.t.Helper()
	writeFile(m.t, filepath.Join(m.base, "new"), m.filled(text))
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(m.base, "new"), filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *manifests) filled(text string) string {
	for name, value := range m.values {
		text = strings.ReplaceAll(text, "${"+name+"}", value)
	}
	return text
}

// object adds manifests of what the tests themselves make: services and certificates.
func (m *manifests) object(text string) {
	m.t.Helper()
	name := filepath.Join(m.dir, "made.yaml")
	had, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	writeFile(m.t, name, string(had)+"---\n"+strings.TrimSpace(text)+"\n")
}

// service adds a Service with one port, 8080, and an EndpointSlice with addresses host:port. protocol is its appProtocol; "": none.
func (m *manifests) service(name, protocol string, endpoints ...string) {
	m.t.Helper()
	namespace := "default"
	if ns, n, ok := strings.Cut(name, "/"); ok {
		namespace, name = ns, n
	}
	if protocol != "" {
		protocol = ", appProtocol: " + protocol
	}
	m.object(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec:
  ports: [{name: main, port: 8080%s}]`, name, namespace, protocol))
	for i, e := range endpoints {
		host, port, _ := net.SplitHostPort(e)
		m.object(fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %s-%d
  namespace: %s
  labels: {kubernetes.io/service-name: %s}
addressType: IPv4
ports: [{name: main, port: %s}]
endpoints: [{addresses: [%s], conditions: {ready: true}}]`, name, i, namespace, name, port, host))
	}
}

var adminHash = sync.OnceValues(func() (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(adminPassword), bcrypt.MinCost)
	return string(hash), err
})

// config writes the configuration and gives its name.
func (m *manifests) config() string {
	m.t.Helper()
	hash, err := adminHash()
	if err != nil {
		m.t.Fatal(err)
	}
	name := filepath.Join(m.base, "fairlead.yaml")
	fill(m.t, "testdata/gateway/fairlead.yaml", name, map[string]string{
		"ADDRESS": m.address, "REGISTRY": strconv.FormatBool(m.registry), "FROM_PODS": strconv.FormatBool(m.fromPods), "ADMIN_HASH": hash, "DIR": m.base,
	})
	return name
}

// start runs the gateway with its manifests until it listens on ports of them: "80" (TCP), "127.0.0.9:80", or "udp/53".
func (m *manifests) start(ports ...string) {
	m.t.Helper()
	m.run("--config", m.config(), "--manifests", m.dir, "--port-offset", strconv.Itoa(portOffset))
	m.opened(ports...)
}

// run runs the gateway with those flags.
func (m *manifests) run(flags ...string) {
	m.t.Helper()
	m.gateway = &gateway{plain: m.address + ":10080", registry: m.address + ":10011", accessLog: filepath.Join(m.base, "access.log")}
	m.process = start(m.t, command{name: "fairlead run", dir: m.base, argv: append([]string{binary(m.t), "run"}, flags...)})
}

// opened waits until the gateway has said that it listens on the ports.
func (m *manifests) opened(ports ...string) {
	m.t.Helper()
	for _, port := range ports {
		network, address, ok := strings.Cut(port, "/")
		if !ok {
			network, address = "tcp", port
		}
		m.prints(m.t, " address="+network+"/"+m.at(address)+"\n", wait)
	}
}

// at is where a port of a manifest, or an address with one, is bound.
func (m *manifests) at(port string) string {
	host := m.address
	if h, p, err := net.SplitHostPort(port); err == nil {
		port = p
		if net.ParseIP(h) != nil {
			host = h
		}
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		m.t.Fatal(err)
	}
	if n < portOffset { // else it is of a redirect
		n += portOffset
	}
	return net.JoinHostPort(host, strconv.Itoa(n))
}

// dialer connects to the gateway whatever the name, and to the port as manifests have it.
func (m *manifests) dialer(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, m.at(address))
}

// check runs `fairlead check` over the manifests and gives what it prints and its exit code. They must not be served meanwhile, since it
// tries their addresses.
func (m *manifests) check(flags ...string) (output string, code int) {
	m.t.Helper()
	p := start(m.t, command{name: "fairlead check", dir: m.base, argv: append([]string{
		binary(m.t), "check", "--config", m.config(), "--manifests", m.dir, "--port-offset", strconv.Itoa(portOffset),
	}, flags...)})
	p.told = true
	select {
	case <-p.done:
	case <-time.After(wait):
		m.t.Fatalf("fairlead check has not ended: %s", p.out.tail(20))
	}
	return p.out.String(), p.cmd.ProcessState.ExitCode()
}
