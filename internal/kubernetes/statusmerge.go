package kubernetes

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// mergeStatus is the status to be written: own, with what others have written kept, and with the times at which conditions
// changed. The specification shares a status out in three ways: entries of `parents` and `ancestors` belong to the controller that they
// name; conditions whose type has another domain are others'; all else is the controller's. It takes over own.
func mergeStatus(last, own map[string]any, now time.Time) map[string]any {
	for _, list := range entryLists {
		if ours, ok := own[list].([]any); ok {
			own[list] = append(others(last[list], isForeignEntry), ours...)
		}
	}
	if ours, ok := own["conditions"].([]any); ok {
		own["conditions"] = append(ours, others(last["conditions"], isForeignCondition)...)
	}
	setTimes(last, own, now.UTC().Format(time.RFC3339))
	return own
}

// entryLists are the lists that controllers share, an entry for each.
var entryLists = []string{"parents", "ancestors"}

// sameStatus tells whether there is nothing to write. Who has nothing to say of an object of others does not give it an empty list.
func sameStatus(last, next map[string]any) bool {
	for name, value := range next {
		if list, ok := value.([]any); ok && len(list) == 0 && last[name] == nil {
			continue
		}
		if !reflect.DeepEqual(last[name], value) {
			return false
		}
	}
	for name := range last {
		if _, ok := next[name]; !ok {
			return false
		}
	}
	return true
}

// statusPatch is the merge patch (RFC 7396) that makes last to next, if the object still has that version.
func statusPatch(last, next map[string]any, version string) map[string]any {
	status := make(map[string]any, len(next))
	for name := range last {
		status[name] = nil
	}
	for name, value := range next {
		status[name] = value
	}
	return map[string]any{"metadata": map[string]any{"resourceVersion": version}, "status": status}
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

// setTimes walks through next beside last. A condition whose status is what it was keeps its time; any other condition that has no
// time gets now.
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
	case before != nil && before["status"] == condition["status"] && before["lastTransitionTime"] != nil:
		condition["lastTransitionTime"] = before["lastTransitionTime"]
	case condition["lastTransitionTime"] == nil:
		condition["lastTransitionTime"] = now
	}
}

// identity is what tells an entry of a list from the others: a condition's type, a listener's name, a parent's or an ancestor's
// reference.
func identity(entry any) string {
	m, _ := entry.(map[string]any)
	for _, name := range []string{"type", "name"} {
		if value, ok := m[name].(string); ok {
			return value
		}
	}
	for _, name := range []string{"parentRef", "ancestorRef", "targetRef"} {
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
