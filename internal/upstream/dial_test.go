package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// listen serves each connection with serve, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go acceptAll(ln, serve, done)
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().(*net.TCPAddr).Port
}

func acceptAll(ln net.Listener, serve func(net.Conn), done chan<- struct{}) {
	defer close(done)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(5 * time.Second)) // a connection that the dialer leaks ends too
		serve(c)
		c.Close()
	}
}

// closedPort is a port on which nothing listens.
func closedPort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func endpoint(scheme, host string, port int) *Endpoint {
	return newEndpoint("svc", Spec{ID: "id", Scheme: scheme, Host: host, Port: port}, nil)
}

func echo(c net.Conn) { io.Copy(c, c) } //nolint:errcheck // the other side checks what comes back

func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
		t.Fatalf("echo: %q, %v", got, err)
	}
}

// wantDialError dials and wants a *DialError of that Op.
func wantDialError(t *testing.T, d *Dialer, ctx context.Context, e *Endpoint, op Op) *DialError {
	t.Helper()
	c, err := d.Dial(ctx, e)
	if err == nil {
		c.Close()
		t.Fatalf("dial worked, want an error of %s", op)
	}
	var de *DialError
	if !errors.As(err, &de) || de.Op != op {
		t.Fatalf("error %v, want one of %s", err, op)
	}
	if !strings.Contains(err.Error(), e.Address()) {
		t.Errorf("error %q does not name the endpoint", err)
	}
	return de
}

func TestDialPlain(t *testing.T) {
	c, err := new(Dialer).Dial(t.Context(), endpoint("http", "127.0.0.1", listen(t, echo)))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("connection is a %T, want the socket itself", c)
	}
	roundTrip(t, c)
}

func TestDialRefused(t *testing.T) {
	de := wantDialError(t, new(Dialer), t.Context(), endpoint("https", "127.0.0.1", closedPort(t)), OpConnect)
	if !de.Refused() || de.Timeout() {
		t.Errorf("refused %t, timeout %t, want true and false", de.Refused(), de.Timeout())
	}
}

func TestDialCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	de := wantDialError(t, new(Dialer), ctx, endpoint("http", "127.0.0.1", closedPort(t)), OpConnect)
	if !errors.Is(de, context.Canceled) || de.Timeout() {
		t.Errorf("%v: canceled %t, timeout %t", de, errors.Is(de, context.Canceled), de.Timeout())
	}
}

func TestDialUnresolved(t *testing.T) {
	d := &Dialer{Resolver: nameServer(t, nil)}
	de := wantDialError(t, d, t.Context(), endpoint("http", "gone.test", 80), OpResolve)
	var dns *net.DNSError
	if !errors.As(de, &dns) || !dns.IsNotFound || de.Timeout() || de.Refused() {
		t.Errorf("%v: want a name that is not found", de)
	}
}

func TestDialResolverSilent(t *testing.T) {
	d := &Dialer{
		Timeout: 50 * time.Millisecond,
		Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}},
	}
	de := wantDialError(t, d, t.Context(), endpoint("http", "slow.test", 80), OpResolve)
	if !de.Timeout() {
		t.Errorf("%v: want a timeout", de)
	}
}

// TestDialTriesEveryAddress has a name with three addresses; only the last one is served.
func TestDialTriesEveryAddress(t *testing.T) {
	port := listen(t, echo)
	d := &Dialer{Resolver: nameServer(t, map[string][][4]byte{
		"multi.test.": {{127, 0, 0, 3}, {127, 0, 0, 2}, {127, 0, 0, 1}},
	})}
	e := endpoint("http", "multi.test", port)
	for range 2 { // the name is resolved for each dial
		c, err := d.Dial(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, c)
	}
}

// TestDialResolvesEachTime moves a name to another address between two dials.
func TestDialResolvesEachTime(t *testing.T) {
	names := map[string][][4]byte{"svc.test.": {{127, 0, 0, 2}}}
	d := &Dialer{Resolver: nameServer(t, names)}
	e := endpoint("http", "svc.test", listen(t, echo))
	wantDialError(t, d, t.Context(), e, OpConnect)
	names["svc.test."][0] = [4]byte{127, 0, 0, 1}
	c, err := d.Dial(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
}

// nameServer is a resolver that knows names, all of them A records, over an in-memory stream.
func nameServer(t *testing.T, names map[string][][4]byte) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answer(server, names)
		return client, nil
	}}
}

// answer serves one DNS connection; a net.Pipe is no packet connection, so it speaks DNS over TCP.
func answer(c net.Conn, names map[string][][4]byte) {
	defer c.Close()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		query := make([]byte, int(head[0])<<8|int(head[1]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil {
			return
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RCode: dnsmessage.RCodeNameError},
			Questions: m.Questions,
		}
		if addresses, ok := names[q.Name.String()]; ok {
			reply.RCode = dnsmessage.RCodeSuccess
			if q.Type == dnsmessage.TypeA {
				for _, a := range addresses {
					reply.Answers = append(reply.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
						Body:   &dnsmessage.AResource{A: a},
					})
				}
			}
		}
		packed, err := reply.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...)); err != nil {
			return
		}
	}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, file: file}
}

