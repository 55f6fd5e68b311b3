package eureka

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func TestProbeFromMetadata(t *testing.T) {
	defaults := route.Policy{Probe: route.Probe{Type: route.ProbeTCP, Interval: 2 * time.Second}}
	tests := []struct {
		name     string
		operator route.Policy
		metadata []string
		want     upstream.Probe
	}{
		{"nobody says any", route.Policy{}, nil, upstream.Probe{}},
		{"the operator does", defaults, nil, upstream.Probe{Kind: upstream.TCPProbe, OwnHost: true, Interval: 2 * time.Second, Timeout: 2 * time.Second}},
		{
			"the service does",
			route.Policy{},
			[]string{"fairlead.probe.type", "http", "fairlead.probe.path", "/health", "fairlead.probe.statusCodes", "200"},
			upstream.Probe{Kind: upstream.HTTPProbe, OwnHost: true, Path: "/health", Status: only(200), Timeout: 5 * time.Second},
		},
		{
			"both", defaults,
			[]string{"fairlead.probe.type", "websocket", "fairlead.probe.path", "/ws", "fairlead.probe.interval", "10s", "fairlead.probe.timeout", "1s"},
			upstream.Probe{Kind: upstream.WebSocketProbe, OwnHost: true, Path: "/ws", Ping: true, Interval: 10 * time.Second, Timeout: time.Second},
		},
		{"the service wants none", defaults, []string{"fairlead.probe.type", "none"}, upstream.Probe{}},
	}
	for _, tt := range tests {
		routes := translated(tt.operator, upAt(1, ws("/ws", tt.metadata...)...))
		if got := problems(routes); len(got) > 0 {
			t.Errorf("%s: %q", tt.name, got)
		}
		for _, r := range routes {
			if r.Service.Probe != tt.want {
				t.Errorf("%s: route %q: %+v, want %+v", tt.name, r.ID, r.Service.Probe, tt.want)
			}
		}
	}
}

func only(status int) (s upstream.StatusSet) {
	_ = s.Add(status, status)
	return s
}

// TestBadProbesAreRefused: what a service registers must neither storm nor reach further than the service itself.
func TestBadProbesAreRefused(t *testing.T) {
	probed := []string{"fairlead.probe.type", "http"}
	tests := []struct {
		metadata []string
		problem  string
	}{
		{append(probed, "fairlead.probe.interval", "100ms"), "want 1s to 1h"},
		{append(probed, "fairlead.probe.timeout", "1h"), "to 1m"},
		{append(probed, "fairlead.probe.port", "70000"), "65535 at most"},
		{append(probed, "fairlead.probe.path", "http://169.254.169.254/latest"), "must begin with /"},
		{append(probed, "fairlead.probe.host", "a\r\nX-Evil: 1"), "no host name"},
		{append(probed, "fairlead.probe.url", "http://other.test/"), "unknown field"},
		{append(probed, "fairlead.routes.ws-v1.probe.path", "/x"), "it holds for a service as a whole: write fairlead.probe.path"},
		{append(probed, "fairlead.routes.ws-v1.outliers.failures", "3"), "it holds for a service as a whole: write fairlead.outliers.failures"},
		{append(probed, "fairlead.routes.ws-v1.panic", "true"), "it holds for a service as a whole: write fairlead.panic"},
		{[]string{"fairlead.probe.path", "/x"}, "fairlead.probe.path: nothing is probed without probe.type"},
	}
	for _, tt := range tests {
		routes := translated(route.Policy{}, upAt(1, ws("/ws", tt.metadata...)...))
		got := problems(routes)
		if len(got) != 1 || !strings.Contains(got[0], tt.problem) || !strings.HasPrefix(got[0], "instance host:svc:1: fairlead.") {
			t.Errorf("%q: problems %q, want %q", tt.metadata, got, tt.problem)
		}
		want := upstream.Probe{Kind: upstream.HTTPProbe, OwnHost: true, Timeout: 5 * time.Second}
		if tt.metadata[0] != "fairlead.probe.type" {
			want = upstream.Probe{}
		}
		if p := routes[0].Service.Probe; p != want {
			t.Errorf("%q: probe %+v, want the rest to hold: %+v", tt.metadata, p, want)
		}
		if len(served(routes)) != 1 {
			t.Errorf("%q: served %q", tt.metadata, served(routes))
		}
	}
}

// TestTheOperatorBoundsProbes: a service may probe less often than the operator says, never more often.
func TestTheOperatorBoundsProbes(t *testing.T) {
	operator := route.Policy{Probe: route.Probe{Interval: 10 * time.Second}}
	routes := translated(operator, upAt(1, ws("/ws", "fairlead.probe.type", "tcp", "fairlead.probe.interval", "1s")...))
	if got := problems(routes); len(got) != 1 || !strings.Contains(got[0], "policy probe.interval: it may not ask for more than the operator set") {
		t.Errorf("problems %q", got)
	}
	if p := routes[0].Service.Probe; p.Interval != 10*time.Second {
		t.Errorf("probe %+v", p)
	}
}

