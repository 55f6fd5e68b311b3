package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// everyHealthField is everyField for the fields that hold for a service.
var everyHealthField = []saidField{
	{"probe.type", "websocket", Policy{Probe: Probe{Type: ProbeWebSocket}}},
	{"probe.path", "/ws/health?deep=1", Policy{Probe: Probe{Path: "/ws/health?deep=1"}}},
	{"probe.host", "app.example", Policy{Probe: Probe{Host: "app.example"}}},
	{"probe.port", "8081", Policy{Probe: Probe{Port: 8081}}},
	{"probe.useTLS", "true", Policy{Probe: Probe{UseTLS: Yes}}},
	{"probe.statusCodes", "200-299, 404", Policy{Probe: Probe{StatusCodes: statusCodes([2]int{200, 299}, [2]int{404, 404})}}},
	{"probe.service", "chat.v1", Policy{Probe: Probe{Service: "chat.v1"}}},
	{"probe.subprotocol", "mqtt", Policy{Probe: Probe{Subprotocol: "mqtt"}}},
	{"probe.interval", "2s", Policy{Probe: Probe{Interval: 2 * time.Second}}},
	{"probe.timeout", "500ms", Policy{Probe: Probe{Timeout: 500 * time.Millisecond}}},
	{"probe.healthyThreshold", "2", Policy{Probe: Probe{HealthyThreshold: 2}}},
	{"probe.unhealthyThreshold", "4", Policy{Probe: Probe{UnhealthyThreshold: 4}}},
	{"outliers.failures", "off", Policy{Outliers: Outliers{Failures: -1}}},
	{"outliers.latency", "2.5", Policy{Outliers: Outliers{Latency: 2.5}}},
	{"outliers.latencyFloor", "50ms", Policy{Outliers: Outliers{LatencyFloor: 50 * time.Millisecond}}},
	{"outliers.latencySamples", "5", Policy{Outliers: Outliers{LatencySamples: 5}}},
	{"outliers.latencyInterval", "3s", Policy{Outliers: Outliers{LatencyInterval: 3 * time.Second}}},
	{"outliers.time", "15s", Policy{Outliers: Outliers{Time: 15 * time.Second}}},
	{"outliers.maxTime", "1m", Policy{Outliers: Outliers{MaxTime: time.Minute}}},
	{"panic", "true", Policy{Panic: Yes}},
}

func statusCodes(ranges ...[2]int) (s upstream.StatusSet) {
	for _, r := range ranges {
		_ = s.Add(r[0], r[1])
	}
	return s
}

func TestHealthFieldsHoldForServices(t *testing.T) {
	for _, f := range everyHealthField {
		if !OfService(f.name) {
			t.Errorf("%s could be said of a route", f.name)
		}
		if !f.want.SaysOfService() || f.want.ServicePart().Differences(f.want) != nil {
			t.Errorf("%s is no part of what is said of a service", f.name)
		}
	}
	for _, f := range everyField {
		if OfService(f.name) || f.want.SaysOfService() {
			t.Errorf("%s could not be said of a route", f.name)
		}
	}
	if !OfService("probe.paht") || OfService("probes.path") {
		t.Error("a name that is none")
	}
}

func TestHealthFieldErrors(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"probe.type", "icmp", "want none or tcp or http or grpc or websocket"},
		{"probe.path", "health", "must begin with /"},
		{"probe.path", "http://10.0.0.1/", "must begin with /"},
		{"probe.path", "/a%zz", "no path of a URL"},
		{"probe.host", "a\r\nX: y", "no host name"},
		{"probe.subprotocol", "a b", "no token"},
		{"probe.port", "0", "more than 0"},
		{"probe.port", "65536", "65535 at most"},
		{"probe.port", "-1", "more than 0"},
		{"probe.useTLS", "yes", "want true or false"},
		{"probe.statusCodes", "2xx", "codes and ranges"},
		{"probe.statusCodes", "299-200", "want a range"},
		{"probe.statusCodes", "", "codes and ranges"},
		{"probe.interval", "10ms", "want 1s to 1h"},
		{"probe.interval", "999ms", "want 1s to 1h"},
		{"probe.interval", "2h", "want 1s to 1h"},
		{"probe.interval", "off", "duration"},
		{"probe.timeout", "61s", "to 1m"},
		{"probe.timeout", "0", "more than 0"},
		{"probe.healthyThreshold", "101", "100 at most"},
		{"probe.unhealthyThreshold", "0", "more than 0"},
		{"outliers.failures", "0", "or off"},
		{"outliers.failures", "many", "or off"},
		{"outliers.latency", "1", "above 1"},
		{"outliers.latency", "NaN", "above 1"},
		{"outliers.latencySamples", "0", "more than 0"},
		{"outliers.time", "1ms", "100ms at least"},
		{"outliers.maxTime", "-1s", "at least"},
		{"panic", "maybe", "want true or false"},
		{"probe.paht", "/", "unknown field"},
	} {
		p := Policy{Panic: Yes}
		err := p.Set(tt.name, tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), tt.name) {
			t.Errorf("%s %q: %v, want %q", tt.name, tt.value, err, tt.want)
		}
		if diff := p.Differences(Policy{Panic: Yes}); len(diff) > 0 {
			t.Errorf("%s %q has changed %v", tt.name, tt.value, diff)
		}
	}
}

