package interop

import (
	"encoding/json"
	"fmt"
	"strings"
)

// An objectStatus is one of the list at /application/objects, and of `fairlead check --json`.
type objectStatus struct {
	Kind     string
	Metadata struct{ Namespace, Name string }
	Status   json.RawMessage
}

type conditionOf struct{ Type, Status, Reason, Message string }

// statuses are those that the running gateway shows of its objects.
func (m *manifests) statuses() ([]objectStatus, error) {
	status, body, err := (&gateway{client: httpsClient(nil)}).get("http://"+m.plain+"/application/objects", basic("admin", adminPassword))
	if err != nil {
		return nil, err
	}
	var list []objectStatus
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 {
		return nil, fmt.Errorf("status %d, %w: %.300s", status, err, body)
	}
	return list, nil
}

// condition is nil if an object has such a condition: its own, a listener's, a parent's or an ancestor's. reason may be "".
func (m *manifests) condition(kind, name, conditionType, status, reason string) error {
	list, err := m.statuses()
	if err != nil {
		return err
	}
	var found []string
	for _, o := range list {
		if o.Kind != kind || o.Metadata.Namespace+"/"+o.Metadata.Name != name && o.Metadata.Name != name {
			continue
		}
		for _, c := range conditionsIn(o.Status) {
			if c.Type == conditionType && c.Status == status && (reason == "" || c.Reason == reason) {
				return nil
			}
			found = append(found, fmt.Sprintf("%s=%s (%s: %s)", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	return fmt.Errorf("%s %s: no condition %s=%s (%s) among %s", kind, name, conditionType, status, reason, strings.Join(found, ", "))
}

// conditionsIn finds the conditions in a status, wherever they are.
func conditionsIn(status json.RawMessage) (list []conditionOf) {
	var object map[string]json.RawMessage
	if json.Unmarshal(status, &object) == nil {
		for key, value := range object {
			var here []conditionOf
			if key == "conditions" && json.Unmarshal(value, &here) == nil {
				list = append(list, here...)
			} else {
				list = append(list, conditionsIn(value)...)
			}
		}
		return list
	}
	var array []json.RawMessage
	if json.Unmarshal(status, &array) == nil {
		for _, value := range array {
			list = append(list, conditionsIn(value)...)
		}
	}
	return list
}
