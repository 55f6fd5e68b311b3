package kubernetes

import (
	"errors"
	"fmt"
	"hash/fnv"

	"golang.org/x/net/http/httpguts"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// persistence reads a sessionPersistence (GEP-1619). Owner names what has it, for the name of a session that has none; path is the
// cookie's, "" is left to the browser.
func persistence(s *gatewayv1.SessionPersistence, owner, path string) (*route.Persistence, error) {
	if s == nil {
		return nil, nil
	}
	out := &route.Persistence{Name: orElse(s.SessionName, ""), Managed: true, PerRule: true, Path: path}
	switch kind := orElse(s.Type, gatewayv1.CookieBasedSessionPersistence); kind {
	case gatewayv1.CookieBasedSessionPersistence:
	case gatewayv1.HeaderBasedSessionPersistence:
		out.Header, out.Path = true, ""
	default:
		return nil, fmt.Errorf("type %q: want Cookie or Header", kind)
	}
	if out.Name == "" {
		out.Name = sessionName(owner, out.Header)
	}
	if !httpguts.ValidHeaderFieldName(out.Name) { // a cookie's name is a token too
		return nil, fmt.Errorf("sessionName %q: it is no token", out.Name)
	}
	if s.AbsoluteTimeout != nil {
		d, err := parseDuration(*s.AbsoluteTimeout)
		if err != nil {
			return nil, fmt.Errorf("absoluteTimeout %q: %w", *s.AbsoluteTimeout, err)
		}
		out.Absolute = d
	}
	if s.CookieConfig == nil {
		return out, nil
	}
	switch kind := orElse(s.CookieConfig.LifetimeType, gatewayv1.SessionCookieLifetimeType); {
	case out.Header:
		return nil, errors.New("cookieConfig: it is for type Cookie")
	case kind == gatewayv1.SessionCookieLifetimeType:
	case kind == gatewayv1.PermanentCookieLifetimeType && out.Absolute > 0:
		out.Lifetime = out.Absolute
	case kind == gatewayv1.PermanentCookieLifetimeType:
		return nil, errors.New("cookieConfig.lifetimeType Permanent: absoluteTimeout must say how long")
	default:
		return nil, fmt.Errorf("cookieConfig.lifetimeType %q: want Session or Permanent", kind)
	}
	return out, nil
}

// sessionName is the same for the same owner, and another for another.
func sessionName(owner string, header bool) string {
	h := fnv.New64a()
	h.Write([]byte(owner)) //nolint:errcheck // a hash takes all
	if header {
		return fmt.Sprintf("Fairlead-Endpoint-%x", h.Sum64())
	}
	return fmt.Sprintf("fairlead-endpoint-%x", h.Sum64())
}

// cookiePath is the Path of a rule's cookie (GEP-1619): what its matches have in common, whole segments of it.
func cookiePath(matches []route.RuleMatch) string {
	if len(matches) == 0 {
		return "/"
	}
	common := fixedPath(matches[0].Path)
	for _, m := range matches[1:] {
		common = commonPath(common, fixedPath(m.Path))
	}
	if common == "" {
		return "/"
	}
	return common
}

// fixedPath is the part of a path that every request has which it matches, without a trailing slash; of a regular expression, the
// segments before the first that is more than text.
func fixedPath(p route.PathMatch) string {
	path := p.Value
	if p.Kind == route.PathRegexp {
		last := 0
		for i := 0; i < len(path) && isPlain(path[i]); i++ {
			if path[i] == '/' {
				last = i
			}
		}
		path = path[:last]
		for i := range len(p.Value) {
			if p.Value[i] == '|' { // an alternative may begin with anything
				return ""
			}
		}
	}
	for len(path) > 0 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return path
}

// isPlain tells whether a byte stands for itself in a regular expression, as a path has it.
func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '/' || c == '-' || c == '_' || c == '~'
}

// commonPath is the longest path, of whole segments, that a and b begin with.
func commonPath(a, b string) string {
	last := 0
	for i := 0; ; i++ {
		endA, endB := i == len(a) || a[i] == '/', i == len(b) || b[i] == '/'
		if endA && endB {
			last = i
		}
		if i == len(a) || i == len(b) || a[i] != b[i] {
			return a[:last]
		}
	}
}
