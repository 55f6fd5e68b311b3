package route

import (
	"fmt"
	"strings"
	"testing"
)

// header makes a Request's Header of pairs "name: value".
func header(lines ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, l := range lines {
			if n, v, _ := strings.Cut(l, ": "); strings.EqualFold(n, name) {
				return v, true
			}
		}
		return "", false
	}
}

func named(id string, matches ...RuleMatch) Rule {
	return Rule{Route: &Route{ID: id, Source: "gateway-api"}, Matches: matches}
}

func (r Rule) at(hostnames ...string) Rule {
	r.Hostnames = hostnames
	return r
}

func prefix(p string) RuleMatch { return RuleMatch{Path: PathMatch{PathPrefix, p}} }
func exact(p string) RuleMatch  { return RuleMatch{Path: PathMatch{PathExact, p}} }
func re(p string) RuleMatch     { return RuleMatch{Path: PathMatch{PathRegexp, p}} }

func (m RuleMatch) on(method string) RuleMatch { m.Method = method; return m }

func (m RuleMatch) header(name, value string) RuleMatch {
	m.Headers = append(m.Headers[:len(m.Headers):len(m.Headers)], ValueMatch{Name: name, Value: value})
	return m
}

func (m RuleMatch) query(name, value string) RuleMatch {
	m.Query = append(m.Query[:len(m.Query):len(m.Query)], ValueMatch{Name: name, Value: value})
	return m
}

// listen builds a table of one listener.
func listen(t testing.TB, hosts ...*Host) *Listener {
	t.Helper()
	l := &Listener{Name: "gw:80", Transport: TransportHTTP, Hosts: hosts}
	if p := Build(Set{Listeners: []*Listener{l}}, nil).Problems; len(p) > 0 {
		t.Fatalf("problems: %+v", p)
	}
	return l
}

