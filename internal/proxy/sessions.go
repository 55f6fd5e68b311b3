package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A Session is one live WebSocket session as admin lists it. It is kept for hours: its size is bounded by a test.
type Session struct {
	seq      uint64                            // order of opening; the cursor of paged lists
	relay    atomic.Pointer[relay.Session]     // nil while the handshake goes on
	id       uuid.UUID                         // sessionId
	places   *routePlaces                      // of its route, where it has one
	endpoint atomic.Pointer[upstream.Endpoint] // on which a place is taken
	opening  accesslog.Packed                  // what the access log and the list say of its opening, and its serviceUrl
	policy   *sessionPolicy                    // nil while the handshake goes on
	head     keptHead                          // for a move; "" with failover off
	moving   *moving                           // of the loop; nil: it has never lost its endpoint
	client   *clientPlaces                     // nil: sessions are not counted by client
	owner    *Server
	key      upstream.Key // that leads to its endpoint; 0: none
	bound    bool         // a cookie, or its own word, leads the client to its endpoint: it is not levelled
	granted  bool         // a licence let its client in
	secure   bool         // the client came by https, to us or to a proxy that says so
}

// A SessionView is what can be said of a session at one moment.
type SessionView struct {
	Seq              uint64
	Record           accesslog.Record // counters and duration are those of now
	GatewayPath      string
	ServiceURL       string
	ServiceSessionID string
	LastActivity     time.Time
	Held             int64 // bytes that wait in this process for a peer that is slow to take them
}

// view reads a session without stopping its relay.
func (ss *Session) view() SessionView {
	v := SessionView{Seq: ss.seq}
	v.ServiceURL = ss.unpackTo(&v.Record)
	// What can be made of the rest is not kept: the URL that the client asked for, and the service's name for the session.
	v.GatewayPath = "ws://" + v.Record.Host + v.Record.Path
	if ss.secure {
		v.GatewayPath = "wss://" + v.Record.Host + v.Record.Path
	}
	v.ServiceSessionID = uuid.NewSHA1(ss.id, []byte("service")).String()
	var st relay.Stats
	ss.relay.Load().Stats(&st)
	v.Record.BytesIn, v.Record.BytesOut = st.BytesIn, st.BytesOut
	v.Record.MessagesIn, v.Record.MessagesOut = st.MessagesIn, st.MessagesOut
	v.Record.Duration = time.Since(v.Record.Time)
	v.Record.Moves, v.Record.Uncertain = st.Moves, st.Uncertain
	v.LastActivity, v.Held = st.LastActivity, st.Held
	return v
}

// unpackTo is what was known at the opening, at the endpoint of now. It returns the serviceUrl.
func (ss *Session) unpackTo(rec *accesslog.Record) (serviceURL string) {
	serviceURL = ss.opening.UnpackTo(rec)
	if e := ss.endpoint.Load(); rec.Backend != e.Address() || rec.Instance != e.ID {
		rec.Instance, rec.Backend = e.ID, e.Address()
		_, rest, _ := strings.Cut(serviceURL, "://")
		_, path, _ := strings.Cut(rest, "/")
		serviceURL = webSocketScheme(e) + "://" + e.Address() + "/" + path
	}
	return serviceURL
}

// webSocketScheme is ws or wss.
func webSocketScheme(e *upstream.Endpoint) string {
	if e.Secure() {
		return "wss"
	}
	return "ws"
}

// Sessions are the live sessions of a Server, by id and in the order of their opening.
type Sessions struct {
	mu      sync.Mutex // guards the following
	byID    map[uuid.UUID]*Session
	byRoute map[string]*routePlaces // by route id: kept across tables
	nextSeq uint64
	drained chan struct{} // closed when the last one ends; nil unless somebody waits
}

// routePlaces are the live sessions of a route, as limits count them. Guarded by the lock of Sessions.
type routePlaces struct {
	routeID string      // constant
	tally   *routeTally // constant; of the route
	taken   int
	clients map[netip.Addr]*clientPlaces // those whose policy had maxSessionsPerClient; nil: there has been none
}

// clientPlaces are those of one client.
type clientPlaces struct {
	client netip.Addr // constant
	taken  int
}

