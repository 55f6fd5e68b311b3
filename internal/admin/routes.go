package admin

import (
	"net/http"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// routes lists the table as it is served, and what is not served with its reason.
func (s *server) routes(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		ID         string     `json:"id"`
		Source     string     `json:"source"`
		ServiceID  string     `json:"serviceId"`
		GatewayURL string     `json:"gatewayUrl"`
		ServiceURL string     `json:"serviceUrl"`
		Prefixes   []string   `json:"prefixes"`
		Endpoints  []string   `json:"endpoints"`
		Conflicts  []string   `json:"conflicts,omitempty"`
		Policy     policyView `json:"policy"`
	}
	type problem struct {
		Source    string `json:"source"`
		Route     string `json:"route"`
		ServiceID string `json:"serviceId"`
		Text      string `json:"problem"`
	}
	t := s.Table()
	answer := struct {
		Routes   []entry    `json:"routes"`
		Rules    []ruleView `json:"rules"`
		Problems []problem  `json:"problems"`
	}{[]entry{}, viewRules(t.Listeners), []problem{}}
	for _, rt := range t.Routes() {
		e := entry{
			ID: rt.ID, Source: rt.Source, ServiceID: rt.ServiceID, GatewayURL: rt.GatewayURL, ServiceURL: rt.Target,
			Prefixes: rt.Prefixes, Endpoints: []string{}, Conflicts: rt.Conflicts, Policy: viewPolicy(rt.Policy),
		}
		for _, ep := range rt.Service.Endpoints {
			e.Endpoints = append(e.Endpoints, ep.ID)
		}
		answer.Routes = append(answer.Routes, e)
	}
	for _, p := range t.Problems {
		answer.Problems = append(answer.Problems, problem(p))
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
}

// policyView is a route's policy as it holds, under the names of DESIGN's table; what is
// off or without a bound is left out.
type policyView struct {
	WebSocket     webSocketView     `json:"websocket"`
	LoadBalancing string            `json:"loadBalancing,omitempty"`
	Auth          route.Auth        `json:"auth"`
	HostHeader    route.HostHeader  `json:"hostHeader"`
	EncodedPath   route.EncodedPath `json:"encodedPath,omitempty"`
	Timeouts      map[string]string `json:"timeouts"`
}

type webSocketView struct {
	ConnectFailure route.ConnectFailure `json:"connectFailure"`
	CloseTimeout   string               `json:"closeTimeout"`
	IdleTimeout    string               `json:"idleTimeout,omitempty"`
	IdleCounts     route.IdleCounts     `json:"idleCounts"`
	MaxDuration    string               `json:"maxDuration,omitempty"`
	MaxMessageSize string               `json:"maxMessageSize,omitempty"`
	MaxFrameSize   string               `json:"maxFrameSize,omitempty"`
	MessageRate    string               `json:"messageRate,omitempty"`
	MessageBurst   int                  `json:"messageBurst,omitempty"`
	PingInterval   string               `json:"pingInterval,omitempty"`
	PongTimeout    string               `json:"pongTimeout,omitempty"`
	AllowedOrigins []string             `json:"allowedOrigins"`
	MaxSessions    int                  `json:"maxSessions,omitempty"`
	PerClient      int                  `json:"maxSessionsPerClient,omitempty"`
	Failover       route.Failover       `json:"failover"`
	Buffer         string               `json:"failoverBuffer,omitempty"`
	Timeout        string               `json:"failoverTimeout,omitempty"`
	Drain          route.Wait           `json:"drain"`
	DrainWindow    string               `json:"drainWindow,omitempty"`
	OnUnhealthy    route.Wait           `json:"onUnhealthy"`
	OnAuthExpiry   route.AuthExpiry     `json:"onAuthExpiry,omitempty"` // where auth asks for something
	Rebalance      route.Rebalance      `json:"rebalance,omitempty"`
}

func viewPolicy(p *route.Policy) policyView {
	ws, l, m, t := &p.WebSocket, p.Limits(), p.Moving(), p.Timeouts.Effective()
	v := policyView{
		LoadBalancing: string(p.LoadBalancing), Auth: p.Auth, HostHeader: p.HostHeader, EncodedPath: p.EncodedPath,
		Timeouts: map[string]string{},
		WebSocket: webSocketView{
			ConnectFailure: ws.ConnectFailure, CloseTimeout: l.CloseTimeout.String(), IdleTimeout: set(l.Idle), IdleCounts: ws.IdleCounts,
			MaxDuration: set(l.MaxAge), MaxMessageSize: bytes(l.MaxMessage), MaxFrameSize: bytes(l.MaxFrame),
			PingInterval: set(l.Ping), PongTimeout: set(l.Pong), AllowedOrigins: ws.AllowedOrigins, MaxSessions: ws.MaxSessions,
			PerClient: ws.MaxSessionsPerClient, Failover: ws.Failover, Drain: m.Drain, OnUnhealthy: m.OnUnhealthy, Rebalance: m.Rebalance,
		},
	}
	if p.Auth.On() {
		v.WebSocket.OnAuthExpiry = ws.OnAuthExpiry
	}
	if ws.MessageRate > 0 {
		v.WebSocket.MessageRate, v.WebSocket.MessageBurst = ws.MessageRate.String(), l.MessageBurst
	}
	if ws.Failover != route.FailoverOff {
		v.WebSocket.Buffer, v.WebSocket.Timeout = bytes(m.FailoverBuffer), m.FailoverTimeout.String()
	}
	if m.Drain != route.WaitForEnd || m.OnUnhealthy != route.WaitForEnd {
		v.WebSocket.DrainWindow = m.DrainWindow.String()
	}
	for name, d := range map[string]time.Duration{
		"connect": t.Connect, "handshake": t.Handshake, "response": t.Response, "request": t.Request, "backendRequest": t.BackendRequest,
	} {
		if d > 0 {
			v.Timeouts[name] = d.String()
		}
	}
	return v
}

func set(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

func bytes(n int64) string {
	if n <= 0 {
		return ""
	}
	return unit.Size(n).String()
}
