package proxy

import (
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// An admission is by what a TLS connection has come in. Later tables may say other things of its host.
type admission struct {
	serverName string      // as the client asked, in lower case; "": none
	host       *route.Host // of the table of the handshake

	good atomic.Pointer[route.HostTLS] // the last of other tables that asks for nothing else; nil: none was asked
}

// holds tells whether host, of a later table, asks no more of its clients than they have shown in the handshake.
func (a *admission) holds(host *route.Host) bool {
	now, then := host.TLS, a.host.TLS
	switch {
	case now == nil:
		return false
	case now == then || now == a.good.Load():
		return true
	case now.ClientCAs == nil || now.AllowInsecure:
	case then.ClientCAs == nil || then.AllowInsecure || !now.ClientCAs.Equal(then.ClientCAs) || !slices.Equal(now.ClientNames, then.ClientNames):
		return false
	}
	a.good.Store(now)
	return true
}

// carries tells whether what a host decrypts is carried to a backend as it is, and no HTTP to us.
func carries(h *route.Host) bool { return h.Raw || len(h.Streams) > 0 }

// listenerTLS is the configuration with which each handshake on a listener of transport TLS begins: the host's follows from the
// server name. Session tickets are the listener's, and their keys change by themselves.
func (s *Server) listenerTLS(l *listener) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			f := l.dynamic.find(s.Table())
			name := strings.ToLower(hello.ServerName)
			host := f.host(name)
			if host == nil || host.TLS == nil {
				return unrecognized, nil
			}
			loop.Note(hello.Context(), &admission{serverName: name, host: host})
			return f.config(host), nil
		},
	}
}

// unrecognized has no certificate: crypto/tls says unrecognized_name (RFC 6066, section 3).
var unrecognized = &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}

// host is the host for a name, nil if there is none.
func (f *found) host(name string) *route.Host {
	if f.at == nil {
		return nil
	}
	return f.at.Host(name)
}

// config is the host's, made when it is first asked for.
func (f *found) config(host *route.Host) *tls.Config {
	if c, ok := f.configs.Load(host); ok {
		return c.(*tls.Config)
	}
	c, _ := f.configs.LoadOrStore(host, hostConfig(host))
	return c.(*tls.Config)
}

// hostConfig is how TLS ends at a host.
func hostConfig(host *route.Host) *tls.Config {
	h := host.TLS
	conf := &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificateFor(h.Certificates, hello)
		},
		MinVersion: max(h.MinVersion, tls.VersionTLS12), CipherSuites: h.CipherSuites,
	}
	if !carries(host) {
		conf.NextProtos = []string{"h2", "http/1.1", "http/1.0"}
	}
	if h.ClientCAs == nil {
		return conf
	}
	// A ticket would stand for the certificate that another handshake has seen, perhaps another host's.
	conf.SessionTicketsDisabled = true
	conf.ClientCAs, conf.ClientAuth = h.ClientCAs, tls.RequireAndVerifyClientCert
	if h.AllowInsecure {
		conf.ClientAuth = tls.RequestClientCert // whatever it is, nothing is made of it
	} else if len(h.ClientNames) > 0 {
		conf.VerifyConnection = func(state tls.ConnectionState) error { return checkClientName(&state, h.ClientNames) }
	}
	return conf
}

var (
	errNoHost        = errors.New("no host for the server name")
	errNoCertificate = errors.New("the host has no certificate")
	errClientName    = errors.New("client certificate: none of its names is allowed")
)

// certificateFor chooses among certificates: one that the client can verify and that has the name before one that has not, and
// ECDSA before RSA, which costs more.
func certificateFor(all []*tls.Certificate, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(all) == 0 {
		return nil, errNoCertificate
	}
	if len(all) == 1 {
		return all[0], nil
	}
	anyName := *hello
	anyName.ServerName = ""
	best, points := all[0], 0
	for _, c := range all {
		if anyName.SupportsCertificate(c) != nil {
			continue
		}
		p := 1
		if _, ok := c.PrivateKey.(*ecdsa.PrivateKey); ok {
			p++
		}
		if hello.SupportsCertificate(c) == nil {
			p += 2
		}
		if p > points {
			best, points = c, p
		}
	}
	return best, nil
}

// checkClientName asks that a verified client's certificate has one of the names.
func checkClientName(state *tls.ConnectionState, names []string) error {
	if len(state.PeerCertificates) == 0 {
		return errClientName
	}
	leaf := state.PeerCertificates[0]
	for _, name := range names {
		for _, has := range leaf.DNSNames {
			if strings.EqualFold(has, name) {
				return nil
			}
		}
		for _, has := range leaf.URIs {
			if has.String() == name {
				return nil
			}
		}
		for _, has := range leaf.IPAddresses {
			if has.String() == name {
				return nil
			}
		}
		if slices.Contains(leaf.EmailAddresses, name) {
			return nil
		}
	}
	return errClientName
}

// peek looks at how a TLS connection begins, where its listener passes some connections through. host is the one that the
// connection is to be passed through for; nil: TLS ends here, or is refused.
func (l *listener) peek(f *found, r io.Reader) (read []byte, name string, host *route.Host, err error) {
	if !f.passes {
		return nil, "", nil, nil
	}
	read, name, err = readHello(r)
	switch {
	case errors.Is(err, errNoHello):
		return read, "", nil, nil // crypto/tls says what is wrong with it
	case err != nil:
		return nil, "", nil, err
	}
	switch host = f.host(name); {
	case host == nil: // the Gateway API's conformance suite takes no alert for a refusal where TLS is passed through
		return nil, "", nil, errNoHost
	case host.TLS != nil:
		host = nil
	}
	return read, name, host, nil
}
