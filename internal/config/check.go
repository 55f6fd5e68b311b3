package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// checker judges what a Config says as a whole, each finding with its place.
type checker struct {
	c    *Config
	errs Errors
}

// check returns what is wrong with c, in the order of the file.
func check(c *Config) Errors {
	k := &checker{c: c}
	k.listeners()
	k.trustedProxies()
	k.limits()
	k.registry()
	k.cluster()
	k.kubernetes()
	k.users("auth.basic", c.Auth.Basic)
	for _, wrong := range c.Auth.JWT.Check() {
		k.add("auth.jwt."+wrong.Key, wrong.Err, wrong.Hint)
	}
	k.users("admin", c.Admin.BasicConfig)
	k.users("registry.auth", c.Registry.Auth.BasicConfig)
	if _, err := c.Upstream.TLS.Load(slog.New(slog.DiscardHandler)); err != nil {
		k.add("upstream.tls", err, "name a PEM file of certificates that this user may read")
	}
	if err := c.Defaults.Validate(); err != nil {
		k.add("defaults", below("defaults", err), "")
	}
	if field := c.Defaults.Probe.Idle(); field != "" {
		k.add("defaults."+field, route.ErrNoProbeType, "")
	}
	k.asked()
	if err := c.AccessLog.Check(); err != nil {
		k.add("accessLog", below("accessLog", err), "")
	}
	k.places()
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	k.errs.sort()
	return k.errs
}

// asked judges whether what defaults.auth asks for is there.
func (k *checker) asked() {
	a, asked := k.c.Auth, k.c.Defaults.Auth
	if asked.Has(route.AuthBasic) && len(a.Basic.Users) == 0 && a.Basic.UsersFile == "" {
		k.add("defaults.auth", fmt.Errorf("%q: auth.basic has no users, so nobody could come in", route.AuthBasic), "set auth.basic.users or auth.basic.usersFile")
	}
	verifies := func(l proxy.ListenerConfig) bool {
		return l.TLS != nil && (l.TLS.ClientAuth == "want" || l.TLS.ClientAuth == "need")
	}
	if asked.Has(route.AuthCertificate) && len(k.c.Manifests) == 0 && !slices.ContainsFunc(k.c.Gateway.Listeners, verifies) {
		k.add("defaults.auth", fmt.Errorf("%q: no listener asks for certificates, so nobody could come in", route.AuthCertificate), "set clientAuth: want and clientCAFile below tls of a listener")
	}
	if asked.Has(route.AuthBearer) && len(a.JWT.Issuers) == 0 {
		k.add("defaults.auth", fmt.Errorf("%q: auth.jwt has no issuers, so nobody could come in", route.AuthBearer), "set auth.jwt.issuers")
	}
}

func (k *checker) add(key string, err error, hint string) {
	k.errs = append(k.errs, k.c.errorAt(key, err, hint))
}

// below puts the section before an error that begins with a key of it.
func below(section string, err error) error { return fmt.Errorf("%s.%w", section, err) }

func (k *checker) oneOf(key, value string, names ...string) {
	for _, n := range names {
		if value == n {
			return
		}
	}
	last := len(names) - 1
	k.add(key, fmt.Errorf("%q: want %s or %s", value, strings.Join(names[:last], ", "), names[last]), "")
}

func (k *checker) listeners() {
	names := map[string]string{}
	var addresses []bound
	if k.c.Registry.On() {
		addresses = k.address("registry.address", k.c.Registry.Address, addresses)
	}
	for i, l := range k.c.Gateway.Listeners {
		key := fmt.Sprintf("gateway.listeners[%d]", i)
		if other, taken := names[l.Name]; taken {
			k.add(key+".name", fmt.Errorf("%q is the name of %s too", l.Name, other), "give each listener a name of its own")
		} else {
			names[l.Name] = key
		}
		addresses = k.address(key+".address", l.Address, addresses)
		if l.TLS != nil {
			k.tls(key+".tls", l.TLS)
		}
		k.plainOnly(key, l)
	}
}