// TestProbeOverlay: a level that says a type says anew what is asked, and keeps the pace.
func TestProbeOverlay(t *testing.T) {
	over := func(base, p Probe) Probe { return Policy{Probe: base}.Overlay(Policy{Probe: p}).Probe }
	defaults := Probe{Type: ProbeHTTP, Path: "/healthz", Port: 8081, UseTLS: Yes, Interval: 2 * time.Second, Timeout: time.Second, UnhealthyThreshold: 2}
	for _, tt := range []struct{ service, want Probe }{
		{Probe{}, defaults},
		{Probe{Path: "/ready"}, Probe{Type: ProbeHTTP, Path: "/ready", Port: 8081, UseTLS: Yes, Interval: 2 * time.Second, Timeout: time.Second, UnhealthyThreshold: 2}},
		{Probe{Type: ProbeWebSocket, HealthyThreshold: 3}, Probe{Type: ProbeWebSocket, Interval: 2 * time.Second, Timeout: time.Second, UnhealthyThreshold: 2, HealthyThreshold: 3}},
		{Probe{Type: ProbeNone}, Probe{Type: ProbeNone, Interval: 2 * time.Second, Timeout: time.Second, UnhealthyThreshold: 2}},
	} {
		if got := over(defaults, tt.service); got != tt.want {
			t.Errorf("%+v over the defaults: %+v, want %+v", tt.service, got, tt.want)
		}
	}
}

// TestServicesProbeNoFasterThanTheOperatorSays: what an operator has said bounds registered metadata.
func TestServicesProbeNoFasterThanTheOperatorSays(t *testing.T) {
	operator := Policy{Probe: Probe{Interval: 10 * time.Second, Timeout: 2 * time.Second}}
	base := DefaultEureka().Overlay(operator)
	for _, tt := range []struct {
		asked, want Probe
		eased       []string
	}{
		{Probe{Interval: time.Second, Timeout: 5 * time.Second}, Probe{Interval: 10 * time.Second, Timeout: 2 * time.Second}, []string{"probe.interval", "probe.timeout"}},
		{Probe{Interval: time.Minute, Timeout: time.Second}, Probe{Interval: time.Minute, Timeout: time.Second}, nil},
		{Probe{}, operator.Probe, nil},
	} {
		got, eased := base.Register(Policy{Probe: tt.asked}, operator)
		if got.Probe != tt.want || !slices.Equal(eased, tt.eased) {
			t.Errorf("%+v: %+v, eased %v; want %+v, %v", tt.asked, got.Probe, eased, tt.want, tt.eased)
		}
	}
}

func TestServiceOptions(t *testing.T) {
	p := DefaultEureka()
	if got := p.ServiceOptions(); got.Probe != (upstream.Probe{}) || got.Panic || got.Outliers != (upstream.Outliers{Failures: 5}) {
		t.Errorf("by default %+v", got)
	}
	p.Probe = Probe{Type: ProbeWebSocket, Path: "/ws", Interval: time.Second, UseTLS: No}
	p.Outliers, p.Panic = Outliers{Failures: -1, Latency: 3}, Yes
	got := p.ServiceOptions()
	want := upstream.Probe{
		Kind: upstream.WebSocketProbe, Path: "/ws", OwnHost: true, Ping: true, TLS: upstream.ProbeTLSOff,
		Interval: time.Second, Timeout: time.Second,
	}
	if got.Probe != want || !got.Panic || got.Outliers != (upstream.Outliers{Latency: 3}) {
		t.Errorf("%+v, want probe %+v", got, want)
	}
	p.Probe.Interval = time.Hour
	if got := p.ServiceOptions().Probe.Timeout; got != time.Minute {
		t.Errorf("a probe that is asked every hour may take %s", got)
	}
	p.Outliers = Outliers{Latency: -1}
	if got := p.ServiceOptions(); got.Outliers != (upstream.Outliers{Failures: 5}) {
		t.Errorf("latency off: %+v", got.Outliers)
	}
	for _, none := range []Probe{{Type: ProbeNone}, {Interval: time.Second}} {
		p.Probe = none
		if got := p.ServiceOptions(); got.Probe != (upstream.Probe{}) {
			t.Errorf("%+v probes: %+v", none, got.Probe)
		}
	}
}

func TestIdleProbe(t *testing.T) {
	for _, tt := range []struct {
		p    Probe
		want string
	}{
		{Probe{}, ""},
		{Probe{Interval: time.Second, Timeout: time.Second, HealthyThreshold: 2}, ""},
		{Probe{Type: ProbeTCP, Port: 80}, ""},
		{Probe{Path: "/x"}, "probe.path"},
		{Probe{StatusCodes: statusCodes([2]int{200, 200})}, "probe.statusCodes"},
	} {
		if got := tt.p.Idle(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.p, got, tt.want)
		}
	}
}
