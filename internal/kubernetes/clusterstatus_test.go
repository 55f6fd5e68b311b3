package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// TestClusterReadsSecretsByName has a Gateway refer to a Secret, to another one, and to none.
func TestClusterReadsSecretsByName(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	pair := keyPairs()["ecdsa"]
	certificate, key := base64.StdEncoding.EncodeToString(pair["tls.crt"]), base64.StdEncoding.EncodeToString(pair["tls.key"])
	secret := func(name string) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: %s}, type: kubernetes.io/tls,
  data: {tls.crt: %s, tls.key: %s}}`, name, certificate, key)
	}
	gateway := func(name string) string {
		return fmt.Sprintf(`{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {namespace: shop, name: gw},
  spec: {gatewayClassName: ours, listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: %s}]}}]}}`, name)
	}
	api.set(t, secret("first"))
	api.set(t, secret("unused"))
	api.set(t, gateway("first"))
	p := follow(t, api.reading(t, Config{}, io.Discard))
	tls := func(s route.Set) bool { return len(s.Listeners) == 1 && serves("443")(s) }
	p.until(t, "TLS", tls)
	api.set(t, gateway("second"))
	p.until(t, "no certificate", func(s route.Set) bool { return !tls(s) })
	api.set(t, secret("second"))
	p.until(t, "the certificate that came later", tls)
	api.mu.Lock()
	defer api.mu.Unlock()
	for _, selector := range api.asked {
		if selector != "metadata.name=first" && selector != "metadata.name=second" {
			t.Errorf("Secrets were read by %q", selector)
		}
	}
}

// TestStatusConflict has another controller write to a route at the same time.
func TestStatusConflict(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	disturbed := 0
	api.onPatch = func(path string) {
		api.mu.Lock()
		defer api.mu.Unlock()
		if path != routePath || disturbed == 2 {
			return
		}
		disturbed++
		o := map[string]any{}
		js, _ := json.Marshal(api.objects[path])
		_ = json.Unmarshal(js, &o)
		o["status"] = map[string]any{"parents": []any{map[string]any{
			"controllerName": "example.com/other", "parentRef": map[string]any{"name": fmt.Sprint("n", disturbed)},
		}}}
		api.store(path, o)
	}
	follow(t, api.reading(t, Config{}, io.Discard))
	api.until(t, "both statuses are there", func() bool {
		s := api.statusOf(routePath)
		return strings.Contains(s, `"n2"`) && strings.Contains(s, ControllerName)
	})
}

// TestStatusIsWrittenWhenItChanges has a second gateway find what the first has written, and nothing to do.
func TestStatusIsWrittenWhenItChanges(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	first := follow(t, api.reading(t, Config{}, io.Discard))
	written := func() bool {
		return strings.Contains(api.statusOf(gatewayPath), `"Programmed"`) && strings.Contains(api.statusOf(routePath), ControllerName)
	}
	api.until(t, "the statuses are written", written)
	first.until(t, "the route", serves("a.example"))
	first.stop()
	api.mu.Lock()
	if api.patched[routePath] != 1 {
		t.Errorf("the route's status was written %d times", api.patched[routePath])
	}
	clear(api.patched)
	before := api.statusOf(routePath)
	// What only an update of a status that is there could tell: a time that no new process would come to.
	o := map[string]any{}
	js, _ := json.Marshal(api.objects[routePath])
	_ = json.Unmarshal([]byte(strings.ReplaceAll(string(js), `"lastTransitionTime":"2`, `"lastTransitionTime":"1`)), &o)
	api.store(routePath, o)
	want := api.statusOf(routePath)
	api.mu.Unlock()
	if before == want {
		t.Fatalf("no time in %s", before)
	}

	second := follow(t, api.reading(t, Config{}, io.Discard))
	second.until(t, "the route", serves("a.example"))
	api.set(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: late},
  spec: {parentRefs: [{name: gw}]}}`)
	late := strings.Replace(routePath, "/web", "/late", 1)
	api.until(t, "the second writes", func() bool { return api.patched[late] > 0 })
	second.stop()
	api.mu.Lock()
	defer api.mu.Unlock()
	if api.patched[routePath] != 0 || api.statusOf(routePath) != want {
		t.Errorf("the route's status was written again: %s, want %s", api.statusOf(routePath), want)
	}
}

