package proxy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A pass is what a client is given, and shows again, so that it stays at an endpoint: which one, and since when. Cookies of several
// rules may have one name and go to all of them, so a value has the passes for several endpoints; the newest first. Every
// gateway with the same objects and the same gateway.cookieKeyFile makes the same of it, and so does one that has been restarted. One that is
// made up leads to an endpoint of the rule that it comes to, where any client may be led, or nowhere.
type pass struct {
	at    uint64 // Endpoint.Identity, mixed with the rule's if its clients are its own
	since uint32 // seconds since the epoch
}

const (
	maxPasses = 8
	passSize  = 16              // of one, as text
	maxSkew   = 5 * time.Minute // between the clocks of two gateways
	passBound = passSize*maxPasses + maxPasses - 1
)

func (p pass) String() string {
	var b [passSize * 3 / 4]byte
	binary.BigEndian.PutUint64(b[:], p.at)
	binary.BigEndian.PutUint32(b[8:], p.since)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// parsePasses reads a value; ok is false for one that is none of ours.
func parsePasses(s string) (list []pass, ok bool) {
	if s = strings.Trim(s, `"`); len(s) < passSize || len(s) > passBound || len(s)%(passSize+1) != passSize {
		return nil, false
	}
	var b [passSize * 3 / 4]byte
	for text := range strings.SplitSeq(s, ".") {
		if len(text) != passSize {
			return nil, false
		}
		if n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text)); err != nil || n < len(b) { // it skips line ends
			return nil, false
		}
		list = append(list, pass{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint32(b[8:])})
	}
	return list, true
}

// appendPasses appends a value that begins with first, and goes on with as many others as there is place for.
func appendPasses(b []byte, first pass, others []pass) []byte {
	b = append(b, first.String()...)
	others = slices.DeleteFunc(others, func(p pass) bool { return p.at == first.at })
	for _, p := range others[:min(len(others), maxPasses-1)] {
		b = append(append(b, '.'), p.String()...)
	}
	return b
}

// holds tells whether the pass is still good.
func (p pass) holds(now time.Time, rule *route.Persistence) bool {
	if rule.Absolute <= 0 {
		return true
	}
	age := now.Sub(time.Unix(int64(p.since), 0))
	return age < rule.Absolute && age > -maxSkew
}

// mark is what a rule mixes into its passes: two rules whose clients are their own never take each other's for theirs.
func mark(r *route.Route, p *route.Persistence) uint64 {
	if !p.PerRule {
		return 0
	}
	sum := sha256.Sum256([]byte(r.ID))
	return binary.BigEndian.Uint64(sum[:])
}

// withoutPasses is a Cookie field without the passes under that name: they are the gateway's own, and no service's business.
// What is not the gateway's stays.
func withoutPasses(cookies, name string) string {
	if !strings.Contains(cookies, name) {
		return cookies
	}
	var kept []string
	for pair := range strings.SplitSeq(cookies, ";") {
		pair = strings.TrimSpace(pair)
		if n, value, _ := strings.Cut(pair, "="); n == name {
			if _, ours := parsePasses(value); ours {
				continue
			}
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "; ")
}

// hidden is a field of the client's as a service sees it where keep holds; ok is false where it does not.
func hidden(f *http1.Field, keep *route.Persistence) (value string, ok bool) {
	switch {
	case keep.Header && strings.EqualFold(f.Name, keep.Name):
		_, ours := parsePasses(f.Value)
		return f.Value, !ours
	case !keep.Header && foldEqual(f.Name, "cookie"):
		value = withoutPasses(f.Value, keep.Name)
		return value, value != "" || f.Value == ""
	}
	return f.Value, true
}
