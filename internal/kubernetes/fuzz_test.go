package kubernetes

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// FuzzTranslate makes sets out of bytes, with few names so that much refers to each other and conflicts. Whatever they hold, no translation
// panics, two of one set are the same, and what comes out can be served: see checkResult.
func FuzzTranslate(f *testing.F) {
	f.Add([]byte("gateways, routes and what they refer to"))
	f.Add([]byte{2, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0})
	for seed := range uint64(64) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 1000)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &chooser{b: b}
		set, o := c.set(), c.options()
		o.Pool = upstream.NewPool()
		r := Translate(set, o)
		checkResult(t, set, o, r)
		text := describe(r)
		if again := describe(Translate(set, o)); again != text {
			t.Errorf("the second translation differs:\n%s", diff(text, again))
		}
		table := route.Build(r.Set, nil)
		for _, l := range table.Listeners {
			for _, name := range []string{"a.example", "b.a.example", "other"} {
				if h := l.Host(name); h != nil {
					h.Match(&route.Request{Host: name, Path: "/", Method: "GET", Header: func(string) (string, bool) { return "", false }})
					h.Stream(name)
				}
			}
		}
	})
}

// checkResult holds a result to what the data plane and the writers of statuses rely on.
func checkResult(t *testing.T, set *Set, o Options, r *Result) {
	t.Helper()
	keys := map[string]bool{}
	all := map[string]bool{}
	for _, l := range r.Set.Listeners {
		if keys[l.Key()] {
			t.Errorf("%s is opened twice", l.Key())
		}
		keys[l.Key()] = true
		port := fmt.Sprint(l.Network(), l.Address.Port())
		if everywhere(l.Address.Addr()) {
			all[port] = true
		}
		if l.Port == 0 || int(l.Address.Port()) != int(l.Port)+o.PortOffset {
			t.Errorf("%s means port %d", l.Key(), l.Port)
		}
		if l.Network() == "tcp" && o.Reserved[netip.AddrPortFrom(netip.Addr{}, l.Address.Port())] != "" {
			t.Errorf("%s is reserved", l.Key())
		}
		if len(l.Hosts) == 0 {
			t.Errorf("%s has no host", l.Key())
		}
		names := map[string]bool{}
		for _, h := range l.Hosts {
			if names[h.Hostname] {
				t.Errorf("%s has hostname %q twice", l.Key(), h.Hostname)
			}
			names[h.Hostname] = true
			if h.TLS != nil && (l.Transport != route.TransportTLS || len(h.TLS.Certificates) == 0) {
				t.Errorf("%s, host %s: TLS without certificate, or on %s", l.Key(), h.Name, l.Transport)
			}
			checkHost(t, l, h)
		}
	}
	for _, l := range r.Set.Listeners {
		if port := fmt.Sprint(l.Network(), l.Address.Port()); all[port] && !everywhere(l.Address.Addr()) {
			t.Errorf("%s is opened beside every interface", l.Key())
		}
	}
	statuses := map[string]bool{}
	for i := range r.Statuses {
		s := &r.Statuses[i]
		statuses[s.Kind+" "+s.Metadata.Namespace+"/"+s.Metadata.Name] = true
		for at, c := range Conditions(s) {
			known := c.Status == metav1.ConditionTrue || c.Status == metav1.ConditionFalse
			if !known || c.Reason == "" || c.ObservedGeneration != s.Metadata.Generation {
				t.Errorf("%s %s, %s: %+v", s.Kind, s.Metadata.Name, at, c)
			}
		}
	}
	for _, g := range set.Gateways {
		if o.AnyClass && !statuses["Gateway "+nameOf(g).String()] {
			t.Errorf("Gateway %s has no status", nameOf(g))
		}
	}
	for _, h := range set.HTTPRoutes {
		if !statuses["HTTPRoute "+nameOf(h).String()] {
			t.Errorf("HTTPRoute %s has no status", nameOf(h))
		}
	}
}

func checkHost(t *testing.T, l *route.Listener, h *route.Host) {
	check := func(r *route.Route, hostnames []string) {
		if r == nil || r.Policy == nil || r.ID == "" {
			t.Errorf("%s, host %s: route %+v", l.Key(), h.Name, r)
		}
		for _, name := range hostnames {
			if !covers(h.Hostname, name) {
				t.Errorf("%s, host %q: a rule for %q", l.Key(), h.Hostname, name)
			}
		}
		for i := range r.Backends {
			if b := &r.Backends[i]; b.Weight < 0 || (b.Service == nil) != (b.Invalid != "") {
				t.Errorf("%s: backend %+v", r.ID, b)
			}
		}
	}
	for _, r := range h.Rules {
		check(r.Route, r.Hostnames)
	}
	for _, s := range h.Streams {
		check(s.Route, s.Hostnames)
	}
	mixed := h.Raw && len(h.Rules) > 0 || !h.Raw && len(h.Streams) > 0
	if mixed || l.Transport != route.TransportTLS && h.Raw == (l.Transport == route.TransportHTTP) {
		t.Errorf("%s %s has %d rules and %d streams", l.Transport, l.Key(), len(h.Rules), len(h.Streams))
	}
}

