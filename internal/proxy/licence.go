package proxy

import (
	"container/heap"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// authEnded is the reason and the cause of a session whose client would not be let in any more.
const authEnded = "authentication ended"

// maxClockNap bounds how long nobody looks at the time of day, which may be set: tokens expire by it.
const maxClockNap = 30 * time.Second

// A licence is what let a session's client in. Sessions that nobody had to be let in to have none: it costs them nothing.
type licence struct {
	ss  *Session
	id  *auth.Identity
	due int // its place in licences.byExpiry; -1: it is not there

	expires bool // constant: the session ends when id expires
}

// ended tells whether the client's time is over.
func (g *licence) ended(now time.Time) bool { return g.expires && !now.Before(g.id.Expires) }

// licences are those of all live sessions. One goroutine ends those that expire, by one heap for all of them.
type licences struct {
	mu       sync.Mutex // guards the following
	all      map[*Session]*licence
	byExpiry expiries
	started  bool
	sooner   chan struct{} // capacity 1: the first of byExpiry is another; made when started
}

// add notes what let the session in. until: it ends when that expires.
func (l *licences) add(ss *Session, id *auth.Identity, until bool) (g *licence, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*Session]*licence{}
	}
	g = &licence{ss: ss, id: id, due: -1, expires: until && !id.Expires.IsZero()}
	l.all[ss] = g
	if !g.expires {
		return g, false
	}
	heap.Push(&l.byExpiry, g)
	if !l.started {
		l.started, l.sooner, first = true, make(chan struct{}, 1), true
	}
	if g.due == 0 {
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
	return g, first
}

func (l *licences) remove(ss *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.all[ss]
	if g == nil {
		return
	}
	delete(l.all, ss)
	if g.due >= 0 {
		heap.Remove(&l.byExpiry, g.due)
	}
}

// of is the session's; nil: it has none.
func (l *licences) of(ss *Session) *licence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[ss]
}

// expired takes those out of the heap that have expired, and returns how long the next one takes.
func (l *licences) expired(now time.Time) (over []*licence, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.byExpiry) > 0 && l.byExpiry[0].ended(now) {
		over = append(over, heap.Pop(&l.byExpiry).(*licence))
	}
	if len(l.byExpiry) == 0 {
		return over, maxClockNap
	}
	return over, min(l.byExpiry[0].id.Expires.Sub(now), maxClockNap)
}

// pick returns those that match.
func (l *licences) pick(match func(*licence) bool) (found []*licence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.all {
		if match(g) {
			found = append(found, g)
		}
	}
	return found
}

// expiries is a heap.
type expiries []*licence

func (h expiries) Len() int { return len(h) }

func (h expiries) Less(i, j int) bool { return h[i].id.Expires.Before(h[j].id.Expires) }

func (h expiries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].due, h[j].due = i, j
}

// Push implements heap.Interface.
func (h *expiries) Push(g any) {
	g.(*licence).due = len(*h)
	*h = append(*h, g.(*licence))
}

// Pop implements heap.Interface.
func (h *expiries) Pop() any {
	last := len(*h) - 1
	g := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	if g.due = -1; cap(*h) > 1024 && len(*h) < cap(*h)/4 { // what a crowd took is given back
		*h = append(make(expiries, 0, len(*h)*2), *h...)
	}
	return g
}

// let notes what let the session's client in, and ends it if that is over already: what ends sessions may have passed this one before
// it was listed. It runs on the session's loop.
func (s *Server) let(ss *Session, id *auth.Identity) {
	g, first := s.licences.add(ss, id, ss.policy.onAuthExpiry != route.IgnoreOnAuthExpiry)
	if first {
		s.background(s.expireLicences)
	}
	if s.revoked.Has(id) || !s.settings.Load().accepts(id) || g.ended(time.Now()) {
		ss.endAuth()
	}
}

