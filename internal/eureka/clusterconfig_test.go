package eureka

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// TestClusterSecrets: the server is verified by the cluster's authorities or, without those, by the upstreams'; it gets the
// gateway's certificate and the password of a file.
func TestClusterSecrets(t *testing.T) {
	var user, password string
	var certificates int
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		certificates = len(r.TLS.PeerCertificates)
		_, _ = w.Write([]byte(`{"applications":{}}`))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile := file("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	keyFile := file("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	ca := upstream.TLSConfig{CAFile: certFile}
	cfg := ClusterConfig{Username: "me", PasswordFile: file("password", "secret\n"), TLS: ClusterTLS{TLSConfig: ca, CertFile: certFile, KeyFile: keyFile}}
	read := func(cfg ClusterConfig, fallback upstream.TLSConfig) error {
		t.Helper()
		o, err := cfg.Options(fallback, quiet())
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(s.URL, o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Apps(t.Context())
		return err
	}
	if err := read(cfg, upstream.TLSConfig{}); err != nil || user != "me" || password != "secret" || certificates != 1 {
		t.Errorf("%v, %s:%s, %d certificates", err, user, password, certificates)
	}
	if err := read(ClusterConfig{}, ca); err != nil || user != "" || certificates != 0 {
		t.Errorf("%v, %s, %d certificates", err, user, certificates)
	}
	if err := read(ClusterConfig{}, upstream.TLSConfig{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("not verified: %v", err)
	}
	for _, bad := range []string{"", "\n", "two\nlines", strings.Repeat("x", secretLimit+1)} {
		if _, err := (ClusterConfig{PasswordFile: file("bad", bad)}).Options(ca, quiet()); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

func TestClusterConfig(t *testing.T) {
	for want, cfg := range map[string]ClusterConfig{
		"serviceUrls[0]": {ServiceURLs: []string{"x"}},
		"passwordFile":   {Username: "u", Password: "p", PasswordFile: "f"},
		"username":       {Password: "p"},
		"tls":            {TLS: ClusterTLS{CertFile: "x"}},
		"fetchInterval":  {FetchInterval: 1},
		"hostName":       {HostName: "a b"},
		"allowedHosts":   {AllowedHosts: []string{"10.0.0.0/99"}},
	} {
		if key, err := cfg.Check(); err == nil || key != want {
			t.Errorf("%s: %s, %v", want, key, err)
		}
	}
	if _, err := (ClusterConfig{}).Check(); err != nil {
		t.Error(err)
	}
}
