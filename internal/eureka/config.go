package eureka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// maxWeight bounds the metadata of all instances together, in bytes.
const maxWeight = 256 << 20

const (
	defaultAddress  = "127.0.0.1:10011"
	defaultEviction = 60 * time.Second
)

// Config is the section registry of fairlead.yaml: the embedded Eureka registry.
type Config struct {
	// Enabled turns the embedded registry off where only external ones serve. Default true.
	Enabled *bool `yaml:"enabled"`

	// Address is host:port, TLS and plain HTTP on the one port. Default "127.0.0.1:10011". On an address
	// that is not loopback, auth must name users or client certificates, or insecure must be true.
	Address string `yaml:"address"`

	// Plain serves plain HTTP also to peers that are not on loopback. Default false: they must use TLS.
	// Danger: credentials and metadata then cross the network in clear.
	Plain bool `yaml:"plain"`

	// Insecure allows an address that is not loopback without authentication. Default false.
	// Danger: whoever reaches the port decides where the gateway routes to.
	Insecure bool `yaml:"insecure"`

	// TLS is the registry's certificate. Default: the one that Fairlead generates and keeps in dataDir.
	TLS TLSConfig `yaml:"tls"`

	// Auth says who may read and write the registry. Default: anyone who reaches it.
	Auth AuthConfig `yaml:"auth"`

	// Peers are the registries with which this one forms one, other Fairleads or Netflix's: "https://host:10011/eureka/". What
	// instances say to this registry is passed on to them, and whole registries are compared at the start, after every failure
	// and each minute. Credentials may stand in the URLs ("https://user:password@host/"). Default none.
	Peers []string `yaml:"peers"`

	// PeerClient says how the registry shows itself to its peers.
	PeerClient PeerConfig `yaml:"peerClient"`

	// StaticDefinitions are directories of Zowe's static service YAML (*.yml, *.yaml): services that do not register
	// themselves. Default none. A change of a file is live within seconds; what is wrong in one is logged with its
	// line, and nothing else suffers.
	StaticDefinitions []string `yaml:"staticDefinitions"`

	// ForgetAfter is how long a service stays known after its last instance went, while no more than 10000 routes are remembered so. Default 15m.
	// Negative forgets it at once. Then it is unknown: 1003 or 404, where before it was 1012 or 503.
	ForgetAfter time.Duration `yaml:"forgetAfter"`

	// AllowedHosts are the host names (`name`, or `*.domain` for its subdomains), addresses and networks (CIDR)
	// at which instances may say that they are reached. Default: any. Whatever is allowed, link-local, multicast
	// and unspecified addresses are refused, and loopback where the registration comes from another machine.
	AllowedHosts []string `yaml:"allowedHosts"`

	// EvictionInterval is how often expired leases are looked for. Default 60s, at least 1s. One run ends at
	// most 15 % of the leases, and one at least.
	EvictionInterval time.Duration `yaml:"evictionInterval"`

	// SelfPreservation keeps expired leases while fewer than 85 % of the expected heartbeats arrive: then it is
	// more likely the network that failed than the services. Default true. With few instances one silent
	// instance is enough to keep it, until it cancels or comes back.
	SelfPreservation *bool `yaml:"selfPreservation"`

	// BodyLimit bounds a request's body, in bytes, also when it was sent compressed. Default 1MiB.
	BodyLimit unit.Size `yaml:"bodyLimit"`

	// MetadataLimit bounds the keys and values of one instance's metadata together, in bytes. Default 64KiB.
	MetadataLimit unit.Size `yaml:"metadataLimit"`

	// MaxInstances bounds the registered instances; more are refused with 503. Default 10000.
	MaxInstances int `yaml:"maxInstances"`
}

