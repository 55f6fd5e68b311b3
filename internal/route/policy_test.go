package route

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fairlead-gateway/fairlead/internal/unit"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A saidField is a field as metadata spells it, and what it is then.
type saidField struct {
	name, value string
	want        Policy
}

// everyField sets each field of a policy once, as metadata spells it.
var everyField = []saidField{
	{"websocket.connectFailure", "status", Policy{WebSocket: WebSocket{ConnectFailure: StatusOnFailure}}},
	{"loadAware.blackoutPeriod", "5s", Policy{LoadAware: LoadAware{BlackoutPeriod: 5 * time.Second}}},
	{"loadAware.metricExpirationPeriod", "1m", Policy{LoadAware: LoadAware{MetricExpirationPeriod: time.Minute}}},
	{"loadAware.errorUtilizationPenalty", "0", Policy{LoadAware: LoadAware{ErrorUtilizationPenalty: "0"}}},
	{"loadAware.namedMetrics", "queue,disk", Policy{LoadAware: LoadAware{NamedMetrics: "queue,disk"}}},
	{"sticky.cookieName", "shop-at", Policy{Sticky: Sticky{CookieName: "shop-at"}}},
	{"sticky.lifetime", "off", Policy{Sticky: Sticky{Lifetime: off}}},
	{"sticky.path", "/shop", Policy{Sticky: Sticky{Path: "/shop"}}},
	{"slowStart", "45s", Policy{SlowStart: SlowStart{Window: 45 * time.Second}}},
	{"retries.codes", "502, 503", Policy{Retries: Retries{Codes: []int{502, 503}}}},
	{"retries.attempts", "0", Policy{Retries: Retries{Attempts: -1}}},
	{"retries.backoff", "100ms", Policy{Retries: Retries{Backoff: 100 * time.Millisecond}}},
	{"retries.methods", "all", Policy{Retries: Retries{Methods: RetryAll}}},
	{"websocket.closeTimeout", "2s", Policy{WebSocket: WebSocket{CloseTimeout: 2 * time.Second}}},
	{"websocket.idleTimeout", "30s", Policy{WebSocket: WebSocket{IdleTimeout: 30 * time.Second}}},
	{"websocket.idleCounts", "messages", Policy{WebSocket: WebSocket{IdleCounts: Messages}}},
	{"websocket.maxDuration", "12h", Policy{WebSocket: WebSocket{MaxDuration: 12 * time.Hour}}},
	{"websocket.maxMessageSize", "1MiB", Policy{WebSocket: WebSocket{MaxMessageSize: 1 << 20}}},
	{"websocket.maxFrameSize", "64KiB", Policy{WebSocket: WebSocket{MaxFrameSize: 64 << 10}}},
	{"websocket.messageRate", "600/m", Policy{WebSocket: WebSocket{MessageRate: 10}}},
	{"websocket.messageBurst", "50", Policy{WebSocket: WebSocket{MessageBurst: 50}}},
	{"websocket.pingInterval", "20s", Policy{WebSocket: WebSocket{PingInterval: 20 * time.Second}}},
	{"websocket.pongTimeout", "3s", Policy{WebSocket: WebSocket{PongTimeout: 3 * time.Second}}},
	{"websocket.allowedOrigins", "https://a.test, https://b.test:8443", Policy{WebSocket: WebSocket{AllowedOrigins: []string{"https://a.test", "https://b.test:8443"}}}},
	{"websocket.maxSessions", "100", Policy{WebSocket: WebSocket{MaxSessions: 100}}},
	{"websocket.maxSessionsPerClient", "3", Policy{WebSocket: WebSocket{MaxSessionsPerClient: 3}}},
	{"websocket.failover", "replay", Policy{WebSocket: WebSocket{Failover: FailoverReplay}}},
	{"websocket.failoverBuffer", "1MiB", Policy{WebSocket: WebSocket{FailoverBuffer: 1 << 20}}},
	{"websocket.failoverTimeout", "20s", Policy{WebSocket: WebSocket{FailoverTimeout: 20 * time.Second}}},
	{"websocket.drain", "move", Policy{WebSocket: WebSocket{Drain: MoveAway}}},
	{"websocket.drainWindow", "1m", Policy{WebSocket: WebSocket{DrainWindow: time.Minute}}},
	{"websocket.onUnhealthy", "close", Policy{WebSocket: WebSocket{OnUnhealthy: CloseAll}}},
	{"websocket.rebalance", "auto", Policy{WebSocket: WebSocket{Rebalance: RebalanceAuto}}},
	{"loadBalancing", "random", Policy{LoadBalancing: upstream.Random}},
	{"hash.header", "X-Tenant", Policy{Hash: Hash{Header: "X-Tenant"}}},
	{"hash.cookie", "JSESSIONID", Policy{Hash: Hash{Cookie: "JSESSIONID"}}},
	{"hash.clientAddress", "true", Policy{Hash: Hash{ClientAddress: true}}},
	{"hash.user", "true", Policy{Hash: Hash{User: true}}},
	{"auth", "basic", Policy{Auth: AuthBasic}},
	{"websocket.onAuthExpiry", "ignore", Policy{WebSocket: WebSocket{OnAuthExpiry: IgnoreOnAuthExpiry}}},
	{"hostHeader", "client", Policy{HostHeader: HostOfClient}},
	{"encodedPath", "no-slashes", Policy{EncodedPath: EncodedNoSlash}},
	{"timeouts.connect", "1s", Policy{Timeouts: Timeouts{Connect: time.Second}}},
	{"timeouts.handshake", "2s", Policy{Timeouts: Timeouts{Handshake: 2 * time.Second}}},
	{"timeouts.response", "off", Policy{Timeouts: Timeouts{Response: -1}}},
	{"timeouts.request", "3m", Policy{Timeouts: Timeouts{Request: 3 * time.Minute}}},
	{"timeouts.backendRequest", "4m", Policy{Timeouts: Timeouts{BackendRequest: 4 * time.Minute}}},
}

