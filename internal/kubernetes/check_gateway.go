package kubernetes

import (
	"net/netip"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// addGatewayChecks adds GatewayClass, Gateway, ListenerSet and what they are made of.
func addGatewayChecks(t checkTable) {
	t.add(on[gatewayv1.GatewayClass](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.GatewayClassSpec) {
		if s.Description != nil {
			at.at("description").length(*s.Description, 0, 64)
		}
	}, "controllerName"))
	t.add(on(func(at spot, r *gatewayv1.ParametersReference) { at.at("name").length(r.Name, 1, 253) }, "group", "kind", "name"))
	t.add(on(func(at spot, r *gatewayv1.LocalParametersReference) { at.at("name").length(r.Name, 1, 253) }, "group", "kind", "name"))
	t.add(on[gatewayv1.Gateway](nil, "spec"))
	t.add(on(checkGatewaySpec, "gatewayClassName", "listeners"))
	t.add(on(func(_ spot, l *gatewayv1.AllowedListeners) {
		setDefault(&l.Namespaces, gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromNone)})
	}))
	t.add(on(func(at spot, n *gatewayv1.ListenerNamespaces) {
		setDefault(&n.From, gatewayv1.NamespacesFromNone)
		enum(at.at("from"), *n.From, gatewayv1.NamespacesFromAll, gatewayv1.NamespacesFromSelector, gatewayv1.NamespacesFromSame,
			gatewayv1.NamespacesFromNone)
	}))
	t.add(on(func(at spot, n *gatewayv1.RouteNamespaces) {
		setDefault(&n.From, gatewayv1.NamespacesFromSame)
		enum(at.at("from"), *n.From, gatewayv1.NamespacesFromAll, gatewayv1.NamespacesFromSelector, gatewayv1.NamespacesFromSame)
	}))
	t.add(on(func(_ spot, k *gatewayv1.RouteGroupKind) { setDefault(&k.Group, gatewayv1.GroupName) }, "kind"))
	t.add(on(func(at spot, a *gatewayv1.AllowedRoutes) {
		setDefault(&a.Namespaces, gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromSame)})
		at.at("kinds").items(len(a.Kinds), 0, 8)
	}))
	t.add(on(func(at spot, l *gatewayv1.Listener) {
		e := gatewayv1.ListenerEntry(*l)
		checkListener(at, &e)
		*l = gatewayv1.Listener(e)
	}, "name", "port", "protocol"))
	t.add(on(checkListener, "name", "port", "protocol"))
	t.add(on(checkListenerTLS))
	t.add(on(enumOf(gatewayv1.TLSModeTerminate, gatewayv1.TLSModePassthrough)))
	t.add(on(checkAddress))
	t.add(on(checkInfrastructure))
	t.add(on(func(at spot, f *gatewayv1.FrontendTLSConfig) {
		at.at("perPort").items(len(f.PerPort), 0, 64)
		unique(at.at("perPort"), f.PerPort, "port", func(p *gatewayv1.TLSPortConfig) int32 { return p.Port })
	}, "default"))
	t.add(on(func(at spot, p *gatewayv1.TLSPortConfig) { at.at("port").port(&p.Port) }, "port", "tls"))
	t.add(on(func(at spot, v *gatewayv1.FrontendTLSValidation) {
		if v.Mode == "" {
			v.Mode = gatewayv1.AllowValidOnly
		}
		enum(at.at("mode"), v.Mode, gatewayv1.AllowValidOnly, gatewayv1.AllowInsecureFallback)
		at.at("caCertificateRefs").items(len(v.CACertificateRefs), 1, 16)
	}, "caCertificateRefs"))
	t.add(on[gatewayv1.ListenerSet](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.ListenerSetSpec) { checkListeners(at.at("listeners"), s.Listeners) }, "parentRef", "listeners"))
}

func checkGatewaySpec(at spot, s *gatewayv1.GatewaySpec) {
	entries := make([]gatewayv1.ListenerEntry, len(s.Listeners))
	for i := range s.Listeners {
		entries[i] = gatewayv1.ListenerEntry(s.Listeners[i])
	}
	checkListeners(at.at("listeners"), entries)
	at = at.at("addresses")
	if !at.items(len(s.Addresses), 0, 16) {
		return
	}
	for j, a := range s.Addresses {
		for i, b := range s.Addresses[:j] {
			if *a.Type == *b.Type && a.Value != "" && a.Value == b.Value &&
				(*a.Type == gatewayv1.IPAddressType || *a.Type == gatewayv1.HostnameAddressType) {
				at.at(j).refuse("remove one of them", "is the address of item %d", i)
				break
			}
		}
	}
}

