package eureka

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// files writes a certificate and its key, as a configuration names them.
func files(t *testing.T, cert *tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestPeersOverTLS: a peer is believed if its certificate is of the named authority and for its name, and it believes those who
// show it one; everything else ends in an error that says what is wrong, and nothing is told.
func TestPeersOverTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := files(t, ca.issue(t, "registry"))
	strangeCert, strangeKey := files(t, other.issue(t, "stranger"))
	cfg := Config{TLS: TLSConfig{ClientCAFile: ca.file}, Auth: AuthConfig{ClientCertificates: true}}
	with := func(trusted *authority, cert, key string) ClusterTLS {
		return ClusterTLS{TLSConfig: upstream.TLSConfig{CAFile: trusted.file}, CertFile: cert, KeyFile: key}
	}
	for name, row := range map[string]struct {
		tls  ClusterTLS
		host string
		err  string // empty: they become one
	}{
		"both certificates":   {with(ca, cert, key), "127.0.0.1", ""},
		"unknown authority":   {with(other, cert, key), "127.0.0.1", "its authority belongs in tls.caFile"},
		"another name":        {with(ca, cert, key), "localhost", "wanted to match localhost"},
		"no certificate":      {with(ca, "", ""), "127.0.0.1", "answered 403"},
		"foreign certificate": {with(ca, strangeCert, strangeKey), "127.0.0.1", "unknown certificate authority"},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewRegistry(cfg, quiet())
			addr := startServe(t, b, ca)
			options, err := PeerConfig{TLS: row.tls}.Options(upstream.TLSConfig{}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			a := newServer(t, Config{})
			a.register("ONE", "1", "")
			if err := a.ReplicateWith([]string{"https://" + strings.Replace(addr, "127.0.0.1", row.host, 1) + "/eureka/"}, options); err != nil {
				t.Fatal(err)
			}
			a.runUntilEnd()
			status := func() PeerStatus { return a.Peers()[0] }
			if row.err == "" {
				eventually(t, a.picture, func() bool { return b.one(leaseKey{"ONE", "1"}) != nil && status().Sent == 1 })
				if s := status(); s.Err != "" || !s.Fairlead || s.Contact.IsZero() || s.Lag != 0 || s.Instances != 0 {
					t.Errorf("%+v", s)
				}
				return
			}
			eventually(t, func() string { return status().Err + ", want " + row.err }, func() bool { return strings.Contains(status().Err, row.err) })
			if s := status(); s.Failing.IsZero() || !s.Contact.IsZero() || b.one(leaseKey{"ONE", "1"}) != nil {
				t.Errorf("%+v", s)
			}
		})
	}
}