// TestLeaderHandsOver has two gateways of which one writes, and the other when that has ended.
func TestLeaderHandsOver(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	first := follow(t, api.reading(t, Config{}, io.Discard))
	awaitState(t, first.cluster, "the leader", func(s ClusterState) bool { return s.Writes })
	second := follow(t, api.reading(t, Config{}, io.Discard))
	second.until(t, "the route", serves("a.example"))
	if second.cluster.State().Writes {
		t.Error("both write")
	}
	first.stop()
	awaitState(t, second.cluster, "the leader", func(s ClusterState) bool { return s.Writes })
	api.set(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: late},
  spec: {parentRefs: [{name: gw}]}}`)
	late := strings.Replace(routePath, "/web", "/late", 1)
	api.until(t, "the second writes", func() bool { return api.patched[late] == 1 })
	second.stop()
	api.until(t, "the Lease is given back", func() bool {
		return api.objects[leasePath]["spec"].(map[string]any)["holderIdentity"] == ""
	})
}

// TestLeaderIsGone has a holder that gives no sign, and then an API server that takes none.
func TestLeaderIsGone(t *testing.T) {
	api := startAPI(t)
	api.set(t, `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: gateways, name: fairlead},
  spec: {holderIdentity: gone, leaseDurationSeconds: 1, leaseTransitions: 4}}`)
	p := follow(t, api.reading(t, Config{}, io.Discard))
	awaitState(t, p.cluster, "the leader", func(s ClusterState) bool { return s.Writes })
	api.mu.Lock()
	spec := api.objects[leasePath]["spec"].(map[string]any)
	if spec["leaseTransitions"] != 5.0 || spec["acquireTime"] == nil || spec["renewTime"] == nil {
		t.Errorf("%v", spec)
	}
	api.away = true
	api.mu.Unlock()
	api.cut()
	awaitState(t, p.cluster, "without a leader", func(s ClusterState) bool { return !s.Writes })
}

func TestClusterWithoutElection(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	follow(t, api.reading(t, Config{LeaderElection: new(bool)}, io.Discard))
	api.until(t, "the status is written", func() bool { return api.patched[gatewayPath] > 0 && api.objects[leasePath] == nil })
}

func TestPublishedService(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects+`
---
{apiVersion: v1, kind: Service, metadata: {namespace: gateways, name: edge},
  spec: {type: LoadBalancer, clusterIPs: [10.9.9.9], ports: [{port: 80}]}}`)
	follow(t, api.reading(t, Config{PublishService: "gateways/edge", Namespaces: []string{"shop"}}, io.Discard))
	api.until(t, "there is no address yet", func() bool { return strings.Contains(api.statusOf(gatewayPath), "AddressNotAssigned") })
	api.mu.Lock()
	path := "/api/v1/namespaces/gateways/services/edge"
	o := map[string]any{}
	js, _ := json.Marshal(api.objects[path])
	_ = json.Unmarshal(js, &o)
	o["status"] = map[string]any{"loadBalancer": map[string]any{
		"ingress": []any{map[string]any{"ip": "192.0.2.7"}, map[string]any{"hostname": "lb.example"}},
	}}
	api.store(path, o)
	api.mu.Unlock()
	api.until(t, "the load balancer's addresses are shown", func() bool {
		s := api.statusOf(gatewayPath)
		return strings.Contains(s, `"192.0.2.7"`) && strings.Contains(s, `"lb.example"`) && !strings.Contains(s, "AddressNotAssigned")
	})
}

func TestMergeStatus(t *testing.T) {
	const now = "2026-01-02T03:04:05Z"
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		t.Fatal(err)
	}
	decode := func(text string) (m map[string]any) {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return m
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
			got := mergeStatus(decode(c.last), decode(c.own), at)
			if want := decode(c.want); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if !sameStatus(got, mergeStatus(got, decode(c.own), at.Add(time.Hour))) {
				t.Error("what was written would be written again")
			}
		})
	}
}

func TestStatusPatch(t *testing.T) {
	last := map[string]any{"addresses": []any{"a"}, "conditions": []any{}}
	next := map[string]any{"conditions": []any{"c"}}
	want := map[string]any{
		"metadata": map[string]any{"resourceVersion": "7"}, "status": map[string]any{"addresses": nil, "conditions": []any{"c"}},
	}
	if got := statusPatch(last, next, "7"); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	for _, c := range []struct {
		last, next map[string]any
		same       bool
	}{
		{nil, map[string]any{"parents": []any{}}, true},
		{map[string]any{"parents": []any{"x"}}, map[string]any{"parents": []any{}}, false},
		{last, next, false},
		{last, map[string]any{"conditions": []any{}, "addresses": []any{"a"}}, true},
	} {
		if sameStatus(c.last, c.next) != c.same {
			t.Errorf("%v and %v", c.last, c.next)
		}
	}
}
