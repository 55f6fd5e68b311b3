package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"
)

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// secured makes a service of one https endpoint with those settings.
func secured(p *Pool, host string, port int, settings *TLSSettings) *Endpoint {
	spec := Spec{ID: "id", Scheme: "https", Host: host, Port: port}
	return p.ServiceWith("svc", []Spec{spec}, Options{TLS: settings}).Endpoints[0]
}

func TestDialWithTLSSettings(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	const spiffe = "spiffe://mesh.test/ns/a/sa/b"

	for _, tt := range []struct {
		name     string
		cert     tls.Certificate
		settings TLSSettings
		fails    bool
	}{
		{"the host's name", ca.issue(t, later, "127.0.0.1"), TLSSettings{}, false},
		{"server name", ca.issue(t, later, "a.test"), TLSSettings{ServerName: "a.test"}, false},
		{"another server name", ca.issue(t, later, "b.test"), TLSSettings{ServerName: "a.test"}, true},
		{"the host's name is not enough", ca.issue(t, later, "127.0.0.1"), TLSSettings{ServerName: "a.test"}, true},
		{"alternative name", ca.issue(t, later, "b.test"), TLSSettings{ServerName: "a.test", DNSNames: []string{"c.test", "b.test"}}, false},
		{"server name beside other names", ca.issue(t, later, "a.test"), TLSSettings{ServerName: "a.test", DNSNames: []string{"b.test"}}, true},
		{"wildcard in the certificate", ca.issue(t, later, "*.b.test"), TLSSettings{DNSNames: []string{"x.b.test"}}, false},
		{"wildcard wanted, name", ca.issue(t, later, "X.b.test"), TLSSettings{DNSNames: []string{"*.b.test"}}, false},
		{"wildcard wanted, itself", ca.issue(t, later, "*.b.test"), TLSSettings{DNSNames: []string{"*.b.test"}}, false},
		{"wildcard wanted, two labels", ca.issue(t, later, "y.x.b.test"), TLSSettings{DNSNames: []string{"*.b.test"}}, true},
		{"URI", ca.issue(t, later, spiffe), TLSSettings{URIs: []string{"spiffe://other.test/x", spiffe}}, false},
		{"another URI", ca.issue(t, later, spiffe+"2"), TLSSettings{URIs: []string{spiffe}}, true},
		{"URI or name", ca.issue(t, later, "b.test"), TLSSettings{DNSNames: []string{"b.test"}, URIs: []string{spiffe}}, false},
		{"other authority", stranger.issue(t, later, "127.0.0.1"), TLSSettings{}, true},
		{"other authority, right URI", stranger.issue(t, later, spiffe), TLSSettings{URIs: []string{spiffe}}, true},
		{"expired", ca.issue(t, past, "127.0.0.1"), TLSSettings{}, true},
		{"no authority", ca.issue(t, later, "127.0.0.1"), TLSSettings{RootCAs: x509.NewCertPool()}, true},
		{"insecure", stranger.issue(t, past, "b.test"), TLSSettings{Insecure: true, DNSNames: []string{"a.test"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := listen(t, tlsEcho(&tls.Config{Certificates: []tls.Certificate{tt.cert}}))
			if tt.settings.RootCAs == nil {
				tt.settings.RootCAs = ca.pool()
			}
			e := secured(NewPool(), "127.0.0.1", port, &tt.settings)
			for range 2 { // the second may resume the first's session
				c, err := new(Dialer).Dial(t.Context(), e)
				if !tt.fails {
					if err != nil {
						t.Fatal(err)
					}
					roundTrip(t, c)
					continue
				}
				var de *DialError
				var cause *tls.CertificateVerificationError
				if !errors.As(err, &de) || de.Op != OpTLS || !errors.As(err, &cause) {
					t.Fatalf("%v, want a certificate that is refused", err)
				}
			}
		})
	}
}

func TestTLSSettingsDoNotHearTheDialer(t *testing.T) {
	ca := newAuthority(t, "ca")
	port := listen(t, tlsEcho(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour), "other.test")}}))
	careless, err := TLSConfig{InsecureSkipVerify: true}.Load(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := secured(NewPool(), "127.0.0.1", port, &TLSSettings{RootCAs: ca.pool()})
	wantDialError(t, &Dialer{TLS: careless}, t.Context(), e, OpTLS)

	own, err := TLSConfig{CAFile: ca.file}.Load(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e = secured(NewPool(), "127.0.0.1", port, &TLSSettings{ServerName: "other.test"})
	c, err := (&Dialer{TLS: own}).Dial(t.Context(), e)
	if err != nil {
		t.Fatalf("without authorities of their own the dialer's hold: %v", err)
	}
	roundTrip(t, c)
}

// TestClientCertificate changes it between two dials: the endpoint must see the new one, not a resumed session.
func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	later := time.Now().Add(time.Hour)
	seen := make(chan []string, 1)
	conf := &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, later, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
		NextProtos: []string{"h2", "http/1.1"},
	}
	port := listen(t, func(c net.Conn) {
		tc := tls.Server(c, conf)
		if tc.Handshake() == nil {
			state := tc.ConnectionState()
			seen <- append(slices.Clone(state.PeerCertificates[0].DNSNames), state.NegotiatedProtocol)
		}
		echo(tc)
	})
	p := NewPool()
	for _, name := range []string{"one.test", "two.test"} {
		cert := ca.issue(t, later, name)
		e := secured(p, "127.0.0.1", port, &TLSSettings{RootCAs: ca.pool(), Certificate: &cert})
		for range 2 {
			c, err := (&Dialer{ALPN: []string{"h2"}}).Dial(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, c)
			if got := <-seen; !slices.Equal(got, []string{name, "h2"}) {
				t.Errorf("the endpoint saw %q, want %s over h2", got, name)
			}
		}
	}
}