// A chooser makes choices out of bytes; when they are used up, the first of everything.
type chooser struct {
	b     []byte
	count int
}

func (c *chooser) n(below int) int {
	if len(c.b) == 0 {
		return 0
	}
	n := int(c.b[0]) % below
	c.b = c.b[1:]
	return n
}

func pick[T any](c *chooser, from ...T) T { return from[c.n(len(from))] }

// maybe is a pointer to one of from, or nil.
func maybe[T any](c *chooser, from ...T) *T {
	if i := c.n(len(from) + 1); i > 0 {
		return &from[i-1]
	}
	return nil
}

func list[T any](c *chooser, atMost int, f func() T) (out []T) {
	for range c.n(atMost + 1) {
		out = append(out, f())
	}
	return out
}

func (c *chooser) meta() metav1.ObjectMeta {
	c.count++
	return metav1.ObjectMeta{
		Namespace: pick(c, "one", "two"), Name: fmt.Sprint("object-", c.count), Generation: int64(c.n(5)),
		CreationTimestamp: metav1.NewTime(time.Unix(int64(c.n(4)), 0)),
	}
}

func (c *chooser) options() Options {
	o := Options{AnyClass: c.n(4) > 0, PortOffset: pick(c, 0, 8000, -79), Reserved: map[netip.AddrPort]string{}}
	if c.n(2) == 1 {
		o.Addresses = netip.MustParsePrefix(pick(c, "10.0.0.0/30", "10.0.0.0/8", "fd00::/64", "10.0.0.1/32"))
	}
	if c.n(2) == 1 {
		o.Reserved[netip.AddrPortFrom(netip.Addr{}, 443)] = "gateway.listeners[0]"
	}
	if c.n(2) == 1 {
		o.Unbound = map[string]error{"tcp/:80": pick[error](c, syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EMFILE)}
	}
	return o
}

func (c *chooser) set() *Set {
	s := new(Set)
	pair := keyPairs()["ecdsa"]
	for _, namespace := range []string{"one", "two"} {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: "good"}
		s.Secrets = append(s.Secrets, &corev1.Secret{ObjectMeta: meta, Data: pair})
		s.ConfigMaps = append(s.ConfigMaps, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{caKey: string(pair[caKey])}})
		s.Services = append(s.Services, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Port: 80}, {Port: 53, Name: "dns", Protocol: corev1.ProtocolUDP},
		}}})
	}
	s.GatewayClasses = list(c, 2, func() *gatewayv1.GatewayClass {
		g := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: pick(c, "ours", "theirs")}}
		g.Spec.ControllerName = pick(c, gatewayv1.GatewayController(ControllerName), "example.net/other")
		g.Spec.ParametersRef = maybe(c, gatewayv1.ParametersReference{})
		return g
	})
	s.Gateways = list(c, 3, c.gateway)
	s.ListenerSets = list(c, 3, func() *gatewayv1.ListenerSet {
		l := &gatewayv1.ListenerSet{ObjectMeta: c.meta()}
		l.Spec.ParentRef = gatewayv1.ParentGatewayReference{Namespace: c.other(), Name: c.name()}
		for _, x := range list(c, 3, c.listener) {
			l.Spec.Listeners = append(l.Spec.Listeners, gatewayv1.ListenerEntry(x))
		}
		return l
	})
	s.ReferenceGrants = list(c, 2, func() *gatewayv1.ReferenceGrant {
		g := &gatewayv1.ReferenceGrant{ObjectMeta: c.meta()}
		g.Spec.From = list(c, 2, func() gatewayv1.ReferenceGrantFrom {
			return gatewayv1.ReferenceGrantFrom{
				Group: gatewayv1.GroupName, Kind: pick(c, gatewayv1.Kind("Gateway"), "ListenerSet", "HTTPRoute"), Namespace: *c.other("one"),
			}
		})
		g.Spec.To = list(c, 2, func() gatewayv1.ReferenceGrantTo {
			return gatewayv1.ReferenceGrantTo{
				Kind: pick(c, gatewayv1.Kind("Secret"), "Service", "ConfigMap"), Name: maybe(c, gatewayv1.ObjectName("good")),
			}
		})
		return g
	})
	s.FrontendTLSPolicies = list(c, 2, func() *albv1.FrontendTLSPolicy {
		p := &albv1.FrontendTLSPolicy{ObjectMeta: c.meta()}
		p.Spec.TargetRef = albv1.CustomTargetRef{
			Group: gatewayv1.GroupName, Kind: "Gateway", Name: string(c.name()),
			SectionNames: list(c, 1, func() string { return string(c.section()) }),
		}
		p.Spec.Default = maybe(c, albv1.FrontendTLSPolicyConfig{Verify: maybe(c, albv1.FrontendTLSVerify{CaCertificateRef: c.secret()})})
		return p
	})
	c.routes(s)
	return s
}

