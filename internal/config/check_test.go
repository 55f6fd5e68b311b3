package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair makes a certificate and its key below dir.
func writePair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))),
		write(t, dir, name+"-key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// heads are the first lines of all errors; DIR stands for the directory of the files.
func heads(err error, dir string) string {
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(err.Error(), dir, "DIR")) {
		line = strings.TrimPrefix(line, "fairlead: ")
		if strings.HasPrefix(line, "f.yaml") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return strings.Join(all, "\n")
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a")
	writePair(t, dir, "b")
	write(t, dir, "junk.pem", "no PEM")
	write(t, dir, "users", "# none\n"+hash+"\n")
	write(t, dir, "none", "# none\n")
	write(t, dir, "bad", hash+"\nbob:plain\n")
	for _, tt := range []struct{ file, want string }{
		{"gateway: {listeners: [{address: ':1', tls: {certFile: DIR/a.pem, keyFile: DIR/a-key.pem, clientCAFile: DIR/b.pem, clientAuth: need}}]}", ""},
		{"upstream: {tls: {caFile: DIR/a.pem}}", ""},
		{"admin: {usersFile: DIR/users}", ""},
		{"registry: {address: ':0', tls: {certFile: DIR/a.pem, keyFile: DIR/a-key.pem, clientCAFile: DIR/b.pem}, auth: {clientCertificates: true}}", ""},
		{"registry: {enabled: false, address: ''}\ngateway: {listeners: [{address: '127.0.0.1:10011'}]}", ""},

		{"gateway:\n  listeners:\n  - {name: x, address: ':1'}\n  - {name: x, address: ':2'}", `f.yaml:4:12: gateway.listeners[1].name: "x" is the name of gateway.listeners[0] too`},
		{"gateway:\n  listeners:\n  - {address: ':1'}\n  - {address: ':2'}", `f.yaml:4:5: gateway.listeners[1].name: "http" is the name of gateway.listeners[0] too`},
		{"gateway:\n  listeners:\n  - {name: x, address: ':1'}\n  - {name: y, address: '127.0.0.1:1'}", "f.yaml:4:24: gateway.listeners[1].address: gateway.listeners[0].address (line 3) has the port 1 already"},
		{"gateway:\n  listeners:\n  - {name: x, address: '0.0.0.0:1'}\n  - {name: y, address: '[::]:1'}", "f.yaml:4:24: gateway.listeners[1].address: gateway.listeners[0].address (line 3) has the port 1 already"},
		{"gateway:\n  listeners:\n  - {name: x, address: '127.0.0.1:1'}\n  - {name: y, address: '127.0.0.2:1'}", ""},
		{"registry: {address: '127.0.0.1:10080'}", "f.yaml:1:21: registry.address: gateway.listeners[1].address (its default) has the port 10080 already"},
		{"gateway: {listeners: [{address: ':10011'}]}", "f.yaml:1:33: gateway.listeners[0].address: registry.address (its default) has the port 10011 already"},
		{"gateway: {listeners: [{name: x}]}", "f.yaml:1:23: gateway.listeners[0].address: is required"},
		{"gateway: {listeners: [{address: localhost}]}", `f.yaml:1:33: gateway.listeners[0].address: "localhost": missing port in address`},
		{"gateway: {listeners: [{address: '::1'}]}", `f.yaml:1:33: gateway.listeners[0].address: "::1": too many colons in address`},
		{"gateway: {listeners: [{address: ':65536'}]}", `f.yaml:1:33: gateway.listeners[0].address: ":65536": want a port from 0 to 65535`},
		{"gateway: {listeners: [{address: 'x:http'}]}", `f.yaml:1:33: gateway.listeners[0].address: "x:http": want a port from 0 to 65535`},
		{"registry: {address: nowhere}", `f.yaml:1:21: registry.address: "nowhere": missing port in address`},

		{"gateway: {listeners: [{address: ':1', tls: {certFile: x}}]}", "f.yaml:1:55: gateway.listeners[0].tls.certFile: has no keyFile"},
		{"gateway: {listeners: [{address: ':1', tls: {keyFile: x}}]}", "f.yaml:1:54: gateway.listeners[0].tls.keyFile: has no certFile"},
		{"gateway: {listeners: [{address: ':1', tls: {certFile: DIR/no, keyFile: DIR/a-key.pem}}]}", "f.yaml:1:55: gateway.listeners[0].tls.certFile: open DIR/no: no such file or directory"},
		{"gateway: {listeners: [{address: ':1', tls: {keyFile: DIR/no, certFile: DIR/a.pem}}]}", "f.yaml:1:54: gateway.listeners[0].tls.keyFile: open DIR/no: no such file or directory"},
		{
			"gateway: {listeners: [{address: ':1', tls: {certFile: DIR/a.pem, keyFile: DIR/b-key.pem}}]}",
			"f.yaml:1:55: gateway.listeners[0].tls.certFile: DIR/a.pem with DIR/b-key.pem: tls: private key does not match public key",
		},
		{
			"registry: {tls: {certFile: DIR/junk.pem, keyFile: DIR/b-key.pem}}",
			"f.yaml:1:28: registry.tls.certFile: DIR/junk.pem with DIR/b-key.pem: tls: failed to find any PEM data in certificate input",
		},
		{"gateway: {listeners: [{address: ':1', tls: {clientAuth: want}}]}", `f.yaml:1:57: gateway.listeners[0].tls.clientAuth: "want": lacks clientCAFile`},
		{"gateway: {listeners: [{address: ':1', tls: {clientAuth: maybe}}]}", `f.yaml:1:57: gateway.listeners[0].tls.clientAuth: "maybe": want none, want or need`},
		{"gateway: {listeners: [{address: ':1', tls: {clientCAFile: DIR/junk.pem}}]}", "f.yaml:1:59: gateway.listeners[0].tls.clientCAFile: DIR/junk.pem: no certificate in it"},
		{"gateway: {listeners: [{address: ':1', tls: {minVersion: 1.1}}]}", `f.yaml:1:57: gateway.listeners[0].tls.minVersion: "1.1": want 1.2 or 1.3`},
		{"registry: {auth: {clientCertificates: true}, tls: {clientCAFile: DIR/no}}", "f.yaml:1:66: registry.tls.clientCAFile: stat DIR/no: no such file or directory"},
		{"registry: {auth: {clientCertificates: true}}", "f.yaml:1:39: registry.auth.clientCertificates needs registry.tls.clientCAFile"},

		{"gateway: {cookieKeyFile: DIR/no}", "f.yaml:1:26: gateway.cookieKeyFile: open DIR/no: no such file or directory"},
		{"gateway: {cookieKeyFile: /dev/null}", "f.yaml:1:26: gateway.cookieKeyFile: /dev/null: want 16 to 4096 bytes"},
		{"gateway: {cookieKeyFile: DIR/a-key.pem}", ""},
		{"gateway: {trustedProxies: [10.0.0.1, 10.0.0.0/33, host]}", "f.yaml:1:38: gateway.trustedProxies[1]: \"10.0.0.0/33\" is neither a network nor an address\n" +
			"f.yaml:1:51: gateway.trustedProxies[2]: \"host\" is neither a network nor an address"},
		{"gateway: {shutdownTimeout: -1s}", "f.yaml:1:28: gateway.shutdownTimeout: -1s: want more than 0"},
		{"limits: {connections: -1, sessions: -2, headerBytes: 10}", "f.yaml:1:23: limits.connections: -1: want 0 (no limit) or more\n" +
			"f.yaml:1:37: limits.sessions: -2: want 0 (no limit) or more\nf.yaml:1:54: limits.headerBytes: 10B: want 1KiB or more"},
		{"limits: {requestRate: 100/s, requestBurst: 5, requestBody: 8MiB}", ""},
		{"limits: {requestRate: 100}", ""},
		{"limits: {requestRate: 1/d}", "f.yaml:1:23: limits.requestRate: rate \"1/d\": want a whole number per second, minute or hour, as 100/s, 600/m or 50/h"},
		{"limits: {requestBurst: -5}", "f.yaml:1:24: limits.requestBurst: -5: want 0 (no limit) or more"},
		{"limits: {requestBurst: 5}", "f.yaml:1:24: limits.requestBurst: has no requestRate"},
		{"gateway: {trustedProxies: ['::1'], listeners: [{address: ':1', proxyProtocol: true}]}", ""},
		{"gateway: {listeners: [{address: ':1', proxyProtocol: true}]}", "f.yaml:1:54: gateway.listeners[0].proxyProtocol: nobody is believed: gateway.trustedProxies is empty"},
		{"gateway: {listeners: [{address: ':1', redirectToHTTPS: true}, {address: ':2', tls: {}}]}", ""},
		{"gateway: {listeners: [{address: ':1', redirectToHTTPS: true}]}", "f.yaml:1:56: gateway.listeners[0].redirectToHTTPS: no listener has tls"},
		{"gateway: {listeners: [{address: ':1', redirectToHTTPS: true, tls: {}}]}", "f.yaml:1:56: gateway.listeners[0].redirectToHTTPS: the listener serves https itself"},
		{"upstream: {tls: {caFile: DIR/junk.pem}}", "f.yaml:1:26: upstream.tls.caFile DIR/junk.pem: no PEM certificate in it"},
		{"defaults: {auth: basic}", `f.yaml:1:18: defaults.auth: "basic": auth.basic has no users, so nobody could come in`},
		{"defaults: {auth: basic}\nauth: {basic: {usersFile: DIR/users}}", ""},
		{"dataDir: DIR/users", "f.yaml:1:10: dataDir: DIR/users: is not a directory"},
		{"dataDir: DIR/not/yet", ""},
		{"accessLog: {path: DIR/access.log}", ""},
		{"accessLog: {path: DIR}", "f.yaml:1:19: accessLog.path: DIR: is a directory"},
		{"accessLog: {path: DIR/no/access.log}", "f.yaml:1:19: accessLog.path: stat DIR/no: no such file or directory"},
		{"log: {level: loud, format: xml}", "f.yaml:1:14: log.level: \"loud\": want debug, info, warn or error\nf.yaml:1:28: log.format: \"xml\": want text or json"},
		{"admin: {usersFile: DIR/no}", "f.yaml:1:20: admin.usersFile: open DIR/no: no such file or directory"},
		{"auth: {basic: {usersFile: DIR/none}}", "f.yaml:1:27: auth.basic.usersFile: DIR/none: no user in it"},
		{"registry: {auth: {usersFile: DIR/bad}}", "f.yaml:1:30: registry.auth.usersFile: DIR/bad:2: user \"bob\": the hash is not bcrypt: make one with htpasswd -nB bob"},
		{"admin: {usersFile: DIR/users, users: ['" + hash + "']}", "f.yaml:1:20: admin.usersFile: DIR/users:2: user \"ada\" is there twice"},
	} {
		_, err := Parse("f.yaml", []byte(strings.ReplaceAll(tt.file, "DIR", dir)), env)
		have := ""
		if err != nil {
			have = heads(err, dir)
		}
		if have != shifted(tt.file, tt.want, dir) {
			t.Errorf("%s\nhave %s\nwant %s", tt.file, have, tt.want)
		}
	}
}

// shifted moves the columns in want, which are those of file with the word DIR in it, to
// where they are with dir instead. Rows with several errors have no DIR before the last.
func shifted(file, want, dir string) string {
	var line, column int
	if n, _ := fmt.Sscanf(want, "f.yaml:%d:%d:", &line, &column); n != 2 || line != 1 {
		return want
	}
	before := strings.Count(file[:column-1], "DIR")
	if before == 0 {
		return want
	}
	_, rest, _ := strings.Cut(strings.TrimPrefix(want, "f.yaml:"), ":")
	_, rest, _ = strings.Cut(rest, ":")
	return fmt.Sprintf("f.yaml:1:%d:%s", column+before*(len(dir)-len("DIR")), rest)
}