func TestOutliersAndPanicFromMetadata(t *testing.T) {
	routes := translated(route.Policy{Panic: route.Yes}, upAt(1, ws("/ws",
		"fairlead.outliers.failures", "2", "fairlead.outliers.latency", "4", "fairlead.outliers.time", "3s", "fairlead.outliers.maxTime", "1m")...))
	s := routes[0].Service
	if want := (upstream.Outliers{Failures: 2, Latency: 4, Time: 3 * time.Second, MaxTime: time.Minute}); s.Outliers != want || !s.Panic {
		t.Errorf("outliers %+v, panic %t; want %+v, true", s.Outliers, s.Panic, want)
	}
	s = translated(route.Policy{Panic: route.Yes}, upAt(1, ws("/ws", "fairlead.panic", "false", "fairlead.outliers.failures", "off")...))[0].Service
	if s.Outliers != (upstream.Outliers{}) || s.Panic {
		t.Errorf("switched off: %+v, panic %t", s.Outliers, s.Panic)
	}
	if s = translated(route.Policy{}, upAt(1, ws("/ws")...))[0].Service; s.Outliers != (upstream.Outliers{Failures: 5}) || s.Panic {
		t.Errorf("by default: %+v, panic %t", s.Outliers, s.Panic)
	}
}

// TestInstancesDisagreeOnTheService: the one that registered UP last wins, and every route shows it.
func TestInstancesDisagreeOnTheService(t *testing.T) {
	first := upAt(1, ws("/ws", "fairlead.probe.type", "http", "fairlead.probe.path", "/old", "fairlead.panic", "true")...)
	last := upAt(2, ws("/ws", "fairlead.probe.type", "http", "fairlead.probe.path", "/new")...)
	const want = "policy probe.path, panic: instances host:svc:1 and host:svc:2 differ, the latter wins"
	for _, order := range [][]*Instance{{first, last}, {last, first}} {
		for _, r := range translated(route.Policy{}, order...) {
			if r.Service.Probe.Path != "/new" || r.Service.Panic {
				t.Errorf("route %q: %+v", r.ID, r.Service.Options)
			}
			if len(r.Prefixes) > 0 && !slices.Equal(r.Conflicts, []string{want}) {
				t.Errorf("route %q: conflicts %q", r.ID, r.Conflicts)
			}
		}
	}
	last.Status = OutOfService
	if r := translated(route.Policy{}, first, last)[0]; r.Service.Probe.Path != "/old" || !r.Service.Panic {
		t.Errorf("one that is not UP wins: %+v", r.Service.Options)
	}
}

// TestEndpointsSaysWhatHoldsForTheService: routes of the Gateway API that lead to it are told, too.
func TestEndpointsSaysWhatHoldsForTheService(t *testing.T) {
	operator := route.Policy{Probe: route.Probe{Type: route.ProbeTCP}, Outliers: route.Outliers{Failures: 9}, Auth: route.AuthBasic}
	specs, _, policy, known := Endpoints([]*Instance{upAt(1, "fairlead.probe.type", "http", "fairlead.panic", "true", "fairlead.auth", "none")}, "svc", operator)
	want := route.Policy{Probe: route.Probe{Type: route.ProbeHTTP}, Outliers: route.Outliers{Failures: 9}, Panic: route.Yes}
	if len(specs) != 1 || !known || policy.Differences(want) != nil {
		t.Errorf("%v, %t, %+v; want %+v", specs, known, policy, want)
	}
	if specs, _, policy, known := Endpoints(nil, "svc", operator); len(specs) > 0 || known || policy.Probe.Type != route.ProbeTCP {
		t.Errorf("of nobody: %v, %t, %+v", specs, known, policy)
	}
}

// TestOnlyUpTakesNewSessions: whatever else an instance says of itself, it takes nothing new, and what it has goes on.
func TestOnlyUpTakesNewSessions(t *testing.T) {
	for _, status := range []Status{Down, OutOfService, Starting, Unknown} {
		tr := translation{policy: route.DefaultEureka(), pool: upstream.NewPool()}
		var left []*upstream.Endpoint
		tr.pool.OnLeave = func(e *upstream.Endpoint) { left = append(left, e) }
		one, other := upAt(1, ws("/ws")...), upAt(2, ws("/ws")...)
		before := tr.routes([]*Instance{one, other})[0].Service.Endpoints

		changed := *one
		changed.Status = status
		s := tr.routes([]*Instance{&changed, other})[0].Service
		if len(s.Endpoints) != 1 || s.Endpoints[0] != before[1] || !slices.Equal(left, before[:1]) || !before[0].Leaving() {
			t.Errorf("%s: endpoints %v, left %v, want the other one alone", status, s.Endpoints, left)
		}
		gone := *other
		gone.Status = status
		routes := tr.routes([]*Instance{&changed, &gone})
		for _, balance := range []upstream.Balance{upstream.LeastSessions, upstream.RoundRobin, upstream.Random} {
			if e, err := routes[0].Service.Pick(upstream.Choice{Balance: balance}); !errors.Is(err, upstream.ErrNoEndpoint) {
				t.Errorf("%s: all: %s takes %v, %v", status, balance, e, err)
			}
		}
		if len(served(routes)) != 1 {
			t.Errorf("%s: the service is not known any more: %q", status, served(routes))
		}
		tr.operator.Panic, tr.policy.Panic = route.Yes, route.Yes
		if e, err := tr.routes([]*Instance{&changed, &gone})[0].Service.Pick(upstream.Choice{}); err == nil {
			t.Errorf("%s: panic takes %v: it is for what is not well, not for what does not want", status, e)
		}
		if s := tr.routes([]*Instance{one, &gone})[0].Service; len(s.Endpoints) != 1 || s.Endpoints[0] != before[0] || before[0].Leaving() {
			t.Errorf("%s: UP again: %v", status, s.Endpoints)
		}
	}
}