func checkListener(at spot, l *gatewayv1.ListenerEntry) {
	at.at("port").port(&l.Port)
	setDefault(&l.AllowedRoutes, gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromSame)}})
	switch l.Protocol {
	case gatewayv1.HTTPProtocolType, gatewayv1.TCPProtocolType, gatewayv1.UDPProtocolType:
		if l.TLS != nil {
			at.at("tls").refuse("protocol HTTPS or TLS has it", "may not be set with protocol %s", l.Protocol)
		}
	case gatewayv1.HTTPSProtocolType:
		if l.TLS != nil && *l.TLS.Mode != gatewayv1.TLSModeTerminate {
			at.at("tls", "mode").refuse("protocol TLS passes connections through", "must be Terminate with protocol HTTPS")
		}
	case gatewayv1.TLSProtocolType:
		if l.TLS == nil {
			at.at("tls").refuse("say tls: {mode: Passthrough}, or mode: Terminate with certificateRefs", "is missing with protocol TLS")
		}
	}
	if (l.Protocol == gatewayv1.TCPProtocolType || l.Protocol == gatewayv1.UDPProtocolType) && l.Hostname != nil {
		at.at("hostname").refuse("connections of this protocol name no host", "may not be set with protocol %s", l.Protocol)
	}
}

func checkListeners(at spot, list []gatewayv1.ListenerEntry) {
	at.items(len(list), 1, 64)
	unique(at, list, "name", func(l *gatewayv1.ListenerEntry) gatewayv1.SectionName { return l.Name })
	type endpoint struct {
		port     int32
		protocol gatewayv1.ProtocolType
		hostname gatewayv1.Hostname
	}
	unique(at, list, "port, protocol and hostname", func(l *gatewayv1.ListenerEntry) endpoint {
		return endpoint{l.Port, l.Protocol, orElse(l.Hostname, "")}
	})
}

func checkListenerTLS(at spot, c *gatewayv1.ListenerTLSConfig) {
	setDefault(&c.Mode, gatewayv1.TLSModeTerminate)
	at.at("certificateRefs").items(len(c.CertificateRefs), 0, 64)
	at.at("options").properties(len(c.Options), 16)
	if *c.Mode == gatewayv1.TLSModeTerminate && len(c.CertificateRefs)+len(c.Options) == 0 {
		at.at("certificateRefs").refuse("name a Secret of type kubernetes.io/tls: certificateRefs: [{name: my-certificate}]",
			"is missing with mode Terminate")
	}
}

func checkAddress(at spot, a *gatewayv1.GatewaySpecAddress) {
	setDefault(&a.Type, gatewayv1.IPAddressType)
	if !at.has("value") {
		return
	}
	at = at.at("value")
	at.length(a.Value, 0, 253)
	switch *a.Type {
	case gatewayv1.IPAddressType:
		if ip, err := netip.ParseAddr(a.Value); err != nil || ip.Zone() != "" {
			at.refuse(`a name has type: Hostname`, "%s is no IP address", shown(a.Value, true))
		}
	case gatewayv1.HostnameAddressType:
		if !isSubdomain(strings.TrimPrefix(a.Value, "*.")) {
			at.refuse("", "%s is no hostname", shown(a.Value, true))
		}
	}
}

func checkInfrastructure(at spot, i *gatewayv1.GatewayInfrastructure) {
	at.at("labels").properties(len(i.Labels), 8)
	at.at("annotations").properties(len(i.Annotations), 16)
	for k := range i.Labels {
		at.at("labels").qualified(string(k))
	}
	for k := range i.Annotations {
		at.at("annotations").qualified(string(k))
	}
}

// properties checks the size of a map.
func (s spot) properties(n, most int) {
	if n > most {
		s.refuse("", "want at most %d entries, have %d", most, n)
	}
}

// qualified checks the key of a label or an annotation.
func (s spot) qualified(key string) {
	if !isQualified(key, false) {
		s.at(key).refuse("", `%s is no key: want "name" or "domain.example/name", the name of at most 63 letters, digits, -, _ and .`,
			shown(key, true))
	}
}
