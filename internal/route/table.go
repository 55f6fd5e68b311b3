package route

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Bounds on one prefix; a route beyond them is a problem, not an error of the table.
const (
	maxPrefixBytes    = 512 // in canonical spelling
	maxPrefixSegments = 32
)

// Route leads every path below one of its prefixes to a service. Sources make Routes; inside a
// Table they are immutable.
type Route struct {
	// ID names the route in logs and lists: stable across tables, unique within its source.
	ID string

	// Source is where the route comes from: eureka, or gateway-api.
	Source string

	// ServiceID is the service's id as it stands in paths and in answers to clients.
	ServiceID string

	// GatewayURL is the route's name within its service, without slashes around it: "ws/v1".
	GatewayURL string

	// Prefixes are the paths that lead here, with a leading and without a trailing slash:
	// "/svc/ws/v1", then the old order, "/ws/v1/svc". None: the route only makes its service known.
	Prefixes []string

	// Target is what stands in the prefix's place on the way to the service: the serviceUrl, with
	// one leading slash; a trailing slash is kept.
	Target string

	// Service holds the endpoints that may take new sessions: none while a known service has no
	// instance. Nil if the route has no Prefixes, or has Backends.
	Service *upstream.Service

	// Policy is complete: the source's defaults, the operator's, and what was registered. Nil only
	// if the route has no Prefixes.
	Policy *Policy

	// CORS has the gateway do for the service what CORS asks of a server: pages of the policy's allowedOrigins may use
	// the route, and with CORSAnyone those of any origin. False: the service does it itself.
	CORS, CORSAnyone bool

	// SameOrigin, where CORS is false, has the gateway refuse plain requests that come from pages of other origins than its own.
	SameOrigin bool

	// Backends are the targets of a rule of the Gateway API, of which one is chosen by weight. Empty on Eureka
	// routes, which have one Service; on others Service is nil.
	Backends []Backend

	// Filters, Retry and Persistence are those of a rule of the Gateway API. An Eureka route may have Filters that change headers of
	// plain requests, and what its policy says of the others. Each may be nil.
	Filters     *Filters
	Retry       *Retry
	Persistence *Persistence

	// Problem tells that failures are answered as application/problem+json (RFC 9457) and not with Zowe's
	// document; GRPC that they are answered as gRPC says (status and trailers).
	ProblemJSON, GRPC bool

	turn *atomic.Uint64 // of Choose; nil: there is no choice

	// Conflicts tell, one sentence each, where the instances of the service disagreed on this
	// route, and which of them won.
	Conflicts []string

	// Problems tell, one sentence each, what was registered and does not hold. Where that is the
	// whole route, it has no Prefixes.
	Problems []string
}

// Guarded tells whether the route asks who the client is.
func (r *Route) Guarded() bool {
	if r.Policy != nil && r.Policy.Auth != AuthNone && r.Policy.Auth != "" || r.Filters != nil && r.Filters.ExternalAuth != nil {
		return true
	}
	return slices.ContainsFunc(r.Backends, func(b Backend) bool { return b.Filters != nil && b.Filters.ExternalAuth != nil })
}

// oldOrder tells whether prefix is the route's /{gatewayUrl}/{serviceId}.
func (r *Route) oldOrder(prefix string) bool {
	return r.GatewayURL != "" && prefix == "/"+r.GatewayURL+"/"+r.ServiceID
}

// Problem is something that keeps a route, or a part of it, from being served as registered.
type Problem struct {
	Source, Route, ServiceID string
	Text                     string
}

// Table is the set of routes at one moment. It is immutable, and safe from any goroutine.
type Table struct {
	// Problems lists what is not served as registered, in the order of the routes. Read it only.
	Problems []Problem

	// Listeners are those that sources want open, at most one for an address, port and network. Read it only.
	Listeners []*Listener

	routes   []*Route
	prefixes map[string]*Route // by canonical prefix
	services map[string]bool   // known service ids
	depth    int               // segments of the deepest prefix
	longest  int               // bytes of the longest canonical prefix
}

// Build makes a table of routes. Their order is their precedence: of two routes with one prefix
// the first has it, except that within a source the old order has it before the new (a service
// called "ws" never hides /ws/v1/svc). What cannot be served is listed in Problems, and nothing
// else suffers from it. known are ids of services that are known although no route names them.
func Build(set Set, known []string) *Table {
	routes := set.Routes
	t := &Table{
		Listeners: set.Listeners,

		routes:   make([]*Route, 0, len(routes)),
		prefixes: make(map[string]*Route, 2*len(routes)),
		services: make(map[string]bool),
	}
	for _, id := range known {
		t.services[id] = true
	}
	for i := range routes {
		r := routes[i] // a copy: the source may go on using its slice
		if r.ServiceID != "" {
			t.services[r.ServiceID] = true
		}
		for _, text := range r.Problems {
			t.problem(&r, text)
		}
		if len(r.Prefixes) == 0 {
			continue
		}
		t.routes = append(t.routes, &r)
		for _, p := range r.Prefixes {
			t.add(&r, p)
		}
	}
	for _, l := range t.Listeners {
		l.index(t.problem)
	}
	return t
}

