package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// Names of the generated certificate and its key below dataDir.
const (
	GeneratedCertFile = "certificate.pem"
	GeneratedKeyFile  = "certificate-key.pem"
)

// A Keypair is a certificate that may be replaced while connections use it: handshakes
// take the newest, open connections keep theirs.
type Keypair struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadKeypair reads a PEM chain and its key.
func LoadKeypair(certFile, keyFile string) (*Keypair, error) {
	k := &Keypair{certFile: certFile, keyFile: keyFile}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads the files again. On error the certificate in use stays.
func (k *Keypair) Reload() error {
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", k.certFile, err)
	}
	k.current.Store(&cert)
	return nil
}

// Get serves tls.Config.GetCertificate.
func (k *Keypair) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return k.current.Load(), nil
}

// generatedLifetime is how long a generated certificate is valid; a new one is made
// when less than a tenth of it is left at a start.
const generatedLifetime = 398 * 24 * time.Hour

// GeneratedKeypair returns the certificate kept in dataDir and makes it if it is missing,
// about to expire, or does not name this host. Its names are localhost, 127.0.0.1, ::1 and
// the host name; it is signed by itself, so the file serves clients as their CA file.
func GeneratedKeypair(dataDir string) (*Keypair, error) {
	certFile, keyFile := filepath.Join(dataDir, GeneratedCertFile), filepath.Join(dataDir, GeneratedKeyFile)
	host, _ := os.Hostname()
	k, err := LoadKeypair(certFile, keyFile)
	if err == nil && stillGood(k.current.Load(), host) {
		return k, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // a file that cannot be read is the operator's to look at, not ours to overwrite
	}
	if err := generate(certFile, keyFile, host); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	return LoadKeypair(certFile, keyFile)
}

// stillGood tells whether a generated certificate may serve on.
func stillGood(cert *tls.Certificate, host string) bool {
	leaf := cert.Leaf
	return time.Until(leaf.NotAfter) > generatedLifetime/10 && (host == "" || slices.Contains(leaf.DNSNames, host))
}

func generate(certFile, keyFile, host string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	names := []string{"localhost"}
	if host != "" && host != "localhost" {
		names = append(names, host)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"Fairlead (generated)"}},
		NotBefore:             now.Add(-time.Hour), // clocks differ
		NotAfter:              now.Add(generatedLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: a certificate without its key would be an error at the next start.
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der, 0o644)
}

// writePEM replaces a file at once, so that a crash leaves the old one or the new one.
func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// ServerTLS builds the tls.Config of a listener. http2 tells whether "h2" is offered by ALPN.
func (c *TLSConfig) ServerTLS(k *Keypair, http2 bool) (*tls.Config, error) {
	conf := &tls.Config{GetCertificate: k.Get, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1", "http/1.0"}}
	if http2 {
		conf.NextProtos = []string{"h2", "http/1.1", "http/1.0"}
	}
	switch c.MinVersion {
	case "", "1.2":
	case "1.3":
		conf.MinVersion = tls.VersionTLS13
	default:
		return nil, fmt.Errorf("minVersion %q: want 1.2 or 1.3", c.MinVersion)
	}
	switch c.ClientAuth {
	case "", "none":
		return conf, nil
	case "want":
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	case "need":
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return nil, fmt.Errorf("clientAuth %q: want none, want or need", c.ClientAuth)
	}
	pool, err := readCAs(c.ClientCAFile)
	if err != nil {
		return nil, err
	}
	conf.ClientCAs = pool
	return conf, nil
}

func readCAs(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("clientCAFile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("clientCAFile %s: no certificate in it", file)
	}
	return pool, nil
}
