package proxy

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// Config is the section gateway of fairlead.yaml.
type Config struct {
	// Listeners are the addresses on which clients are served. Default: HTTPS on :10010
	// with a generated certificate, and HTTP on :10080. A change needs a restart.
	Listeners []ListenerConfig `yaml:"listeners"`

	// TrustedProxies are networks (CIDR, or single addresses) whose X-Forwarded-For,
	// X-Forwarded-Proto, X-Forwarded-Host and Forwarded headers are believed and extended.
	// Default: none; what other peers send in these headers is replaced. Danger: a network
	// that clients can reach from lets them choose the address in the log.
	TrustedProxies []string `yaml:"trustedProxies"`

	// ShutdownTimeout bounds, in time, how long a stop waits for live sessions to answer
	// the Close 1001 and for requests in flight. Default 10s.
	ShutdownTimeout time.Duration `yaml:"shutdownTimeout"`

	// CookieKeyFile is a file with a secret of 16 bytes or more, by which the cookies and headers that keep clients at endpoints name
	// those. Gateways that clients reach by one name need the same. Default none: who knows or guesses the address of an
	// endpoint can then tell whether a cookie names it. A change needs a restart.
	CookieKeyFile string `yaml:"cookieKeyFile"`
}

// Bounds of a key, in bytes.
const (
	minCookieKey = 16
	maxCookieKey = 4 << 10
)

// CookieKey is what CookieKeyFile says, without white space around it; nil: nothing. The error names the file.
func (c Config) CookieKey() ([]byte, error) {
	if c.CookieKeyFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.CookieKeyFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	key, err := io.ReadAll(io.LimitReader(f, maxCookieKey+1))
	if err != nil {
		return nil, err
	}
	if key = bytes.TrimSpace(key); len(key) < minCookieKey || len(key) > maxCookieKey {
		return nil, fmt.Errorf("%s: want %d to %d bytes", c.CookieKeyFile, minCookieKey, maxCookieKey)
	}
	return key, nil
}

// ListenersOrDefault are the configured listeners, or HTTPS on :10010 and HTTP on :10080.
// Listeners without a name are called after what they speak.
func (c Config) ListenersOrDefault() []ListenerConfig {
	if len(c.Listeners) == 0 {
		return []ListenerConfig{{Name: "https", Address: ":10010", TLS: &TLSConfig{}}, {Name: "http", Address: ":10080"}}
	}
	all := slices.Clone(c.Listeners)
	for i := range all {
		if all[i].Name == "" && all[i].TLS != nil {
			all[i].Name = "https"
		} else if all[i].Name == "" {
			all[i].Name = "http"
		}
	}
	return all
}

// ListenerConfig is one listening address of the gateway.
type ListenerConfig struct {
	// Name stands in logs and errors. Default: https or http. Must be unique.
	Name string `yaml:"name"`

	// Address is host:port; an empty host means every interface. Required. Port 0 takes any free port.
	Address string `yaml:"address"`

	// RedirectToHTTPS answers every request with 308 and its https URL: the host that the client
	// asked for, and the port of the first listener with tls. WebSocket clients follow no redirect:
	// a handshake is answered 403 and told which wss URL to use. Requests that a trusted proxy has
	// received over https are served. Default false. Not together with tls.
	RedirectToHTTPS bool `yaml:"redirectToHTTPS"`

	// ProxyProtocol expects every connection to begin with a PROXY protocol header, version 1 or
	// 2, and takes the client's address from it. It is believed from gateway.trustedProxies alone,
	// one of which is required; all other connections are closed and logged. Default false.
	ProxyProtocol bool `yaml:"proxyProtocol"`

	// TLS makes the listener serve https and wss. Absent: plain text. `tls: {}` uses the
	// certificate that Fairlead generates and keeps in dataDir.
	TLS *TLSConfig `yaml:"tls"`
}

// TLSConfig is the TLS of one listener.
type TLSConfig struct {
	// CertFile and KeyFile are PEM files: the chain, leaf first, and its key (ECDSA or RSA).
	// Both or neither; neither: the generated certificate. They are read again on reload.
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`

	// ClientCAFile is a PEM file of the authorities whose client certificates are accepted.
	// Required when clientAuth is want or need.
	ClientCAFile string `yaml:"clientCAFile"`

	// ClientAuth asks clients for a certificate: none, want (verified if given) or need.
	// Default none.
	ClientAuth string `yaml:"clientAuth"`

	// MinVersion is the lowest TLS version served: "1.2" or "1.3". Default "1.2".
	MinVersion string `yaml:"minVersion"`
}

// Limits is the section limits of fairlead.yaml. Zero means the default.
type Limits struct {
	// Connections bounds the open client connections of all listeners together, those of Gateways
	// included; a client of UDP counts as one. Above it new ones are closed at once and counted.
	// Default: none but the process's file descriptors.
	Connections int `yaml:"connections"`

	// Sessions bounds the live WebSocket sessions of the gateway; above it a handshake is
	// refused (1013 or 503, by websocket.connectFailure). Default: none.
	Sessions int `yaml:"sessions"`

	// RequestBody bounds the body of a request, in bytes of content. A larger one is answered 413:
	// at once if its length is announced, else when it is reached. Default: none.
	RequestBody unit.Size `yaml:"requestBody"`

	// RequestRate bounds the requests and handshakes of one client address (of IPv6: one /64): a
	// whole number per second, minute or hour, as 100/s, 600/m or 50/h. Above it the answer is 429
	// with Retry-After. Default: none. A client behind a trusted proxy counts by its own address.
	RequestRate unit.Rate `yaml:"requestRate"`

	// RequestBurst is how many requests of one client may come at once before requestRate holds
	// them back. Default: the requests of one second at that rate, one at least.
	RequestBurst int `yaml:"requestBurst"`

	// HeaderBytes bounds the head of a request (request line and headers), in bytes.
	// Default 64KiB. A larger head is answered 431. A change needs a restart.
	HeaderBytes unit.Size `yaml:"headerBytes"`
}