// plainOnly judges what a listener does to all of its connections.
func (k *checker) plainOnly(key string, l proxy.ListenerConfig) {
	secure := slices.ContainsFunc(k.c.Gateway.Listeners, func(o proxy.ListenerConfig) bool { return o.TLS != nil })
	switch {
	case l.RedirectToHTTPS && l.TLS != nil:
		k.add(key+".redirectToHTTPS", errors.New("the listener serves https itself"), "remove redirectToHTTPS, or tls")
	case l.RedirectToHTTPS && !secure:
		k.add(key+".redirectToHTTPS", errors.New("no listener has tls"), "add a listener with tls, to which clients are sent")
	}
	if l.ProxyProtocol && len(k.c.Gateway.TrustedProxies) == 0 {
		k.add(key+".proxyProtocol", errors.New("nobody is believed: gateway.trustedProxies is empty"), "name the network of the load balancers in gateway.trustedProxies")
	}
}

// bound is an address that will be listened on.
type bound struct {
	key  string
	host string // empty: every interface
	port uint64
}

const hintAddress = `write host:port, as "127.0.0.1:10010", or ":10010" for every interface`

// address judges the address at key and compares it with those before it.
func (k *checker) address(key, address string, before []bound) []bound {
	if address == "" {
		k.add(key, errors.New("is required"), hintAddress)
		return before
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		var ae *net.AddrError
		if errors.As(err, &ae) {
			err = errors.New(ae.Err)
		}
		k.add(key, fmt.Errorf("%q: %w", address, err), hintAddress)
		return before
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		k.add(key, fmt.Errorf("%q: want a port from 0 to 65535", address), hintAddress)
		return before
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = ""
	}
	b := bound{key, host, n}
	for _, o := range before {
		if n != 0 && o.port == n && (o.host == host || o.host == "" || host == "") {
			other := o.key
			if k.line(key) == 0 { // a default collides with what is in the file
				key, other = other, key
			}
			k.add(key, fmt.Errorf("%s%s has the port %d already", other, k.where(other), n), "give each a port of its own")
			break
		}
	}
	return append(before, b)
}

// line is where key stands in the file; 0: nowhere.
func (k *checker) line(key string) int {
	if k.c.src == nil {
		return 0
	}
	return k.c.src.places[key].line
}

func (k *checker) where(key string) string {
	if n := k.line(key); n > 0 {
		return fmt.Sprintf(" (line %d)", n)
	}
	return " (its default)"
}

func (k *checker) tls(key string, t *proxy.TLSConfig) {
	k.pair(key, t.CertFile, t.KeyFile)
	switch t.ClientAuth {
	case "want", "need":
		if t.ClientCAFile == "" {
			k.add(key+".clientAuth", fmt.Errorf("%q: lacks clientCAFile", t.ClientAuth), "name a PEM file of the authorities whose certificates are accepted")
		}
	case "":
	default:
		k.oneOf(key+".clientAuth", t.ClientAuth, "none", "want", "need")
	}
	if t.ClientCAFile != "" {
		if err := readable(t.ClientCAFile); err != nil {
			k.add(key+".clientCAFile", err, "name a PEM file of certificates that this user may read")
		}
	}
	if t.MinVersion != "" {
		k.oneOf(key+".minVersion", t.MinVersion, "1.2", "1.3")
	}
}

