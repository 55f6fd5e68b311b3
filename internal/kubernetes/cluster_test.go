package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// clusterObjects is a Gateway that leads to two services.
const clusterObjects = `
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: ours},
  spec: {controllerName: fairlead.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: theirs}, spec: {controllerName: example.com/other}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {namespace: shop, name: gw},
  spec: {gatewayClassName: ours, listeners: [{name: http, port: 80, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {namespace: shop, name: other},
  spec: {gatewayClassName: theirs, listeners: [{name: http, port: 81, protocol: HTTP}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: web}, spec: {parentRefs: [{name: gw}],
  hostnames: [a.example], rules: [{backendRefs: [{name: web, port: 80}]}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web},
  spec: {ports: [{port: 80, targetPort: 8080}], newerThanWeKnow: {a: 1}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080, name: "", protocol: TCP}]
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true}}
- {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}
`

const (
	gatewayPath = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/gw"
	routePath   = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web"
	leasePath   = "/apis/coordination.k8s.io/v1/namespaces/gateways/leases/fairlead"
)

// following is a Provider that reads a cluster.
type following struct {
	*Provider
	cluster *Cluster
	sets    chan route.Set
	stop    func()
}

func follow(t *testing.T, cluster *Cluster) *following {
	t.Helper()
	p := &following{cluster: cluster, sets: make(chan route.Set, 1)}
	p.Provider = &Provider{
		Source: cluster, Log: slog.New(slog.DiscardHandler), Pool: upstream.NewPool(), Options: func() Options { return Options{} },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Run(ctx, func(s route.Set) {
			select {
			case <-p.sets: // the newest counts
			default:
			}
			p.sets <- s
		})
	}()
	p.stop = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
		ended <- context.Canceled
	}
	t.Cleanup(p.stop)
	return p
}

