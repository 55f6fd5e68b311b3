package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A routeObject is a route of any kind while it is attached.
type routeObject struct {
	metav1.Object
	kind      string
	common    *gatewayv1.CommonRouteSpec
	hostnames []gatewayv1.Hostname

	// translate says what the spec means for a Gateway, where TLS has ended or not: only for TLSRoutes that makes a difference.
	translate func(gw *gateway, terminated bool) translated

	meanings []meaning // of translate: few
	parents  []gatewayv1.RouteParentStatus
}

// A meaning is what a route means for a Gateway.
type meaning struct {
	gw         *gateway
	terminated bool
	*translated
}

// attachRoutes attaches every route, the oldest first, so that the rules of a Host stand in the order of precedence that the
// specification gives to rules that match alike: by age, then name, then place in the route.
func (t *translation) attachRoutes() []*routeObject {
	routes := t.routeObjects()
	slices.SortStableFunc(routes, func(a, b *routeObject) int { return cmp.Or(older(a, b), cmp.Compare(a.kind, b.kind)) })
	var defaults []*gateway
	for _, gw := range t.ordered {
		if gw.Spec.DefaultScope == gatewayv1.GatewayDefaultScopeAll {
			defaults = append(defaults, gw)
		}
	}
	for _, r := range routes {
		for i := range r.common.ParentRefs {
			t.attachTo(r, r.common.ParentRefs[i], fmt.Sprintf("spec.parentRefs[%d]", i))
		}
		if r.common.UseDefaultGateways == gatewayv1.GatewayDefaultScopeAll {
			t.attachToDefaults(r, defaults)
		}
	}
	return routes
}

// maxParents is the most that RouteStatus.parents holds; spec.parentRefs has no more.
const maxParents = 32

// attachToDefaults attaches a route that asks for it to the Gateways that take such (GEP-3793), and that it does not name itself.
func (t *translation) attachToDefaults(r *routeObject, defaults []*gateway) {
	group, kind := gatewayv1.Group(gatewayv1.GroupName), gatewayv1.Kind("Gateway")
	for _, gw := range defaults {
		if len(r.parents) >= maxParents {
			return
		}
		namespace := gatewayv1.Namespace(gw.Namespace)
		if slices.ContainsFunc(r.parents, func(p gatewayv1.RouteParentStatus) bool { return t.parent(r, p.ParentRef).gw == gw }) {
			continue
		}
		ref := gatewayv1.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace, Name: gatewayv1.ObjectName(gw.Name)}
		t.attachTo(r, ref, "spec.useDefaultGateways")
	}
}

// A parent is what a parentRef names.
type parent struct {
	gw        *gateway // nil: nothing of ours
	set       *listenerSet
	listeners []*listener
	sections  map[string]*listener
}

// parent finds what a parentRef names.
func (t *translation) parent(r *routeObject, ref gatewayv1.ParentReference) (p parent) {
	if stringOr(ref.Group, gatewayv1.GroupName) != gatewayv1.GroupName {
		return p
	}
	name := types.NamespacedName{Namespace: stringOr(ref.Namespace, r.GetNamespace()), Name: string(ref.Name)}
	switch stringOr(ref.Kind, "Gateway") {
	case "Gateway":
		if gw := t.gateways[name]; gw != nil {
			p = parent{gw: gw, listeners: gw.own, sections: gw.sections}
		}
	case "ListenerSet":
		if s := t.setsByName[name]; s != nil {
			p = parent{gw: s.gw, set: s, listeners: s.listeners, sections: s.sections}
		}
	}
	return p
}

