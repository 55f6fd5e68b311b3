package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eurekaRoute is a route in both orders, as metadata makes it.
func eurekaRoute(service, gatewayURL, target string) Route {
	return Route{
		ID: service + "/" + gatewayURL, Source: "eureka", ServiceID: service, GatewayURL: gatewayURL,
		Prefixes: []string{"/" + service + "/" + gatewayURL, "/" + gatewayURL + "/" + service},
		Target:   target,
	}
}

func TestMatch(t *testing.T) {
	table := Build(Set{Routes: []Route{
		eurekaRoute("svc", "ws/v1", "/app/ws"),
		eurekaRoute("svc", "ws/v1/deep", "/app/deep/"),
		eurekaRoute("svc", "api/v1", "/"),
		eurekaRoute("svc-2", "ws/v1", "/two"),
		eurekaRoute("ws", "v1", "/clash"),
		eurekaRoute("ws", "v1/svc", "/hidden"),
		eurekaRoute("été", "ws/v1", "/summer"),
	}}, nil)
	tests := []struct{ path, id, rest, upstream string }{
		{"/svc/ws/v1", "svc/ws/v1", "", "/app/ws"},
		{"/svc/ws/v1/", "svc/ws/v1", "/", "/app/ws/"},
		{"/svc/ws/v1/uppercase", "svc/ws/v1", "/uppercase", "/app/ws/uppercase"},
		{"/ws/v1/svc/uppercase", "svc/ws/v1", "/uppercase", "/app/ws/uppercase"},
		{"/svc/ws/v1//a//b/", "svc/ws/v1", "//a//b/", "/app/ws//a//b/"},
		{"/svc/ws/v1/a%2Fb%20c;d=e/%7e", "svc/ws/v1", "/a%2Fb%20c;d=e/%7e", "/app/ws/a%2Fb%20c;d=e/%7e"},
		{"/svc/ws/v1/a=b;c", "svc/ws/v1", "/a=b;c", "/app/ws/a=b;c"},
		{"/%73vc/w%73/v%31/x", "svc/ws/v1", "/x", "/app/ws/x"},
		{"/svc/ws/v1/deep/x", "svc/ws/v1/deep", "/x", "/app/deep/x"},
		{"/svc/ws/v1/deep", "svc/ws/v1/deep", "", "/app/deep/"},
		{"/svc/ws/v1/deep/", "svc/ws/v1/deep", "/", "/app/deep/"},
		{"/svc/ws/v1/deeper", "svc/ws/v1", "/deeper", "/app/ws/deeper"},
		{"/svc/api/v1", "svc/api/v1", "", "/"},
		{"/svc/api/v1/", "svc/api/v1", "/", "/"},
		{"/svc/api/v1/x", "svc/api/v1", "/x", "/x"},
		{"/svc-2/ws/v1/x", "svc-2/ws/v1", "/x", "/two/x"},
		{"/svc%2D2/ws/v1/x", "svc-2/ws/v1", "/x", "/two/x"},
		{"/ws/v1/other/x", "ws/v1", "/other/x", "/clash/other/x"},
		{"/été/ws/v1/x", "été/ws/v1", "/x", "/summer/x"},
		{"/%c3%a9t%C3%A9/ws/v1/x", "été/ws/v1", "/x", "/summer/x"},

		{path: "/"},
		{path: "/svc"},
		{path: "/svc/"},
		{path: "/svc/ws"},
		{path: "/svc/ws/v10"},
		{path: "/svc/ws/v1%2Fx"},
		{path: "/svc%2Fws/v1/x"},
		{path: "/svc/ws%2fv1/x"},
		{path: "//svc/ws/v1/x"},
		{path: "/svc//ws/v1/x"},
		{path: "/SVC/ws/v1/x"},
		{path: "/svc;a/ws/v1/x"},
		{path: "/svc%3B/ws/v1/x"},
		{path: "/ws/v1x/svc"},
		{path: ""},
	}
	for _, tt := range tests {
		m, ok := table.Match(tt.path)
		if tt.id == "" {
			if ok {
				t.Errorf("%q matches %s, want nothing", tt.path, m.ID)
			}
			continue
		}
		if !ok {
			t.Errorf("%q matches nothing, want %s", tt.path, tt.id)
			continue
		}
		if m.ID != tt.id || m.Rest != tt.rest || m.Prefix+m.Rest != tt.path || m.Upstream() != tt.upstream {
			t.Errorf("%q: %s %q + %q -> %q, want %s, %q, %q", tt.path, m.ID, m.Prefix, m.Rest, m.Upstream(), tt.id, tt.rest, tt.upstream)
		}
	}
}