// hosts are the hostnames that a set serves, with the listeners' ports.
func hosts(s route.Set) string {
	var list []string
	for _, l := range s.Listeners {
		for _, h := range l.Hosts {
			for _, r := range h.Rules {
				list = append(list, fmt.Sprint(l.Port, " ", r.Hostnames))
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// until waits for a set that is as it should be.
func (p *following) until(t *testing.T, what string, good func(route.Set) bool) route.Set {
	t.Helper()
	limit := time.After(30 * time.Second)
	var last route.Set
	for {
		select {
		case last = <-p.sets:
			if good(last) {
				return last
			}
		case <-limit:
			t.Fatalf("no set with %s; the last serves %q, statuses %+v", what, hosts(last), p.Statuses())
		}
	}
}

func serves(want string) func(route.Set) bool {
	return func(s route.Set) bool { return strings.Contains(hosts(s), want) }
}

func TestClusterIsServedAndFollowed(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	p := follow(t, api.reading(t, Config{}, io.Discard))
	s := p.until(t, "the route", serves("a.example"))
	if got := hosts(s); strings.Contains(got, "81") {
		t.Errorf("another controller's Gateway is served: %s", got)
	}
	ready, leaving := 0, 0
	for _, e := range p.Pool.Endpoints() {
		if e.Leaving() {
			leaving++
		} else {
			ready++
		}
	}
	if ready != 1 || leaving > 1 {
		t.Errorf("%d endpoints and %d that leave, want 1 and at most 1", ready, leaving)
	}
	api.until(t, "Gateway and route have their status", func() bool {
		return strings.Contains(api.statusOf(gatewayPath), `"Programmed"`) && strings.Contains(api.statusOf(routePath), ControllerName)
	})
	api.set(t, strings.ReplaceAll(`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: web},
		spec: {parentRefs: [{name: gw}], hostnames: [b.example], rules: [{backendRefs: [{name: web, port: 80}]}]}}`, "\t", " "))
	p.until(t, "the change", func(s route.Set) bool { return serves("b.example")(s) && !serves("a.example")(s) })
	api.until(t, "the status is of the new generation", func() bool {
		return strings.Contains(api.statusOf(routePath), `"observedGeneration":2`)
	})
	api.remove(routePath)
	p.until(t, "nothing", func(s route.Set) bool { return !serves("b.example")(s) })

	api.mu.Lock()
	defer api.mu.Unlock()
	if other := "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/other"; api.patched[other] != 0 {
		t.Error("the status of another controller's Gateway was written")
	}
	if len(api.asked) != 0 {
		t.Errorf("Secrets were read although nothing refers to one: %q", api.asked)
	}
}

func TestClusterExpiredWatch(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	p := follow(t, api.reading(t, Config{}, io.Discard))
	p.until(t, "the route", serves("a.example"))
	api.mu.Lock()
	api.away = true
	api.mu.Unlock()
	api.cut()
	api.remove(routePath)
	api.mu.Lock() // who watches again is told that it has missed something
	api.changes, api.oldest, api.away = nil, api.version, false
	api.mu.Unlock()
	p.until(t, "what was missed", func(s route.Set) bool { return !serves("a.example")(s) })
}

func TestClusterAwayAndBack(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	p := follow(t, api.reading(t, Config{}, io.Discard))
	p.until(t, "the route", serves("a.example"))
	if s := p.cluster.State(); !s.Ready || s.Err != nil || s.Age != 0 {
		t.Errorf("%+v", s)
	}
	api.mu.Lock()
	api.away = true
	api.mu.Unlock()
	api.cut()
	awaitState(t, p.cluster, "away", func(s ClusterState) bool { return s.Age > 0 && s.Err != nil && s.Ready })
	if set, err := p.cluster.Load(); err != nil || len(set.HTTPRoutes) != 1 {
		t.Errorf("what was read last has not stayed: %v", err)
	}
	api.set(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: late},
  spec: {parentRefs: [{name: gw}], hostnames: [late.example]}}`)
	api.mu.Lock()
	api.away = false
	api.mu.Unlock()
	p.until(t, "what happened meanwhile", serves("late.example"))
	awaitState(t, p.cluster, "back", func(s ClusterState) bool { return s.Age == 0 && s.Err == nil })
}

func TestClusterStartsBeforeItsAPIServer(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	api.away = true
	p := follow(t, api.reading(t, Config{}, io.Discard))
	awaitState(t, p.cluster, "away", func(s ClusterState) bool { return s.Age > 0 && !s.Ready })
	select {
	case s := <-p.sets:
		t.Fatalf("published %q without having read anything", hosts(s))
	default:
	}
	api.mu.Lock()
	api.away = false
	api.mu.Unlock()
	p.until(t, "the route", serves("a.example"))
}

func awaitState(t *testing.T, c *Cluster, what string, good func(ClusterState) bool) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	for !good(c.State()) {
		if time.Now().After(limit) {
			t.Fatalf("the cluster is not %s: %+v", what, c.State())
		}
		time.Sleep(time.Millisecond)
	}
}

// TestClusterKindsComeAndGo has a CRD installed, served in a newer version too, and removed.
func TestClusterKindsComeAndGo(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	p := follow(t, api.reading(t, Config{}, io.Discard))
	p.until(t, "the route", serves("a.example"))
	api.mu.Lock()
	api.resources["gateway.networking.k8s.io/v1alpha2"] = map[string]string{"tcproutes": "TCPRoute"}
	api.mu.Unlock()
	api.set(t, `
{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: TCPRoute, metadata: {namespace: shop, name: raw},
  spec: {parentRefs: [{name: gw, sectionName: tcp}], rules: [{backendRefs: [{name: web, port: 80}]}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {namespace: shop, name: gw},
  spec: {gatewayClassName: ours, listeners: [{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 82, protocol: TCP}]}}`)
	streams := func(n int) func(route.Set) bool {
		return func(s route.Set) bool {
			have := 0
			for _, l := range s.Listeners {
				for _, h := range l.Hosts {
					have += len(h.Streams)
				}
			}
			return have == n && serves("a.example")(s)
		}
	}
	p.until(t, "the TCPRoute", streams(1))
	path := "/apis/gateway.networking.k8s.io/v1alpha2/namespaces/shop/tcproutes/raw"
	api.until(t, "its status is written where it is", func() bool { return strings.Contains(api.statusOf(path), "Accepted") })
	api.mu.Lock()
	delete(api.resources, "gateway.networking.k8s.io/v1alpha2")
	api.mu.Unlock()
	p.until(t, "no TCPRoute", streams(0))
}

func TestClusterForbiddenKind(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects)
	api.forbidden["grpcroutes"] = true
	p := follow(t, api.reading(t, Config{}, io.Discard))
	p.until(t, "the route", serves("a.example"))
	s := p.cluster.State()
	if len(s.Unread) != 1 || s.Unread["GRPCRoute"] == nil || s.Age != 0 {
		t.Errorf("%+v", s)
	}
}

// TestClusterRefusedObject has what the API server let pass and we cannot serve: it is told, and costs nothing else.
func TestClusterRefusedObject(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects+`
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: odd},
  spec: {parentRefs: [{name: gw}], hostnames: ["NOT A HOST"]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: worse}, spec: {parentRefs: 7}}`)
	p := follow(t, api.reading(t, Config{}, io.Discard))
	p.until(t, "the route", serves("a.example"))
	set, err := p.cluster.Load()
	if err != nil || len(set.Refused) != 2 || len(set.HTTPRoutes) != 1 {
		t.Fatalf("%v, refused %v", err, set.Refused)
	}
	if r := set.Refused[0]; r.Object != "HTTPRoute shop/odd" || !strings.Contains(r.Text, "spec.hostnames[0]") {
		t.Errorf("%+v", r)
	}
}

func TestClusterNamespaces(t *testing.T) {
	api := startAPI(t)
	api.set(t, clusterObjects+`
---
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: else, name: web},
  spec: {parentRefs: [{name: gw, namespace: shop}], hostnames: [else.example]}}`)
	p := follow(t, api.reading(t, Config{Namespaces: []string{"shop", "empty"}}, io.Discard))
	p.until(t, "the route", serves("a.example"))
	if set, err := p.cluster.Load(); err != nil || len(set.HTTPRoutes) != 1 || len(set.GatewayClasses) != 2 {
		t.Errorf("%v, %d routes", err, len(set.HTTPRoutes))
	}
}