// attachTo attaches a route to what one of its parentRefs names, and notes the outcome for its status.
func (t *translation) attachTo(r *routeObject, ref gatewayv1.ParentReference, place string) {
	p := t.parent(r, ref)
	if p.gw == nil {
		t.noParent(r, ref, place)
		return
	}
	listeners, why := t.takers(r, &p, ref)
	meaning := r.meaningFor(p.gw, listeners)
	var c conditions
	refused := slices.IndexFunc(meaning.conditions, func(c metav1.Condition) bool {
		return c.Type == string(gatewayv1.RouteConditionAccepted) && c.Status != metav1.ConditionTrue
	})
	switch {
	case why != nil:
		say(&c, gatewayv1.RouteConditionAccepted, false, why.reason, why.message)
	case refused >= 0:
		c = append(c, meaning.conditions[refused])
	default:
		message := "attached to " + names(listeners)
		for _, l := range listeners {
			message += r.attach(l)
		}
		say(&c, gatewayv1.RouteConditionAccepted, true, gatewayv1.RouteReasonAccepted, message)
	}
	for _, m := range meaning.conditions {
		partly := m.Type == string(gatewayv1.RouteConditionPartiallyInvalid)
		if m.Type != string(gatewayv1.RouteConditionAccepted) && (!partly || c.isTrue(string(gatewayv1.RouteConditionAccepted))) {
			c = append(c, m)
		}
	}
	r.parents = append(r.parents, gatewayv1.RouteParentStatus{
		ParentRef: ref, ControllerName: ControllerName, Conditions: c.published(r.GetGeneration()),
	})
}

// noParent notes a parentRef that names nothing that anybody has: what belongs to another controller is its to judge.
func (t *translation) noParent(r *routeObject, ref gatewayv1.ParentReference, place string) {
	group, kind := stringOr(ref.Group, gatewayv1.GroupName), stringOr(ref.Kind, "Gateway")
	name := types.NamespacedName{Namespace: stringOr(ref.Namespace, r.GetNamespace()), Name: string(ref.Name)}
	switch {
	case group == gatewayv1.GroupName && kind == "Gateway":
		t.unknownParent(r.kind, r, place, name)
	case group == gatewayv1.GroupName && kind == "ListenerSet":
		if !t.otherSets[name] {
			t.problem(r.kind, r, fmt.Sprintf("%s: there is no ListenerSet %s", place, name))
		}
	case t.AnyClass:
		t.problem(r.kind, r, fmt.Sprintf("%s: routes are attached to no %s: name a Gateway or a ListenerSet", place, kindOf(group, kind)))
	}
}

// takers finds the listeners of a parent that take a route, or why none does: the check that the most of them passed says it.
func (t *translation) takers(r *routeObject, p *parent, ref gatewayv1.ParentReference) ([]*listener, *refusal) {
	if p.set != nil && p.set.refusal != nil {
		return nil, refuse(gatewayv1.RouteReasonNoMatchingParent, "the ListenerSet is not attached: "+p.set.refusal.message)
	}
	named := p.listeners
	if ref.SectionName != nil && *ref.SectionName != "" {
		named = nil
		if l := p.sections[string(*ref.SectionName)]; l != nil {
			named = []*listener{l}
		}
	}
	if ref.Port != nil && *ref.Port != 0 {
		named = slices.DeleteFunc(slices.Clone(named), func(l *listener) bool { return l.spec.Port != *ref.Port })
	}
	if len(named) == 0 {
		return nil, refuse(gatewayv1.RouteReasonNoMatchingParent, noSuchListener(ref))
	}
	var fit []*listener
	allowed, conflict := false, ""
	for _, l := range named {
		if !l.takes(r.kind) || !t.allows(l, r.GetNamespace()) {
			continue
		}
		allowed = true
		if _, ok := intersect(l.hostname, r.hostnames); !ok {
			continue
		}
		if with := r.conflict(l); with != "" {
			conflict = fmt.Sprintf("listener %s: %s, which is older, has a hostname in common with it", l.spec.Name, with)
			continue
		}
		fit = append(fit, l)
	}
	switch {
	case len(fit) > 0:
		return fit, nil
	case conflict != "":
		return nil, refuse(gatewayv1.ListenerReasonHostnameConflict, conflict)
	case allowed:
		return nil, refusef(gatewayv1.RouteReasonNoMatchingListenerHostname, "no hostname in common with %s", names(named))
	}
	return nil, refusef(gatewayv1.RouteReasonNotAllowedByListeners,
		"allowedRoutes and protocol of %s let in no %s of namespace %s", names(named), r.kind, r.GetNamespace())
}

