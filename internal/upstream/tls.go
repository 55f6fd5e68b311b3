package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
)

// TLSConfig says how the certificates of endpoints are judged. It is the section upstream.tls
// of fairlead.yaml. No client certificate is ever presented.
type TLSConfig struct {
	// CAFile is a PEM file of the authorities that may have signed an endpoint's certificate;
	// they replace the system's. Default: the system's authorities. Read again on reload.
	CAFile string `yaml:"caFile"`

	// InsecureSkipVerify accepts any certificate with any name. Default false. Danger: whoever
	// can answer at an endpoint's address reads and changes everything, credentials included.
	InsecureSkipVerify bool `yaml:"insecureSkipVerify"`
}

// caFileLimit bounds the CA file in bytes.
const caFileLimit = 4 << 20

// Load reads the CA file and returns what a Dialer needs: TLS 1.2 or newer, ALPN http/1.1,
// sessions resumed. It warns once if certificates are not verified. To reload, call it again and
// use the new value; the old one stays as it was.
func (c TLSConfig) Load(log *slog.Logger) (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionCacheSize),
		InsecureSkipVerify: c.InsecureSkipVerify, // only where the operator asked for it, and logged
	}
	if c.InsecureSkipVerify {
		log.Warn("certificates of endpoints are not verified", "setting", "upstream.tls.insecureSkipVerify")
	}
	if c.CAFile == "" {
		return conf, nil
	}
	pem, err := readLimited(c.CAFile, caFileLimit)
	if err != nil {
		return nil, fmt.Errorf("upstream.tls.caFile: %w", err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("upstream.tls.caFile %s: no PEM certificate in it", c.CAFile)
	}
	return conf, nil
}

// sessionCacheSize is the number of endpoint names whose TLS sessions can be resumed.
const sessionCacheSize = 512

func readLimited(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", name, info.Size(), limit)
	}
	return os.ReadFile(name)
}