func (c *chooser) routes(s *Set) {
	backends := func() []gatewayv1.BackendRef {
		return list(c, 2, func() gatewayv1.BackendRef {
			return gatewayv1.BackendRef{Weight: maybe(c, int32(0), 3, -1), BackendObjectReference: gatewayv1.BackendObjectReference{
				Kind: maybe(c, gatewayv1.Kind("Service"), "Other"), Name: pick(c, gatewayv1.ObjectName("good"), "missing"),
				Namespace: c.other(), Port: maybe(c, gatewayv1.PortNumber(80), 53, 0, -1),
			}}
		})
	}
	s.HTTPRoutes = list(c, 4, func() *gatewayv1.HTTPRoute {
		r := &gatewayv1.HTTPRoute{ObjectMeta: c.meta()}
		r.Spec.CommonRouteSpec, r.Spec.Hostnames = c.common(), list(c, 2, c.hostname)
		r.Spec.Rules = list(c, 2, func() (rule gatewayv1.HTTPRouteRule) {
			for _, b := range backends() {
				rule.BackendRefs = append(rule.BackendRefs, gatewayv1.HTTPBackendRef{BackendRef: b})
			}
			return rule
		})
		return r
	})
	s.GRPCRoutes = list(c, 2, func() *gatewayv1.GRPCRoute {
		r := &gatewayv1.GRPCRoute{ObjectMeta: c.meta()}
		r.Spec.CommonRouteSpec, r.Spec.Hostnames = c.common(), list(c, 2, c.hostname)
		r.Spec.Rules = list(c, 2, func() gatewayv1.GRPCRouteRule { return gatewayv1.GRPCRouteRule{} })
		return r
	})
	s.TLSRoutes = list(c, 2, func() *gatewayv1.TLSRoute {
		r := &gatewayv1.TLSRoute{ObjectMeta: c.meta()}
		r.Spec.CommonRouteSpec, r.Spec.Hostnames = c.common(), list(c, 2, c.hostname)
		r.Spec.Rules = list(c, 2, func() gatewayv1.TLSRouteRule { return gatewayv1.TLSRouteRule{BackendRefs: backends()} })
		return r
	})
	s.TCPRoutes = list(c, 2, func() *gatewayv1.TCPRoute {
		r := &gatewayv1.TCPRoute{ObjectMeta: c.meta()}
		r.Spec.CommonRouteSpec = c.common()
		r.Spec.Rules = list(c, 2, func() gatewayv1.TCPRouteRule { return gatewayv1.TCPRouteRule{BackendRefs: backends()} })
		return r
	})
	s.UDPRoutes = list(c, 2, func() *gatewayv1.UDPRoute {
		r := &gatewayv1.UDPRoute{ObjectMeta: c.meta()}
		r.Spec.CommonRouteSpec = c.common()
		r.Spec.Rules = list(c, 2, func() gatewayv1.UDPRouteRule { return gatewayv1.UDPRouteRule{BackendRefs: backends()} })
		return r
	})
}

func (c *chooser) gateway() *gatewayv1.Gateway {
	g := &gatewayv1.Gateway{ObjectMeta: c.meta()}
	g.Name = fmt.Sprint("gw", c.n(3))
	g.Spec.GatewayClassName = pick(c, gatewayv1.ObjectName("ours"), "theirs", "none")
	g.Spec.Listeners = list(c, 4, c.listener)
	g.Spec.DefaultScope = pick(c, gatewayv1.GatewayDefaultScope(""), gatewayv1.GatewayDefaultScopeAll)
	g.Spec.Addresses = list(c, 2, func() gatewayv1.GatewaySpecAddress {
		return gatewayv1.GatewaySpecAddress{
			Type:  maybe(c, gatewayv1.IPAddressType, gatewayv1.HostnameAddressType, "example.net/x"),
			Value: pick(c, "", "127.0.0.1", "0.0.0.0", "::", "10.0.0.1", "name"),
		}
	})
	g.Spec.AllowedListeners = maybe(c, gatewayv1.AllowedListeners{
		Namespaces: maybe(c, gatewayv1.ListenerNamespaces{From: c.from(), Selector: c.selector()}),
	})
	validation := func() gatewayv1.TLSConfig {
		return gatewayv1.TLSConfig{Validation: maybe(c, gatewayv1.FrontendTLSValidation{
			Mode: pick(c, gatewayv1.AllowValidOnly, gatewayv1.AllowInsecureFallback),
			CACertificateRefs: list(c, 2, func() gatewayv1.ObjectReference {
				return gatewayv1.ObjectReference{
					Kind: pick(c, gatewayv1.Kind("ConfigMap"), "Secret", "Service"), Name: pick(c, gatewayv1.ObjectName("good"), "missing"),
					Namespace: c.other(),
				}
			}),
		})}
	}
	g.Spec.TLS = maybe(c, gatewayv1.GatewayTLSConfig{
		Backend: maybe(c, gatewayv1.GatewayBackendTLS{ClientCertificateRef: maybe(c, c.secret())}),
		Frontend: maybe(c, gatewayv1.FrontendTLSConfig{Default: validation(), PerPort: list(c, 1, func() gatewayv1.TLSPortConfig {
			return gatewayv1.TLSPortConfig{Port: 443, TLS: validation()}
		})}),
	})
	return g
}

