package route

import (
	"math/rand/v2"
	"time"
)

// Filters are what a rule does to requests and answers on their way. For a WebSocket they act on the
// handshake, both ways, and never on the session.
type Filters struct {
	RequestHeaders  HeaderEdit
	ResponseHeaders HeaderEdit
	Redirect        *Redirect // answers; nothing goes to a backend
	Rewrite         *Rewrite
	Mirrors         []Mirror
	CORS            *CORS
	ExternalAuth    *ExternalAuth

	// Unsupported says why the rule cannot be served: a filter that cannot be followed (its requests are answered 500). "": it can.
	Unsupported string
}

// HeaderEdit changes header fields: Set replaces, Add appends, Remove takes away, in this order.
type HeaderEdit struct {
	Set, Add []HeaderValue
	Remove   []string
}

// Empty tells whether nothing is to be changed.
func (e *HeaderEdit) Empty() bool { return len(e.Set)+len(e.Add)+len(e.Remove) == 0 }

// HeaderValue is one field.
type HeaderValue struct{ Name, Value string }

// PathRewrite replaces the whole path, or the prefix that matched.
type PathRewrite struct {
	Full  bool   // Value replaces the whole path
	Value string // else the prefix that matched
}

// Redirect is answered instead of the request being served.
type Redirect struct {
	Scheme   string // "": that of the request
	Hostname string // "": that of the request
	Path     *PathRewrite
	Port     int // 0: that of Scheme if said, else the listener's
	Status   int // 301, 302, 303, 307, 308
}

// Rewrite changes what goes to the backend.
type Rewrite struct {
	Hostname string // the Host; "": as it was
	Path     *PathRewrite
}

// Mirror sends a copy of a request elsewhere and drops its answer. No session is copied.
type Mirror struct {
	Backend                *Backend
	Numerator, Denominator int // the share of requests; both 0: all
}

// CORS has the gateway do what CORS asks of a server (GEP-1767).
type CORS struct {
	AllowOrigins     []string // "https://a.example", "https://*.example", "*"
	AllowCredentials bool
	AllowMethods     []string // "*": any
	AllowHeaders     []string // "*": any
	ExposeHeaders    []string
	MaxAge           int // seconds
}

// ExternalAuth asks another service whether a request may pass (GEP-1494).
type ExternalAuth struct {
	Backend *Backend
	GRPC    bool // Envoy's ext_authz over gRPC; else an HTTP subrequest

	Path                   string   // HTTP: prefixed to the request's path
	AllowedHeaders         []string // of the request, sent beside those that the protocol asks for
	AllowedResponseHeaders []string // HTTP: of the answer, set on the request that goes to the backend
	ForwardBody            int      // bytes of the body to send; 0: none
}

// Retry is when and how often a request is tried again (GEP-1731).
type Retry struct {
	Attempts int           // beyond the first
	Codes    []int         // statuses that are tried again
	Backoff  time.Duration // least pause before the next attempt; 0: none
	Methods  RetryMethods  // not said: a status of Codes is tried again whatever the method, a connection that broke if that is idempotent
}

// RetryBudget bounds the share of retries among the requests to a service (GEP-3388). Two of one service are equal.
type RetryBudget struct {
	Percent  int           // of the requests of the last Interval
	Interval time.Duration // 1 s to 1 h
	MinCount int           // retries that are always allowed within MinInterval
	MinEvery time.Duration
}

// Persistence keeps a client at its endpoint (GEP-1619, and AGC's session affinity).
type Persistence struct {
	Name     string
	Header   bool          // in a header field, else a cookie
	Lifetime time.Duration // of a cookie: Max-Age; 0: until the browser ends
	Absolute time.Duration // after which the client is balanced anew; 0: never
	Path     string        // of the cookie
	Managed  bool          // the gateway sets it; else the application does, and its value is hashed. With a Lifetime the gateway fills in
	PerRule  bool          // clients of two rules are two, though their cookies may have one name (GEP-1619)
}

// Chosen tells whether the next request is one of the share that is copied.
func (m *Mirror) Chosen() bool {
	return m.Denominator <= 0 || rand.IntN(m.Denominator) < m.Numerator
}
