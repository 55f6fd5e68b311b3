package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed load conf
var files embed.FS

// serviceHosts are the addresses of the echo service: one address has too few ports for thousands of handshakes a second.
func serviceHosts() []string {
	return []string{"127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4"}
}

// prepare installs and builds what is missing and starts the echo service.
func (b *bench) prepare(ctx context.Context, proxies []proxy) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil { // children inherit it
		return err
	}
	b.files = int(min(limit.Max, 1<<20))
	b.sessions = min(b.sessions, (b.files-1000)/2)
	if err := b.install(ctx, proxies); err != nil {
		return err
	}
	if err := b.compile(ctx); err != nil {
		return err
	}
	if err := b.certificate(); err != nil {
		return err
	}
	return b.startService(ctx)
}

// install gets what is missing from the distribution. No service is started by it.
func (b *bench) install(ctx context.Context, proxies []proxy) error {
	needs := [][2]string{{"gcc", "gcc libc6-dev"}, {"/usr/include/openssl/ssl.h", "libssl-dev"}}
	for _, p := range proxies {
		if p.pkg != "" {
			needs = append(needs, [2]string{p.name, p.pkg})
		}
	}
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/usr/local/sbin")
	var missing []string
	for _, n := range needs {
		_, err := exec.LookPath(n[0])
		if filepath.IsAbs(n[0]) {
			_, err = os.Stat(n[0])
		}
		if err != nil {
			missing = append(missing, strings.Fields(n[1])...)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages missing: %s: install them, or run as root", strings.Join(missing, " "))
	}
	const policy = "/usr/sbin/policy-rc.d" // Debian asks it whether to start what was installed
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return err
		}
		defer os.Remove(policy)
	}
	fmt.Fprintf(b.log, "bench: installing %s\n", strings.Join(missing, " "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-qy", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

func (b *bench) compile(ctx context.Context) error {
	if err := os.CopyFS(b.dir, files); err != nil {
		return err
	}
	for name, args := range map[string]string{
		"wsbe": "wsbe.c http.c -lcrypto -lpthread",
		"wslg": "wslg.c worker.c transport.c http.c cpu.c -lssl -lcrypto -lpthread",
	} {
		cmd := exec.CommandContext(ctx, "gcc", append([]string{"-O2", "-Wall", "-o", b.path(name)}, strings.Fields(args)...)...)
		cmd.Dir = b.path("load")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("gcc %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// certificate makes the one that all proxies use: ECDSA P-256.
func (b *bench) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return errors.Join(
		os.WriteFile(b.path("cert.pem"), cert, 0o600),
		os.WriteFile(b.path("key.pem"), secret, 0o600),
		os.WriteFile(b.path("both.pem"), slices.Concat(cert, secret), 0o600))
}

// serviceThreads is also the number of threads of the generator: with the proxy they share the cores.
func (b *bench) serviceThreads() int { return max(1, b.cores/4) }

func (b *bench) startService(ctx context.Context) error {
	port, err := freePort(serviceHosts()[0])
	if err != nil {
		return err
	}
	args := []string{b.path("wsbe"), "-p", strconv.Itoa(port), "-j", strconv.Itoa(b.serviceThreads())}
	b.wsbe, err = b.spawn("wsbe", b.placed(false, append(args, serviceHosts()...))...)
	if err != nil {
		return err
	}
	for _, host := range serviceHosts() {
		b.service = append(b.service, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return b.ready(ctx, b.wsbe, "http://"+b.service[len(b.service)-1]+"/")
}

// freePort finds a port that was free on host a moment ago.
func freePort(host string) (int, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}