func TestSet(t *testing.T) {
	all := slices.Concat(everyField, everyHealthField)
	if len(all) != len(fields) {
		t.Errorf("%d fields are tested of %d", len(all), len(fields))
	}
	for _, tt := range all {
		var p Policy
		if err := p.Set(tt.name, " "+tt.value+" "); err != nil {
			t.Errorf("%v", err)
			continue
		}
		if !reflect.DeepEqual(p, tt.want) {
			t.Errorf("%s %s: %+v, want %+v", tt.name, tt.value, p, tt.want)
		}
		if got := p.Differences(Policy{}); !slices.Equal(got, []string{tt.name}) {
			t.Errorf("%s: differs from nothing in %v", tt.name, got)
		}
		if got := (Policy{}).Overlay(p); !reflect.DeepEqual(got, p) {
			t.Errorf("%s: overlaid on nothing: %+v", tt.name, got)
		}
		if got := p.Overlay(Policy{}); !reflect.DeepEqual(got, p) {
			t.Errorf("%s: overlaid by nothing: %+v", tt.name, got)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// TestFieldsCoverPolicy finds a field of the struct that the table lacks.
func TestFieldsCoverPolicy(t *testing.T) {
	var names []string
	var walk func(prefix string, s reflect.Type)
	walk = func(prefix string, s reflect.Type) {
		for i := range s.NumField() {
			f := s.Field(i)
			name := prefix + f.Tag.Get("yaml")
			switch {
			case f.Type.Kind() == reflect.Struct && !reflect.PointerTo(f.Type).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
				walk(name+".", f.Type)
			default:
				names = append(names, name)
			}
		}
	}
	walk("", reflect.TypeFor[Policy]())
	var have []string
	for _, f := range fields {
		have = append(have, f.name)
	}
	slices.Sort(names)
	slices.Sort(have)
	if !slices.Equal(names, have) {
		t.Errorf("struct has %v, table has %v", names, have)
	}
}

func TestSetErrors(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"websocket.idleTimout", "30s", "unknown field"},
		{"", "", "unknown field"},
		{"websocket.idleTimeout", "30", "unit"},
		{"websocket.idleTimeout", "0", "more than 0, or off"},
		{"websocket.closeTimeout", "off", "duration"},
		{"websocket.closeTimeout", "-1s", "more than 0"},
		{"timeouts.handshake", "-5s", "more than 0"},
		{"websocket.connectFailure", "drop", "close or status"},
		{"websocket.idleCounts", "bytes", "frames or messages"},
		{"websocket.maxMessageSize", "big", "size"},
		{"websocket.maxMessageSize", "0", "more than 0"},
		{"websocket.maxSessions", "-3", "more than 0"},
		{"websocket.maxSessions", "ten", "ten"},
		{"websocket.allowedOrigins", "https://a.test/path", "origin"},
		{"websocket.allowedOrigins", "https://a.test, a.test", "origin"},
		{"websocket.allowedOrigins", "null", "origin"},
		{"websocket.failover", "sometimes", "want auto or reconnect or replay or off"},
		{"websocket.drain", "stop", "want wait or move or close"},
		{"websocket.onUnhealthy", "kill", "want wait or move or close"},
		{"websocket.rebalance", "on", "want off or auto"},
		{"websocket.failoverBuffer", "17MiB", "16MiB at most"},
		{"websocket.failoverBuffer", "0", "more than 0"},
		{"websocket.failoverTimeout", "off", "duration"},
		{"websocket.drainWindow", "0", "more than 0, or off"},
		{"websocket.maxSessionsPerClient", "-1", "more than 0"},
		{"websocket.messageRate", "10/d", "100/s"},
		{"websocket.messageRate", "0/s", "more than 0"},
		{"websocket.messageBurst", "0", "more than 0"},
		{"websocket.messageBurst", "1000001", "1000000 at most"},
		{"retries", "3", "unknown field"},
		{"retries.attempts", "-1", "want 0 to 100, or off"},
		{"retries.attempts", "101", "want 0 to 100, or off"},
		{"retries.codes", "399", "want statuses from 400 to 599"},
		{"retries.codes", "502,", "want statuses from 400 to 599"},
		{"retries.codes", "5xx", "want statuses from 400 to 599"},
		{"retries.backoff", "0", "more than 0, or off"},
		{"retries.backoff", "61s", "want 1m0s at most"},
		{"retries.methods", "POST", "want idempotent or all"},
		{"loadAware.errorUtilizationPenalty", "-1", "want a decimal"},
		{"loadAware.errorUtilizationPenalty", "NaN", "want a decimal"},
		{"loadAware.namedMetrics", "a,,b", "want names"},
		{"loadAware.namedMetrics", "1,2,3,4,5,6,7,8,9,10,11", "ten at most"},
		{"loadAware.metricExpirationPeriod", "off", "duration"},
		{"sticky.cookieName", "a b", "no name of a cookie"},
		{"sticky.cookieName", "", "no name of a cookie"},
		{"sticky.path", "shop", "begins with /"},
		{"sticky.path", "/a; Domain=x", "begins with /"},
		{"sticky.lifetime", "0", "more than 0, or off"},
		{"slowStart", "30", "unit"},
		{"slowStart", "25h", "24h0m0s at most"},
		{"slowStart", "-3s", "more than 0, or off"},
		{"hash.header", "a b", "no token"},
		{"hash.user", "perhaps", "want true"},
		{"hash.clientAddress", "0", "want true"},
		{"loadBalancing", "fastest", "least-sessions"},
		{"auth", "forward", "not available in this version"},
		{"auth", "maybe", "none, or one or more of basic, bearer, clientCertificate"},
		{"auth", "none,basic", "none goes with nothing else"},
		{"auth", "basic,basic", "twice"},
		{"auth", "basic,", "none, or one or more of"},
		{"websocket.onAuthExpiry", "move", "close or ignore"},
		{"hostHeader", "evil.test", "endpoint or client"},
		{"encodedPath", "slashes", "any or no-slashes or none"},
	} {
		p := DefaultEureka()
		err := p.Set(tt.name, tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%s %q: %v, want an error with the name and %q", tt.name, tt.value, err, tt.want)
		}
		if !reflect.DeepEqual(p, DefaultEureka()) {
			t.Errorf("%s %q: the refused value changed the policy", tt.name, tt.value)
		}
	}
}

func TestOverlayOrder(t *testing.T) {
	operator := Policy{Auth: AuthBasic, WebSocket: WebSocket{IdleTimeout: time.Minute}}
	p := DefaultEureka().Overlay(operator)
	if p.Auth != AuthBasic || p.WebSocket.IdleTimeout != time.Minute {
		t.Errorf("the operator's fields: %+v", p)
	}
	if p.WebSocket.ConnectFailure != CloseOnFailure || p.Timeouts.Response != time.Minute {
		t.Errorf("the source's fields: %+v", p)
	}
}

func TestRegisterMayTightenOnly(t *testing.T) {
	tests := []struct {
		field, operator, asked, want string
		eased                        bool
	}{
		{"auth", "basic", "none", "basic", true},
		{"auth", "none", "basic", "basic", false},
		{"auth", "", "basic", "basic", false},
		{"auth", "basic", "", "basic", false},
		{"websocket.idleTimeout", "5m", "1m", "1m", false},
		{"websocket.idleTimeout", "5m", "10m", "5m", true},
		{"websocket.idleTimeout", "5m", "off", "5m", true},
		{"websocket.idleTimeout", "off", "10m", "10m", false},
		{"websocket.idleTimeout", "", "10h", "10h", false},
		{"websocket.idleCounts", "messages", "frames", "messages", true},
		{"websocket.idleCounts", "frames", "messages", "messages", false},
		{"websocket.maxDuration", "1h", "off", "1h", true},
		{"websocket.maxMessageSize", "1MiB", "2MiB", "1MiB", true},
		{"websocket.maxMessageSize", "1MiB", "1KiB", "1KiB", false},
		{"websocket.maxMessageSize", "1MiB", "", "1MiB", false},
		{"websocket.maxFrameSize", "1KiB", "1MiB", "1KiB", true},
		{"websocket.maxSessions", "10", "11", "10", true},
		{"websocket.maxSessions", "10", "9", "9", false},
		{"websocket.messageRate", "100/s", "6001/m", "100/s", true},
		{"websocket.messageRate", "100/s", "50/h", "50/h", false},
		{"websocket.messageRate", "", "1000/s", "1000/s", false},
		{"websocket.messageBurst", "10", "11", "10", true},
		{"websocket.messageBurst", "10", "9", "9", false},
		{"timeouts.response", "60s", "off", "60s", true},
		{"timeouts.connect", "1s", "2s", "1s", true},
		{"encodedPath", "no-slashes", "any", "no-slashes", true},
		{"encodedPath", "no-slashes", "none", "none", false},
		{"encodedPath", "none", "no-slashes", "none", true},
		{"encodedPath", "any", "no-slashes", "no-slashes", false},
		{"websocket.allowedOrigins", "https://a.test", "*", "https://a.test", true},
		{"websocket.allowedOrigins", "https://a.test,https://b.test", "https://B.test:443,https://c.test", "https://B.test:443", true},
		{"websocket.allowedOrigins", "https://a.test,https://b.test", "https://b.test", "https://b.test", false},
		{"websocket.allowedOrigins", "*", "https://b.test", "https://b.test", false},
		{"websocket.allowedOrigins", "*", "*", "*", false},
		{"websocket.allowedOrigins", "https://a.test", "", "https://a.test", false},
		{"websocket.allowedOrigins", "", "*", "*", false},
		{"retries.attempts", "2", "100", "2", true},
		{"retries.attempts", "2", "off", "off", false},
		{"retries.attempts", "off", "5", "off", true},
		{"retries.attempts", "", "5", "5", false},
		{"retries.methods", "idempotent", "all", "idempotent", true},
		{"retries.methods", "", "all", "all", false},
		{"loadBalancing", "random", "round-robin", "round-robin", false}, // not guarded
		{"websocket.connectFailure", "status", "close", "close", false},  // not guarded
	}
	for _, tt := range tests {
		var operator, asked, want Policy
		for _, set := range []struct {
			p     *Policy
			value string
		}{{&operator, tt.operator}, {&asked, tt.asked}, {&want, tt.want}} {
			if set.value == "" {
				continue
			}
			if err := set.p.Set(tt.field, set.value); err != nil {
				t.Fatal(err)
			}
		}
		before := slices.Clone(asked.WebSocket.AllowedOrigins)
		got, eased := DefaultEureka().Overlay(operator).Register(asked, operator)
		if !reflect.DeepEqual(got, DefaultEureka().Overlay(want)) {
			t.Errorf("%s, operator %q, asked %q: differs from %q in %v", tt.field, tt.operator, tt.asked, tt.want, got.Differences(DefaultEureka().Overlay(want)))
		}
		if tt.eased != slices.Equal(eased, []string{tt.field}) {
			t.Errorf("%s, operator %q, asked %q: eased %v, want %t", tt.field, tt.operator, tt.asked, eased, tt.eased)
		}
		if !slices.Equal(before, asked.WebSocket.AllowedOrigins) {
			t.Errorf("%s: the registered policy was written", tt.field)
		}
	}
}

func TestLimits(t *testing.T) {
	var zero Policy
	if got, want := zero.Limits(), (Limits{Idle: time.Hour, CloseTimeout: 5 * time.Second}); got != want {
		t.Errorf("nothing said: %+v, want %+v", got, want)
	}
	p := Policy{WebSocket: WebSocket{
		IdleTimeout: -1, MaxDuration: -1, CloseTimeout: time.Second, IdleCounts: Messages,
		MaxMessageSize: 10, MaxFrameSize: 5, PingInterval: 2 * time.Second,
	}}
	want := Limits{MaxMessage: 10, MaxFrame: 5, IdleMessages: true, Ping: 2 * time.Second, Pong: 4 * time.Second, CloseTimeout: time.Second}
	if got := p.Limits(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, tt := range []struct{ ping, pong, want time.Duration }{
		{time.Minute, 0, 10 * time.Second},
		{time.Minute, 25 * time.Second, 25 * time.Second},
		{0, 25 * time.Second, 0},
		{-1, 25 * time.Second, 0},
	} {
		p.WebSocket.PingInterval, p.WebSocket.PongTimeout = tt.ping, tt.pong
		if got := p.Limits().Pong; got != tt.want {
			t.Errorf("ping %v, pong %v: %v, want %v", tt.ping, tt.pong, got, tt.want)
		}
	}
}

func TestMessageRate(t *testing.T) {
	for _, tt := range []struct {
		rate  unit.Rate
		burst int
		every time.Duration
		want  int
	}{
		{0, 100, 0, 0},
		{100, 0, 10 * time.Millisecond, 100},
		{100, 1, 10 * time.Millisecond, 1},
		{2.5, 0, 400 * time.Millisecond, 3},
		{1. / 60, 0, time.Minute, 1},
		{4e9, 0, 1, 1_000_000},
	} {
		l := (&Policy{WebSocket: WebSocket{MessageRate: tt.rate, MessageBurst: tt.burst}}).Limits()
		if l.MessageEvery != tt.every || l.MessageBurst != tt.want {
			t.Errorf("%v, burst %d: %d every %v, want %d every %v", tt.rate, tt.burst, l.MessageBurst, l.MessageEvery, tt.want, tt.every)
		}
	}

	// An operator's rate bounds the burst that is registered, said or not.
	operator := Policy{WebSocket: WebSocket{MessageRate: 100}}
	for asked, want := range map[int]int{1000: 100, 100: 100, 7: 7, 0: 50} {
		got, eased := operator.Register(Policy{WebSocket: WebSocket{MessageRate: 50, MessageBurst: asked}}, operator)
		if n := got.Limits().MessageBurst; n != want || (len(eased) > 0) != (asked > 100) {
			t.Errorf("asked for %d at once: %d, eased %v; want %d", asked, n, eased, want)
		}
	}
}

func TestTimeoutsEffective(t *testing.T) {
	if got, want := (Timeouts{}).Effective(), (Timeouts{Connect: 5 * time.Second, Handshake: 30 * time.Second}); got != want {
		t.Errorf("nothing said: %+v, want %+v", got, want)
	}
	all := Timeouts{Connect: 1, Handshake: 2, Response: 3, Request: 4, BackendRequest: 5}
	if got := all.Effective(); got != all {
		t.Errorf("%+v, want %+v", got, all)
	}
	if got, want := (Timeouts{Response: -1, Request: -1, BackendRequest: -1}).Effective(), (Timeouts{}).Effective(); got != want {
		t.Errorf("all off: %+v, want %+v", got, want)
	}
}

func TestBalanceDefaults(t *testing.T) {
	var p Policy
	if p.Choice(true).Balance != upstream.LeastSessions || p.Choice(false).Balance != upstream.RoundRobin {
		t.Errorf("nothing said: %s and %s", p.Choice(true).Balance, p.Choice(false).Balance)
	}
	p.LoadBalancing = upstream.Random
	if p.Choice(true).Balance != upstream.Random || p.Choice(false).Balance != upstream.Random {
		t.Errorf("random: %s and %s", p.Choice(true).Balance, p.Choice(false).Balance)
	}
}

func TestYAML(t *testing.T) {
	const text = `
websocket:
  connectFailure: status
  idleTimeout: 90s
  maxMessageSize: 64KiB
  allowedOrigins: []
  failover: "off"
loadBalancing: round-robin
auth: basic
hostHeader: client
timeouts: {response: -1s}
`
	var p Policy
	if err := yaml.UnmarshalWithOptions([]byte(text), &p, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	want := Policy{
		WebSocket: WebSocket{
			ConnectFailure: StatusOnFailure, IdleTimeout: 90 * time.Second, MaxMessageSize: 64 * 1024 * unit.Size(1),
			AllowedOrigins: []string{}, Failover: FailoverOff,
		},
		LoadBalancing: upstream.RoundRobin, Auth: AuthBasic, HostHeader: HostOfClient,
		Timeouts: Timeouts{Response: -time.Second},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("%+v, want %+v", p, want)
	}
	if p.WebSocket.AllowedOrigins == nil {
		t.Error("an empty list of origins came back as not said")
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}

	for text, want := range map[string]string{
		"auth: token":                              "one or more of basic",
		"websocket: {messageRate: 10/d}":           "100/s",
		"websocket: {messageRate: -1}":             "whole number",
		"websocket: {messageBurst: 1000001}":       "websocket.messageBurst",
		"websocket: {failoverBuffer: 32MiB}":       "websocket.failoverBuffer",
		"retries: {attempts: -3}":                  "want 0 to 100",
		"retries: {codes: [200]}":                  "retries.codes",
		"sticky: {cookieName: a b}":                "sticky.cookieName",
		"sticky: {path: shop}":                     "sticky.path",
		"slowStart: -3s":                           "more than 0, or off",
		"loadBalancing: fastest":                   "want least-sessions",
		"websocket: {idleTimout: 3s}":              "unknown field",
		"websocket: {closeTimeout: -3s}":           "websocket.closeTimeout",
		"websocket: {maxSessions: -3}":             "websocket.maxSessions",
		"websocket: {allowedOrigins: [a.test]}":    "websocket.allowedOrigins",
		"timeouts: {connect: -1s}":                 "timeouts.connect",
		"websocket: {allowedOrigins: ['http://']}": "websocket.allowedOrigins",
	} {
		var p Policy
		err := yaml.UnmarshalWithOptions([]byte(text), &p, yaml.Strict())
		if err == nil {
			err = p.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
}

// FuzzSet holds Set to: an accepted value makes a policy that Validate accepts too.
func FuzzSet(f *testing.F) {
	for _, tt := range everyField {
		f.Add(tt.name, tt.value)
	}
	f.Add("websocket.idleTimeout", "-0s")
	f.Add("websocket.allowedOrigins", "")
	f.Add("websocket.allowedOrigins", "*,,http://[::1]:80")
	f.Fuzz(func(t *testing.T, name, value string) {
		var p Policy
		if p.Set(name, value) != nil {
			if !reflect.DeepEqual(p, Policy{}) {
				t.Fatalf("%s %q: refused, but it left %+v", name, value, p)
			}
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("%s %q: accepted, but %v", name, value, err)
		}
		if len(p.Differences(Policy{})) != 1 {
			t.Fatalf("%s %q: said %v", name, value, p.Differences(Policy{}))
		}
	})
}

func TestHashIsOneField(t *testing.T) {
	var p Policy
	for _, f := range [][2]string{{"loadBalancing", "hash"}, {"hash.header", "X-Tenant"}} {
		if err := p.Set(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Set("hash.cookie", "a"); err == nil || !strings.Contains(err.Error(), "one of header, cookie") || p.Hash.Cookie != "" {
		t.Errorf("two at once: %v %+v", err, p.Hash)
	}
	if got := p.Overlay(Policy{Hash: Hash{User: true}}).Hash; got != (Hash{User: true}) {
		t.Errorf("overlaid: %+v", got)
	}
	if got := p.Overlay(Policy{}).Hash; got != p.Hash {
		t.Errorf("overlaid by nothing: %+v", got)
	}
	if p.Choice(true).Balance != upstream.LeastSessions || p.Choice(false).Balance != upstream.RoundRobin {
		t.Error("a request without what is hashed")
	}
}

// A list of ways is what any of them lets in; what is registered may take ways away from it and never add one.
func TestAuthWays(t *testing.T) {
	for _, tt := range []struct{ operator, registered, want string }{
		{"", "bearer,basic", "basic, bearer"},
		{"none", "bearer", "bearer"},
		{"basic,bearer", "bearer", "bearer"},
		{"basic", "basic, bearer", "basic"},
		{"basic", "bearer", "basic"},
		{"basic, bearer", "none", "basic, bearer"},
	} {
		var operator, registered Policy
		for p, value := range map[*Policy]string{&operator: tt.operator, &registered: tt.registered} {
			if value == "" {
				continue
			}
			if err := p.Set("auth", value); err != nil {
				t.Fatal(err)
			}
		}
		p, _ := DefaultEureka().Overlay(operator).Register(registered, operator)
		if string(p.Auth) != tt.want {
			t.Errorf("operator %q, registered %q: %q, want %q", tt.operator, tt.registered, p.Auth, tt.want)
		}
		for _, way := range []Auth{AuthBasic, AuthBearer} {
			if p.Auth.Has(way) != strings.Contains(tt.want, string(way)) {
				t.Errorf("%q has %q: %v", p.Auth, way, p.Auth.Has(way))
			}
		}
	}
}
