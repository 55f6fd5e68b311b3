package route

import (
	"math"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/unit"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Policy is how a route behaves. It has one struct and several spellings: `defaults:` in
// fairlead.yaml, which holds for every route; Eureka metadata `fairlead.<field>`, for a service;
// and `fairlead.routes.<routeId>.<field>`, for one of its routes. Each overlays the one before it.
//
// A field's zero value means "not said here". In durations a negative value means off where
// the field allows it; metadata may say `off`. Registered metadata may tighten authentication,
// origins, timeouts and limits that the operator has said, and never loosen them; see Register.
type Policy struct {
	// WebSocket is what holds for WebSocket sessions alone.
	WebSocket WebSocket `yaml:"websocket"`

	// LoadBalancing chooses among the endpoints of a service: least-sessions, round-robin, random, load-aware (by what endpoints report
	// of their load, see LoadAware), hash (by what Hash says, with few clients moved when endpoints come and go), sticky (a cookie keeps
	// a client at its endpoint) or instance (the endpoint whose instanceId the request's X-InstanceId names, and no other; without that
	// field as if nothing was said). Default: least-sessions for a WebSocket session, round-robin for a request.
	LoadBalancing upstream.Balance `yaml:"loadBalancing"`

	// Hash is what `loadBalancing: hash` goes by: one of its fields.
	Hash Hash `yaml:"hash"`

	// LoadAware is what becomes of the reports of `loadBalancing: load-aware`.
	LoadAware LoadAware `yaml:"loadAware"`

	// Sticky is the cookie of `loadBalancing: sticky`.
	Sticky Sticky `yaml:"sticky"`

	// SlowStart is the time, or off, over which an endpoint that is new, well again or listed again comes to its share of sessions and
	// requests: it begins with a tenth of it, and grows evenly. What hash, a cookie or X-InstanceId lead to an endpoint gets there at
	// once. Default off.
	SlowStart SlowStart `yaml:"slowStart"`

	// Auth is what the gateway itself asks of a client before it passes anything on: none, or any of several ways, as a list or with
	// commas: basic (users of auth.basic), bearer (tokens of auth.jwt), clientCertificate (one that the listener has verified; its
	// subject's common name is the user). Default none. Danger: with none, the services alone keep strangers out.
	Auth Auth `yaml:"auth"`

	// HostHeader is the Host that a service sees: endpoint (the endpoint's own host and port) or
	// client (as the client sent it). Default: endpoint on Eureka routes, client on Gateway API routes.
	HostHeader HostHeader `yaml:"hostHeader"`

	// EncodedPath says what a path may hold: any (what the gateway takes at all), no-slashes (no "%2F") or none
	// (no "%" and no ";"); what it may not is refused with 400. Registered metadata may also say
	// apiml.enableUrlEncodedCharacters: false, which is none. Default any.
	EncodedPath EncodedPath `yaml:"encodedPath"`

	// Probe asks the endpoints of a service whether they are well.
	Probe Probe `yaml:"probe"`

	// Outliers eject endpoints that fail, or are slow.
	Outliers Outliers `yaml:"outliers"`

	// Panic is what happens when no endpoint of a service is well: true (all are tried) or false (1012 or 503 at once). It holds for a
	// service, not for one of its routes. Default false.
	Panic Flag `yaml:"panic"`

	// Timeouts bound the steps before a session or a response is under way.
	Timeouts Timeouts `yaml:"timeouts"`

	// Retries is when and how often a request is sent once more, as an HTTPRoute's retry says it. An endpoint that cannot be reached is
	// passed over for another whatever it says, and so it is with WebSocket handshakes.
	Retries Retries `yaml:"retries"`
}

// WebSocket is the part of a Policy that holds for WebSocket sessions.
type WebSocket struct {
	// ConnectFailure is what a client sees when the service's part of the handshake fails: close
	// (101, then a Close with code and reason, which a browser can read) or status (the HTTP
	// status). Default: close on Eureka routes, status on Gateway API routes.
	ConnectFailure ConnectFailure `yaml:"connectFailure"`

	// CloseTimeout bounds, in time, the wait for a peer's Close, and for the end of a frame that a
	// Close must wait for. Default 5s.
	CloseTimeout time.Duration `yaml:"closeTimeout"`

	// IdleTimeout ends a session on which nothing that IdleCounts counts came from either side.
	// Default 1h; negative: never. Danger: without it a half-open session may hold a place for ever.
	IdleTimeout time.Duration `yaml:"idleTimeout"`

	// IdleCounts is what keeps a session from being idle: frames (any, also Ping and Pong) or
	// messages (data only). Default frames.
	IdleCounts IdleCounts `yaml:"idleCounts"`

	// MaxDuration ends a session of that age, whatever it does, or up to a tenth of it earlier, so that those that came together do not
	// go together. Default none (also if negative).
	MaxDuration time.Duration `yaml:"maxDuration"`

	// MaxMessageSize ends a session with 1009 if a message is larger, in bytes as they are on the
	// wire. Default none.
	MaxMessageSize unit.Size `yaml:"maxMessageSize"`

	// MaxFrameSize ends a session with 1009 if a frame's payload is larger, in bytes. Default none.
	MaxFrameSize unit.Size `yaml:"maxFrameSize"`

	// PingInterval is the time of silence after which the gateway pings a side. Default off (also
	// if negative).
	PingInterval time.Duration `yaml:"pingInterval"`

	// PongTimeout is how long the gateway waits for the answer to its Ping before it takes the
	// side for dead. Default twice PingInterval, at most 10s.
	PongTimeout time.Duration `yaml:"pongTimeout"`

	// AllowedOrigins are the origins ("https://app.example:8443") from which a browser may open a
	// session, besides the gateway's own; "*" is any. A request without Origin is no browser's
	// and passes. Default: none on Eureka routes (apiml.corsAllowedOrigins adds to it), any on Gateway API
	// routes. Danger: "*" lets every web page use a session with its visitor's cookies.
	AllowedOrigins []string `yaml:"allowedOrigins"`

	// MaxSessions bounds the live sessions of a route; above it a handshake is refused (1013, or
	// 503, by ConnectFailure). Default none.
	MaxSessions int `yaml:"maxSessions"`

	// MaxSessionsPerClient bounds the live sessions of one client address on a route (an IPv6 network of 64 bits counts as
	// one); above it a handshake is refused as with MaxSessions. Default none.
	MaxSessionsPerClient int `yaml:"maxSessionsPerClient"`

	// Failover is what happens to a session whose endpoint is lost: reconnect (it goes on at another endpoint; a message is
	// delivered at most once), replay (likewise, at least once: for services that answer every message with one), auto
	// (reconnect, but off where a subprotocol was agreed or the query has EIO or sid) or off (the client is told by a Close).
	// Default: auto on Eureka routes, off on Gateway API routes. Danger: a service that keeps state of its own for a session
	// meets it without that state; docs/failover.md.
	Failover Failover `yaml:"failover"`

	// FailoverBuffer is how many bytes of a session may wait for its new endpoint, and be kept for it, each way; then the
	// client is not read until there is room. At most 16MiB. Default 64KiB.
	FailoverBuffer unit.Size `yaml:"failoverBuffer"`

	// FailoverTimeout bounds the search for a new endpoint, from the first attempt. Default 10s.
	FailoverTimeout time.Duration `yaml:"failoverTimeout"`

	// Drain is what happens to the sessions of an endpoint that leaves (not UP any more, deregistered, expired, terminating, or
	// told to by an operator): wait (they stay), move (to another endpoint, without loss; 1012 where they cannot) or close (1012).
	// Default wait.
	Drain Wait `yaml:"drain"`

	// DrainWindow is the time over which the sessions of one endpoint are moved or closed. Default 30s; negative: at once.
	DrainWindow time.Duration `yaml:"drainWindow"`

	// OnUnhealthy is what happens to the sessions of an endpoint that is found dead, by active probes, or for one session by
	// the gateway's Ping: wait (they stay; a session whose Ping is not answered is lost), move (as after a loss; 1012 where they
	// cannot) or close (1012). Default wait.
	OnUnhealthy Wait `yaml:"onUnhealthy"`

	// OnAuthExpiry is what happens to a session when the token, or the certificate, by which its client was let in expires: close (1008 `authentication
	// ended`) or ignore, for services that take a new token in the messages of the session. A revocation ends it in any case. Default
	// close.
	OnAuthExpiry AuthExpiry `yaml:"onAuthExpiry"`

	// Rebalance is what happens when an endpoint joins: auto (sessions move to it until the counts are level, at a bounded
	// rate) or off. Default off; POST /application/services/{id}/rebalance does it once.
	Rebalance Rebalance `yaml:"rebalance"`

	// MessageRate bounds the messages of a client in one session: a whole number per second, minute or hour, as 100/s, 600/m or
	// 50/h. Above it the session ends with 1008. Ping, Pong and fragments do not count. A client that the gateway did not read, because its
	// service is slow or another endpoint was looked for, may say then what it could have said meanwhile. Default none.
	MessageRate unit.Rate `yaml:"messageRate"`

	// MessageBurst is how many messages of a client may come at once before MessageRate ends the session. At most a million.
	// Default: the messages of one second at that rate, one at least.
	MessageBurst int `yaml:"messageBurst"`
}

// Timeouts are the deadlines of a route. None of them cuts an open WebSocket.
type Timeouts struct {
	// Connect bounds resolving a name and connecting, over all its addresses. Default 5s.
	Connect time.Duration `yaml:"connect"`

	// Handshake bounds one attempt to open a session at an endpoint: connecting, TLS, and its
	// answer. Default 30s.
	Handshake time.Duration `yaml:"handshake"`

	// Response bounds the wait for the head of a service's response, from the end of the request.
	// Default 60s on Eureka routes, none on others; negative: none. Danger: without it a hung
	// service holds its clients.
	Response time.Duration `yaml:"response"`

	// Request bounds a whole request, until the end of the response; a handshake, until its 101. Default none (also if negative).
	Request time.Duration `yaml:"request"`

	// BackendRequest bounds one attempt of a request at one endpoint, until the end of the
	// response; of a handshake, until its 101. Default none (also if negative).
	BackendRequest time.Duration `yaml:"backendRequest"`
}

// Default values that hold for every source.
const (
	defaultCloseTimeout = 5 * time.Second
	defaultIdleTimeout  = time.Hour
	defaultConnect      = 5 * time.Second
	defaultHandshake    = 30 * time.Second

	defaultFailoverBuffer  = 64 << 10
	defaultFailoverTimeout = 10 * time.Second
	defaultDrainWindow     = 30 * time.Second
	maxPongTimeout         = 10 * time.Second
)

// DefaultEureka is what holds for routes from Eureka metadata where nobody says anything else.
func DefaultEureka() Policy {
	return Policy{
		WebSocket: WebSocket{
			ConnectFailure: CloseOnFailure,
			CloseTimeout:   defaultCloseTimeout,
			IdleTimeout:    defaultIdleTimeout,
			IdleCounts:     Frames,
			AllowedOrigins: []string{},
			Failover:       FailoverAuto,
			Drain:          WaitForEnd,
			OnUnhealthy:    WaitForEnd,
			OnAuthExpiry:   CloseOnAuthExpiry,
			Rebalance:      RebalanceOff,
		},
		Auth:        AuthNone,
		HostHeader:  HostOfEndpoint,
		EncodedPath: EncodedAny,
		Timeouts: Timeouts{
			Connect:   defaultConnect,
			Handshake: defaultHandshake,
			Response:  60 * time.Second,
		},
	}
}

// DefaultGatewayAPI is what holds for routes of the Gateway API where nobody says anything else.
func DefaultGatewayAPI() Policy {
	p := DefaultEureka()
	p.WebSocket.ConnectFailure = StatusOnFailure
	p.WebSocket.Failover = FailoverOff
	p.WebSocket.AllowedOrigins = []string{"*"}
	p.HostHeader = HostOfClient
	p.Timeouts.Response = 0
	return p
}

// Choice is how an endpoint is chosen, for a WebSocket session or for a request, where nothing of the request itself decides.
func (p *Policy) Choice(websocket bool) upstream.Choice {
	c := upstream.Choice{Balance: upstream.RoundRobin, SlowStart: upstream.SlowStart(p.SlowStart)}
	c.SlowStart.Window = max(c.SlowStart.Window, 0)
	switch {
	case p.LoadBalancing == upstream.LeastSessions || p.LoadBalancing == upstream.RoundRobin || p.LoadBalancing == upstream.Random:
		c.Balance = p.LoadBalancing
	case p.LoadBalancing == upstream.LoadAware:
		c.Balance, c.Reports = p.LoadBalancing, p.LoadAware.Reports()
	case websocket:
		c.Balance = upstream.LeastSessions
	}
	return c
}

// Limits is what a Policy means to the relay of a session. Zero: none, except CloseTimeout, which
// is always set.
type Limits struct {
	MaxMessage, MaxFrame int64 // bytes

	MessageEvery time.Duration // between two messages of a client at MessageRate
	MessageBurst int           // set with MessageEvery

	Idle         time.Duration
	IdleMessages bool // only data messages are life
	MaxAge       time.Duration
	Ping, Pong   time.Duration
	CloseTimeout time.Duration
}

// Limits returns the effective values for a session's relay.
func (p *Policy) Limits() Limits {
	ws := &p.WebSocket
	l := Limits{
		MaxMessage:   int64(max(ws.MaxMessageSize, 0)),
		MaxFrame:     int64(max(ws.MaxFrameSize, 0)),
		Idle:         max(ws.IdleTimeout, 0),
		IdleMessages: ws.IdleCounts == Messages,
		MaxAge:       max(ws.MaxDuration, 0),
		Ping:         max(ws.PingInterval, 0),
		CloseTimeout: positive(ws.CloseTimeout, defaultCloseTimeout),
	}
	if ws.IdleTimeout == 0 {
		l.Idle = defaultIdleTimeout
	}
	if ws.MessageRate > 0 {
		l.MessageEvery, l.MessageBurst = max(ws.MessageRate.Interval(), 1), ws.messageBurst()
	}
	if l.Ping > 0 {
		l.Pong = positive(ws.PongTimeout, min(2*l.Ping, maxPongTimeout))
	}
	return l
}

// messageBurst is MessageBurst, or what MessageRate means for it; 0: neither is said.
func (w *WebSocket) messageBurst() int {
	switch {
	case w.MessageBurst > 0:
		return w.MessageBurst
	case w.MessageRate > 0:
		return min(int(math.Ceil(max(float64(w.MessageRate), 1))), maxMessageBurst)
	}
	return 0
}

// Effective returns the deadlines as they hold: Connect and Handshake are always set, zero in
// the others is none.
func (t Timeouts) Effective() Timeouts {
	return Timeouts{
		Connect:        positive(t.Connect, defaultConnect),
		Handshake:      positive(t.Handshake, defaultHandshake),
		Response:       max(t.Response, 0),
		Request:        max(t.Request, 0),
		BackendRequest: max(t.BackendRequest, 0),
	}
}

func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
