package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// conditions are those of one object, or of a part of it, one for each type. observedGeneration is set when they
// are published, lastTransitionTime by who writes them.
type conditions []metav1.Condition

// set says what holds of a type, in place of what was said of it before.
func (c *conditions) set(kind string, status bool, reason, message string) {
	n := condition(kind, status, reason, message)
	if i := c.index(kind); i >= 0 {
		(*c)[i] = n
		return
	}
	*c = append(*c, n)
}

func (c *conditions) index(kind string) int {
	return slices.IndexFunc(*c, func(has metav1.Condition) bool { return has.Type == kind })
}

// isTrue tells whether something of that type holds.
func (c *conditions) isTrue(kind string) bool {
	i := c.index(kind)
	return i >= 0 && (*c)[i].Status == metav1.ConditionTrue
}

// published is a copy for a status of an object with that generation.
func (c *conditions) published(generation int64) []metav1.Condition {
	out := slices.Clone(*c)
	for i := range out {
		out[i].ObservedGeneration = generation
	}
	return out
}

// say is set for the API's own types of types and reasons.
func say[T, R ~string](c *conditions, kind T, status bool, reason R, message string) {
	c.set(string(kind), status, string(reason), message)
}

// unless says that something holds, or why it does not.
func unless[T, R ~string](c *conditions, why *refusal, kind T, reason R, message string) {
	if why != nil {
		say(c, kind, false, why.reason, why.message)
	} else {
		say(c, kind, true, reason, message)
	}
}

// refusal is why something cannot be: the reason and message of a condition.
type refusal struct{ reason, message string }

func refuse[R ~string](reason R, message string) *refusal { return &refusal{string(reason), message} }

func refusef[R ~string](reason R, format string, args ...any) *refusal {
	return &refusal{string(reason), fmt.Sprintf(format, args...)}
}

// publish adds the status of an object.
func (t *translation) publish(kind string, o metav1.Object, status any) {
	t.result.Statuses = append(t.result.Statuses, Status{
		APIVersion: gatewayv1.GroupVersion.String(),
		Kind:       kind,
		Metadata:   StatusMeta{Namespace: o.GetNamespace(), Name: o.GetName(), Generation: o.GetGeneration(), UID: o.GetUID()},
		Status:     status,
	})
}

// problem notes what no condition says.
func (t *translation) problem(kind string, o metav1.Object, text string) {
	switch of := o.(type) { // as the set has it
	case *gateway:
		o = of.Gateway
	case *listenerSet:
		o = of.ListenerSet
	case *routeObject:
		o = of.Object
	}
	object := kind + " " + strings.TrimPrefix(nameOf(o).String(), "/")
	t.result.Problems = append(t.result.Problems, Problem{Object: object, Place: t.Place(o), Text: text})
}

// older compares by age, then by namespace and name: the precedence that the specification gives to routes, Gateways and ListenerSets.
func older(a, b metav1.Object) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(ta.Compare(tb.Time), cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

// byAge is a copy of objects, the oldest first.
func byAge[T metav1.Object](objects []T) []T {
	s := slices.Clone(objects)
	slices.SortStableFunc(s, func(a, b T) int { return older(a, b) })
	return s
}
