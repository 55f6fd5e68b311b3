package kubernetes

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// listenerSetReasonParentNotProgrammed has no constant in the API.
const listenerSetReasonParentNotProgrammed = "ParentNotProgrammed"

// A listenerSet is a ListenerSet of one of our Gateways while it is translated.
type listenerSet struct {
	*gatewayv1.ListenerSet

	gw        *gateway
	refusal   *refusal             // why the Gateway does not let it in; nil: it does
	listeners []*listener          // none if it is refused
	sections  map[string]*listener // by name
}

// listenerSetsOf gives each Gateway the ListenerSets that name it, in the precedence that the specification gives them.
func (t *translation) listenerSetsOf() {
	t.setsByName = make(map[types.NamespacedName]*listenerSet, len(t.ListenerSets))
	t.otherSets = make(map[types.NamespacedName]bool)
	for _, o := range byAge(t.ListenerSets) {
		ref := o.Spec.ParentRef
		if stringOr(ref.Group, gatewayv1.GroupName) != gatewayv1.GroupName || stringOr(ref.Kind, "Gateway") != "Gateway" {
			t.otherSets[nameOf(o)] = true
			continue
		}
		name := types.NamespacedName{Namespace: stringOr(ref.Namespace, o.Namespace), Name: string(ref.Name)}
		gw := t.gateways[name]
		if gw == nil {
			t.otherSets[nameOf(o)] = true
			t.unknownParent("ListenerSet", o, "spec.parentRef", name)
			continue
		}
		if t.setsByName[nameOf(o)] != nil {
			continue
		}
		s := &listenerSet{ListenerSet: o, gw: gw, sections: make(map[string]*listener)}
		t.setsByName[nameOf(o)] = s
		t.sets = append(t.sets, s)
		gw.sets = append(gw.sets, s)
		if !t.letsIn(gw, o.Namespace) {
			s.refusal = refusef(gatewayv1.ListenerSetReasonNotAllowed,
				"Gateway %s lets in no ListenerSets of namespace %s: see its spec.allowedListeners", name, o.Namespace)
			continue
		}
		for i := range o.Spec.Listeners {
			l := &listener{gw: gw, set: s, spec: gatewayv1.Listener(o.Spec.Listeners[i])}
			s.listeners = append(s.listeners, l)
			if s.sections[string(l.spec.Name)] == nil {
				s.sections[string(l.spec.Name)] = l
			}
		}
	}
}

// unknownParent notes a reference to a Gateway that nobody has. References to Gateways of other controllers are theirs.
func (t *translation) unknownParent(kind string, o metav1.Object, place string, name types.NamespacedName) {
	if t.others[name] {
		return
	}
	t.problem(kind, o, fmt.Sprintf("%s: there is no Gateway %s", place, name))
}

// letsIn tells whether a Gateway lets in ListenerSets of a namespace (spec.allowedListeners).
func (t *translation) letsIn(gw *gateway, namespace string) bool {
	if gw.Spec.AllowedListeners == nil || gw.Spec.AllowedListeners.Namespaces == nil {
		return false
	}
	allowed := gw.Spec.AllowedListeners.Namespaces
	from := gatewayv1.NamespacesFromNone
	if allowed.From != nil {
		from = *allowed.From
	}
	return t.namespaceAllowed(from, allowed.Selector, gw.Namespace, namespace)
}

// accepted says why the ListenerSet is not accepted; nil: it is.
func (s *listenerSet) accepted() *refusal {
	if s.refusal != nil {
		return s.refusal
	}
	if s.gw.refusal != nil {
		return refuse(gatewayv1.ListenerSetReasonParentNotAccepted, "its Gateway is not accepted: "+s.gw.refusal.message)
	}
	for _, l := range s.listeners {
		if l.valid() {
			return nil
		}
	}
	return refuse(gatewayv1.ListenerSetReasonListenersNotValid, "no listener can be served: "+s.invalidListeners())
}

func (s *listenerSet) invalidListeners() string {
	var bad []string
	for _, l := range s.listeners {
		if why := l.invalid(); why != nil {
			bad = append(bad, fmt.Sprintf("listener %s: %s", l.spec.Name, why.message))
		}
	}
	return strings.Join(bad, "; ")
}

func (s *listenerSet) status() gatewayv1.ListenerSetStatus {
	var status gatewayv1.ListenerSetStatus
	for _, l := range s.listeners {
		status.Listeners = append(status.Listeners, gatewayv1.ListenerEntryStatus{
			Name:           l.spec.Name,
			SupportedKinds: l.kinds,
			AttachedRoutes: l.attached,
			Conditions:     l.conditions().published(s.Generation),
		})
	}
	var c conditions
	accepted, bad := s.accepted(), s.invalidListeners()
	switch {
	case accepted != nil:
		say(&c, gatewayv1.ListenerSetConditionAccepted, false, accepted.reason, accepted.message)
	case bad != "":
		say(&c, gatewayv1.ListenerSetConditionAccepted, true, gatewayv1.ListenerSetReasonListenersNotValid, bad)
	default:
		say(&c, gatewayv1.ListenerSetConditionAccepted, true, gatewayv1.ListenerSetReasonAccepted, "the listeners are served")
	}
	parent := s.gw.programmed()
	switch {
	case accepted != nil:
		say(&c, gatewayv1.ListenerSetConditionProgrammed, false, accepted.reason, accepted.message)
	case parent != nil:
		say(&c, gatewayv1.ListenerSetConditionProgrammed, false, listenerSetReasonParentNotProgrammed,
			"its Gateway is not programmed: "+parent.message)
	default:
		say(&c, gatewayv1.ListenerSetConditionProgrammed, true, gatewayv1.ListenerSetReasonProgrammed, "configured")
	}
	status.Conditions = c.published(s.Generation)
	return status
}
