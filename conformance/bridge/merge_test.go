package bridge

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestMerge(t *testing.T) {
	const now = "2026-01-02T03:04:05Z"
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, last, own, want string }{
		{
			"no status yet",
			`{}`,
			`{"conditions":[{"type":"Accepted","status":"True","reason":"Accepted","lastTransitionTime":null}]}`,
			`{"conditions":[{"type":"Accepted","status":"True","reason":"Accepted","lastTransitionTime":"2026-01-02T03:04:05Z"}]}`,
		},
		{
			"a condition keeps its time until its status changes",
			`{"conditions":[
				{"type":"Accepted","status":"True","reason":"Accepted","lastTransitionTime":"2025-01-01T00:00:00Z"},
				{"type":"Programmed","status":"True","reason":"Programmed","lastTransitionTime":"2025-01-01T00:00:00Z"}]}`,
			`{"conditions":[{"type":"Accepted","status":"True","reason":"Other"},{"type":"Programmed","status":"False","reason":"Invalid"}]}`,
			`{"conditions":[
				{"type":"Accepted","status":"True","reason":"Other","lastTransitionTime":"2025-01-01T00:00:00Z"},
				{"type":"Programmed","status":"False","reason":"Invalid","lastTransitionTime":"2026-01-02T03:04:05Z"}]}`,
		},
		{
			"a condition that Fairlead no longer sets is gone, another controller's stays",
			`{"conditions":[{"type":"Conflicted","status":"True"},{"type":"example.com/Audited","status":"True"}]}`,
			`{"conditions":[]}`,
			`{"conditions":[{"type":"example.com/Audited","status":"True"}]}`,
		},
		{
			"parents of other controllers stay, our own are replaced",
			`{"parents":[
				{"controllerName":"example.com/other","parentRef":{"name":"a"}},
				{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"name":"gone"}}]}`,
			`{"parents":[{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"name":"b"}}]}`,
			`{"parents":[
				{"controllerName":"example.com/other","parentRef":{"name":"a"}},
				{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"name":"b"}}]}`,
		},
		{
			"the defaults that the API server fills in do not make it another parent",
			`{"parents":[{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"group":"g","kind":"Gateway","name":"a"},
				"conditions":[{"type":"Accepted","status":"True","reason":"Accepted","lastTransitionTime":"2025-01-01T00:00:00Z"}]}]}`,
			`{"parents":[{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"name":"a"},
				"conditions":[{"type":"Accepted","status":"True","reason":"Accepted"}]}]}`,
			`{"parents":[{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"name":"a"},
				"conditions":[{"type":"Accepted","status":"True","reason":"Accepted","lastTransitionTime":"2025-01-01T00:00:00Z"}]}]}`,
		},
		{
			"conditions of listeners",
			`{"listeners":[
				{"name":"b","conditions":[{"type":"Accepted","status":"True","reason":"x","lastTransitionTime":"2025-01-01T00:00:00Z"}]}]}`,
			`{"listeners":[{"name":"a","conditions":[]},{"name":"b","conditions":[{"type":"Accepted","status":"True","reason":"x"}]}]}`,
			`{"listeners":[{"name":"a","conditions":[]},
				{"name":"b","conditions":[{"type":"Accepted","status":"True","reason":"x","lastTransitionTime":"2025-01-01T00:00:00Z"}]}]}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := merge(decode(t, c.last), decode(t, c.own), at)
			if want := decode(t, c.want); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}