func (t *Table) add(r *Route, prefix string) {
	if err := CheckPath(prefix); err != nil {
		t.problem(r, fmt.Sprintf("prefix %q: %v", prefix, err))
		return
	}
	key := canonicalPrefix(prefix)
	depth := strings.Count(key, "/")
	if len(key) > maxPrefixBytes || depth > maxPrefixSegments {
		t.problem(r, fmt.Sprintf("prefix of %d bytes and %d segments: at most %d and %d are served",
			len(key), depth, maxPrefixBytes, maxPrefixSegments))
		return
	}
	switch has := t.prefixes[key]; {
	case has == nil:
	case has == r:
		return // the same in both orders
	case has.Source == r.Source && r.oldOrder(prefix) && !has.oldOrder(prefix):
		t.problem(has, fmt.Sprintf("prefix %s: route %s has it, in the old order", prefix, r.ID))
	default:
		t.problem(r, fmt.Sprintf("prefix %s: route %s of %s has it", prefix, has.ID, has.Source))
		return
	}
	t.prefixes[key] = r
	t.depth = max(t.depth, depth)
	t.longest = max(t.longest, len(key))
}

func (t *Table) problem(r *Route, text string) {
	t.Problems = append(t.Problems, Problem{Source: r.Source, Route: r.ID, ServiceID: r.ServiceID, Text: text})
}

// Routes returns the routes that are served, in order of precedence. Read the slice only.
func (t *Table) Routes() []*Route { return t.routes }

// KnownService tells whether a service of that id has routes, is registered without any, or was
// there less than registry.forgetAfter ago.
func (t *Table) KnownService(id string) bool { return t.services[id] }

// Match is where a path leads.
type Match struct {
	*Route

	// Prefix is the part of the path that chose the route, in the client's own spelling.
	Prefix string

	// Rest is what follows it, in the client's own spelling: "", or it begins with "/".
	Rest string

	// Host is where the rule was found; nil for Eureka routes.
	Host *Host
}

// Match finds the route with the longest prefix of whole segments. path is the raw path as
// received, and CheckPath has accepted it. Segments are compared one by one, with escaped
// unreserved characters decoded (RFC 3986, section 6.2.2.2): "/%77s" is "/ws", an encoded slash
// is no slash, an empty segment is a segment. Letters count as they are written. The cost grows
// with the segments of the deepest prefix, not with the number of routes; nothing is allocated.
func (t *Table) Match(path string) (m Match, ok bool) {
	var canonical [maxPrefixBytes + 4]byte
	var cuts [maxPrefixSegments]struct{ canonical, raw int } // where each segment ends
	b := canonical[:0]
	depth, i := 0, 0
scan:
	for depth < t.depth && i < len(path) && path[i] == '/' {
		b = append(b, '/')
		for i++; i < len(path) && path[i] != '/'; {
			if len(b) > t.longest {
				break scan // no prefix is as long as this
			}
			var n int
			b, n = appendCanonical(b, path, i)
			i += n
		}
		cuts[depth].canonical, cuts[depth].raw = len(b), i
		depth++
	}
	for d := depth - 1; d >= 0; d-- {
		if r := t.prefixes[string(b[:cuts[d].canonical])]; r != nil {
			return Match{Route: r, Prefix: path[:cuts[d].raw], Rest: path[cuts[d].raw:]}, true
		}
	}
	if r := t.prefixes[""]; r != nil && strings.HasPrefix(path, "/") {
		return Match{Route: r, Rest: path}, true
	}
	return Match{}, false
}

// Upstream is the path to send: Target and Rest joined by exactly one "/", the bytes of Rest as
// they came. Without Rest it is Target alone. For a rule of the Gateway API it is the path as it came, or as
// Filters.Rewrite says. The query string is the caller's.
func (m Match) Upstream() string {
	first, rest := m.UpstreamParts()
	return first + rest
}

// UpstreamParts are two strings that make Upstream, for those who need not have it in one.
func (m *Match) UpstreamParts() (first, rest string) {
	if m.Host != nil {
		if m.Filters != nil && m.Filters.Rewrite != nil {
			return m.Rewritten(m.Filters.Rewrite.Path), ""
		}
		return m.Prefix, m.Rest
	}
	target := m.Target
	if m.Rest == "" {
		if target == "" {
			return "/", ""
		}
		return target, ""
	}
	return strings.TrimSuffix(target, "/"), m.Rest
}
