package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

// HTTPS listeners: the certificate for the name, of the kind that the client can verify, and no answer on a wrong connection.
func TestGatewayHTTPS(t *testing.T) {
	m := newManifests(t)
	for _, name := range []string{"one", "two", "three"} {
		m.echo(name)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	m.object(m.ca.issue(t, "one.example").secret("one-ecdsa"))
	m.object(m.ca.issueFor(t, rsaKey, "one.example").secret("one-rsa"))
	m.object(m.ca.issue(t, "two.example").secret("two"))
	m.object(m.ca.issue(t, "*.wild.example").secret("wild"))
	m.file("tls.yaml")
	m.start("443")

	t.Run("HTTPS", func(t *testing.T) {
		for name, service := range map[string]string{"one.example": "one", "two.example": "two", "a.wild.example": "three"} {
			url := "https://" + name + "/"
			m.serves(t, url, service)
			a := m.get(t, url, http.StatusOK)
			if a.ProtoMajor != 2 || a.saw.Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("%s: %s, X-Forwarded-Proto %q", url, a.Proto, a.saw.Header.Get("X-Forwarded-Proto"))
			}
		}
		m.refuses(t, "https://b.wild.example/", http.StatusNotFound)
		if conn, err := m.tlsDial("443", "stranger.example", nil); err == nil {
			conn.Close()
			t.Error("a name that no listener has got a certificate")
		}
		unnamed := func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "", true }
		if conn, err := m.tlsDial("443", "", unnamed); err == nil {
			conn.Close()
			t.Error("a client that names nobody got a certificate, although every listener has a hostname")
		}
	})
	t.Run("ECDSA beside RSA", func(t *testing.T) {
		for suite, want := range map[uint16]x509.PublicKeyAlgorithm{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: x509.ECDSA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: x509.RSA,
		} {
			conn, err := m.tlsDial("443", "one.example", func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite} })
			if err != nil {
				t.Fatal(err)
			}
			if got := conn.ConnectionState().PeerCertificates[0].PublicKeyAlgorithm; got != want {
				t.Errorf("a client that knows %v alone is shown a certificate of %v", want, got)
			}
			conn.Close()
		}
	})
	t.Run("GatewayHTTPSListenerDetectMisdirectedRequests", func(t *testing.T) {
		for name, hosts := range map[string]map[string]int{
			"one.example":    {"one.example": 200, "two.example": 421, "a.wild.example": 421, "stranger.example": 404},
			"two.example":    {"two.example": 200, "one.example": 421},
			"a.wild.example": {"a.wild.example": 200, "b.wild.example": 404, "one.example": 421},
		} {
			for host, status := range hosts {
				conn, err := m.tlsDial("443", name, nil)
				if err != nil {
					t.Fatal(err)
				}
				a := raw(t, conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
				conn.Close()
				if a.StatusCode != status {
					t.Errorf("%s on a connection to %s: status %d, want %d: %s", host, name, a.StatusCode, status, a.body)
				}
				if conn, err = m.tlsDial("443", name, nil); err != nil {
					t.Fatal(err)
				}
				want := status
				if status == 200 {
					want = 101
				}
				_, _ = conn.Write([]byte(handshakeText(host)))
				if got := statusOf(t, conn); got != want {
					t.Errorf("a handshake for %s on a connection to %s: status %d, want %d", host, name, got, want)
				}
				conn.Close()
			}
		}
		// A browser uses a connection of HTTP/2 for every name that its certificate has.
		c := m.newClient(func(tr *http.Transport) {
			tr.ForceAttemptHTTP2 = true
			tr.TLSClientConfig.ServerName = "one.example"
		})
		a := askWith(t, c, http.MethodGet, "https://one.example/", "", "Host", "two.example")
		if a.ProtoMajor != 2 || a.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("over %s: status %d, want 421", a.Proto, a.StatusCode)
		}
	})
}

// Certificates of clients.
func TestGatewayClientCertificates(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	clients := newAuthority(t)
	m.object(m.ca.issue(t, "site.example", "agc.example").secret("server"))
	m.object(clients.configMap("clients"))
	m.object(clients.caSecret("clients-secret"))
	m.values["ADDRESS2"] = loopback()
	m.file("clients.yaml")
	m.start("443", "8443", m.values["ADDRESS2"]+":443")
	known, unnamed, stranger := clients.issue(t, "ada.example"), clients.issue(t, "eve.example"), newAuthority(t).issue(t, "ada.example")

	// reaches says whether a client with this certificate gets an answer at address:port.
	reaches := func(t *testing.T, address, port string, pair *issued) bool {
		t.Helper()
		conn, err := m.tlsDial(address+":"+port, "site.example", func(c *tls.Config) {
			if pair != nil { // whatever the server asks for
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair.tls, nil }
			}
		})
		if err != nil {
			return false
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: site.example\r\n\r\n")); err != nil {
			return false
		}
		one := make([]byte, 1)
		_, err = conn.Read(one)
		return err == nil
	}
	t.Run("GatewayFrontendClientCertificateValidation", func(t *testing.T) {
		for name, pair := range map[string]*issued{"none": nil, "a stranger's": stranger} {
			if reaches(t, m.address, "443", pair) {
				t.Errorf("a client with %s is let in", name)
			}
		}
		c := m.newClient(certified(known))
		askWith(t, c, http.MethodGet, "https://site.example/", "").want(t, http.StatusOK)
		conn, _, err := websocket.Dial(t.Context(), "wss://site.example/", &websocket.DialOptions{HTTPClient: c})
		if err != nil {
			t.Fatalf("a session of a client with a good certificate: %v", err)
		}
		_ = conn.CloseNow()
	})
	t.Run("GatewayFrontendClientCertificateValidationInsecureFallback", func(t *testing.T) {
		for name, pair := range map[string]*issued{"none": nil, "a stranger's": stranger, "a good one": known} {
			if !reaches(t, m.address, "8443", pair) {
				t.Errorf("a client with %s is not let in", name)
			}
		}
		if err := m.condition("Gateway", "default/strict", "InsecureFrontendValidationMode", "True", ""); err != nil {
			t.Error(err)
		}
	})
	t.Run("FrontendTLSPolicy", func(t *testing.T) {
		for name, pair := range map[string]*issued{"none": nil, "a stranger's": stranger, "one for another name": unnamed} {
			if reaches(t, m.values["ADDRESS2"], "443", pair) {
				t.Errorf("a client with %s is let in", name)
			}
		}
		if !reaches(t, m.values["ADDRESS2"], "443", known) {
			t.Error("a client with a good certificate is not let in")
		}
		if !reaches(t, m.values["ADDRESS2"], "8443", nil) {
			t.Error("the policy holds for a listener that it does not name")
		}
		// Policy 2023-06-S has no suites of CBC.
		_, err := m.tlsDial(m.values["ADDRESS2"]+":443", "site.example", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		})
		if err == nil {
			t.Error("2023-06-S speaks a suite of CBC")
		}
	})
}