func (a *authority) issue(t *testing.T, ends time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "service"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: ends,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else if strings.Contains(name, "://") {
			u, err := url.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			tmpl.URIs = append(tmpl.URIs, u)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsEcho answers TLS connections with conf.
func tlsEcho(conf *tls.Config) func(net.Conn) {
	return func(c net.Conn) {
		tc := tls.Server(c, conf)
		echo(tc)
		tc.Close() //nolint:errcheck // close_notify is a courtesy
	}
}

func TestDialTLS(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	var hostname x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError

	tests := []struct {
		name string
		cert tls.Certificate
		max  uint16
		skip bool
		want any // error target; nil: it works
	}{
		{name: "right", cert: ca.issue(t, later, "127.0.0.1")},
		{name: "right over 1.2", cert: ca.issue(t, later, "127.0.0.1"), max: tls.VersionTLS12},
		{name: "wrong name", cert: ca.issue(t, later, "other.test", "127.0.0.2"), want: &hostname},
		{name: "expired", cert: ca.issue(t, past, "127.0.0.1"), want: &invalid},
		{name: "other authority", cert: stranger.issue(t, later, "127.0.0.1"), want: &unknown},
		{name: "all wrong, not verified", cert: stranger.issue(t, past, "other.test"), skip: true},
		{name: "too old a version", cert: ca.issue(t, later, "127.0.0.1"), max: tls.VersionTLS11, want: new(net.Error)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := &tls.Config{Certificates: []tls.Certificate{tt.cert}, MinVersion: tls.VersionTLS10, MaxVersion: tt.max}
			port := listen(t, tlsEcho(conf))
			tc, err := TLSConfig{CAFile: ca.file, InsecureSkipVerify: tt.skip}.Load(slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			d := &Dialer{TLS: tc}
			e := endpoint("https", "127.0.0.1", port)
			if tt.want != nil {
				de := wantDialError(t, d, t.Context(), e, OpTLS)
				if !errors.As(de, tt.want) || de.Timeout() {
					t.Errorf("%v: cause %T, want %T", de, de.Err, tt.want)
				}
				return
			}
			for range 2 { // the second resumes the first's session
				c, err := d.Dial(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, c)
			}
		})
	}
}

func TestDialTLSOffersOnlyHTTP1(t *testing.T) {
	ca := newAuthority(t, "ca")
	offered := make(chan *tls.ClientHelloInfo, 1)
	port := listen(t, tlsEcho(&tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour), "localhost")},
		NextProtos:   []string{"h2", "http/1.1"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			offered <- h
			return nil, nil
		},
	}))
	conf, err := TLSConfig{CAFile: ca.file}.Load(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&Dialer{TLS: conf}).Dial(t.Context(), endpoint("https", "localhost", port))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	hello := <-offered
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != "http/1.1" || hello.ServerName != "localhost" {
		t.Errorf("offered %v to %q, want http/1.1 alone to localhost", hello.SupportedProtos, hello.ServerName)
	}
	if conf.ServerName != "" {
		t.Errorf("the shared configuration was written: server name %q", conf.ServerName)
	}
}

// TestDialTLSRefusesEarlyBytes has a service, or someone on the way, speak before TLS does.
func TestDialTLSRefusesEarlyBytes(t *testing.T) {
	ended := make(chan error, 1)
	port := listen(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n") //nolint:errcheck // the dialer may be gone
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	wantDialError(t, new(Dialer), t.Context(), endpoint("https", "127.0.0.1", port), OpTLS)
	var late net.Error
	if err := <-ended; errors.As(err, &late) && late.Timeout() {
		t.Errorf("the connection was not closed: %v", err)
	}
}

func TestDialTLSSilentServer(t *testing.T) {
	port := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) }) //nolint:errcheck // it only has to be silent
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	de := wantDialError(t, new(Dialer), ctx, endpoint("https", "127.0.0.1", port), OpTLS)
	if !de.Timeout() {
		t.Errorf("%v: want a timeout", de)
	}
}

func TestTLSConfigLoad(t *testing.T) {
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{notPEM, notPEM + ".missing"} {
		if _, err := (TLSConfig{CAFile: file}).Load(log); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v, want one that names the file", file, err)
		}
	}
	if conf, err := (TLSConfig{}).Load(log); err != nil || conf.RootCAs != nil || conf.InsecureSkipVerify {
		t.Errorf("zero value: %v, want the system's authorities", err)
	}
	if logged.Len() > 0 {
		t.Errorf("logged %q, want nothing", &logged)
	}
	if _, err := (TLSConfig{InsecureSkipVerify: true}).Load(log); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "not verified"); n != 1 {
		t.Errorf("the danger was logged %d times, want once", n)
	}
}