// pair judges a certificate and its key.
func (k *checker) pair(key, certFile, keyFile string) {
	switch {
	case certFile == "" && keyFile == "":
		return
	case certFile == "":
		k.add(key+".keyFile", errors.New("has no certFile"), "certificate and key go together; without both, a certificate is generated")
		return
	case keyFile == "":
		k.add(key+".certFile", errors.New("has no keyFile"), "certificate and key go together; without both, a certificate is generated")
		return
	}
	_, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		return
	}
	var pe *fs.PathError
	switch {
	case errors.As(err, &pe) && pe.Path == keyFile:
		k.add(key+".keyFile", err, "name a PEM file that this user may read")
	case errors.As(err, &pe):
		k.add(key+".certFile", err, "name a PEM file that this user may read")
	default:
		k.add(key+".certFile", fmt.Errorf("%s with %s: %w", certFile, keyFile, err), "want a PEM chain, leaf first, and the key that belongs to it")
	}
}

// maxCAFile bounds a file of authorities, in bytes.
const maxCAFile = 4 << 20

func readable(caFile string) error {
	info, err := os.Stat(caFile)
	if err != nil {
		return err
	}
	if info.Size() > maxCAFile {
		return fmt.Errorf("%s: %d bytes, at most %d are read", caFile, info.Size(), maxCAFile)
	}
	text, err := os.ReadFile(caFile)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		err = fmt.Errorf("%s: no certificate in it", caFile)
	}
	return err
}

func (k *checker) trustedProxies() {
	for i, text := range k.c.Gateway.TrustedProxies {
		if _, err := netip.ParseAddr(text); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(text); err != nil {
			k.add(fmt.Sprintf("gateway.trustedProxies[%d]", i), fmt.Errorf("%q is neither a network nor an address", text),
				`write a network as "10.0.0.0/8", or an address`)
		}
	}
	if d := k.c.Gateway.ShutdownTimeout; d < 0 {
		k.add("gateway.shutdownTimeout", fmt.Errorf("%s: want more than 0", d), "")
	}
	if _, err := k.c.Gateway.CookieKey(); err != nil {
		k.add("gateway.cookieKeyFile", err, "make one: head -c 32 /dev/urandom | base64 > FILE")
	}
}

// minHeaderBytes is the least that a request of an ordinary browser needs.
const minHeaderBytes = 1 << 10

func (k *checker) limits() {
	l := k.c.Limits
	for _, n := range []struct {
		key   string
		value int
	}{{"limits.connections", l.Connections}, {"limits.sessions", l.Sessions}, {"limits.requestBurst", l.RequestBurst}} {
		if n.value < 0 {
			k.add(n.key, fmt.Errorf("%d: want 0 (no limit) or more", n.value), "")
		}
	}
	if l.RequestBurst > 0 && l.RequestRate == 0 {
		k.add("limits.requestBurst", errors.New("has no requestRate"), "set limits.requestRate, as 100/s")
	}
	if l.HeaderBytes != 0 && l.HeaderBytes < minHeaderBytes {
		k.add("limits.headerBytes", fmt.Errorf("%s: want 1KiB or more", l.HeaderBytes), "")
	}
}

func (k *checker) registry() {
	r := k.c.Registry
	if !r.On() {
		if len(r.StaticDefinitions) > 0 {
			k.add("registry.staticDefinitions", errors.New("the embedded registry is off"), "remove registry.enabled: false, or the definitions")
		}
		return
	}
	for i, dir := range r.StaticDefinitions {
		if _, err := os.ReadDir(dir); err != nil {
			k.add(fmt.Sprintf("registry.staticDefinitions[%d]", i), err, "name a directory that this user may read")
		}
	}
	before := len(k.errs)
	k.pair("registry.tls", r.TLS.CertFile, r.TLS.KeyFile)
	if len(k.errs) > before {
		return
	}
	if _, _, err := net.SplitHostPort(r.Address); err != nil {
		return // listeners has said so
	}
	if err := r.Check(); err != nil {
		k.add("registry", err, "")
		return
	}
	if len(r.Peers) > 0 {
		if _, err := r.PeerClient.Options(k.c.Upstream.TLS, slog.New(slog.DiscardHandler)); err != nil {
			k.add("registry.peerClient", err, "name files that this user may read")
		}
	}
	if r.Auth.ClientCertificates {
		if err := readable(r.TLS.ClientCAFile); err != nil {
			k.add("registry.tls.clientCAFile", err, "name a PEM file of certificates that this user may read")
		}
	}
}