// add lists ss, of that route and client; the route is counted by tally. It returns the name of the limit that is reached, and does nothing then; a
// limit of 0 is none.
func (l *Sessions) add(ss *Session, tally *routeTally, routeID string, client netip.Addr, limit int, policy *route.WebSocket) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit > 0 && len(l.byID) >= limit {
		return "sessions"
	}
	if l.byID == nil {
		l.byID, l.byRoute = make(map[uuid.UUID]*Session), make(map[string]*routePlaces)
	}
	p := l.byRoute[routeID]
	if p == nil {
		p = &routePlaces{routeID: routeID, tally: tally}
	}
	if policy.MaxSessions > 0 && p.taken >= policy.MaxSessions {
		return "sessions of this route"
	}
	if policy.MaxSessionsPerClient > 0 {
		c := p.of(clientNetwork(client))
		if c.taken >= policy.MaxSessionsPerClient {
			return "sessions of this client"
		}
		c.taken++
		ss.client = c
	}
	p.taken++
	l.byRoute[routeID] = p
	l.nextSeq++
	ss.seq, ss.places = l.nextSeq, p
	l.byID[ss.id] = ss
	return ""
}

// of returns the places of a client.
func (p *routePlaces) of(client netip.Addr) *clientPlaces {
	c := p.clients[client]
	if c == nil {
		if p.clients == nil {
			p.clients = make(map[netip.Addr]*clientPlaces)
		}
		c = &clientPlaces{client: client}
		p.clients[client] = c
	}
	return c
}

func (l *Sessions) remove(ss *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, ss.id)
	if c := ss.client; c != nil {
		if c.taken--; c.taken == 0 {
			delete(ss.places.clients, c.client)
		}
	}
	if ss.places.taken--; ss.places.taken == 0 {
		delete(l.byRoute, ss.places.routeID)
	}
	if len(l.byID) == 0 && l.drained != nil {
		close(l.drained)
		l.drained = nil
	}
}

// Len is the number of live sessions.
func (l *Sessions) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID)
}

// empty returns a channel that is closed once no session is left.
func (l *Sessions) empty() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.byID) == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if l.drained == nil {
		l.drained = make(chan struct{})
	}
	return l.drained
}

// snapshot returns the sessions opened after the one numbered seq, in order.
func (l *Sessions) snapshot(after uint64) []*Session {
	l.mu.Lock()
	all := make([]*Session, 0, len(l.byID))
	for _, ss := range l.byID {
		if ss.seq > after {
			all = append(all, ss)
		}
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b *Session) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

// at returns the open sessions whose endpoint take takes, in the order of their opening. It sorts those alone: of 100,000 sessions few are
// at one service.
func (l *Sessions) at(take func(*upstream.Endpoint) bool) (some []*Session) {
	l.mu.Lock()
	for _, ss := range l.byID {
		if e := ss.endpoint.Load(); e != nil && take(e) && ss.relay.Load() != nil {
			some = append(some, ss)
		}
	}
	l.mu.Unlock()
	slices.SortFunc(some, func(a, b *Session) int { return cmp.Compare(a.seq, b.seq) })
	return some
}

// List returns at most limit sessions that were opened after the one numbered after (0: from
// the first), and whether there are more.
func (l *Sessions) List(after uint64, limit int) (views []SessionView, more bool) {
	all := slices.DeleteFunc(l.snapshot(after), func(ss *Session) bool { return ss.relay.Load() == nil })
	if len(all) > limit {
		all, more = all[:limit], true
	}
	views = make([]SessionView, 0, len(all))
	for _, ss := range all {
		views = append(views, ss.view())
	}
	return views, more
}

// Get returns the session with that id.
func (l *Sessions) Get(id string) (SessionView, bool) {
	ss := l.find(id)
	if ss == nil {
		return SessionView{}, false
	}
	return ss.view(), true
}

// find returns the open session with that id, nil if there is none.
func (l *Sessions) find(id string) *Session {
	key, err := uuid.Parse(id)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	ss := l.byID[key]
	l.mu.Unlock()
	if ss == nil || ss.relay.Load() == nil {
		return nil
	}
	return ss
}

// Close ends the session with that id by a Close frame to both sides. False: there is none.
func (l *Sessions) Close(id string, code websocket.Code, reason, cause string) bool {
	ss := l.find(id)
	if ss == nil {
		return false
	}
	ss.relay.Load().Close(code, reason, cause)
	return true
}