func TestListenerHost(t *testing.T) {
	l := listen(t, &Host{Hostname: "*.example"}, &Host{Hostname: "*.b.example"}, &Host{Hostname: "a.example"}, &Host{Hostname: "*.example", Name: "again"})
	for name, want := range map[string]string{
		"a.example": "a.example", "b.example": "*.example", "x.b.example": "*.b.example", "y.x.b.example": "*.b.example",
		"x.a.example": "*.example", "example": "-", "": "-", ".example": "-", "other": "-",
	} {
		got := "-"
		if h := l.Host(name); h != nil {
			got = h.Name + h.Hostname
		}
		if got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	if h := listen(t, &Host{Hostname: "a.example"}, &Host{}).Host("b"); h == nil || h.Hostname != "" {
		t.Errorf("a host for any name: got %+v", h)
	}
}

func TestMatchPrecedence(t *testing.T) {
	l := listen(t, &Host{Rules: []Rule{
		named("root", prefix("/")),
		named("foo", prefix("/foo")),
		named("foo-slash", prefix("/foo/bar/")),
		named("exact", exact("/foo/bar")),
		named("regexp", re("/r/[0-9]+")),
		named("regexp-long", re("/r/[0-9]+|/longer")),
		named("r", prefix("/r/7/x")),
		named("post", prefix("/foo").on("POST")),
		named("one-header", prefix("/foo").header("X-A", "1")),
		named("two-headers", prefix("/foo").header("X-A", "1").header("X-B", "2")),
		named("query", prefix("/foo").query("q", "a b")),
		named("header-query", prefix("/foo").header("X-A", "1").query("q", "a b")),
		named("later", prefix("/foo")),
		named("no-match"),
		named("host", prefix("/")).at("a.example"),
		named("host-foo", prefix("/foo")).at("*.example"),
		named("host-wild", prefix("/w")).at("*.b.example"),
		named("escaped", prefix("/sp%20ace/%41")),
	}})
	tests := []struct{ method, host, target, header, want string }{
		{"GET", "", "/", "", "root / /"},
		{"GET", "", "/foo", "", "foo /foo "},
		{"GET", "", "/foo/", "", "foo /foo /"},
		{"GET", "", "/foox", "", "root  /foox"},
		{"GET", "", "/%66oo/x", "", "foo /%66oo /x"},
		{"GET", "", "/foo%2Fbar", "", "root  /foo%2Fbar"},
		{"GET", "", "/foo/bar", "", "exact  /foo/bar"},
		{"GET", "", "/foo/b%61r", "", "exact  /foo/b%61r"},
		{"GET", "", "/foo/bar/", "", "foo-slash /foo/bar /"},
		{"GET", "", "/foo/bar/x", "", "foo-slash /foo/bar /x"},
		{"GET", "", "/r/12", "", "regexp-long  /r/12"},
		{"GET", "", "/r/7/x", "", "r /r/7/x "},
		{"POST", "", "/foo", "X-A: 1", "post /foo "},
		{"GET", "", "/foo", "x-a: 1", "one-header /foo "},
		{"GET", "", "/foo", "X-A: 12", "foo /foo "},
		{"GET", "", "/foo?q=a+b", "", "query /foo "},
		{"GET", "", "/foo?z=1&%71=a%20b&q=c", "", "query /foo "},
		{"GET", "", "/foo?q=c&q=a+b", "", "foo /foo "},
		{"GET", "", "/foo?q=%zz&q=a+b", "", "query /foo "},
		{"GET", "", "/foo?q=a+b", "X-A: 1", "header-query /foo "},
		{"GET", "a.example", "/foo", "", "host  /foo"}, // the most specific hostname, although its path is shorter
		{"GET", "z.example", "/foo", "", "host-foo /foo "},
		{"GET", "z.example", "/bar", "", "root  /bar"},
		{"GET", "x.b.example", "/foo", "", "host-foo /foo "}, // not in the most specific one: in the next
		{"GET", "x.b.example", "/w", "", "host-wild /w "},
		{"GET", "", "/sp%20ace/A/%2f", "", "escaped /sp%20ace/A /%2f"},
		{"GET", "", "/" + strings.Repeat("/", 5000), "", "root  /" + strings.Repeat("/", 5000)},
		{"GET", "", "/foo/" + strings.Repeat("x", 5000), "", "foo /foo /" + strings.Repeat("x", 5000)},
	}
	for _, tt := range tests {
		path, query, _ := strings.Cut(tt.target, "?")
		m, ok := l.Hosts[0].Match(&Request{Host: tt.host, Path: path, Query: query, Method: tt.method, Header: header(tt.header)})
		want := tt.want
		if path == "/" {
			want = "root  /"
		}
		if got := fmt.Sprintf("%s %s %s", m.ID, m.Prefix, m.Rest); !ok || got != want {
			t.Errorf("%s %s%.40s %s: %.60q, want %.60q", tt.method, tt.host, tt.target, tt.header, got, want)
		}
	}
}

func TestMatchNone(t *testing.T) {
	l := listen(t, &Host{Rules: []Rule{named("a", prefix("/a"), exact("/b").on("PUT"), prefix("/c").header("X", ""))}})
	for _, path := range []string{"/", "/ab", "/b", "/b/", "/c"} {
		if m, ok := l.Hosts[0].Match(&Request{Path: path, Method: "GET", Header: header()}); ok {
			t.Errorf("%s: %s", path, m.ID)
		}
	}
	if _, ok := l.Hosts[0].Match(&Request{Path: "/c", Method: "GET", Header: header("X: ")}); !ok {
		t.Error("an empty value is a value")
	}
}

func TestMatchBadPattern(t *testing.T) {
	l := &Listener{Hosts: []*Host{{Rules: []Rule{named("bad", re("/("), prefix("/good"))}}}}
	table := Build(Set{Listeners: []*Listener{l}}, nil)
	if len(table.Problems) != 1 || table.Problems[0].Route != "bad" || !strings.Contains(table.Problems[0].Text, "match 0") {
		t.Errorf("problems: %+v", table.Problems)
	}
	if _, ok := l.Hosts[0].Match(&Request{Path: "/good", Header: header()}); !ok {
		t.Error("the other match of the rule is gone")
	}
}

func TestChoose(t *testing.T) {
	r := &Route{Backends: []Backend{{Name: "a", Weight: 70}, {Name: "b", Weight: 30}, {Name: "none"}}}
	if r.index(); r.turn == nil {
		t.Fatal("no turn")
	}
	for _, n := range []int{10, 100, 1000} {
		count := map[string]int{}
		for range n {
			count[r.Choose().Name]++
		}
		if a := count["a"] * 10 / n; a < 6 || a > 8 || count["none"] > 0 {
			t.Errorf("of %d: %v", n, count)
		}
	}
	if b := (&Route{Backends: []Backend{{Weight: 0}}}).Choose(); b != nil {
		t.Errorf("without weight: %+v", b)
	}
}

func TestRewritten(t *testing.T) {
	// The table of HTTPPathModifier.replacePrefixMatch, and what follows from it.
	for _, tt := range [][4]string{
		{"/foo/bar", "/foo", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo", "/xyz/", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz/", "/xyz/bar"},
		{"/foo", "/foo", "/xyz", "/xyz"},
		{"/foo/", "/foo", "/xyz", "/xyz/"},
		{"/foo/bar", "/foo", "", "/bar"},
		{"/foo/", "/foo", "", "/"},
		{"/foo", "/foo", "", "/"},
		{"/foo/", "/foo", "/", "/"},
		{"/foo", "/foo", "/", "/"},
		{"/a/b", "/", "/xyz", "/xyz/a/b"},
	} {
		l := listen(t, &Host{Rules: []Rule{named("r", prefix(tt[1]))}})
		m, ok := l.Hosts[0].Match(&Request{Path: tt[0], Header: header()})
		if got := m.Rewritten(&PathRewrite{Value: tt[2]}); !ok || got != tt[3] {
			t.Errorf("%s, %s by %q: %s, want %s", tt[0], tt[1], tt[2], got, tt[3])
		}
		if got := m.Rewritten(&PathRewrite{Full: true, Value: "/full"}); got != "/full" {
			t.Errorf("full: %s", got)
		}
		if got := m.Upstream(); got != tt[0] {
			t.Errorf("upstream: %s", got)
		}
	}
}

func TestStream(t *testing.T) {
	a, b := Stream{Route: &Route{ID: "a"}, Hostnames: []string{"a.example"}}, Stream{Route: &Route{ID: "b"}}
	l := listen(t, &Host{Streams: []Stream{a, b, {Route: &Route{ID: "late"}}}})
	for name, want := range map[string]string{"a.example": "a", "b.example": "b", "": "b"} {
		if s := l.Hosts[0].Stream(name); s == nil || s.ID != want {
			t.Errorf("%q: %+v", name, s)
		}
	}
	if s := listen(t, &Host{Streams: []Stream{a}}).Hosts[0].Stream("x"); s != nil {
		t.Errorf("no stream: %+v", s)
	}
}

// FuzzRules holds the index to the definition: of all matches that hold, tried one by one, none has precedence over the one
// that is found.
func FuzzRules(f *testing.F) {
	f.Add("/a/b", "x.example", "GET", "1", "q=1", uint64(7))
	f.Add("/%61/", "example", "POST", "", "", uint64(99))
	f.Fuzz(func(t *testing.T, path, host, method, value, query string, seed uint64) {
		if CheckPath(path) != nil {
			return
		}
		pick := func(of ...string) string {
			seed = seed*6364136223846793005 + 1442695040888963407
			return of[int(seed>>33)%len(of)]
		}
		h := &Host{}
		for i := range 12 {
			m := RuleMatch{Path: PathMatch{Value: pick("/", "/a", "/a/b", "/a/b/", "/%61", "/b", path)}, Method: pick("", "", "GET", "POST")}
			if pick("p", "e") == "e" {
				m.Path.Kind = PathExact
			}
			if m.Path.Value == "" || CheckPath(m.Path.Value) != nil {
				m.Path.Value = "/"
			}
			if pick("", "h") == "h" {
				m = m.header("X-A", pick("1", value))
			}
			if pick("", "", "q") == "q" {
				m = m.query("q", "1")
			}
			r := named(fmt.Sprint(i), m)
			if name := pick("", "", "*.example", "x.example", "*.x.example"); name != "" {
				r = r.at(name)
			}
			h.Rules = append(h.Rules, r)
		}
		l := listen(t, h)
		req := &Request{Host: host, Path: path, Query: query, Method: method, Header: header("X-A: " + value)}
		got, ok := l.Hosts[0].Match(req)
		best, found := slowly(h, req)
		if ok != found || ok && got.ID != best {
			t.Errorf("%q at %q: got %q %v, want %q %v", path, host, got.ID, ok, best, found)
		}
		if ok && got.Prefix+got.Rest != path {
			t.Errorf("%q is not %q and %q", path, got.Prefix, got.Rest)
		}
	})
}

// slowly is Match as the specification puts it.
func slowly(h *Host, q *Request) (best string, found bool) {
	var top [5]int
	for i := range h.Rules {
		r := &h.Rules[i]
		m := r.Matches[0]
		score := [5]int{}
		if len(r.Hostnames) == 1 {
			name := r.Hostnames[0]
			suffix, wild := strings.CutPrefix(name, "*")
			switch {
			case !wild && name == q.Host:
				score[0] = 1 << 20
			case wild && strings.HasSuffix(q.Host, suffix) && len(q.Host) > len(suffix):
				score[0] = len(name)
			default:
				continue
			}
		}
		path, want := canonicalPath(q.Path), canonicalPath(m.Path.Value)
		if m.Path.Kind == PathExact {
			if path != want {
				continue
			}
			score[1] = 1 << 20
		} else {
			want = strings.TrimRight(want, "/")
			if path != want && !strings.HasPrefix(path, want+"/") {
				continue
			}
			score[1] = len(want)
		}
		if m.Method != "" {
			score[2] = 1
		}
		score[3], score[4] = len(m.Headers), len(m.Query)
		c := candidate{method: m.Method}
		c.headers, _ = patterns{}.tests(m.Headers)
		c.query, _ = patterns{}.tests(m.Query)
		if !c.holds(q) {
			continue
		}
		if !found || less(top, score) {
			best, top, found = r.ID, score, true
		}
	}
	return best, found
}

func less(a, b [5]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// manyRules is one listener with n rules of 3 matches, for as many hostnames.
func manyRules(n int) *Listener {
	h := &Host{}
	for i := range n {
		p := fmt.Sprintf("/team%d/service%d", i%100, i)
		h.Rules = append(h.Rules, named(fmt.Sprint(i), prefix(p), exact(p+"/status").on("GET"), prefix(p+"/v2").header("X-Version", "2")).
			at(fmt.Sprintf("host%d.example", i%(n/10))))
	}
	return &Listener{Name: "many", Transport: TransportHTTP, Hosts: []*Host{h}}
}

func TestMatchAllocates(t *testing.T) {
	l := manyRules(100)
	Build(Set{Listeners: []*Listener{l}}, nil)
	q := &Request{Host: "host7.example", Path: "/team7/service7/v2/a/b", Method: "GET", Header: header("X-Version: 2")}
	if n := testing.AllocsPerRun(100, func() { l.Hosts[0].Match(q) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGatewayMatch(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := manyRules(n)
			Build(Set{Listeners: []*Listener{l}}, nil)
			q := &Request{Host: "host7.example", Path: "/team7/service7/v2/some/more/segments", Method: "GET", Header: header("X-Version: 2")}
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := l.Host(q.Host).Match(q); !ok {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkGatewayBuild(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := manyRules(10_000)
		b.StartTimer()
		Build(Set{Listeners: []*Listener{l}}, nil)
	}
}
