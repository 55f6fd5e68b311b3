package kubernetes

import (
	"crypto/tls"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// A gateway is a Gateway while it is translated.
type gateway struct {
	*gatewayv1.Gateway

	// clientCertificate is what backends are shown (spec.tls.backend, GEP-3155); nil: nothing.
	clientCertificate *tls.Certificate

	foreign   bool                    // of another controller's class: what only that controller understands is skipped with a notice
	refusal   *refusal                // why nothing of it is served; nil: it is
	own       []*listener             // of its own spec
	sets      []*listenerSet          // that name it, by precedence
	sections  map[string]*listener    // own, by name
	addresses []*address              // that it is bound to; none if it is refused
	refs      *refusal                // of spec.tls.backend
	claimed   map[string]*portClaim   // by network and port: what its listeners have taken
	frontend  map[string]*frontendTLS // by own listener: policies for it; "": for all
}

// gatewaysOf takes up the Gateways that are ours, the oldest first.
func (t *translation) gatewaysOf() {
	classes := t.classesOf()
	t.gateways = make(map[types.NamespacedName]*gateway, len(t.Gateways))
	t.others = make(map[types.NamespacedName]bool)
	for _, g := range byAge(t.Gateways) {
		c := t.classOf(classes, g)
		if c == nil {
			t.others[nameOf(g)] = true
			continue
		}
		if t.gateways[nameOf(g)] != nil {
			continue
		}
		gw := &gateway{
			Gateway: g, foreign: c.foreign,
			sections: make(map[string]*listener), claimed: make(map[string]*portClaim), frontend: make(map[string]*frontendTLS),
		}
		t.gateways[nameOf(g)] = gw
		t.ordered = append(t.ordered, gw)
		if c.refusal != nil {
			gw.refusal = refuse(gatewayv1.GatewayReasonInvalid,
				"GatewayClass "+string(g.Spec.GatewayClassName)+" is not accepted: "+c.refusal.message)
		}
		t.parameters(gw)
		t.backendCertificate(gw)
		for i := range g.Spec.Listeners {
			l := &listener{gw: gw, spec: g.Spec.Listeners[i]}
			gw.own = append(gw.own, l)
			if gw.sections[string(l.spec.Name)] == nil {
				gw.sections[string(l.spec.Name)] = l
			}
		}
	}
	t.listenerSetsOf()
	t.readFrontendTLS()
	for _, gw := range t.ordered {
		for l := range gw.listeners() {
			t.examine(l)
		}
		gw.resolveConflicts()
	}
	t.assignAddresses()
	t.claimPorts()
}

// listeners yields those of the Gateway itself, then those of the ListenerSets that it lets in.
func (gw *gateway) listeners() func(yield func(*listener) bool) {
	return func(yield func(*listener) bool) {
		for _, l := range gw.own {
			if !yield(l) {
				return
			}
		}
		for _, s := range gw.sets {
			for _, l := range s.listeners {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// parameters judges spec.infrastructure.parametersRef: no kind configures a Gateway.
func (t *translation) parameters(gw *gateway) {
	if gw.Spec.Infrastructure == nil || gw.Spec.Infrastructure.ParametersRef == nil {
		return
	}
	ref := gw.Spec.Infrastructure.ParametersRef
	kind := kindOf(string(ref.Group), string(ref.Kind))
	switch {
	case gw.foreign:
		t.problem("Gateway", gw, "spec.infrastructure.parametersRef: "+kind+" is skipped: it speaks to another controller")
	case gw.refusal == nil:
		gw.refusal = refuse(gatewayv1.GatewayReasonInvalidParameters,
			"spec.infrastructure.parametersRef: "+kind+" is no kind that configures a Gateway: remove parametersRef")
	}
}

// backendCertificate resolves spec.tls.backend.clientCertificateRef.
func (t *translation) backendCertificate(gw *gateway) {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Backend == nil || gw.Spec.TLS.Backend.ClientCertificateRef == nil {
		return
	}
	const invalid = string(gatewayv1.GatewayReasonInvalidClientCertificateRef)
	certificate, why := t.keyPair("Gateway", gw.Namespace, gw.Spec.TLS.Backend.ClientCertificateRef, invalid)
	gw.clientCertificate = certificate
	if why != nil {
		gw.refs = refuse(why.reason, "spec.tls.backend.clientCertificateRef: "+why.message)
	}
}

// insecure tells where clients are let in without a good certificate; "": nowhere.
func (gw *gateway) insecure() string {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Frontend == nil {
		return ""
	}
	f := gw.Spec.TLS.Frontend
	lax := func(c gatewayv1.TLSConfig) bool {
		return c.Validation != nil && c.Validation.Mode == gatewayv1.AllowInsecureFallback
	}
	var places []string
	if lax(f.Default) {
		places = append(places, "spec.tls.frontend.default")
	}
	for i := range f.PerPort {
		if lax(f.PerPort[i].TLS) {
			places = append(places, fmt.Sprintf("spec.tls.frontend.perPort of %d", f.PerPort[i].Port))
		}
	}
	return strings.Join(places, ", ")
}

// publishGateways publishes the statuses of Gateways and ListenerSets. Routes have been attached.
func (t *translation) publishGateways() {
	for _, gw := range sorted(t.ordered) {
		t.publish("Gateway", gw, t.gatewayStatus(gw))
	}
	for _, s := range sorted(t.sets) {
		t.publish("ListenerSet", s, s.status())
	}
}

func (t *translation) gatewayStatus(gw *gateway) gatewayv1.GatewayStatus {
	var attached int32
	for _, s := range gw.sets {
		if s.accepted() == nil {
			attached++
		}
	}
	status := gatewayv1.GatewayStatus{AttachedListenerSets: &attached}
	for _, a := range gw.addresses {
		if a.refusal == nil && t.Publish && !a.ip.IsValid() {
			status.Addresses = append(status.Addresses, t.Published...)
		} else if a.refusal == nil {
			kind := a.kind
			status.Addresses = append(status.Addresses, gatewayv1.GatewayStatusAddress{Type: &kind, Value: a.value()})
		}
	}
	for _, l := range gw.own {
		status.Listeners = append(status.Listeners, gatewayv1.ListenerStatus{
			Name:           l.spec.Name,
			SupportedKinds: l.kinds,
			AttachedRoutes: l.attached,
			Conditions:     l.conditions().published(gw.Generation),
		})
	}

	var c conditions
	accepted := gw.accepted()
	switch bad := gw.invalidListeners(); {
	case accepted != nil:
		say(&c, gatewayv1.GatewayConditionAccepted, false, accepted.reason, accepted.message)
	case bad != "":
		say(&c, gatewayv1.GatewayConditionAccepted, true, gatewayv1.GatewayReasonListenersNotValid, bad)
	default:
		say(&c, gatewayv1.GatewayConditionAccepted, true, gatewayv1.GatewayReasonAccepted, "the Gateway is served")
	}
	programmed := gw.programmed()
	if programmed == nil && len(gw.addresses) > 0 && len(status.Addresses) == 0 {
		programmed = refuse(gatewayv1.GatewayReasonAddressNotAssigned, "the Service of kubernetes.publishService has no address yet")
	}
	unless(&c, programmed, gatewayv1.GatewayConditionProgrammed, gatewayv1.GatewayReasonProgrammed, "configured")
	unless(&c, gw.resolved(), gatewayv1.GatewayConditionResolvedRefs, gatewayv1.GatewayReasonResolvedRefs, "every reference is resolved")
	if where := gw.insecure(); where != "" {
		say(&c, gatewayv1.GatewayConditionInsecureFrontendValidationMode, true, gatewayv1.GatewayReasonConfigurationChanged,
			where+" lets clients in whose certificate is missing or not valid: backends have to refuse them")
	}
	status.Conditions = c.published(gw.Generation)
	return status
}

// accepted says why the Gateway is not accepted; nil: it is. Its listeners and those of its ListenerSets count as one list.
func (gw *gateway) accepted() *refusal {
	if gw.refusal != nil {
		return gw.refusal
	}
	for l := range gw.listeners() {
		if l.valid() {
			return nil
		}
	}
	message := "no listener can be served"
	if bad := gw.invalidListeners(); bad != "" {
		message += ": " + bad
	}
	return refuse(gatewayv1.GatewayReasonListenersNotValid, message)
}

// invalidListeners says which of the Gateway's own listeners are not served, and why; "": all are.
func (gw *gateway) invalidListeners() string {
	var bad []string
	for _, l := range gw.own {
		if why := l.invalid(); why != nil {
			bad = append(bad, fmt.Sprintf("listener %s: %s", l.spec.Name, why.message))
		}
	}
	return strings.Join(bad, "; ")
}

// programmed says why the Gateway is not served on all its addresses; nil: it is.
func (gw *gateway) programmed() *refusal {
	if gw.accepted() != nil {
		return refuse(gatewayv1.GatewayReasonInvalid, "the Gateway is not accepted")
	}
	for _, a := range gw.addresses {
		if a.refusal != nil {
			return a.refusal
		}
	}
	return nil
}

// resolved says which references of the Gateway are not resolved; nil: all are.
func (gw *gateway) resolved() *refusal {
	if gw.refs != nil {
		return gw.refs
	}
	var bad []string
	for _, l := range gw.own {
		if l.refs != nil {
			bad = append(bad, fmt.Sprintf("listener %s: %s", l.spec.Name, l.refs.message))
		}
	}
	if bad == nil {
		return nil
	}
	return refuse(gatewayv1.GatewayReasonListenersNotResolved, strings.Join(bad, "; "))
}
