package eureka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// ClusterConfig is the section eureka of fairlead.yaml: an Eureka cluster to read, and to register with.
type ClusterConfig struct {
	// ServiceURLs are the cluster's servers, "https://host:10011/eureka/". The first that answers is used until it fails.
	// Credentials may stand in them ("https://user:password@host/"). Default none.
	ServiceURLs []string `yaml:"serviceUrls"`

	// Username is sent to servers without credentials in their URL, as HTTP basic authentication. Default none.
	Username string `yaml:"username"`

	// Password belongs to username; PasswordFile is a file that holds it, in one line.
	Password     string `yaml:"password"`
	PasswordFile string `yaml:"passwordFile"`

	// TLS says how the servers' certificates are judged. Default: as upstream.tls says.
	TLS ClusterTLS `yaml:"tls"`

	// FetchInterval is how often the cluster is asked what changed. Default 30s, at least 1s.
	FetchInterval time.Duration `yaml:"fetchInterval"`

	// Register has the gateway register itself with the cluster, as application GATEWAY. Default true.
	Register *bool `yaml:"register"`

	// HostName is the name under which the gateway registers. Default: the machine's.
	HostName string `yaml:"hostName"`

	// AllowedHosts are the host names (`name`, or `*.domain`), addresses and networks (CIDR) at which the cluster's instances
	// may say that they are reached. Default: any. Link-local, multicast and unspecified addresses are never dialled, nor
	// loopback where the server is another machine.
	AllowedHosts []string `yaml:"allowedHosts"`
}

// ClusterTLS is the TLS towards the cluster's servers.
type ClusterTLS struct {
	// CAFile and insecureSkipVerify, as in upstream.tls.
	upstream.TLSConfig `yaml:",inline"`

	// CertFile and KeyFile are PEM files of the certificate, leaf first, that the gateway shows to the servers, and its
	// key. Both or neither. Default none. Zowe's Discovery Service asks for one.
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`
}

// On says whether there is a cluster.
func (c ClusterConfig) On() bool { return len(c.ServiceURLs) > 0 }

// Registers says whether the gateway registers itself.
func (c ClusterConfig) Registers() bool { return c.Register == nil || *c.Register }

const defaultFetchInterval = 30 * time.Second

func (c ClusterConfig) fetchInterval() time.Duration {
	if c.FetchInterval == 0 {
		return defaultFetchInterval
	}
	return max(c.FetchInterval, time.Second)
}

// Check says what is wrong with the section, with the key. Files are read only by options.
func (c ClusterConfig) Check() (key string, err error) {
	for i, raw := range c.ServiceURLs {
		if _, err := parseServiceURL(raw); err != nil {
			return fmt.Sprintf("serviceUrls[%d]", i), err
		}
	}
	switch {
	case c.Password != "" && c.PasswordFile != "":
		return "passwordFile", errors.New("password is set too")
	case c.Username == "" && (c.Password != "" || c.PasswordFile != ""):
		return "username", errors.New("is missing, but there is a password")
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return "tls", errors.New("certFile and keyFile go together")
	case c.FetchInterval < 0 || c.FetchInterval > 0 && c.FetchInterval < time.Second:
		return "fetchInterval", fmt.Errorf("%v: less than 1s", c.FetchInterval)
	case strings.ContainsFunc(c.HostName, notInHost):
		return "hostName", fmt.Errorf("%q is neither a host name nor an IP address", c.HostName)
	}
	return "allowedHosts", checkAllowed(c.AllowedHosts)
}

// secretLimit bounds a file of a password, in bytes.
const secretLimit = 4 << 10

// Options reads the files that the section names and makes the choices of the cluster's clients. fallback is used where the
// section says nothing of TLS.
func (c ClusterConfig) Options(fallback upstream.TLSConfig, log *slog.Logger) (o ClientOptions, err error) {
	o.User, o.Password = c.Username, c.Password
	if c.PasswordFile != "" {
		if o.Password, err = readSecret(c.PasswordFile); err != nil {
			return o, fmt.Errorf("passwordFile: %w", err)
		}
	}
	server := c.TLS.TLSConfig
	if server == (upstream.TLSConfig{}) {
		server, log = fallback, slog.New(slog.DiscardHandler) // whoever reads upstream.tls has warned already
	}
	if o.TLS, err = server.Load(log); err != nil {
		return o, err
	}
	if c.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return o, fmt.Errorf("tls.certFile %s: %w", c.TLS.CertFile, err)
		}
		o.TLS.Certificates = []tls.Certificate{pair}
	}
	return o, nil
}

func readSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, secretLimit+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > secretLimit:
		return "", fmt.Errorf("%s: more than %d bytes", name, secretLimit)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("%s: want one line", name)
	}
	return secret, nil
}
