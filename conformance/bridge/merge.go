package bridge

import (
	"fmt"
	"strings"
	"time"
)

// ControllerName is Fairlead's, in GatewayClasses and in the statuses of routes and policies.
const ControllerName = "fairlead.dev/gateway-controller"

// merge returns the status to be written: own, with what others have written kept, and with the
// times at which conditions changed. The specification shares a status out in three ways: entries
// of `parents` and `ancestors` belong to the controller that they name; conditions whose type has
// a domain belong to others; everything else is the controller's.
func merge(last, own map[string]any, now time.Time) map[string]any {
	next := map[string]any{}
	for name, value := range own {
		next[name] = value
	}
	for _, list := range []string{"parents", "ancestors"} {
		ours, ok := own[list].([]any)
		if !ok {
			continue
		}
		next[list] = append(others(last[list], isForeignEntry), ours...)
	}
	if ours, ok := own["conditions"].([]any); ok {
		next["conditions"] = append(ours, others(last["conditions"], isForeignCondition)...)
	}
	setTimes(last, next, now.UTC().Format(time.RFC3339))
	return next
}

func others(list any, foreign func(map[string]any) bool) []any {
	kept := []any{} // an empty list is an answer, null is none
	entries, _ := list.([]any)
	for _, entry := range entries {
		if m, ok := entry.(map[string]any); ok && foreign(m) {
			kept = append(kept, entry)
		}
	}
	return kept
}

func isForeignEntry(entry map[string]any) bool { return entry["controllerName"] != ControllerName }

func isForeignCondition(condition map[string]any) bool {
	kind, _ := condition["type"].(string)
	return strings.Contains(kind, "/") && !strings.HasPrefix(kind, "fairlead.dev/")
}

// setTimes walks through next beside last. A condition whose status is what it was keeps its
// time; any other condition that has no time gets now.
func setTimes(last, next any, now string) {
	switch next := next.(type) {
	case map[string]any:
		before, _ := last.(map[string]any)
		if _, ok := next["lastTransitionTime"]; ok || isCondition(next) {
			setTime(before, next, now)
			return
		}
		for name, value := range next {
			setTimes(before[name], value, now)
		}
	case []any:
		before, _ := last.([]any)
		for _, entry := range next {
			setTimes(find(before, identity(entry)), entry, now)
		}
	}
}

func isCondition(m map[string]any) bool {
	return m["type"] != nil && m["status"] != nil && m["reason"] != nil
}

func setTime(before, condition map[string]any, now string) {
	switch {
	case before != nil && before["status"] == condition["status"]:
		condition["lastTransitionTime"] = before["lastTransitionTime"]
	case condition["lastTransitionTime"] == nil:
		condition["lastTransitionTime"] = now
	}
}

// identity is what tells an entry of a list from the others: a condition's type, a listener's
// name, a parent's or an ancestor's reference.
func identity(entry any) string {
	m, _ := entry.(map[string]any)
	for _, name := range []string{"type", "name"} {
		if value, ok := m[name].(string); ok {
			return value
		}
	}
	for _, name := range []string{"parentRef", "ancestorRef"} {
		if ref, ok := m[name].(map[string]any); ok { // less what the API server may have filled in
			return fmt.Sprint(m["controllerName"], ref["namespace"], ref["name"], ref["sectionName"], ref["port"])
		}
	}
	return ""
}

func find(entries []any, id string) any {
	for _, entry := range entries {
		if id != "" && identity(entry) == id {
			return entry
		}
	}
	return nil
}
