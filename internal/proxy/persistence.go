package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// PersistenceKeyFile is where PersistenceKey keeps the key.
const PersistenceKeyFile = "persistence-key"

// persistenceKeySize is the length of a key in bytes.
const persistenceKeySize = 32

// PersistenceKey reads the key of session persistence from the data directory, or makes one and keeps it there (mode 0600):
// with it clients find their endpoints again when the gateway has been restarted. Gateways that share it share their clients.
func PersistenceKey(dataDir string) ([]byte, error) {
	file := filepath.Join(dataDir, PersistenceKeyFile)
	key, err := os.ReadFile(file)
	switch {
	case err == nil && len(key) == persistenceKeySize:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("%s: %d bytes: want %d; remove the file, and a new one is made", file, len(key), persistenceKeySize)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	key = newPersistenceKey()
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, err
	}
	return key, os.WriteFile(file, key, 0o600)
}

func newPersistenceKey() []byte {
	key := make([]byte, persistenceKeySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// A token is what a client is given, and shows again: when it was made, and a tag of rule and endpoint under a key of the
// gateway's own. It names an endpoint to nobody else. One that is made up names none; one that is made older or younger
// than it is leads where it led before.
type token [tokenTime + tagSize]byte

const (
	tokenTime = 4 // bytes: seconds since the epoch
	tagSize   = 12
)

type tag [tagSize]byte

func (t *token) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// parseToken reads a token; ok tells whether it has the form of one.
func parseToken(s string) (made time.Time, at tag, ok bool) {
	var t token
	s = strings.Trim(s, `"`)
	if len(s) != base64.RawURLEncoding.EncodedLen(len(t)) {
		return made, at, false
	}
	if _, err := base64.RawURLEncoding.Decode(t[:], []byte(s)); err != nil {
		return made, at, false
	}
	return time.Unix(int64(binary.BigEndian.Uint32(t[:])), 0), tag(t[tokenTime:]), true
}

// persistence keeps clients at endpoints.
type persistence struct {
	key []byte // constant

	mu     sync.Mutex // guards the following
	places map[*route.Route]*places
}

// places are the endpoints of one rule that clients are kept at, by tag.
type places struct {
	by   map[tag]place
	used bool // since the last sweep
}

type place struct {
	backend  *route.Backend
	endpoint *upstream.Endpoint
}

// tag is that of an endpoint of a rule: clients of one rule are not those of another, whatever their services are.
func (p *persistence) tag(r *route.Route, ep *upstream.Endpoint) (t tag) {
	h := hmac.New(sha256.New, p.key)
	for _, part := range [...]string{r.ID, ep.Service(), ep.Scheme, ep.Address()} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part)) //nolint:errcheck // a hash takes all
	}
	copy(t[:], h.Sum(nil))
	return t
}

// of is where r's clients are kept.
func (p *persistence) of(r *route.Route) map[tag]place {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.places[r]
	if found == nil {
		found = &places{by: make(map[tag]place)}
		for i := range r.Backends {
			b := &r.Backends[i]
			if keep := r.PersistenceFor(b); keep == nil || !keep.Managed || b.Service == nil {
				continue
			}
			for _, ep := range b.Service.Endpoints {
				if t := p.tag(r, ep); found.by[t].backend == nil || found.by[t].backend.Weight == 0 {
					found.by[t] = place{b, ep}
				}
			}
		}
		if p.places == nil {
			p.places = make(map[*route.Route]*places)
		}
		p.places[r] = found
	}
	found.used = true
	return found.by
}

// sweep forgets rules that no client has been kept for since the last one: those of older tables.
func (p *persistence) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r, found := range p.places {
		if !found.used {
			delete(p.places, r)
		}
		found.used = false
	}
}

