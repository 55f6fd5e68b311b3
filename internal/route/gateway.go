package route

import (
	"cmp"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// maxPath bounds the paths, in canonical spelling, that prefixes and exact paths are compared with: as long as
// the Gateway API lets them be. Regular expressions see the whole path.
const maxPath = 1024

// Request is what rules are matched by.
type Request struct {
	Host   string // of the URL, without port, in lower case
	Path   string // raw; CheckPath has accepted it
	Query  string // raw, without "?"
	Method string

	// Header returns a field's values, joined by commas; ok tells whether there is one.
	Header func(name string) (value string, ok bool)
}

// hostIndex finds what belongs to a name: an exact hostname before a wildcard, a longer wildcard before a shorter one.
type hostIndex[T any] struct {
	exact map[string]T
	wild  map[string]T // by what follows "*": ".example"
	any   T
	some  bool // any is there
}

// add has v found for hostname, unless another one is. It tells whether it is v.
func (x *hostIndex[T]) add(hostname string, v T) bool {
	m, key := &x.exact, hostname
	switch {
	case hostname == "":
		if x.some {
			return false
		}
		x.any, x.some = v, true
		return true
	case strings.HasPrefix(hostname, "*."):
		m, key = &x.wild, hostname[1:]
	}
	if _, taken := (*m)[key]; taken {
		return false
	}
	if *m == nil {
		*m = make(map[string]T)
	}
	(*m)[key] = v
	return true
}

// all yields what covers name, the most specific first.
func (x *hostIndex[T]) all(name string) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		if v, ok := x.exact[name]; ok && !yield(v) {
			return
		}
		if len(x.wild) > 0 {
			for i := 1; i < len(name); i++ { // one label at least stands for the star
				if name[i] != '.' {
					continue
				}
				if v, ok := x.wild[name[i:]]; ok && !yield(v) {
					return
				}
			}
		}
		if x.some {
			yield(x.any)
		}
	}
}

// Host returns the host with the most specific hostname that covers name (lower case, no port), nil if none does.
func (l *Listener) Host(name string) *Host {
	for h := range l.hosts.all(name) {
		return h
	}
	return nil
}

// Stream finds the stream for a server name ("" for TCP and UDP), nil if there is none.
func (h *Host) Stream(name string) *Stream {
	for s := range h.streams.all(name) {
		return s
	}
	return nil
}

// A pathIndex holds the matches of all rules for one hostname.
type pathIndex struct {
	exact   map[string][]candidate // by canonical path
	prefix  map[string][]candidate // by canonical prefix, without trailing slash
	regexps []candidate
	longest int // bytes of the longest canonical prefix
}

// A candidate is one match of a rule. What its path does not say, holds asks.
type candidate struct {
	rule    *Rule
	method  string
	headers []valueTest
	query   []valueTest
	path    *regexp.Regexp // of regexps
}

// A valueTest is a ValueMatch, ready to ask.
type valueTest struct {
	name, value string
	pattern     *regexp.Regexp // nil: value is the whole value
}

// index makes l ready to be asked. What of it cannot be is left out, and told to problem.
func (l *Listener) index(problem func(r *Route, text string)) {
	if l.indexed { // by an earlier table, which may be in use
		return
	}
	l.indexed = true
	patterns := patterns{}
	for _, h := range l.Hosts {
		l.hosts.add(h.Hostname, h)
		if h.indexed { // for another address of the same Gateway
			continue
		}
		h.indexed = true
		for i := range h.Streams {
			s := &h.Streams[i]
			s.index()
			for _, name := range hostnames(h, s.Hostnames) {
				h.streams.add(name, s)
			}
		}
		groups := map[string]*pathIndex{}
		for i := range h.Rules {
			r := &h.Rules[i]
			r.index()
			for _, name := range hostnames(h, r.Hostnames) {
				group := groups[name]
				if group == nil {
					group = new(pathIndex)
					groups[name] = group
					h.rules.add(name, group)
				}
				if err := group.add(r, patterns); err != nil {
					problem(r.Route, err.Error())
				}
			}
		}
		for _, g := range groups {
			g.sort()
		}
	}
}

// hostnames are the keys of what holds for names at h: "" for all that h covers.
func hostnames(h *Host, names []string) []string {
	if len(names) == 0 || slices.Contains(names, h.Hostname) {
		return []string{""}
	}
	return names
}

