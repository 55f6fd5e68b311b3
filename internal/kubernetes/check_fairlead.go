package kubernetes

import (
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
)

// addFairleadChecks adds the kinds of fairlead.dev, as config/crd has them.
func addFairleadChecks(t checkTable) {
	t.add(on(func(at spot, v *v1alpha1.Duration) { at.goDuration(string(*v), false) }))
	t.add(on(func(at spot, v *v1alpha1.DurationOrOff) { at.goDuration(string(*v), true) }))
	t.add(on(func(at spot, v *v1alpha1.Size) {
		if at.length(string(*v), 1, 24) && !sizeForm.MatchString(string(*v)) {
			at.refuse("", `%s is no size: want "4096B", "64KiB" or "1MiB"`, shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *v1alpha1.Rate) {
		if at.length(string(*v), 1, 24) && !rateForm.MatchString(string(*v)) {
			at.refuse("", `%s is no rate: want "100/s", "600/m" or "50/h"`, shown(string(*v), true))
		}
	}))
	addRoutePolicyChecks(t)
	addProbeChecks(t)
	addBackendChecks(t)
}

var (
	goDurationForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	sizeForm       = regexp.MustCompile(`^[0-9]+ ?(B|KiB|MiB|GiB)?$`)
	rateForm       = regexp.MustCompile(`^[0-9]+ ?/[smh]$`)
	factorForm     = regexp.MustCompile(`^(off|[0-9]+(\.[0-9]+)?)$`)
	authForm       = regexp.MustCompile(`^(none|(basic|bearer|clientCertificate|forward)(, ?(basic|bearer|clientCertificate|forward))*)$`)
	endpointForm   = regexp.MustCompile(
		`^(\[[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?\]|[0-9A-Za-z]([-0-9A-Za-z._]*[0-9A-Za-z])?):[0-9]{1,5}$`)
)

func (s spot) goDuration(v string, orOff bool) {
	if !s.length(v, 1, 32) || goDurationForm.MatchString(v) || orOff && v == "off" {
		return
	}
	want := `"500ms", "30s", "5m" or "1h30m"`
	if orOff {
		want += `, or "off"`
	}
	s.refuse(durationRemedy(v), "%s is no duration: want %s", shown(v, true), want)
}

func addRoutePolicyChecks(t checkTable) {
	t.add(on[v1alpha1.RoutePolicy](nil, "spec"))
	t.add(on(func(at spot, s *v1alpha1.RoutePolicySpec) {
		at.at("targetRefs").items(len(s.TargetRefs), 1, 16)
		unique(at.at("targetRefs"), s.TargetRefs, "target", targetOf)
		at.oneOf("loadBalancing", s.LoadBalancing, "least-sessions", "round-robin", "random", "load-aware", "hash", "sticky")
		at.oneOf("hostHeader", s.HostHeader, "endpoint", "client")
		if v := at.at("auth"); at.has("auth") && v.length(s.Auth, 0, 64) && !authForm.MatchString(s.Auth) {
			v.refuse("several are separated by commas", "%s: want none, basic, bearer, clientCertificate or forward", shown(s.Auth, true))
		}
		if s.Hash != nil && s.LoadBalancing != "hash" {
			at.at("hash").refuse("add loadBalancing: hash", "is for loadBalancing: hash alone")
		}
		if s.Hash == nil && s.LoadBalancing == "hash" {
			at.at("hash").refuse("say what is hashed: hash: {header: X-User}", "is missing with loadBalancing: hash")
		}
		if s.Sticky != nil && s.LoadBalancing != "sticky" {
			at.at("sticky").refuse("add loadBalancing: sticky", "is for loadBalancing: sticky alone")
		}
	}, "targetRefs"))
	t.add(on(func(at spot, w *v1alpha1.WebSocketPolicy) {
		at.oneOf("connectFailure", w.ConnectFailure, "close", "status")
		at.oneOf("failover", w.Failover, "auto", "reconnect", "replay", "off")
		at.oneOf("drain", w.Drain, "wait", "move", "close")
		at.oneOf("onUnhealthy", w.OnUnhealthy, "wait", "move", "close")
		at.oneOf("onAuthExpiry", w.OnAuthExpiry, "close", "ignore")
		at.oneOf("idleCounts", w.IdleCounts, "frames", "messages")
		atLeast(at.at("maxSessions"), w.MaxSessions, 1)
		atLeast(at.at("maxSessionsPerClient"), w.MaxSessionsPerClient, 1)
		at.at("allowedOrigins").items(len(w.AllowedOrigins), 0, 64)
		for i, o := range w.AllowedOrigins {
			at.at("allowedOrigins", i).length(o, 1, 300)
		}
	}))
	t.add(on(func(at spot, o *v1alpha1.OutlierPolicy) {
		within(at.at("failures"), o.Failures, 0, 1_000_000)
		within(at.at("latencySamples"), o.LatencySamples, 1, 1_000_000)
		if v := at.at("latency"); at.has("latency") && v.length(o.Latency, 1, 16) && !factorForm.MatchString(o.Latency) {
			v.refuse("", `%s is no factor: want "3" or "2.5", or "off"`, shown(o.Latency, true))
		}
	}))
	t.add(on(func(at spot, h *v1alpha1.HashPolicy) {
		n := 0
		for _, field := range []string{"header", "cookie", "clientAddress", "user"} {
			if at.has(field) {
				n++
			}
		}
		if n != 1 {
			at.refuse("", "want exactly one of header, cookie, clientAddress and user, have %d", n)
		}
		at.optional("header", h.Header, 256)
		at.optional("cookie", h.Cookie, 256)
	}))
	t.add(on(func(at spot, l *v1alpha1.LoadAwarePolicy) {
		if at.optional("errorUtilizationPenalty", l.ErrorUtilizationPenalty, 16) {
			at.at("errorUtilizationPenalty").decimal(l.ErrorUtilizationPenalty)
		}
		at.at("namedMetrics").items(len(l.NamedMetrics), 0, 10)
		for i, name := range l.NamedMetrics {
			at.at("namedMetrics", i).length(name, 1, 128)
		}
	}))
	t.add(on(func(at spot, s *v1alpha1.StickyPolicy) {
		at.optional("cookieName", s.CookieName, 256)
		at.optional("path", s.Path, 256)
		if v := at.at("path"); s.Path != "" && (s.Path[0] != '/' || strings.ContainsAny(s.Path, ";, ")) {
			v.refuse("", "%s is no path: want one that begins with /", shown(s.Path, true))
		}
	}))
}

// oneOf checks a field with some values that need not be said.
func (s spot) oneOf(field, v string, values ...string) {
	if s.has(field) {
		enum(s.at(field), v, values...)
	}
}

// optional checks the length of a text that need not be said.
func (s spot) optional(field, v string, most int) bool {
	return s.has(field) && s.at(field).length(v, 1, most)
}

func addProbeChecks(t checkTable) {
	t.add(on[v1alpha1.HealthCheckPolicy](nil, "spec"))
	t.add(on(func(at spot, s *v1alpha1.HealthCheckPolicySpec) {
		switch one, many := s.TargetRef != nil, s.TargetRefs != nil; {
		case one && many:
			at.at("targetRefs").refuse("remove one of them", "may not be set beside targetRef")
		case !one && !many:
			at.refuse(`add targetRefs: [{group: "", kind: Service, name: my-service}]`, "has neither targetRef nor targetRefs")
		case many:
			at.at("targetRefs").items(len(s.TargetRefs), 1, 16)
		}
	}))
	t.add(on(func(at spot, h *v1alpha1.HealthCheck) {
		if h.Interval == "" {
			h.Interval = "5s"
		}
		if h.Timeout == "" {
			h.Timeout = "30s"
		}
		setDefault(&h.UnhealthyThreshold, 3)
		setDefault(&h.HealthyThreshold, 1)
		at.at("port").port(h.Port)
		atLeast(at.at("unhealthyThreshold"), h.UnhealthyThreshold, 1)
		atLeast(at.at("healthyThreshold"), h.HealthyThreshold, 1)
		var kinds []string
		for _, field := range []string{"http", "grpc", "tcp", "websocket"} {
			if at.has(field) {
				kinds = append(kinds, field)
			}
		}
		if len(kinds) > 1 {
			at.at(kinds[1]).refuse("remove one of them", "may not be set beside %s", kinds[0])
		}
	}))
	t.add(on(func(at spot, c *v1alpha1.WebSocketCheck) {
		if c.Path == "" && !at.has("path") {
			c.Path = "/"
		}
		at.at("path").length(c.Path, 0, 1024)
		if !strings.HasPrefix(c.Path, "/") {
			at.at("path").refuse("write /"+c.Path, `%s does not begin with "/"`, shown(c.Path, true))
		}
		at.optional("host", c.Host, 253)
	}))
}

func addBackendChecks(t checkTable) {
	t.add(on[v1alpha1.Backend](nil, "spec"))
	t.add(on(func(at spot, s *v1alpha1.BackendSpec) {
		list, host, port := at.has("endpoints"), at.has("host"), at.has("port")
		switch {
		case list && (host || port):
			at.at("endpoints").refuse("remove one of them", "may not be set beside host and port")
		case !list && (!host || !port):
			at.refuse(`say endpoints: ["127.0.0.1:9000"], or both host and port`, "has no endpoint")
		case list:
			at.at("endpoints").items(len(s.Endpoints), 1, 1000)
		}
		unique(at.at("endpoints"), s.Endpoints, "address", same)
		for i, e := range s.Endpoints {
			at.at("endpoints", i).endpoint(e)
		}
		at.optional("host", s.Host, 253)
		at.at("port").port(s.Port)
		at.oneOf("appProtocol", s.AppProtocol, "http", "https", "kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss")
		if (s.AppProtocol == "https" || s.AppProtocol == "kubernetes.io/wss") && s.TLS == nil {
			at.at("appProtocol").refuse("add tls: {}, which trusts the system's certificate authorities", "%s needs tls", s.AppProtocol)
		}
	}))
	t.add(on(func(at spot, c *v1alpha1.BackendTLS) {
		at.at("caCertificateRefs").items(len(c.CACertificateRefs), 0, 8)
		at.at("subjectAltNames").items(len(c.SubjectAltNames), 0, 5)
		if c.InsecureSkipVerify && (at.has("caCertificateRefs") || at.has("subjectAltNames")) {
			at.at("insecureSkipVerify").refuse("remove it: what is verified is said", "goes with neither caCertificateRefs nor subjectAltNames")
		}
	}))
	t.add(on(func(at spot, s *v1alpha1.EurekaServiceSpec) { at.optional("serviceId", s.ServiceID, 256) }))
}

func (s spot) endpoint(v string) {
	if !s.length(v, 3, 261) {
		return
	}
	_, port, err := net.SplitHostPort(v)
	n, _ := strconv.Atoi(port)
	switch {
	case strings.Contains(v, "://"):
		s.refuse("without a scheme: tls and appProtocol say how it is spoken to", "%s is no host:port", shown(v, true))
	case err != nil || !endpointForm.MatchString(v):
		s.refuse(`IPv6 addresses stand in brackets: "[::1]:9000"`, "%s is no host:port", shown(v, true))
	case n < 1 || n > 65535:
		s.refuse("", "%s: want a port from 1 to 65535", shown(v, true))
	}
}