func (c *chooser) listener() gatewayv1.Listener {
	l := gatewayv1.Listener{
		Name: c.section(), Port: pick(c, gatewayv1.PortNumber(80), 443, 81, 0, 65535, -1), Hostname: maybe(c, c.hostname()),
		Protocol: pick(c, gatewayv1.HTTPProtocolType, gatewayv1.HTTPSProtocolType, gatewayv1.TLSProtocolType, "TCP", "UDP", "x"),
	}
	if l.Protocol == gatewayv1.HTTPSProtocolType || l.Protocol == gatewayv1.TLSProtocolType {
		l.TLS = maybe(c, gatewayv1.ListenerTLSConfig{
			Mode: maybe(c, gatewayv1.TLSModeTerminate, gatewayv1.TLSModePassthrough), CertificateRefs: list(c, 2, c.secret),
		})
	}
	l.AllowedRoutes = maybe(c, gatewayv1.AllowedRoutes{
		Namespaces: maybe(c, gatewayv1.RouteNamespaces{From: c.from(), Selector: c.selector()}),
		Kinds: list(c, 2, func() gatewayv1.RouteGroupKind {
			return gatewayv1.RouteGroupKind{Kind: pick(c, gatewayv1.Kind("HTTPRoute"), "GRPCRoute", "TLSRoute", "TCPRoute", "Other")}
		}),
	})
	return l
}

func (c *chooser) from() *gatewayv1.FromNamespaces {
	return maybe(c, gatewayv1.NamespacesFromAll, gatewayv1.NamespacesFromSame, gatewayv1.NamespacesFromSelector, "None", "x")
}

func (c *chooser) selector() *metav1.LabelSelector {
	return maybe(c, metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "one"}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "?", Operator: "x"}}})
}

func (c *chooser) secret() gatewayv1.SecretObjectReference {
	return gatewayv1.SecretObjectReference{
		Kind: maybe(c, gatewayv1.Kind("Secret"), "Other"), Name: pick(c, gatewayv1.ObjectName("good"), "missing"), Namespace: c.other(),
	}
}

// other is a namespace, or none; one of from instead of none, if there are any.
func (c *chooser) other(from ...gatewayv1.Namespace) *gatewayv1.Namespace {
	n := maybe(c, gatewayv1.Namespace("one"), "two")
	if n == nil && len(from) > 0 {
		n = &from[0]
	}
	return n
}

func (c *chooser) hostname() gatewayv1.Hostname {
	return pick(c, gatewayv1.Hostname("a.example"), "*.example", "*.a.example", "b.a.example", "A.example", "")
}

func (c *chooser) name() gatewayv1.ObjectName {
	return pick(c, gatewayv1.ObjectName("gw0"), "gw1", "gw2", "object-2", "object-3", "object-4", "missing")
}

func (c *chooser) section() gatewayv1.SectionName {
	return gatewayv1.SectionName(strings.Repeat("s", 1+c.n(3)))
}

func (c *chooser) common() gatewayv1.CommonRouteSpec {
	return gatewayv1.CommonRouteSpec{
		UseDefaultGateways: pick(c, gatewayv1.GatewayDefaultScope(""), gatewayv1.GatewayDefaultScopeAll),
		ParentRefs: list(c, 3, func() gatewayv1.ParentReference {
			return gatewayv1.ParentReference{
				Kind: maybe(c, gatewayv1.Kind("Gateway"), "ListenerSet", "Service"), Name: c.name(), Namespace: c.other(),
				SectionName: maybe(c, c.section()), Port: maybe(c, gatewayv1.PortNumber(80), 443),
			}
		}),
	}
}