// patterns are regular expressions that have been compiled, by their text.
type patterns map[string]*regexp.Regexp

// compile compiles a pattern over a whole value.
func (p patterns) compile(text string) (*regexp.Regexp, error) {
	if re := p[text]; re != nil {
		return re, nil
	}
	re, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		return nil, err
	}
	p[text] = re
	return re, nil
}

// CheckPattern tells why a regular expression cannot be used in a match (RE2 syntax).
func CheckPattern(text string) error {
	_, err := patterns{}.compile(text)
	return err
}

func (x *pathIndex) add(r *Rule, p patterns) error {
	if len(r.Matches) == 0 {
		return x.addMatch(r, &RuleMatch{}, p)
	}
	var first error
	for i := range r.Matches {
		if err := x.addMatch(r, &r.Matches[i], p); err != nil && first == nil {
			first = fmt.Errorf("match %d: %w", i, err)
		}
	}
	return first
}

func (x *pathIndex) addMatch(r *Rule, m *RuleMatch, p patterns) (err error) {
	c := candidate{rule: r, method: m.Method}
	if c.headers, err = p.tests(m.Headers); err != nil {
		return err
	}
	if c.query, err = p.tests(m.Query); err != nil {
		return err
	}
	switch m.Path.Kind {
	case PathRegexp:
		if c.path, err = p.compile(m.Path.Value); err != nil {
			return err
		}
		x.regexps = append(x.regexps, c)
	case PathExact:
		if x.exact == nil {
			x.exact = make(map[string][]candidate)
		}
		key := canonicalPath(m.Path.Value)
		x.exact[key] = append(x.exact[key], c)
	default:
		if x.prefix == nil {
			x.prefix = make(map[string][]candidate)
		}
		key := canonicalPrefix(m.Path.Value)
		x.prefix[key] = append(x.prefix[key], c)
		x.longest = max(x.longest, len(key))
	}
	return nil
}

func (p patterns) tests(matches []ValueMatch) ([]valueTest, error) {
	if len(matches) == 0 {
		return nil, nil
	}
	tests := make([]valueTest, len(matches))
	for i, m := range matches {
		tests[i] = valueTest{name: m.Name, value: m.Value}
		if m.Regexp {
			re, err := p.compile(m.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
			tests[i].pattern = re
		}
	}
	return tests, nil
}

// sort puts candidates of one path into their precedence: with a method first, then by header and query conditions, then
// as the rules stand.
func (x *pathIndex) sort() {
	for _, list := range x.exact {
		slices.SortStableFunc(list, compareCandidates)
	}
	for _, list := range x.prefix {
		slices.SortStableFunc(list, compareCandidates)
	}
	slices.SortStableFunc(x.regexps, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(len(b.path.String()), len(a.path.String())), compareCandidates(a, b))
	})
}

func compareCandidates(a, b candidate) int {
	method := func(c candidate) int {
		if c.method != "" {
			return 0
		}
		return 1
	}
	return cmp.Or(method(a)-method(b), len(b.headers)-len(a.headers), len(b.query)-len(a.query))
}

// Match finds the rule with the highest precedence (Gateway API, HTTPRouteRule.matches): most specific hostname, exact path,
// regular expression (the longest first), longest prefix, method, most headers, most query parameters, then the order of
// Rules. The cost grows neither with rules for other hostnames nor, but for regular expressions, with those for other paths.
func (h *Host) Match(r *Request) (m Match, ok bool) {
	var buf [maxPath]byte
	path, escaped := canonicalOf(buf[:0], r.Path)
	for group := range h.rules.all(r.Host) {
		if c := first(group.exact[string(path)], r); c != nil {
			return Match{Route: c.rule.Route, Host: h, Rest: r.Path}, true
		}
		if len(group.regexps) > 0 {
			whole := r.Path
			if escaped {
				whole = string(path)
			}
			for i := range group.regexps {
				if c := &group.regexps[i]; c.path.MatchString(whole) && c.holds(r) {
					return Match{Route: c.rule.Route, Host: h, Rest: r.Path}, true
				}
			}
		}
		if c, cut := group.longestPrefix(path, r); c != nil {
			if escaped {
				cut = rawCut(r.Path, cut)
			}
			return Match{Route: c.rule.Route, Host: h, Prefix: r.Path[:cut], Rest: r.Path[cut:]}, true
		}
	}
	return Match{}, false
}

