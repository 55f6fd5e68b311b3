package kubernetes

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// sourceName is Route.Source of what is translated here.
const sourceName = "gateway-api"

// A reading is the work on the spec of one HTTPRoute or GRPCRoute, for one Gateway.
type reading struct {
	*translation
	referrer
	types.NamespacedName

	section string           // the name of the rule that is being read; "": it has none
	layers  [][]*routePolicy // of each of its backends

	rules   []route.Rule
	dropped []error     // of rules that are not served
	bad     []*refError // in the order of the spec
}

// An incompatible is the error of a rule whose filters exclude each other; those of other errors have the reason UnsupportedValue.
type incompatible struct{ error }

func (t *translation) reading(kind string, o metav1.Object, gw *gateway) *reading {
	return &reading{translation: t, referrer: referrer{kind: kind, namespace: o.GetNamespace(), gateway: gw}, NamespacedName: nameOf(o)}
}

// rule takes the rule at index i, which read makes, or notes why it is dropped.
func (r *reading) rule(i int, name *gatewayv1.SectionName, read func(*route.Rule) error) {
	r.section, r.layers = string(orElse(name, "")), nil
	label := strconv.Itoa(i)
	rule := route.Rule{Route: &route.Route{ID: r.id(i, r.section), Source: sourceName, ProblemJSON: true}}
	if err := read(&rule); err != nil {
		if r.section != "" {
			label += " (" + r.section + ")"
		}
		r.dropped = append(r.dropped, fmt.Errorf("%s: %w", label, err))
		return
	}
	r.rules = append(r.rules, rule)
}

// id is "HTTPRoute/namespace/name/rule": the rule's name if it is its own and not a number, else its index.
func (r *reading) id(i int, name string) string {
	prefix := r.kind + "/" + r.Namespace + "/" + r.Name + "/"
	taken := func(rule route.Rule) bool { return rule.ID == prefix+name }
	if _, err := strconv.Atoi(name); name == "" || err == nil || slices.ContainsFunc(r.rules, taken) {
		return prefix + strconv.Itoa(i)
	}
	return prefix + name
}

// target resolves a reference; what is wrong with it is noted for the condition ResolvedRefs.
func (r *reading) target(field string, ref gatewayv1.BackendObjectReference, from referrer) resolved {
	b := r.backend(from, ref)
	if b.bad != nil {
		r.unresolved(b.bad.reason, field, b.bad.text)
	}
	return b
}

func (r *reading) unresolved(reason gatewayv1.RouteConditionReason, field, text string) {
	r.bad = append(r.bad, &refError{reason, field + ": " + text})
}

// done is the result. ResolvedRefs is always said, Accepted only if no rule can be served.
func (r *reading) done() translated {
	out := translated{rules: r.rules, conditions: []metav1.Condition{resolvedRefs(r.bad)}}
	if len(r.dropped) == 0 {
		return out
	}
	texts := make([]string, len(r.dropped))
	for i, err := range r.dropped {
		texts[i] = err.Error()
	}
	reason := gatewayv1.RouteReasonUnsupportedValue
	if errors.As(r.dropped[0], new(incompatible)) {
		reason = gatewayv1.RouteReasonIncompatibleFilters
	}
	// RouteConditionPartiallyInvalid asks for this prefix where rules are dropped.
	message := "Dropped Rule " + strings.Join(texts, "; rule ")
	if len(r.rules) == 0 {
		out.conditions = append(out.conditions, condition(gatewayv1.RouteConditionAccepted, false, reason, "rule "+strings.Join(texts, "; rule ")))
	} else {
		out.conditions = append(out.conditions, condition(gatewayv1.RouteConditionPartiallyInvalid, true, reason, message))
	}
	return out
}

// resolvedRefs is the condition that says what became of a route's references; the first bad one gives the reason.
func resolvedRefs(bad []*refError) metav1.Condition {
	if len(bad) == 0 {
		return condition(gatewayv1.RouteConditionResolvedRefs, true, gatewayv1.RouteReasonResolvedRefs, "all references are resolved")
	}
	texts := make([]string, len(bad))
	for i, b := range bad {
		texts[i] = b.text
	}
	return condition(gatewayv1.RouteConditionResolvedRefs, false, bad[0].reason, strings.Join(texts, "; "))
}

// condition makes a condition without observedGeneration and lastTransitionTime. Its message is cut at what the schema takes.
func condition[T, R ~string](kind T, holds bool, reason R, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	const maxMessage = 32768
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	return metav1.Condition{Type: string(kind), Status: status, Reason: string(reason), Message: message}
}