// endAuth ends a session whose client would not be let in any more.
func (ss *Session) endAuth() {
	if r := ss.relay.Load(); r != nil {
		r.Close(websocket.Policy, authEnded, authEnded)
	}
}

// authOver tells whether what let the client in has expired, or was revoked: then no other endpoint is asked for it.
func (ss *Session) authOver() bool {
	if !ss.granted {
		return false
	}
	g := ss.owner.licences.of(ss)
	return g != nil && (g.ended(time.Now()) || ss.owner.revoked.Has(g.id))
}

// accepts tells whether a client that was let in would be, by what is configured now.
func (set *Settings) accepts(id *auth.Identity) bool {
	switch id.Method {
	case "basic":
		return set.users.Accepts(id)
	case "bearer":
		return set.tokens.Accepts(id)
	}
	return true
}

// expireLicences ends sessions as what let them in expires, until Shutdown.
func (s *Server) expireLicences() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.licences.sooner:
		case <-s.living.Done():
			return
		}
		over, next := s.licences.expired(time.Now())
		for _, g := range over {
			g.ss.endAuth()
		}
		timer.Reset(next)
	}
}

// endLicences ends the sessions of clients that the settings of now would not let in: of users that are gone or have another password,
// and of issuers that are gone.
func (s *Server) endLicences() {
	set := s.settings.Load()
	gone := s.licences.pick(func(g *licence) bool { return !set.accepts(g.id) })
	for _, g := range gone {
		g.ss.endAuth()
	}
	if len(gone) > 0 {
		s.Log.Info("sessions ended: their users or issuers are not configured any more", "sessions", len(gone))
	}
}

// A Revocation says whose sessions end, and which tokens are refused from now on.
type Revocation struct {
	Users    []string // their sessions, and their tokens that were issued until now
	Tokens   []string // by jti
	Issuer   string   // of Tokens; "": any
	Expires  time.Time
	Sessions []string // by id; these alone
}

// Revoked is what came of it.
type Revoked struct {
	Sessions int      `json:"sessions"` // that end
	Users    int      `json:"users"`    // whose tokens are refused
	Tokens   int      `json:"tokens"`   // that are refused
	Unknown  []string `json:"unknown"`  // ids of sessions that there are not
}

// Revoke carries it out. On error some of it may have been done: to repeat it does no harm.
func (s *Server) Revoke(r *Revocation) (done Revoked, err error) {
	done.Unknown = []string{}
	users, tokens, ids := map[string]bool{}, map[string]bool{}, map[uuid.UUID]bool{}
	for _, user := range r.Users {
		users[user] = true
		if e := s.revoked.RevokeUser(user, time.Now()); e == nil {
			done.Users++
		} else {
			err = errors.Join(err, e)
		}
	}
	for _, jti := range r.Tokens {
		tokens[jti] = true
		if e := s.revoked.RevokeToken(r.Issuer, jti, r.Expires); e == nil {
			done.Tokens++
		} else {
			err = errors.Join(err, e)
		}
	}
	for _, text := range r.Sessions {
		ss := s.Sessions.find(text)
		if ss == nil {
			done.Unknown = append(done.Unknown, text)
			continue
		}
		if ids[ss.id] = true; s.licences.of(ss) == nil { // nobody had to be let in to it; it ends all the same
			ss.endAuth()
			done.Sessions++
		}
	}
	for _, g := range s.licences.pick(func(g *licence) bool {
		named := g.id.TokenID != "" && tokens[g.id.TokenID] && (r.Issuer == "" || r.Issuer == g.id.Issuer)
		return users[g.id.User] || named || ids[g.ss.id]
	}) {
		g.ss.endAuth()
		s.revoked.Has(g.id) // so that it is known how long the token is to be refused
		done.Sessions++
	}
	if len(r.Users)+len(r.Tokens)+len(r.Sessions) > 0 {
		s.Log.Info("revoked", "users", done.Users, "tokens", done.Tokens, "sessions", done.Sessions)
	}
	return done, err
}