func TestRootPrefix(t *testing.T) {
	table := Build(Set{Routes: []Route{
		{ID: "root", Prefixes: []string{"/"}, Target: "/all"},
		{ID: "a", Prefixes: []string{"/a/"}, Target: "/a"},
	}}, nil)
	for path, want := range map[string]string{"/": "/all/", "/b/c": "/all/b/c", "/a": "/a", "/a/b": "/a/b", "/ab": "/all/ab"} {
		if m, ok := table.Match(path); !ok || m.Upstream() != want || m.Prefix+m.Rest != path {
			t.Errorf("%q -> %q, %t, want %q", path, m.Upstream(), ok, want)
		}
	}
	if m, ok := table.Match("*"); ok {
		t.Errorf("* matches %s", m.ID)
	}
}

func TestBuildProblems(t *testing.T) {
	early := eurekaRoute("ws", "v1/svc", "/new") // /ws/v1/svc in the new order
	late := eurekaRoute("svc", "ws/v1", "/old")  // /ws/v1/svc in the old order
	other := Route{ID: "other", Source: "files", Prefixes: []string{"/svc/ws/v1", "/only"}}
	long := Route{ID: "long", Prefixes: []string{"/" + strings.Repeat("x", maxPrefixBytes)}}
	deep := Route{ID: "deep", Prefixes: []string{strings.Repeat("/x", maxPrefixSegments+1)}}
	bad := Route{ID: "bad", Prefixes: []string{"/a/../b"}}
	known := Route{ID: "known", ServiceID: "known"}
	refused := Route{ID: "refused", ServiceID: "refused", Problems: []string{"serviceUrl: bad"}}
	given := []Route{early, late, other, long, deep, bad, known, refused, eurekaRoute("ws", "ws", "/both")}
	table := Build(Set{Routes: given}, []string{"gone"})

	var got []string
	for _, p := range table.Problems {
		got = append(got, p.Route+": "+p.Text)
	}
	want := []string{
		"ws/v1/svc: prefix /ws/v1/svc: route svc/ws/v1 has it, in the old order",
		"other: prefix /svc/ws/v1: route svc/ws/v1 of eureka has it",
		"long: prefix of 513 bytes and 1 segments: at most 512 and 32 are served",
		"deep: prefix of 66 bytes and 33 segments: at most 512 and 32 are served",
		`bad: prefix "/a/../b": path: dot segment`,
		"refused: serviceUrl: bad",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for path, target := range map[string]string{"/ws/v1/svc/x": "/old/x", "/v1/svc/ws/x": "/new/x", "/only/x": "/x", "/ws/ws/x": "/both/x"} {
		if m, ok := table.Match(path); !ok || m.Upstream() != target {
			t.Errorf("%s: %q, %t, want %q", path, m.Upstream(), ok, target)
		}
	}
	for _, id := range []string{"ws", "svc", "known", "refused", "gone"} {
		if !table.KnownService(id) {
			t.Errorf("service %s is not known", id)
		}
	}
	if table.KnownService("") || table.KnownService("other") {
		t.Error("a service is known that nobody named")
	}
	if n := len(table.Routes()); n != len(given)-2 {
		t.Errorf("%d routes, want all but the two without prefixes", n)
	}

	given[1].Target = "/changed"
	if m, _ := table.Match("/ws/v1/svc"); m.Target != "/old" {
		t.Error("the table changed with the slice it was built from")
	}
}

// TestPrecedenceIsTheOrder has each of two sources first in turn.
func TestPrecedenceIsTheOrder(t *testing.T) {
	a := Route{ID: "a", Source: "a", Prefixes: []string{"/p"}, Target: "/a"}
	b := Route{ID: "b", Source: "b", Prefixes: []string{"/%70"}, Target: "/b"}
	for _, routes := range [][]Route{{a, b}, {b, a}} {
		table := Build(Set{Routes: routes}, nil)
		if m, ok := table.Match("/p"); !ok || m.ID != routes[0].ID {
			t.Errorf("match %v, want the first route, %s", m.Route, routes[0].ID)
		}
		if len(table.Problems) != 1 || table.Problems[0].Route != routes[1].ID {
			t.Errorf("problems %v, want one of %s", table.Problems, routes[1].ID)
		}
	}
}

// FuzzMatch compares a table of two routes with a naive reading of the rules.
func FuzzMatch(f *testing.F) {
	f.Add("svc", "ws/v1", "api", "ws/v1/x", "/svc/ws/v1/rest")
	f.Add("svc", "ws/v1", "ws", "v1/svc", "/ws/v1/svc/a%2Fb")
	f.Add("a-b", "x", "a%2db", "x/y", "/a%2Db/x/y/z")
	f.Add("s;x", "ws", "é", "w,s", "/%C3%A9/w,s//")
	f.Add("a", "b", "b", "a", "/a/b%2Fa/b")
	f.Fuzz(func(t *testing.T, svc1, url1, svc2, url2, path string) {
		if CheckPath(path) != nil {
			return
		}
		one, two := eurekaRoute(svc1, url1, "/one/"), eurekaRoute(svc2, url2, "/two")
		if svc1 == svc2 && url1 == url2 {
			return
		}
		table := Build(Set{Routes: []Route{one, two}}, nil)
		m, ok := table.Match(path)
		want := naiveMatch(table.Routes(), path)
		if ok != (want != nil) || ok && m.ID != want.ID {
			t.Fatalf("%q in %v: %v, want %v", path, table.prefixes, m.Route, want)
		}
		if !ok {
			return
		}
		if m.Prefix+m.Rest != path {
			t.Fatalf("%q cut into %q and %q", path, m.Prefix, m.Rest)
		}
		if m.Rest != "" && m.Rest[0] != '/' {
			t.Fatalf("rest %q", m.Rest)
		}
		if !strings.Contains(svc1+url1+svc2+url2, "%") && strings.Contains(strings.ToUpper(m.Prefix), "%2F") {
			t.Fatalf("encoded slash in prefix %q", m.Prefix)
		}
		if err := CheckPath(m.Upstream()); err != nil {
			t.Fatalf("%q -> %q: %v", path, m.Upstream(), err)
		}
		if !strings.HasSuffix(m.Upstream(), m.Rest) {
			t.Fatalf("%q -> %q: rest %q changed", path, m.Upstream(), m.Rest)
		}
	})
}

// naiveMatch compares every prefix segment by segment, the old order's before the new one's.
func naiveMatch(routes []*Route, path string) (best *Route) {
	segments := naiveSegments(path)
	depth := -1
	for _, old := range []bool{true, false} {
		for _, r := range routes {
			for _, p := range r.Prefixes {
				if CheckPath(p) != nil || r.oldOrder(p) != old {
					continue
				}
				prefix := naiveSegments(strings.TrimRight(p, "/"))
				if len(strings.Join(prefix, "/")) > maxPrefixBytes || len(prefix)-1 > maxPrefixSegments {
					continue
				}
				if len(prefix) <= len(segments) && len(prefix) > depth && slices.Equal(prefix, segments[:len(prefix)]) {
					best, depth = r, len(prefix)
				}
			}
		}
	}
	return best
}

// naiveSegments spells every segment in the one way that may be compared.
func naiveSegments(path string) []string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	segments := strings.Split(path, "/")
	for i, s := range segments {
		var b strings.Builder
		for j := 0; j < len(s); j++ {
			switch {
			case s[j] == '%':
				var c byte
				fmt.Sscanf(s[j+1:j+3], "%02x", &c) //nolint:errcheck // CheckPath has read it
				if strings.IndexByte(plain, c) >= 0 {
					b.WriteByte(c)
				} else {
					fmt.Fprintf(&b, "%%%02X", c)
				}
				j += 2
			case strings.IndexByte(plain+"!$&'()*+,;=:@", s[j]) >= 0:
				b.WriteByte(s[j])
			default:
				fmt.Fprintf(&b, "%%%02X", s[j])
			}
		}
		segments[i] = b.String()
	}
	return segments
}