// longestPrefix finds the longest prefix of whole segments for which a candidate holds, and its length in path.
func (x *pathIndex) longestPrefix(path []byte, r *Request) (*candidate, int) {
	end := len(path)
	if end > x.longest { // of what is longer, the whole segments that are not
		for end = x.longest; end > 0 && path[end] != '/'; end-- {
		}
	}
	for {
		if c := first(x.prefix[string(path[:end])], r); c != nil {
			return c, end
		}
		if end == 0 {
			return nil, 0
		}
		for end--; end > 0 && path[end] != '/'; end-- {
		}
	}
}

// rawCut is where in the raw path the first n bytes of its canonical spelling end.
func rawCut(raw string, n int) int {
	var b [3]byte
	i := 0
	for done := 0; done < n; {
		p, took := appendCanonical(b[:0], raw, i)
		done += len(p)
		i += took
	}
	return i
}

// canonicalOf returns the canonical spelling of a path, and whether it differs from the raw one.
func canonicalOf(buf []byte, path string) (canonical []byte, differs bool) {
	for i := 0; i < len(path); {
		if path[i] != '%' && isPathByte(path[i]) {
			buf = append(buf, path[i])
			i++
			continue
		}
		var n int
		buf, n = appendCanonical(buf, path, i)
		differs = true
		i += n
	}
	return buf, differs
}

func canonicalPath(path string) string {
	b, _ := canonicalOf(nil, path)
	return string(b)
}

// first is the first candidate that holds; nil: none does.
func first(list []candidate, r *Request) *candidate {
	for i := range list {
		if list[i].holds(r) {
			return &list[i]
		}
	}
	return nil
}

func (c *candidate) holds(r *Request) bool {
	if c.method != "" && c.method != r.Method {
		return false
	}
	for i := range c.headers {
		if value, ok := r.Header(c.headers[i].name); !ok || !c.headers[i].holds(value) {
			return false
		}
	}
	for i := range c.query {
		if value, ok := queryValue(r.Query, c.query[i].name); !ok || !c.query[i].holds(value) {
			return false
		}
	}
	return true
}

func (t *valueTest) holds(value string) bool {
	if t.pattern != nil {
		return t.pattern.MatchString(value)
	}
	return t.value == value
}

// queryValue is the first value of a parameter of that name (application/x-www-form-urlencoded, as browsers write it). A pair
// with a malformed escape is none.
func queryValue(query, name string) (string, bool) {
	for len(query) > 0 {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key, ok := formDecoded(key); !ok || key != name {
			continue
		}
		if value, ok := formDecoded(value); ok {
			return value, true
		}
	}
	return "", false
}

func formDecoded(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			var ok bool
			if c, ok = unescape(s, i); !ok {
				return "", false
			}
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

// index makes the choice among r's backends ready.
func (r *Route) index() {
	if r.turn != nil || len(r.Backends) < 2 {
		return
	}
	r.turn = new(atomic.Uint64)
}

// golden is 2^64 divided by the golden ratio: the multiples of it modulo 2^64 spread evenly however many there are.
const golden = 0x9e3779b97f4a7c15

// Choose picks a backend by weight, so that any run of choices comes close to the weights; nil if none has any. Any goroutine.
func (r *Route) Choose() *Backend {
	total := uint64(0)
	for i := range r.Backends {
		total += uint64(max(r.Backends[i].Weight, 0))
	}
	if total == 0 {
		return nil
	}
	at := uint64(0)
	if r.turn != nil {
		at, _ = bits.Mul64(r.turn.Add(golden), total)
	}
	for i := range r.Backends {
		w := uint64(max(r.Backends[i].Weight, 0))
		if at < w {
			return &r.Backends[i]
		}
		at -= w
	}
	return nil
}

// Rewritten is the match's path with p applied, without query.
func (m Match) Rewritten(p *PathRewrite) string {
	switch {
	case p == nil:
		return m.Prefix + m.Rest
	case p.Full:
		return p.Value
	case m.Rest == "" && p.Value != "":
		return p.Value
	}
	path := strings.TrimSuffix(p.Value, "/") + m.Rest
	if path == "" {
		return "/"
	}
	return path
}
