package proxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// person makes a client certificate.
func (i *issuer) person(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name, Organization: []string{"sea"}}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, i.cert, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Who shows a certificate that the listener has verified comes in by its name, and only for as long as it is good.
func TestCertificatesLetIn(t *testing.T) {
	ca := newIssuer(t)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 8)
	g := startGatewayOn(t, []ListenerConfig{
		{Name: "http", Address: "127.0.0.1:0"},
		{Name: "https", Address: "127.0.0.1:0", TLS: &TLSConfig{ClientAuth: "want", ClientCAFile: caFile}},
	}, service{id: "svc", routes: wsRoute, endpoints: []string{telling(t, got)}, policy: func(p *route.Policy) {
		p.Auth, p.WebSocket.ConnectFailure = "clientCertificate", route.StatusOnFailure
	}})
	ask := func(certs ...tls.Certificate) (*bufio.Reader, string) {
		t.Helper()
		c, err := net.Dial("tcp", g.https)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(wait))
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, Certificates: certs})
		if _, err := io.WriteString(tc, handshake("/svc/ws/v1/x", "gw", "X-Certificate-CommonName: root")); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(tc)
		head, err := readHead(br)
		if err != nil {
			t.Fatal(err)
		}
		return br, head
	}
	if _, head := ask(); !strings.HasPrefix(head, "HTTP/1.1 403 ") {
		t.Errorf("without a certificate: %q", head)
	}
	if rec := g.log.next(t); rec["cause"] != "refused: no client certificate" {
		t.Errorf("line %v", rec)
	}
	if _, _, head := talk(t, g, handshake("/svc/ws/v1/x", "gw")); !strings.HasPrefix(head, "HTTP/1.1 403 ") {
		t.Errorf("without TLS: %q", head)
	}
	g.log.next(t)
	until := time.Now().Add(time.Hour)
	br, head := ask(ca.person(t, "ada", until))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("answer %q", head)
	}
	if saw := <-got; strings.Contains(saw, "root") {
		t.Errorf("the service sees %q", saw)
	}
	shorten(t, g, 1, until)
	if code, reason := closing(t, br); code != 1008 || reason != "authentication ended" {
		t.Errorf("Close %d %q", code, reason)
	}
	if rec := g.log.next(t); rec["user"] != "ada" || rec["cause"] != "authentication ended" {
		t.Errorf("line %v", rec)
	}
	if _, head := ask(ca.person(t, "", time.Now().Add(time.Hour))); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Errorf("a subject without a common name: %q", head)
	}
	var views []SessionView
	eventually(t, "a session", func() bool { views, _ = g.Sessions.List(0, 2); return len(views) > 0 })
	if len(views) != 1 || views[0].Record.User != "O=sea" {
		t.Errorf("%+v", views)
	}
	// A route that takes passwords, too, asks for one.
	g.table(buildTableOn(g.pool, []service{{id: "svc", routes: wsRoute, endpoints: []string{telling(t, got)}, policy: func(p *route.Policy) {
		p.Auth, p.WebSocket.ConnectFailure = "basic, clientCertificate", route.StatusOnFailure
	}}}))
	if _, head := ask(); !strings.HasPrefix(head, "HTTP/1.1 503 ") { // there are no users
		t.Errorf("without users: %q", head)
	}
	if _, head := ask(ca.person(t, "bob", time.Now().Add(time.Hour))); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Errorf("answer %q", head)
	}
}
