package eureka

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// PeerConfig says how the registry shows itself to its peers.
type PeerConfig struct {
	// Username is sent to peers without credentials in their URL, as HTTP basic authentication. Default none.
	Username string `yaml:"username"`

	// Password belongs to username; PasswordFile is a file that holds it, in one line.
	Password     string `yaml:"password"`
	PasswordFile string `yaml:"passwordFile"`

	// TLS says how the peers' certificates are judged. Default: as upstream.tls says.
	TLS ClusterTLS `yaml:"tls"`
}

func (c PeerConfig) cluster() ClusterConfig {
	return ClusterConfig{Username: c.Username, Password: c.Password, PasswordFile: c.PasswordFile, TLS: c.TLS}
}

// Options reads the files that the section names and makes the choices of the peers' clients. fallback is used where the section
// says nothing of TLS.
func (c PeerConfig) Options(fallback upstream.TLSConfig, log *slog.Logger) (ClientOptions, error) {
	return c.cluster().Options(fallback, log)
}

func (c Config) checkPeers() error {
	known := map[string]int{}
	for i, raw := range c.Peers {
		u, err := parseServiceURL(raw)
		if err != nil {
			return fmt.Errorf("registry.peers[%d]: %w\nhint: write it as \"https://host:10011/eureka/\"", i, err)
		}
		name := u.Scheme + "://" + u.Host + strings.TrimRight(u.Path, "/")
		if before, twice := known[name]; twice {
			return fmt.Errorf("registry.peers[%d]: it is peers[%d] again", i, before)
		}
		known[name] = i
	}
	if key, err := c.PeerClient.cluster().Check(); err != nil {
		return fmt.Errorf("registry.peerClient.%s: %w", key, err)
	}
	if len(c.Peers) > 0 && c.Auth.Ownership {
		return errors.New("registry.auth.ownership does not go with registry.peers: a peer passes on what others have registered")
	}
	return nil
}