func TestServiceOptions(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert := ca.issue(t, time.Now().Add(time.Hour), "client.test")
	options := func() Options {
		again := cert
		return Options{Protocol: H2, Probe: Probe{Kind: TCPProbe}, TLS: &TLSSettings{
			ServerName: "a.test", RootCAs: ca.pool(), DNSNames: []string{"a.test"}, URIs: []string{"a://b"}, Certificate: &again,
		}}
	}
	p := NewPool()
	first := p.ServiceWith("svc", specs(2), options())
	e := first.Endpoints[0]
	if first.Protocol != H2 || e.TLS() == nil || e.TLS().ServerName != "a.test" {
		t.Fatalf("service %+v, endpoint %+v: want the options that were given", first.Options, e.TLS())
	}
	settings := e.TLS()
	if again := p.ServiceWith("svc", specs(2), options()); again != first || e.TLS() != settings {
		t.Error("equal options gave another Service, or other settings")
	}
	for name, change := range map[string]func(*Options){
		"protocol":    func(o *Options) { o.Protocol = HTTP1 },
		"probe":       func(o *Options) { o.Probe.Port = 1 },
		"no TLS":      func(o *Options) { o.TLS = nil },
		"server name": func(o *Options) { o.TLS.ServerName = "b.test" },
		"authorities": func(o *Options) { o.TLS.RootCAs = newAuthority(t, "other").pool() },
		"names":       func(o *Options) { o.TLS.DNSNames = nil },
		"URIs":        func(o *Options) { o.TLS.URIs = []string{"a://c"} },
		"insecure":    func(o *Options) { o.TLS.Insecure = true },
		"certificate": func(o *Options) { o.TLS.Certificate = nil },
		"other certificate": func(o *Options) {
			other := ca.issue(t, time.Now().Add(time.Hour), "client.test")
			o.TLS.Certificate = &other
		},
	} {
		before := p.ServiceWith("svc", specs(2), options())
		changed := options()
		change(&changed)
		after := p.ServiceWith("svc", specs(2), changed)
		if after == before || after.Endpoints[0] != e {
			t.Errorf("%s: want another Service with the same endpoints", name)
		}
		if got := e.TLS(); (got == nil) != (changed.TLS == nil) || got != nil && !got.equal(changed.TLS) {
			t.Errorf("%s: the endpoint has not got the new settings", name)
		}
	}
}
