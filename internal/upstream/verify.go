package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TLSSettings are how the endpoints of one service are reached over TLS (Gateway API, BackendTLSPolicy). A service that
// has them is judged by them alone, whatever upstream.tls says of verification.
type TLSSettings struct {
	// ServerName is sent as SNI, and the certificate must be valid for it unless DNSNames or URIs are set. Empty: the
	// endpoint's host.
	ServerName string

	// RootCAs are the authorities that may have signed the certificate; an empty pool refuses every endpoint. Nil: the
	// Dialer's, which are upstream.tls.caFile or the system's.
	RootCAs *x509.CertPool

	// DNSNames and URIs are subject alternative names, of which the certificate must have one; they replace ServerName for
	// this. A DNS name is matched as RFC 9525 says; "*.example.com" is met by itself, and by names one label below. A URI
	// (SPIFFE and others) must be equal.
	DNSNames []string
	URIs     []string

	// Certificate is presented to endpoints that ask for one. Nil: none.
	Certificate *tls.Certificate

	// Insecure accepts any certificate with any name. Danger: as upstream.tls.insecureSkipVerify.
	Insecure bool
}

func (s *TLSSettings) equal(o *TLSSettings) bool {
	if s == nil || o == nil || s == o {
		return s == o
	}
	return s.ServerName == o.ServerName && s.Insecure == o.Insecure && s.RootCAs.Equal(o.RootCAs) &&
		slices.Equal(s.DNSNames, o.DNSNames) && slices.Equal(s.URIs, o.URIs) && equalCertificate(s.Certificate, o.Certificate)
}

// equalCertificate compares chains: a chain has one key.
func equalCertificate(a, b *tls.Certificate) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
}

// security is TLSSettings in use: the same value for as long as a service has equal ones.
type security struct {
	*TLSSettings
	sessions tls.ClientSessionCache // never shared: a resumed session carries what it was verified by, and as whom
}

func newSecurity(s *TLSSettings) *security {
	if s == nil {
		return nil
	}
	return &security{s, tls.NewLRUClientSessionCache(sessionCacheSize)}
}

// apply changes conf, which is the Dialer's for an endpoint at host, to what the service wants.
func (s *security) apply(conf *tls.Config, host string) {
	if conf.ServerName = s.ServerName; conf.ServerName == "" {
		conf.ServerName = host
	}
	if s.RootCAs != nil {
		conf.RootCAs = s.RootCAs
	}
	conf.Certificates, conf.GetClientCertificate = nil, nil
	if s.Certificate != nil {
		conf.Certificates = []tls.Certificate{*s.Certificate}
	}
	conf.ClientSessionCache = s.sessions
	conf.VerifyPeerCertificate, conf.VerifyConnection = nil, nil
	conf.InsecureSkipVerify = true // crypto/tls knows one name only; and so a resumed session is judged anew too
	if !s.Insecure {
		roots, name := conf.RootCAs, conf.ServerName
		conf.VerifyConnection = func(state tls.ConnectionState) error { return s.verify(state.PeerCertificates, roots, name) }
	}
}

// verify judges the chain that an endpoint has sent, its own certificate first.
func (s *security) verify(chain []*x509.Certificate, roots *x509.CertPool, name string) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	if len(s.DNSNames) == 0 && len(s.URIs) == 0 {
		if err := leaf.VerifyHostname(name); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
		}
		return nil
	}
	for _, want := range s.DNSNames {
		if hasDNSName(leaf, want) {
			return nil
		}
	}
	for _, u := range leaf.URIs {
		if slices.Contains(s.URIs, u.String()) {
			return nil
		}
	}
	return &tls.CertificateVerificationError{
		UnverifiedCertificates: chain,
		Err:                    fmt.Errorf("certificate has none of the names %s", strings.Join(slices.Concat(s.DNSNames, s.URIs), ", ")),
	}
}

// hasDNSName tells whether c is valid for want, or for a name that the wildcard want stands for.
func hasDNSName(c *x509.Certificate, want string) bool {
	below, wild := strings.CutPrefix(want, "*.")
	if !wild {
		return c.VerifyHostname(want) == nil
	}
	return slices.ContainsFunc(c.DNSNames, func(name string) bool {
		_, rest, ok := strings.Cut(name, ".")
		return ok && strings.EqualFold(rest, below)
	})
}