func noSuchListener(ref gatewayv1.ParentReference) string {
	var with []string
	if ref.SectionName != nil && *ref.SectionName != "" {
		with = append(with, "name "+string(*ref.SectionName))
	}
	if ref.Port != nil && *ref.Port != 0 {
		with = append(with, fmt.Sprintf("port %d", *ref.Port))
	}
	if with == nil {
		return fmt.Sprintf("%s %s has no listener", stringOr(ref.Kind, "Gateway"), ref.Name)
	}
	return fmt.Sprintf("%s %s has no listener with %s", stringOr(ref.Kind, "Gateway"), ref.Name, strings.Join(with, " and "))
}

// names lists listeners for messages.
func names(listeners []*listener) string {
	const most = 8
	var list []string
	for _, l := range listeners[:min(len(listeners), most)] {
		list = append(list, string(l.spec.Name))
	}
	if len(listeners) > most {
		list = append(list, fmt.Sprintf("%d more", len(listeners)-most))
	}
	if len(list) == 1 {
		return "listener " + list[0]
	}
	return "listeners " + strings.Join(list, ", ")
}

// conflict names the route of the other kind that has a hostname in common with r on a listener: of an HTTPRoute and a GRPCRoute
// only the older is accepted (GRPCRouteSpec.hostnames). "": there is none.
func (r *routeObject) conflict(l *listener) string {
	others := &l.http
	switch r.kind {
	case "HTTPRoute":
		others = &l.grpc
	case "GRPCRoute":
	default:
		return ""
	}
	if len(others.owners) == 0 {
		return ""
	}
	for _, name := range r.namesAt(l) {
		if who, found := others.overlap(name); found {
			return who
		}
	}
	return ""
}

// namesAt are the hostnames for which r holds at a listener: one at least.
func (r *routeObject) namesAt(l *listener) []string {
	if common, _ := intersect(l.hostname, r.hostnames); len(common) > 0 {
		return common
	}
	return []string{l.hostname}
}

// meaningFor is what r means for a Gateway. Where a TLSRoute is attached to listeners of both modes, the mode in which something of
// it cannot be resolved speaks.
func (r *routeObject) meaningFor(gw *gateway, listeners []*listener) *translated {
	if len(listeners) == 0 {
		return r.meaning(gw, false)
	}
	first := r.meaning(gw, listeners[0].tls != nil)
	for _, l := range listeners[1:] {
		m := r.meaning(gw, l.tls != nil)
		if resolved := conditions(first.conditions); m != first && resolved.isTrue(string(gatewayv1.RouteConditionResolvedRefs)) {
			first = m
		}
	}
	return first
}

func (r *routeObject) meaning(gw *gateway, terminated bool) *translated {
	terminated = terminated && r.kind == "TLSRoute"
	for _, m := range r.meanings {
		if m.gw == gw && m.terminated == terminated {
			return m.translated
		}
	}
	made := r.translate(gw, terminated)
	r.meanings = append(r.meanings, meaning{gw, terminated, &made})
	return &made
}

// attach has a listener serve r, once. It returns what is to be said of it besides: of several TCPRoutes or UDPRoutes only
// the oldest is served.
func (r *routeObject) attach(l *listener) (note string) {
	if l.last == r {
		return ""
	}
	l.last = r
	l.attached++
	switch r.kind {
	case "HTTPRoute":
		r.claimNames(l, &l.http)
	case "GRPCRoute":
		r.claimNames(l, &l.grpc)
	}
	if l.host == nil {
		return ""
	}
	if raw := r.kind == "TCPRoute" || r.kind == "UDPRoute"; raw && len(l.host.Streams) > 0 {
		note = fmt.Sprintf("; %s is older and has all of listener %s", l.host.Streams[0].ID, l.spec.Name)
	}
	names, _ := intersect(l.hostname, r.hostnames)
	m := r.meaning(l.gw, l.tls != nil)
	for _, rule := range m.rules {
		rule.Hostnames = names
		l.host.Rules = append(l.host.Rules, rule)
	}
	for _, s := range m.streams {
		l.host.Streams = append(l.host.Streams, route.Stream{Route: s.Route, Hostnames: names})
	}
	return note
}

// claimNames notes the hostnames of r at a listener, where routes of both kinds can be.
func (r *routeObject) claimNames(l *listener, set *nameSet) {
	if len(l.kinds) < 2 {
		return
	}
	who := r.kind + " " + nameOf(r).String()
	for _, name := range r.namesAt(l) {
		set.add(name, who)
	}
}
