package route

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// AllowsOrigin tells whether a browser's page of that origin may open a session on a request that
// came by scheme (http or https) to host (the Host header). The gateway's own origin may, and those
// of AllowedOrigins. An empty origin is no browser's and may; "null" may only where any may. Scheme,
// host and port all count (RFC 6454, section 5); the scheme's own port may be left out.
func (p *Policy) AllowsOrigin(origin, scheme, host string) bool {
	if origin == "" {
		return true
	}
	if listed(p.WebSocket.AllowedOrigins, "*") {
		return true
	}
	given, err := parseOrigin(origin)
	if err != nil {
		return false
	}
	return given.is(scheme, host) || listed(p.WebSocket.AllowedOrigins, origin)
}

// OwnOrigin tells whether origin is the gateway's own, for a request that came by scheme (http or https) to host.
func OwnOrigin(origin, scheme, host string) bool {
	given, err := parseOrigin(origin)
	return err == nil && given.is(scheme, host)
}

// AllowsCORS tells whether a page of that origin may use the route, which has CORS; scheme and host are as for
// Policy.AllowsOrigin. anyone: pages of any origin may, so that none may use its visitor's cookies.
func (r *Route) AllowsCORS(origin, scheme, host string) (allowed, anyone bool) {
	if r.CORSAnyone || listed(r.Policy.WebSocket.AllowedOrigins, "*") {
		return true, true
	}
	return r.Policy.AllowsOrigin(origin, scheme, host), false
}

// listed tells whether list holds origin, in any spelling.
func listed(list []string, origin string) bool {
	want, err := parseOrigin(origin)
	for _, o := range list {
		if o == origin {
			return true
		}
		if have, bad := parseOrigin(o); err == nil && bad == nil && have == want {
			return true
		}
	}
	return false
}

// originKey is an origin as RFC 6454 compares it: lower case, with its port.
type originKey struct{ scheme, host, port string }

// is tells whether a page that came by scheme from host has the origin k.
func (k originKey) is(scheme, host string) bool {
	own, err := parseOrigin(scheme + "://" + host)
	return err == nil && own == k
}

// parseOrigin reads "scheme://host" or "scheme://host:port" and nothing more (RFC 6454, section 6.1).
func parseOrigin(s string) (originKey, error) {
	bad := fmt.Errorf("origin %q: want scheme://host or scheme://host:port", s)
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#") {
		return originKey{}, bad
	}
	host, port := u.Hostname(), u.Port()
	if host == "" || strings.HasSuffix(u.Host, ":") {
		return originKey{}, bad
	}
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	host = strings.ToLower(host)
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return originKey{scheme: strings.ToLower(u.Scheme), host: host, port: port}, nil
}

func defaultPort(scheme string) string {
	switch strings.ToLower(scheme) {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}
