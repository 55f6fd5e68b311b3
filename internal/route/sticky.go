package route

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/fairlead-gateway/fairlead/internal/unit"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Sticky is the cookie of `loadBalancing: sticky`. It is HttpOnly and SameSite=Lax, and Secure where the client comes by https; services do
// not see it.
type Sticky struct {
	// CookieName is its name. Default fairlead-endpoint- with a number for each service, which its routes share.
	CookieName string `yaml:"cookieName"`

	// Lifetime is how long a client keeps it, its Max-Age, or off: until the browser ends. Default 24h.
	Lifetime time.Duration `yaml:"lifetime"`

	// Path is where a client shows it. Default "/".
	Path string `yaml:"path"`
}

const defaultStickyLifetime = 24 * time.Hour // as AGC's managed cookie

// Kept is how the policy keeps clients at endpoints of the service with that id; nil: it does not.
func (p *Policy) Kept(serviceID string) *Persistence {
	if p.LoadBalancing != upstream.Sticky {
		return nil
	}
	out := &Persistence{Managed: true, Name: p.Sticky.CookieName, Path: cmp.Or(p.Sticky.Path, "/")}
	if out.Lifetime = cmp.Or(p.Sticky.Lifetime, defaultStickyLifetime); out.Lifetime < 0 {
		out.Lifetime = 0
	}
	if out.Name == "" {
		h := fnv.New64a()
		_, _ = h.Write([]byte(serviceID)) // a hash takes all
		out.Name = fmt.Sprintf("fairlead-endpoint-%x", h.Sum64())
	}
	return out
}

// maxCookie bounds a cookie's name and its path, in bytes.
const maxCookie = 256

func cookieName(value string) (string, error) {
	if !httpguts.ValidHeaderFieldName(value) || len(value) > maxCookie { // both are tokens
		return "", fmt.Errorf("%q: it is no name of a cookie", value)
	}
	return value, nil
}

// cookiePath: RFC 6265, section 4.1.1.
func cookiePath(value string) (string, error) {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' || r == ',' }
	if !strings.HasPrefix(value, "/") || strings.ContainsFunc(value, bad) || len(value) > maxCookie {
		return "", fmt.Errorf("%q: want a path that begins with /", value)
	}
	return value, nil
}

// SlowStart is a value of slowStart: a duration, or off. AGC says more of it.
type SlowStart upstream.SlowStart

// UnmarshalText reads a duration.
func (v *SlowStart) UnmarshalText(text []byte) error {
	if s := string(text); s == "off" || s == "none" {
		*v = SlowStart{Window: off}
		return nil
	}
	d, err := unit.ParseDuration(string(text))
	switch {
	case err != nil:
		return err
	case d <= 0:
		return fmt.Errorf("%q: want more than 0, or off", text)
	case d > maxSlowStart:
		return fmt.Errorf("%q: want %s at most", text, maxSlowStart)
	}
	*v = SlowStart{Window: d}
	return nil
}

// MarshalText is what UnmarshalText reads.
func (v SlowStart) MarshalText() ([]byte, error) {
	if v.Window < 0 {
		return []byte("off"), nil
	}
	return []byte(v.Window.String()), nil
}

// maxSlowStart bounds how long an endpoint may be new.
const maxSlowStart = 24 * time.Hour

func slowStart(name string, at func(*Policy) *SlowStart) field {
	return newField(name, at, func(value string) (v SlowStart, err error) { return v, v.UnmarshalText([]byte(value)) }, nil)
}
