package proxy

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// An issuer signs certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, pool: x509.NewCertPool()}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	i.pool.AddCert(i.cert)
	return i
}

// issue makes a certificate for those names, serial number serial.
func (i *issuer) issue(t *testing.T, key crypto.Signer, serial int64, names ...string) *tls.Certificate {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: names,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func secure(at netip.AddrPort, hosts ...*route.Host) *route.Listener {
	return &route.Listener{Name: "default/gw:" + fmt.Sprint(at.Port()), Address: at, Transport: route.TransportTLS, Port: at.Port(), Hosts: hosts}
}

// dialTLS shakes hands; the rest of conf is the caller's.
func dialTLS(t *testing.T, at netip.AddrPort, conf *tls.Config) (*tls.Conn, error) {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	tc := tls.Client(c, conf)
	return tc, tc.Handshake()
}

// over sends a request of HTTP/1.1 and returns the status and the body.
func over(t *testing.T, c net.Conn, host, path string) (int, string) {
	t.Helper()
	if _, err := io.WriteString(c, get(host, path)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestMisdirected has the cases of the Gateway API's conformance test of that name, each over HTTP/2 and HTTP/1.1.
func TestMisdirected(t *testing.T) {
	g := startProgrammable(t)
	ca := newIssuer(t)
	cert := ca.issue(t, nil, 2, "example.org", "second-example.org", "*.wildcard.org", "unknown-example.org")
	host := func(hostname string, names ...string) *route.Host {
		name := "host " + hostname
		rules := ruleTo(name, g.backend(name, naming(t, name)))
		rules[0].Hostnames = names
		return &route.Host{Name: name, Hostname: hostname, TLS: &route.HostTLS{Certificates: []*tls.Certificate{cert}}, Rules: rules}
	}
	at := freeAddress(t)
	if u := g.program(secure(at, host("", "example.org"), host("second-example.org"), host("*.wildcard.org"), host("fourth-example.wildcard.org"))); len(u) > 0 {
		t.Fatal(u)
	}
	for _, c := range []struct {
		serverName, host string
		status           int
		by               string
	}{
		{"example.org", "example.org", 200, ""},
		{"example.org", "second-example.org", 421, ""},
		{"example.org", "unknown-example.org", 404, ""},
		{"second-example.org", "second-example.org", 200, "second-example.org"},
		{"SECOND-example.org", "second-example.org:443", 200, "second-example.org"},
		{"second-example.org", "example.org", 421, ""},
		{"second-example.org", "unknown-example.org", 421, ""},
		{"third-example.wildcard.org", "third-example.wildcard.org", 200, "*.wildcard.org"},
		{"third-example.wildcard.org", "fith-example.wildcard.org", 200, "*.wildcard.org"},
		{"third-example.wildcard.org", "fourth-example.wildcard.org", 421, ""},
		{"third-example.wildcard.org", "second-example.org", 421, ""},
		{"fourth-example.wildcard.org", "fourth-example.wildcard.org", 200, "fourth-example.wildcard.org"},
		{"fourth-example.wildcard.org", "fith-example.wildcard.org", 421, ""},
		{"unknown-example.org", "example.org", 200, ""},
		{"unknown-example.org", "unknown-example.org", 404, ""},
		{"", "example.org", 200, ""},
		{"", "second-example.org", 421, ""},
	} {
		conf := &tls.Config{RootCAs: ca.pool, ServerName: c.serverName, NextProtos: []string{"h2"}, InsecureSkipVerify: c.serverName == ""} //nolint:gosec // no name, nothing to verify
		tc, err := dialTLS(t, at, conf)
		if err != nil {
			t.Errorf("%q: %v", c.serverName, err)
			continue
		}
		h2, err := new(http2.Transport).NewClientConn(tc) //nolint:staticcheck // a connection of our own
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest(http.MethodGet, "https://"+c.host+"/x", nil)
		resp, err := h2.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		h2.Close()
		if resp.StatusCode != c.status || c.status == 200 && !strings.HasPrefix(string(body), "host "+c.by+" ") {
			t.Errorf("HTTP/2, %q, %s: %d %q, want %d", c.serverName, c.host, resp.StatusCode, body, c.status)
		}
		conf.NextProtos = nil
		tc, err = dialTLS(t, at, conf)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := over(t, tc, c.host, "/x"); status != c.status || status == 200 && !strings.HasPrefix(body, "host "+c.by+" ") {
			t.Errorf("HTTP/1.1, %q, %s: %d %q, want %d", c.serverName, c.host, status, body, c.status)
		}
		tc.Close()
	}
	// One connection, many names (RFC 9113, section 9.1.1).
	tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "second-example.org", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	h2, err := new(http2.Transport).NewClientConn(tc) //nolint:staticcheck // a connection of our own
	if err != nil {
		t.Fatal(err)
	}
	defer h2.Close()
	for _, c := range []struct {
		host   string
		status int
	}{{"second-example.org", 200}, {"example.org", 421}, {"second-example.org", 200}} {
		req, _ := http.NewRequest(http.MethodGet, "https://"+c.host+"/x", nil)
		resp, err := h2.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("coalesced %s: %d, want %d", c.host, resp.StatusCode, c.status)
		}
	}
}

// TestServerNames looks at what becomes of handshakes: without a host, and with certificates of two kinds.
func TestServerNames(t *testing.T) {
	g := startProgrammable(t)
	ca := newIssuer(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hosts := func(certs ...*tls.Certificate) []*route.Host {
		return []*route.Host{{Name: "a", Hostname: "a.example", TLS: &route.HostTLS{Certificates: certs}, Rules: ruleTo("a", g.backend("a", naming(t, "a")))}}
	}
	ec, rs, other := ca.issue(t, nil, 2, "a.example"), ca.issue(t, rsaKey, 3, "a.example"), ca.issue(t, nil, 4, "b.example")
	at := freeAddress(t)
	g.program(secure(at, hosts(rs, other, ec)...))
	for _, name := range []string{"b.example", "", "x.a.example"} {
		_, err := dialTLS(t, at, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // it fails before
		if err == nil || !strings.Contains(err.Error(), "tls: unrecognized name") {
			t.Errorf("server name %q: %v, want the alert unrecognized_name", name, err)
		}
	}
	for name, c := range map[string]struct {
		conf   *tls.Config
		serial int64
	}{
		"any":                       {&tls.Config{}, 2},
		"RSA alone, TLS 1.2":        {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, 3},
		"ECDSA alone, with TLS 1.2": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, 2},
	} {
		c.conf.RootCAs, c.conf.ServerName = ca.pool, "a.example"
		tc, err := dialTLS(t, at, c.conf)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != c.serial {
			t.Errorf("%s: certificate %d, want %d", name, got, c.serial)
		}
	}
	_, err = dialTLS(t, at, &tls.Config{ServerName: "a.example", RootCAs: ca.pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}) //nolint:gosec // what is too old is refused
	if err == nil {
		t.Error("TLS 1.1 is served")
	}
	// Tickets are good for their own host, and over tables.
	conf := &tls.Config{ServerName: "a.example", RootCAs: ca.pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, resumed := range []bool{false, true, true} {
		tc, err := dialTLS(t, at, conf)
		if err != nil {
			t.Fatal(err)
		}
		over(t, tc, "a.example", "/") // takes the ticket
		if tc.ConnectionState().DidResume != resumed {
			t.Errorf("connection %d: resumed %v", i, !resumed)
		}
		g.program(secure(at, hosts(ec)...))
	}
}

// TestCertificateSwap changes certificates under an open session.
func TestCertificateSwap(t *testing.T) {
	g := startProgrammable(t)
	ca := newIssuer(t)
	ws := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head))
		for i := 0; ; i++ {
			if _, err := io.ReadFull(br, make([]byte, 7)); err != nil {
				return
			}
			_, _ = io.WriteString(c, unmasked(websocket.OpText, fmt.Sprint(i)))
		}
	})
	rules := ruleTo("ws", g.backend("ws", ws))
	at := freeAddress(t)
	with := func(serial int64) {
		g.program(secure(at, &route.Host{Name: "a", Hostname: "a.example", TLS: &route.HostTLS{Certificates: []*tls.Certificate{ca.issue(t, nil, serial, "a.example")}}, Rules: rules}))
	}
	with(2)
	var session *tls.Conn
	var br *bufio.Reader
	for serial := int64(2); serial < 6; serial++ {
		with(serial)
		tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "a.example"})
		if err != nil {
			t.Fatal(err)
		}
		if got := tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d, want %d", got, serial)
		}
		if session == nil {
			session, br = tc, bufio.NewReader(tc)
			_, _ = io.WriteString(session, handshake("/ws", "a.example"))
			if head, err := readHead(br); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				t.Fatalf("%q %v", head, err)
			}
		}
		_, _ = io.WriteString(session, masked(websocket.OpText, "x"))
		if _, got := frame(t, br); got != fmt.Sprint(serial-2) {
			t.Errorf("message %q, want %d", got, serial-2)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	g := startProgrammable(t)
	ca, clients, others := newIssuer(t), newIssuer(t), newIssuer(t)
	cert := ca.issue(t, nil, 2, "*.example")
	rules := ruleTo("a", g.backend("a", naming(t, "a")))
	host := func(name string, h route.HostTLS) *route.Host {
		h.Certificates = []*tls.Certificate{cert}
		return &route.Host{Name: name, Hostname: name + ".example", TLS: &h, Rules: rules}
	}
	at := freeAddress(t)
	table := func(late route.HostTLS) {
		g.program(secure(at,
			host("none", route.HostTLS{}), host("valid", route.HostTLS{ClientCAs: clients.pool}), host("late", late),
			host("insecure", route.HostTLS{ClientCAs: clients.pool, AllowInsecure: true}),
			host("names", route.HostTLS{ClientCAs: clients.pool, ClientNames: []string{"alice.test"}}),
		))
	}
	table(route.HostTLS{})
	cache := tls.NewLRUClientSessionCache(100)
	for _, c := range []struct {
		host string
		cert *tls.Certificate
		ok   bool
	}{
		{"none", nil, true},
		{"valid", nil, false},
		{"valid", clients.issue(t, nil, 3, "bob.test"), true},
		{"valid", others.issue(t, nil, 3, "bob.test"), false},
		{"insecure", nil, true},
		{"insecure", clients.issue(t, nil, 3, "bob.test"), true},
		{"insecure", others.issue(t, nil, 3, "bob.test"), true},
		{"names", nil, false},
		{"names", clients.issue(t, nil, 3, "bob.test"), false},
		{"names", clients.issue(t, nil, 3, "x.test", "Alice.test"), true},
		{"names", others.issue(t, nil, 3, "alice.test"), false},
		{"valid", nil, false},
		{"names", nil, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := &tls.Config{RootCAs: ca.pool, ServerName: c.host + ".example", MaxVersion: version, ClientSessionCache: sameTicket{cache}}
			if c.cert != nil {
				conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
			}
			tc, err := dialTLS(t, at, conf)
			if err == nil { // TLS 1.3 tells of a refusal with the first bytes that are read
				_, _ = io.WriteString(tc, get(c.host+".example", "/"))
				_, err = readHead(bufio.NewReader(tc))
			}
			if (err == nil) != c.ok {
				t.Errorf("%s, %v: %v", c.host, c.cert != nil, err)
			}
			tc.Close()
		}
	}
	// A connection from before the host asked for certificates is not one of those whose client has shown one.
	tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "late.example"})
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := over(t, tc, "late.example", "/"); status != http.StatusOK {
		t.Errorf("before: %d", status)
	}
	table(route.HostTLS{})
	if status, _ := over(t, tc, "late.example", "/"); status != http.StatusOK {
		t.Errorf("another table: %d", status)
	}
	table(route.HostTLS{ClientCAs: clients.pool})
	if status, _ := over(t, tc, "late.example", "/"); status != http.StatusMisdirectedRequest {
		t.Errorf("behind a new demand: %d, want 421", status)
	}
	tc, err = dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "late.example", Certificates: []tls.Certificate{*clients.issue(t, nil, 3, "bob.test")}})
	if err != nil {
		t.Fatal(err)
	}
	same := x509.NewCertPool()
	same.AddCert(clients.cert)
	for _, late := range []route.HostTLS{{ClientCAs: clients.pool}, {ClientCAs: same}, {}, {ClientCAs: same}} {
		table(late)
		if status, _ := over(t, tc, "late.example", "/"); status != http.StatusOK {
			t.Errorf("the same demand: %d", status)
		}
	}
	table(route.HostTLS{ClientCAs: others.pool})
	if status, _ := over(t, tc, "late.example", "/"); status != http.StatusMisdirectedRequest {
		t.Errorf("another authority: %d, want 421", status)
	}
}

// sameTicket offers every host what any has given.
type sameTicket struct{ tls.ClientSessionCache }

func (s sameTicket) Get(string) (*tls.ClientSessionState, bool) { return s.ClientSessionCache.Get("") }
func (s sameTicket) Put(_ string, c *tls.ClientSessionState)    { s.ClientSessionCache.Put("", c) }