// resume finds the backend and the endpoint that a client has been kept at (GEP-1619), whatever the backend's weight is by now;
// nil: it is new, or its endpoint takes no more, or its time is over.
func (s *Server) resume(x *exchange) (*route.Backend, *upstream.Endpoint) {
	r := x.to.Route
	var last *route.Persistence
	for i := range r.Backends {
		keep := r.PersistenceFor(&r.Backends[i])
		if keep == nil || !keep.Managed || last != nil && keep.Name == last.Name && keep.Header == last.Header {
			continue
		}
		last = keep
		for value := range x.shown(keep) {
			made, at, ok := parseToken(value)
			if !ok || keep.Absolute > 0 && x.record.Time.Sub(made) >= keep.Absolute {
				continue
			}
			found, ok := s.persistence.of(r)[at]
			if ok && !found.endpoint.Leaving() && found.endpoint.Healthy() && found.backend.Invalid == "" && r.PersistenceFor(found.backend).Name == keep.Name {
				return found.backend, found.endpoint
			}
		}
	}
	return nil, nil
}

// shown yields what the request has under the name of a persistence.
func (x *exchange) shown(p *route.Persistence) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if p.Header {
			for value := range x.request.Fields.All(p.Name) {
				if !yield(value) {
					return
				}
			}
			return
		}
		for line := range x.request.Fields.All("Cookie") {
			for pair := range strings.SplitSeq(line, ";") {
				if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); name == p.Name && !yield(value) {
					return
				}
			}
		}
	}
}

// choose picks a backend by weight, or, where the rule keeps clients by what their application has given them, by the hash of
// that.
func (x *exchange) choose() *route.Backend {
	if p := x.to.Persistence; p != nil && !p.Managed {
		for value := range x.shown(p) {
			return weighed(x.to.Backends, value)
		}
	}
	return x.to.Choose()
}

// settle has the client kept at an endpoint of the backend that has been chosen. ep is where it is kept already; nil: nowhere.
func (x *exchange) settle(ep *upstream.Endpoint) {
	p := x.to.PersistenceFor(x.to.backend)
	x.to.persistence, x.to.kept = p, ep
	if p == nil || p.Managed {
		return
	}
	for value := range x.shown(p) {
		x.to.kept = highest(x.to.service, value)
		return
	}
}

// pin adds to an answer of ep what keeps the client there from now on, unless it is kept there already.
func (s *Server) pin(x *exchange, fields http1.Fields, ep *upstream.Endpoint) http1.Fields {
	p := x.to.persistence
	if p == nil || !p.Managed || ep == x.to.kept {
		return fields
	}
	var t token
	binary.BigEndian.PutUint32(t[:], uint32(x.record.Time.Unix()))
	at := s.persistence.tag(x.to.Route, ep)
	copy(t[tokenTime:], at[:])
	if p.Header {
		fields.Set(p.Name, t.String())
		return fields
	}
	cookie := p.Name + "=" + t.String()
	if p.Path != "" && !strings.ContainsAny(p.Path, ";,") {
		cookie += "; Path=" + p.Path
	}
	if p.Lifetime > 0 {
		cookie += "; Max-Age=" + strconv.FormatInt(int64(math.Ceil(p.Lifetime.Seconds())), 10)
	}
	cookie += "; HttpOnly"
	if x.origin.proto == "https" {
		cookie += "; Secure"
	}
	fields.Add("Set-Cookie", cookie)
	return fields
}

// highest is the endpoint that scores highest with the value (rendezvous hashing): few clients move when endpoints come and
// go. nil: none takes requests.
func highest(s *upstream.Service, value string) (best *upstream.Endpoint) {
	var most uint64
	for _, ep := range s.Endpoints {
		if ep.Leaving() || !ep.Healthy() {
			continue
		}
		if score := hash(value, ep.Address()); best == nil || score > most {
			best, most = ep, score
		}
	}
	return best
}

// weighed is the backend that scores highest with the value, each by its weight; nil: none has any.
func weighed(backends []route.Backend, value string) (best *route.Backend) {
	var most float64
	for i := range backends {
		b := &backends[i]
		if b.Weight <= 0 {
			continue
		}
		u := (float64(hash(value, b.Name)>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := -float64(b.Weight) / math.Log(u); best == nil || score > most {
			best, most = b, score
		}
	}
	return best
}

// hash mixes two strings: FNV-1a, then the finalizer of splitmix64. It is the same in every gateway.
func hash(a, b string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{a, "\x00", b} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