func (k *checker) cluster() {
	c := k.c.Eureka
	if key, err := c.Check(); err != nil {
		hint := ""
		if strings.HasPrefix(key, "serviceUrls") {
			hint = `write it as "https://host:10011/eureka/"`
		}
		k.add("eureka."+key, err, hint)
		return
	}
	if !c.On() {
		return
	}
	if _, err := c.Options(k.c.Upstream.TLS, slog.New(slog.DiscardHandler)); err != nil {
		k.add("eureka", below("eureka", err), "name files that this user may read")
	}
}

func (k *checker) kubernetes() {
	c := k.c.Kubernetes
	if c.PortOffset < 0 || c.PortOffset > maxPortOffset {
		k.add("kubernetes.portOffset", fmt.Errorf("%d: want 0 to %d", c.PortOffset, maxPortOffset), "")
	}
	if c.Enabled && len(k.c.Manifests) > 0 {
		k.add("manifests", errors.New("objects come from the cluster: kubernetes.enabled is true"), "remove one of the two")
	}
	if key, err := c.Check(); err != nil {
		hint := ""
		if key == "kubeconfig" || key == "enabled" {
			hint = "name a kubeconfig that this user may read, or run in a pod with a service account"
		}
		k.add("kubernetes."+key, err, hint)
	}
	if c.AddressPool == "" {
		return
	}
	if _, err := netip.ParsePrefix(c.AddressPool); err != nil {
		k.add("kubernetes.addressPool", fmt.Errorf("%q is no network", c.AddressPool), `write it as "10.96.255.0/24"`)
	}
}

// maxPortOffset leaves a port to offset.
const maxPortOffset = 1<<16 - 2

// places judges, without making anything, where files will be written.
func (k *checker) places() {
	if info, err := os.Stat(k.c.DataDir); err == nil && !info.IsDir() {
		k.add("dataDir", fmt.Errorf("%s: is not a directory", k.c.DataDir), "name a directory that this user may write")
	}
	path := k.c.AccessLog.Path
	if path == "-" {
		return
	}
	const hint = `name a file that this user may write, or "-" for standard output`
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		k.add("accessLog.path", fmt.Errorf("%s: is a directory", path), hint)
	} else if _, err := os.Stat(filepath.Dir(path)); err != nil {
		k.add("accessLog.path", err, hint)
	}
}

const hintUsers = "htpasswd -nB NAME makes a line"

// users judges each line by itself, then the file, then both together.
func (k *checker) users(key string, c auth.BasicConfig) {
	good := true
	for i, line := range c.Users {
		if _, err := (auth.BasicConfig{Users: []string{line}}).Open(); err != nil {
			k.add(fmt.Sprintf("%s.users[%d]", key, i), trimmed(err, "users:1: "), hintUsers)
			good = false
		}
	}
	if c.UsersFile != "" {
		if _, err := (auth.BasicConfig{UsersFile: c.UsersFile}).Open(); err != nil {
			hint := hintUsers
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				hint = "name a file that this user may read"
			}
			k.add(key+".usersFile", trimmed(err, "usersFile: "), hint)
			good = false
		}
	}
	if _, err := c.Open(); err != nil && good {
		at, n := key+".usersFile", 0
		if _, no := fmt.Sscanf(err.Error(), "users:%d:", &n); no == nil {
			at = fmt.Sprintf("%s.users[%d]", key, n-1)
		}
		k.add(at, trimmed(err, fmt.Sprintf("users:%d: ", n)), "name each user once")
	}
}

// trimmed takes from the text of err what its place says already.
func trimmed(err error, prefix string) error {
	if text, ok := strings.CutPrefix(err.Error(), prefix); ok {
		return errors.New(text)
	}
	return err
}