// manyRoutes are n services with three routes each.
func manyRoutes(n int) []Route {
	var all []Route
	for i := range n {
		id := fmt.Sprintf("service-%d", i)
		for _, u := range []string{"ws/v1", "api/v1", "ui/v1"} {
			all = append(all, eurekaRoute(id, u, "/"+id))
		}
	}
	return all
}

func TestMatchAllocatesNothing(t *testing.T) {
	table := Build(Set{Routes: manyRoutes(10)}, nil)
	for _, path := range []string{"/service-7/ws/v1/a/b", "/ws/v1/service%2D7/x", "/unknown/ws/v1/x", "/" + strings.Repeat("x/", 4000)} {
		if n := testing.AllocsPerRun(100, func() { table.Match(path) }); n != 0 {
			t.Errorf("%.40q: %v allocations, want none", path, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	table := Build(Set{Routes: manyRoutes(3334)}, nil) // 10,002 routes, 20,004 prefixes
	for name, path := range map[string]string{
		"new":     "/service-3000/ws/v1/uppercase",
		"old":     "/ws/v1/service-3000/uppercase",
		"escaped": "/service%2d3000/ws/v1/uppercase",
		"none":    "/service-9999/ws/v1/uppercase",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Match(path)
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	routes := manyRoutes(3334)
	for b.Loop() {
		Build(Set{Routes: routes}, nil)
	}
}
