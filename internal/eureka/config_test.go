package eureka

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

func TestConfigCheck(t *testing.T) {
	users := AuthConfig{BasicConfig: auth.BasicConfig{Users: []string{"a:$2y$x"}}}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // part of the error; empty: none
	}{
		{"zero", Config{}, ""},
		{"v6 loopback", Config{Address: "[::1]:0"}, ""},
		{"localhost", Config{Address: "localhost:1"}, ""},
		{"every interface", Config{Address: ":10011"}, "hint: set registry.auth.users"},
		{"other address", Config{Address: "10.0.0.1:10011", TLS: TLSConfig{CertFile: "a", KeyFile: "b"}}, "not loopback"},
		{"insecure", Config{Address: ":10011", Insecure: true}, ""},
		{"users", Config{Address: ":10011", Auth: users}, ""},
		{"certificates", Config{Address: ":1", TLS: TLSConfig{ClientCAFile: "f"}, Auth: AuthConfig{ClientCertificates: true}}, ""},
		{"certificates without authority", Config{Auth: AuthConfig{ClientCertificates: true}}, "clientCAFile"},
		{"half a pair", Config{TLS: TLSConfig{CertFile: "f"}}, "go together"},
		{"no port", Config{Address: "localhost"}, "registry.address"},
		{"off", Config{Enabled: new(bool), Address: "nonsense"}, ""},
		{"peers", Config{Peers: []string{"http://x", "https://u:secret@y:1/eureka/"}}, ""},
		{"a peer twice", Config{Peers: []string{"http://x/eureka", "http://u:p@x/eureka/"}}, "registry.peers[1]: it is peers[0] again"},
		{"peer", Config{Peers: []string{"http://x", "ftp://x"}}, "registry.peers[1]"},
		{"owned peers", Config{Peers: []string{"http://x"}, Auth: AuthConfig{Ownership: true, ClientCertificates: true}, TLS: TLSConfig{ClientCAFile: "ca"}}, "does not go with"},
		{"peers' password", Config{PeerClient: PeerConfig{Password: "x"}}, "registry.peerClient.username"},
		{"ownership", Config{Auth: AuthConfig{Ownership: true}}, "needs users"},
		{"network", Config{AllowedHosts: []string{"10.0.0.0/99"}}, "allowedHosts"},
		{"hosts", Config{AllowedHosts: []string{"10.0.0.0/9", "*.a", "::1"}}, ""},
		{"interval", Config{EvictionInterval: 1}, "evictionInterval"},
		{"negative", Config{BodyLimit: -1}, "not negative"},
	} {
		err := tt.cfg.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestServerTLSFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{
		{TLS: TLSConfig{CertFile: "no-such-file", KeyFile: "no-such-file"}},
		{TLS: TLSConfig{ClientCAFile: "no-such-file"}, Auth: AuthConfig{ClientCertificates: true}},
		{TLS: TLSConfig{ClientCAFile: empty}, Auth: AuthConfig{ClientCertificates: true}},
	} {
		if _, err := cfg.ServerTLS(nil); err == nil || !strings.Contains(err.Error(), "registry.tls.") {
			t.Errorf("%+v: %v", cfg.TLS, err)
		}
	}
}
