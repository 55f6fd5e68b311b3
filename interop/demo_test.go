package interop

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// demoPage finds the address of the page in what the demo prints.
var demoPage = regexp.MustCompile(`https://([^/\s]+)/discoverableclient/ui/v1/`)

// A demo is a running `fairlead demo` on free ports.
type demo struct {
	*gateway
	page string            // its URL
	cert *x509.Certificate // the generated one
}

func startDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	requireInterop(t)
	argv := append([]string{binary(t), "demo", "--port", "0"}, args...)
	p := start(t, command{name: "fairlead demo", dir: t.TempDir(), argv: argv})
	var found []string
	waitFor(t, "the address of the demo's page", wait, []*process{p}, func() error {
		if found = demoPage.FindStringSubmatch(p.out.String()); found == nil {
			return fmt.Errorf("nothing like %s in the output", demoPage)
		}
		return nil
	})
	d := &demo{page: found[0], cert: presented(t, found[1])}
	pool := x509.NewCertPool()
	pool.AddCert(d.cert)
	d.gateway = &gateway{process: p, https: found[1], client: httpsClient(&tls.Config{RootCAs: pool})}
	d.waitReady(t)
	waitFor(t, "both instances of the sample service", wait, []*process{p}, func() error {
		if running, err := d.running(); err != nil || len(running) != 2 {
			return fmt.Errorf("running: %v, %w", running, err)
		}
		return nil
	})
	return d
}

// presented is the certificate that a server shows. The tests trust exactly this one from then on.
func presented(t *testing.T, address string) *x509.Certificate {
	t.Helper()
	dialer := &net.Dialer{Timeout: wait}
	conn, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// running asks the demo's control service which instances run.
func (d *demo) running() ([]string, error) {
	status, body, err := d.get("https://"+d.https+"/demo/api/v1/instances", nil)
	if err != nil {
		return nil, err
	}
	var all []struct{ Name, State string }
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		return nil, fmt.Errorf("status %d: %s", status, body)
	}
	var names []string
	for _, i := range all {
		if i.State == "running" {
			names = append(names, i.Name)
		}
	}
	return names, nil
}

// change starts or stops an instance of the sample service, as the page's button does.
func (d *demo) change(t *testing.T, name, verb string) {
	t.Helper()
	resp, err := d.client.Post("https://"+d.https+"/demo/api/v1/instances/"+name+"/"+verb, "", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		t.Fatalf("%s %s: status %d: %s", verb, name, resp.StatusCode, body)
	}
}

// Headless Chromium opens the demo's page over HTTPS, types, sees the answers and who gave
// them, stops that instance with its button, and goes on.
func TestDemoPageInChromium(t *testing.T) {
	d := startDemo(t)
	pin := sha256.Sum256(d.cert.RawSubjectPublicKeyInfo)
	run(t, 5*time.Minute, command{
		name: "demo-page.js",
		env: []string{
			"PAGE=" + d.page,
			"SPKI=" + base64.StdEncoding.EncodeToString(pin[:]),
			"PROFILE=" + filepath.Join(t.TempDir(), "profile"),
		},
		argv: []string{"node", absolute(t, "node/demo-page.js")},
	})
}

// The demo prints what to open and ends when told to.
func TestDemoEnds(t *testing.T) {
	d := startDemo(t)
	if !strings.Contains(d.out.String(), "wss://") {
		t.Errorf("the demo prints no address of a WebSocket:\n%s", d.out)
	}
	d.stop(t)
}
