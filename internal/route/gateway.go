package route

// hostIndex finds the Host of a listener by name.
type hostIndex struct{}

// ruleIndex finds the rule of a host by request.
type ruleIndex struct{}

// Request is what rules are matched by.
type Request struct {
	Host   string // of the URL, without port, in lower case
	Path   string // raw; CheckPath has accepted it
	Query  string // raw, without "?"
	Method string

	// Header returns a field's values, joined by commas; ok tells whether there is one.
	Header func(name string) (value string, ok bool)
}

// Host returns the host with the most specific hostname that covers name (lower case, no port), nil if none does.
func (l *Listener) Host(name string) *Host { return nil }

// Match finds the rule with the highest precedence (Gateway API, HTTPRouteRule.matches): most specific hostname, exact path,
// regular expression, longest prefix, method, most headers, most query parameters, then the order of Rules.
func (h *Host) Match(r *Request) (m Match, ok bool) { return Match{}, false }

// Stream finds the stream for a server name ("" for TCP and UDP), nil if there is none.
func (h *Host) Stream(name string) *Stream { return nil }

// Choose picks a backend by weight; nil if none has any.
func (r *Route) Choose() *Backend { return nil }
