package kubernetes

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
)

// A policyTarget is what a policy is for: an object, or a section of it.
type policyTarget struct {
	group, kind string
	name        types.NamespacedName
	section     string // a listener, a rule, a port, by name; "": the whole object
}

// String is how a target stands in messages: "HTTPRoute a/web, section login".
func (p policyTarget) String() string {
	s := kindOf(p.group, p.kind) + " " + p.name.String()
	if p.group == gatewayv1.GroupName {
		s = p.kind + " " + p.name.String()
	}
	if p.section != "" {
		s += ", section " + p.section
	}
	return s
}

func (p policyTarget) whole() policyTarget {
	p.section = ""
	return p
}

// policies are those of a translation, read and judged once, before the routes.
type policies struct {
	objects map[policyTarget]metav1.Object // what policies may be for, without sections

	routes  map[policyTarget]*routePolicy  // of fairlead.dev
	albs    map[policyTarget]*routePolicy  // RoutePolicies of AGC
	balance map[policyTarget]*routePolicy  // BackendLoadBalancingPolicies of AGC
	tls     map[policyTarget]*backendTLS   // BackendTLSPolicies of both groups
	probes  map[policyTarget]*healthCheck  // HealthCheckPolicies of both groups
	traffic map[policyTarget]*trafficRules // XBackendTrafficPolicies

	// users are the Gateways whose routes refer to a backend, in the order in which they did.
	users map[policyTarget][]types.NamespacedName

	early   []Status // of policies that depend on nothing else
	publish []func() // the statuses of policies that depend on users
}

// readPolicies judges every policy of the set.
func (t *translation) readPolicies() {
	p := &t.policies
	p.users = make(map[policyTarget][]types.NamespacedName)
	p.routes = make(map[policyTarget]*routePolicy)
	p.albs = make(map[policyTarget]*routePolicy)
	p.balance = make(map[policyTarget]*routePolicy)
	p.tls = make(map[policyTarget]*backendTLS)
	p.probes = make(map[policyTarget]*healthCheck)
	p.traffic = make(map[policyTarget]*trafficRules)
	t.readBackendTLS()
	t.readALBBackendTLS()
	t.readHealthChecks()
	t.readALBHealthChecks()
	t.readTraffic()
	t.readRoutePolicies()
	t.readALBRoutePolicies()
	t.readBalance()
	p.early, t.result.Statuses = t.result.Statuses, nil
}

// publishPolicies adds the statuses of all policies and backends. The routes must have been read: some statuses name their Gateways.
func (t *translation) publishPolicies() {
	t.result.Statuses = append(t.result.Statuses, t.policies.early...)
	for _, publish := range t.policies.publish {
		publish()
	}
	t.publishBackends()
}

// object finds what a policy may be for; nil if there is none of that name.
func (t *translation) object(p policyTarget) metav1.Object {
	if t.policies.objects == nil {
		m := make(map[policyTarget]metav1.Object)
		index(m, gatewayv1.GroupName, "Gateway", t.Gateways)
		index(m, gatewayv1.GroupName, "HTTPRoute", t.HTTPRoutes)
		index(m, gatewayv1.GroupName, "GRPCRoute", t.GRPCRoutes)
		index(m, "", "Service", t.Services)
		index(m, v1alpha1.Group, "Backend", t.Backends)
		index(m, v1alpha1.Group, "EurekaService", t.EurekaServices)
		t.policies.objects = m
	}
	return t.policies.objects[p.whole()]
}

func index[T metav1.Object](m map[policyTarget]metav1.Object, group, kind string, list []T) {
	for _, o := range list {
		m[policyTarget{group: group, kind: kind, name: nameOf(o)}] = o
	}
}

// missing says what of a target does not exist; "" if it is all there. Services of the registry need no object.
func (t *translation) missing(p policyTarget) string {
	o := t.object(p)
	switch {
	case o == nil && p.kind == "EurekaService" && p.section == "":
		return ""
	case o == nil:
		return "there is no " + p.whole().String()
	case p.section != "" && !slices.Contains(sections(o), p.section):
		return fmt.Sprintf("%s has no section %s", p.whole(), p.section)
	}
	return ""
}

// sections are the names of the parts of an object that a policy may be for.
func sections(o metav1.Object) (names []string) {
	switch o := o.(type) {
	case *corev1.Service:
		for i := range o.Spec.Ports {
			names = append(names, o.Spec.Ports[i].Name)
		}
	case *gatewayv1.Gateway:
		for i := range o.Spec.Listeners {
			names = append(names, string(o.Spec.Listeners[i].Name))
		}
	case *gatewayv1.HTTPRoute:
		for i := range o.Spec.Rules {
			names = append(names, string(orElse(o.Spec.Rules[i].Name, "")))
		}
	case *gatewayv1.GRPCRoute:
		for i := range o.Spec.Rules {
			names = append(names, string(orElse(o.Spec.Rules[i].Name, "")))
		}
	}
	return names
}

