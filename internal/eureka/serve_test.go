package eureka

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

// authority makes certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
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
	return &authority{cert, key, file}
}

func (a *authority) issue(t testing.TB, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// benchCertificate is a file with a certificate and its key.
func benchCertificate(t testing.TB) string {
	t.Helper()
	cert := newAuthority(t).issue(t, "registry")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pair.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startServe serves r with TLS and returns the address.
func startServe(t *testing.T, r *Registry, ca *authority) string {
	t.Helper()
	cert := ca.issue(t, "registry")
	conf, err := r.cfg.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil })
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(ctx, ln, r.Handler(), conf, ServeOptions{Log: quiet()}); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ln.Addr().String()
}

// get asks for the applications, over TLS with a certificate or nil.
func get(t *testing.T, url string, ca *authority, cert *tls.Certificate, header ...string) (int, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	conf := &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}}
	if cert != nil { // also where the server's list of authorities does not name its issuer
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	tr := &http.Transport{TLSClientConfig: conf}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.ProtoMajor != 1 {
		t.Errorf("%s: %s", url, resp.Proto)
	}
	return resp.StatusCode, err
}

func TestOnePortForBoth(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	addr := startServe(t, NewRegistry(Config{}, quiet()), ca)
	for _, url := range []string{"http://" + addr + "/eureka/apps", "https://" + addr + "/eureka/apps"} {
		if status, err := get(t, url, ca, nil); status != 200 || err != nil {
			t.Errorf("%s: %d %v", url, status, err)
		}
	}
	// A client that always presents a certificate is not turned away for it.
	if status, err := get(t, "https://"+addr+"/eureka/apps", ca, other.issue(t, "service")); status != 200 || err != nil {
		t.Errorf("with a certificate nobody asked for: %d %v", status, err)
	}
}

func TestClientCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cfg := Config{TLS: TLSConfig{ClientCAFile: ca.file}, Auth: AuthConfig{ClientCertificates: true}}
	addr := startServe(t, NewRegistry(cfg, quiet()), ca)
	url := "https://" + addr + "/eureka/apps"
	if status, err := get(t, url, ca, ca.issue(t, "service")); status != 200 || err != nil {
		t.Errorf("with a certificate: %d %v", status, err)
	}
	if status, err := get(t, url, ca, nil); status != 403 || err != nil {
		t.Errorf("without: %d %v", status, err)
	}
	if status, err := get(t, strings.Replace(url, "https", "http", 1), ca, nil); status != 403 || err != nil {
		t.Errorf("plain: %d %v", status, err)
	}
	if status, err := get(t, url, ca, other.issue(t, "service")); err == nil {
		t.Errorf("with another authority's certificate: %d", status)
	}

	cfg.Auth.BasicConfig = auth.BasicConfig{UsersFile: "x"}
	r := NewRegistry(cfg, quiet())
	r.SetUsers(testUsers(t, "ann"))
	url = "https://" + startServe(t, r, ca) + "/eureka/apps"
	if status, err := get(t, url, ca, nil); status != 401 || err != nil {
		t.Errorf("neither: %d %v", status, err)
	}
	if status, err := get(t, url, ca, nil, "Authorization: Basic YW5uOnBhc3M="); status != 200 || err != nil {
		t.Errorf("user: %d %v", status, err)
	}
	if status, err := get(t, url, ca, ca.issue(t, "service")); status != 200 || err != nil {
		t.Errorf("certificate: %d %v", status, err)
	}
}

// pipes is a listener of net.Pipe connections: their peer is on no machine, so not on loopback, and their
// deadlines keep synctest's time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// overPipes runs Serve in a bubble.
func overPipes(t *testing.T, conf *tls.Config, opts ServeOptions, test func(t *testing.T, p *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		r := NewRegistry(Config{}, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- Serve(ctx, p, r.Handler(), conf, opts) }()
		test(t, p)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

const rawRequest = "GET /eureka/apps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// ask writes from another goroutine, since pipes have no buffer, and reads the answer to its end.
func ask(t *testing.T, c net.Conn, request string) string {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.WriteString(c, request) })
	answer, _ := io.ReadAll(c) // a reset or a deadline ends it too
	_ = c.Close()
	wg.Wait()
	return string(answer)
}

func TestPlainFromOtherMachinesIsRefused(t *testing.T) {
	overPipes(t, nil, ServeOptions{}, func(t *testing.T, p *pipes) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(ask(t, p.dial(), rawRequest))), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 403 || err != nil || !strings.Contains(string(body), "HTTPS") || resp.ContentLength != int64(len(body)) {
			t.Errorf("%d %q %v", resp.StatusCode, body, err)
		}
		if got := ask(t, p.dial(), "\x16\x03\x01\x00\x05hello"); got != "" {
			t.Errorf("TLS where none is served: %q", got)
		}
	})
	overPipes(t, nil, ServeOptions{Plain: true}, func(t *testing.T, p *pipes) {
		if got := ask(t, p.dial(), rawRequest); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("with plain: %q", got)
		}
	})
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	for _, tt := range []struct {
		sent  string
		after time.Duration
	}{
		{"", firstByteTimeout},
		{"\x16", headTimeout},
		{"GET /", headTimeout},
	} {
		overPipes(t, &tls.Config{}, ServeOptions{Plain: true}, func(t *testing.T, p *pipes) {
			begin := time.Now()
			ask(t, p.dial(), tt.sent)
			if got := time.Since(begin); got != tt.after {
				t.Errorf("%q: closed after %v, want %v", tt.sent, got, tt.after)
			}
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	overPipes(t, nil, ServeOptions{Plain: true, Connections: 2}, func(t *testing.T, p *pipes) {
		a, b := p.dial(), p.dial()
		if got := ask(t, p.dial(), rawRequest); got != "" {
			t.Errorf("the third was served: %q", got)
		}
		_ = a.Close()
		synctest.Wait()
		if got := ask(t, p.dial(), rawRequest); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("after one left: %q", got)
		}
		_ = b.Close()
	})
}

func TestStopEndsSilentConnectionsAtOnce(t *testing.T) {
	var c net.Conn
	var begin time.Time
	overPipes(t, nil, ServeOptions{}, func(t *testing.T, p *pipes) {
		c, begin = p.dial(), time.Now()
		synctest.Wait()
		t.Cleanup(func() {
			if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(begin) != 0 {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
}

func TestListenerThatFailsEndsServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := Serve(t.Context(), ln, http.NotFoundHandler(), nil, ServeOptions{}); err == nil {
		t.Error("no error")
	}
}