// TLSConfig is the TLS of the registry's port.
type TLSConfig struct {
	// CertFile and KeyFile are PEM files: the chain, leaf first, and its key. Both or neither.
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`

	// ClientCAFile is a PEM file of the authorities whose client certificates are accepted.
	// Required when auth.clientCertificates is true.
	ClientCAFile string `yaml:"clientCAFile"`
}

// AuthConfig says who may use the registry. A user or a client certificate suffices where both are configured.
type AuthConfig struct {
	// Users (htpasswd lines) and usersFile. Default none.
	auth.BasicConfig `yaml:",inline"`

	// ClientCertificates accepts clients whose certificate was verified against tls.clientCAFile. Default false:
	// no certificate is asked for, and one that is presented anyway does no harm.
	ClientCertificates bool `yaml:"clientCertificates"`

	// Ownership reserves an application for the user or certificate that registered it first, while it has
	// instances: changes by others get 403. Default false: every user may change everything.
	Ownership bool `yaml:"ownership"`
}

// On says whether the embedded registry is wanted.
func (c Config) On() bool { return c.Enabled == nil || *c.Enabled }

// ListenAddress is Address or its default.
func (c Config) ListenAddress() string {
	if c.Address != "" {
		return c.Address
	}
	return defaultAddress
}

func (c Config) evictionInterval() time.Duration {
	if c.EvictionInterval == 0 {
		return defaultEviction
	}
	return max(c.EvictionInterval, time.Second)
}

func (c Config) expireAlways() bool { return c.SelfPreservation != nil && !*c.SelfPreservation }

func (c Config) bodyLimit() int64 {
	if c.BodyLimit > 0 {
		return int64(c.BodyLimit)
	}
	return 1 << 20
}

func (c Config) metadataLimit() int {
	if c.MetadataLimit > 0 {
		return int(c.MetadataLimit)
	}
	return 64 << 10
}

func (c Config) maxInstances() int {
	if c.MaxInstances > 0 {
		return c.MaxInstances
	}
	return 10000
}

func (a AuthConfig) hasUsers() bool { return len(a.Users) > 0 || a.UsersFile != "" }

// Check says what is wrong with the section, with a hint on a second line where there is one. Files are read
// only by ServerTLS, and by whoever opens the users.
func (c Config) Check() error {
	if !c.On() {
		return nil
	}
	host, _, err := net.SplitHostPort(c.ListenAddress())
	if err != nil {
		return fmt.Errorf("registry.address %q: %w", c.Address, err)
	}
	switch {
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return errors.New("registry.tls: certFile and keyFile go together")
	case c.Auth.ClientCertificates && c.TLS.ClientCAFile == "":
		return errors.New("registry.auth.clientCertificates needs registry.tls.clientCAFile")
	case c.Auth.Ownership && !c.Auth.hasUsers() && !c.Auth.ClientCertificates:
		return errors.New("registry.auth.ownership needs users or client certificates")
	case c.EvictionInterval < 0 || c.EvictionInterval > 0 && c.EvictionInterval < time.Second:
		return fmt.Errorf("registry.evictionInterval %v: less than 1s", c.EvictionInterval)
	case c.BodyLimit < 0 || c.MetadataLimit < 0 || c.MaxInstances < 0:
		return errors.New("registry: bodyLimit, metadataLimit and maxInstances are not negative")
	case !loopbackHost(host) && !c.Auth.hasUsers() && !c.Auth.ClientCertificates && !c.Insecure:
		return fmt.Errorf("registry.address %q is not loopback, and anyone could register there\n"+
			"hint: set registry.auth.users or registry.auth.clientCertificates, or registry.insecure: true", c.ListenAddress())
	}
	if err := c.checkPeers(); err != nil {
		return err
	}
	if err := checkAllowed(c.AllowedHosts); err != nil {
		return fmt.Errorf("registry.allowedHosts %w", err)
	}
	return nil
}

func checkAllowed(hosts []string) error {
	for _, h := range hosts {
		if _, err := netip.ParsePrefix(h); h == "" || strings.Contains(h, "/") && err != nil {
			return fmt.Errorf("%q is neither a name, an address nor a network", h)
		}
	}
	return nil
}

func loopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// ServerTLS is the TLS of the registry's port. fallback gives the certificate where no files are configured.
// Client certificates are asked for only if auth.clientCertificates is true: clients that always present one
// are then not turned away for it.
func (c Config) ServerTLS(fallback func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: fallback}
	if c.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("registry.tls.certFile %s: %w", c.TLS.CertFile, err)
		}
		conf.Certificates, conf.GetCertificate = []tls.Certificate{pair}, nil
	}
	if !c.Auth.ClientCertificates {
		return conf, nil
	}
	pem, err := os.ReadFile(c.TLS.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("registry.tls.clientCAFile %s: %w", c.TLS.ClientCAFile, err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("registry.tls.clientCAFile %s: no certificate in it", c.TLS.ClientCAFile)
	}
	conf.ClientAuth = tls.VerifyClientCertIfGiven
	return conf, nil
}