// uses notes that a route of gw refers to a backend.
func (t *translation) uses(backend policyTarget, gw *gateway) {
	if gw == nil {
		return
	}
	if name := nameOf(gw); !slices.Contains(t.policies.users[backend], name) {
		t.policies.users[backend] = append(t.policies.users[backend], name)
	}
}

// maxAncestors is the most that a PolicyStatus holds.
const maxAncestors = 16

// ancestor is one entry of a PolicyStatus.
func ancestor(p policyTarget, generation int64, c ...metav1.Condition) gatewayv1.PolicyAncestorStatus {
	group, kind, namespace := gatewayv1.Group(p.group), gatewayv1.Kind(p.kind), gatewayv1.Namespace(p.name.Namespace)
	ref := gatewayv1.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace, Name: gatewayv1.ObjectName(p.name.Name)}
	if p.section != "" {
		section := gatewayv1.SectionName(p.section)
		ref.SectionName = &section
	}
	list := conditions(c)
	return gatewayv1.PolicyAncestorStatus{AncestorRef: ref, ControllerName: ControllerName, Conditions: list.published(generation)}
}

func gatewayTarget(name types.NamespacedName) policyTarget {
	return policyTarget{group: gatewayv1.GroupName, kind: "Gateway", name: name}
}

// publishAs adds the status of an object of another group than the Gateway API's.
func (t *translation) publishAs(apiVersion, kind string, o metav1.Object, status any) {
	t.publish(kind, o, status)
	t.result.Statuses[len(t.result.Statuses)-1].APIVersion = apiVersion
}

// accepted is the condition of a policy that holds, with what is to be said of it.
func accepted(message string) metav1.Condition {
	if message == "" {
		message = "the policy holds"
	}
	return condition(gatewayv1.PolicyConditionAccepted, true, gatewayv1.PolicyReasonAccepted, message)
}

// unaccepted is the condition of a policy that does not.
func unaccepted[R ~string](reason R, message string) metav1.Condition {
	return condition(gatewayv1.PolicyConditionAccepted, false, reason, message)
}

// heldBy is why a policy does not hold at a target: another has it, which is older or goes before it.
func heldBy(p policyTarget, kind string, holder metav1.Object) metav1.Condition {
	return unaccepted(gatewayv1.PolicyReasonConflicted, fmt.Sprintf("%s: %s %s has it", p, kind, nameOf(holder)))
}

// albTarget checks a reference of AGC's policies to what they are for. Kinds are those of group that the policy may be for.
func (t *translation) albTarget(policy string, o metav1.Object, ref *albv1.CustomTargetRef, group string, kinds ...string) (policyTarget, *refusal) {
	p := policyTarget{group: string(ref.Group), kind: string(ref.Kind), name: types.NamespacedName{
		Namespace: string(orElse(ref.Namespace, gatewayv1.Namespace(o.GetNamespace()))), Name: ref.Name,
	}}
	if p.name.Namespace == "" {
		p.name.Namespace = o.GetNamespace()
	}
	switch {
	case p.kind == "" && ref.Name == "":
		return p, &refusal{albv1.ReasonNoTargetReference, "spec.targetRef is missing"}
	case p.group != group:
		return p, &refusal{albv1.ReasonInvalidGroup, fmt.Sprintf("spec.targetRef.group %q: want %q", p.group, group)}
	case !slices.Contains(kinds, p.kind):
		return p, &refusal{albv1.ReasonInvalidKind, fmt.Sprintf("spec.targetRef.kind %q: want %s", p.kind, either(kinds))}
	case ref.Name == "":
		return p, &refusal{albv1.ReasonInvalidName, "spec.targetRef.name is empty"}
	case len(ref.SectionNames) > 0:
		return p, &refusal{albv1.ReasonSectionNamesNotAllowed, "spec.targetRef.sectionNames: the policy is for the whole " + p.kind}
	case !t.granted(albv1.Group, policy, o.GetNamespace(), p.group, p.kind, p.name.Namespace, p.name.Name):
		return p, &refusal{albv1.ReasonRefNotPermitted, fmt.Sprintf(
			"no ReferenceGrant in namespace %s lets a %s of group %s in namespace %s refer to %s %s",
			p.name.Namespace, policy, albv1.Group, o.GetNamespace(), p.kind, p.name.Name)}
	}
	return p, nil
}

func either(words []string) string {
	s := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			s += " or "
		default:
			s += ", "
		}
		s += w
	}
	return s
}

// publishALB adds the status of a policy of AGC. ResolvedRefs is said where it is not true, and of kinds that refer to more than a target.
func (t *translation) publishALB(kind string, o metav1.Object, c ...metav1.Condition) {
	list := conditions(c)
	t.publishAs(albv1.GroupVersion, kind, o, albv1.PolicyStatus{Conditions: list.published(o.GetGeneration())})
}
