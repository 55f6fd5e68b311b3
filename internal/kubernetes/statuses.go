package kubernetes

import (
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditionsOf yields every condition of a status, whatever its type, with its place in it: "listeners[http]",
// "parents[0]", "". The condition may be written to.
func conditionsOf(status any) iter.Seq2[string, *metav1.Condition] {
	return func(yield func(string, *metav1.Condition) bool) {
		walkConditions(reflect.ValueOf(status), "", yield)
	}
}

var conditionsType = reflect.TypeFor[[]metav1.Condition]()

// walkConditions tells whether to go on.
func walkConditions(v reflect.Value, at string, yield func(string, *metav1.Condition) bool) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return v.IsNil() || walkConditions(v.Elem(), at, yield)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || !worthWalking(f.Type) {
				continue
			}
			if f.Anonymous && name == "" || f.Type == conditionsType {
				name = at
			} else if at != "" {
				name = at + "." + name
			}
			if !walkConditions(v.Field(i), name, yield) {
				return false
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Type() == conditionsType {
				if !yield(at, v.Index(i).Addr().Interface().(*metav1.Condition)) {
					return false
				}
				continue
			}
			if !walkConditions(v.Index(i), fmt.Sprintf("%s[%s]", at, elementName(v.Index(i), i)), yield) {
				return false
			}
		}
	}
	return true
}

// worthWalking tells whether a value of that type can hold conditions: it leaves out names, times and the like.
func worthWalking(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[metav1.Time]()
}

// elementName is the Name of an element of a list, or its index.
func elementName(v reflect.Value, i int) string {
	if v.Kind() == reflect.Struct {
		if name := v.FieldByName("Name"); name.IsValid() && name.Kind() == reflect.String && name.Len() > 0 {
			return name.String()
		}
	}
	return fmt.Sprint(i)
}

// bad tells whether a condition is one to be looked at: what should be True is not, or what should be False is not.
func bad(c *metav1.Condition) bool {
	switch c.Type {
	case "Conflicted", "PartiallyInvalid", "OverlappingTLSConfig", "InsecureFrontendValidationMode":
		return c.Status == metav1.ConditionTrue
	}
	return c.Status == metav1.ConditionFalse
}

// Conditions yields the conditions of a status with their place in it: "listeners[http]", "parents[0]", "". Read them only.
func Conditions(s *Status) iter.Seq2[string, *metav1.Condition] { return conditionsOf(s.Status) }

// Unserved counts the objects of which something is not served as it is written: a condition or a problem says what.
func Unserved(r *Result) int {
	objects := map[string]bool{}
	for i := range r.Statuses {
		st := &r.Statuses[i]
		for _, c := range conditionsOf(st.Status) {
			if bad(c) {
				objects[st.Kind+" "+st.Metadata.Namespace+"/"+st.Metadata.Name] = true
			}
		}
	}
	for _, p := range r.Problems {
		objects[p.Object] = true
	}
	return len(objects)
}

// A history knows since when conditions have had their status.
type history map[string]transition

type transition struct {
	status metav1.ConditionStatus
	at     metav1.Time
}

// stamp sets lastTransitionTime where it is not set: to now where the status is new, else to when it was.
func (h *history) stamp(statuses []Status, now time.Time) {
	next := make(history, len(*h))
	for i := range statuses {
		st := &statuses[i]
		object := st.APIVersion + " " + st.Kind + " " + st.Metadata.Namespace + "/" + st.Metadata.Name + " "
		for at, c := range conditionsOf(st.Status) {
			key := object + at + " " + c.Type
			t, ok := (*h)[key]
			if !ok || t.status != c.Status {
				t = transition{c.Status, metav1.NewTime(now.Truncate(time.Second))}
			}
			next[key] = t
			if c.LastTransitionTime.IsZero() {
				c.LastTransitionTime = t.at
			}
		}
	}
	*h = next
}
