package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func listServices(t *testing.T, h http.Handler, password string) []serviceView {
	t.Helper()
	var list []serviceView
	w := get(h, "GET", "http://gw/application/services", loopback, password)
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return list
}

func TestServicesShowHealth(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	pool := upstream.NewPool()
	probe := upstream.Options{Probe: upstream.Probe{Kind: upstream.TCPProbe, Interval: 100 * time.Millisecond, UnhealthyThreshold: 1}}
	dead := []upstream.Spec{{ID: "dead", Scheme: "https", Host: "127.0.0.1", Port: closed}}
	probed := pool.ServiceWith("default/echo:80", dead, probe)
	two := []upstream.Spec{{ID: "a", Scheme: "http", Host: "a.test", Port: 1}, {ID: "b", Scheme: "http", Host: "b.test", Port: 2}}
	pool.Service("orders", two)
	plain := pool.ServiceWith("orders", two[1:], upstream.Options{Weights: map[string]int{"b": 4}})
	pool.Service("gone", nil)
	plain.Endpoints[0].Acquire()

	table := route.Build(route.Set{
		Routes: []route.Route{{ID: "r", Source: "eureka", ServiceID: "shop", Service: plain, Prefixes: []string{"/shop"}}},
		Listeners: []*route.Listener{{Hosts: []*route.Host{{Rules: []route.Rule{{
			Route: &route.Route{ID: "x", Source: "gateway-api", Backends: []route.Backend{{Service: probed}, {Invalid: "no such Service"}}},
		}}}}}},
	}, nil)
	h, password := startWith(t, false, pool, table)

	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 10)
	prober := &upstream.Prober{
		Pool: pool, Dialer: func() *upstream.Dialer { return new(upstream.Dialer) },
		OnChange: func(*upstream.Endpoint) { changed <- struct{}{} },
	}
	ended := make(chan error)
	go func() { ended <- prober.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("the probe finds nothing out")
	}

	list := listServices(t, h, password)
	if len(list) != 2 {
		t.Fatalf("%+v, want two services", list)
	}
	first, second := list[0], list[1]
	if first.ID != "default/echo:80" || first.Source != "gateway-api" || first.Probe != "tcp" || len(first.Endpoints) != 1 {
		t.Fatalf("%+v", first)
	}
	e := first.Endpoints[0]
	if e.ID != "dead" || !strings.HasPrefix(e.URL, "https://127.0.0.1:") || e.Health.State != upstream.Unhealthy || e.Health.Since == nil ||
		time.Since(*e.Health.Since) > time.Minute || !strings.Contains(e.Health.Error, "refused") ||
		e.Health.Failed == 0 || e.Health.Probes < e.Health.Failed {
		t.Errorf("%+v", e)
	}
	if second.ID != "shop" || second.Source != "eureka" || second.Probe != "" || len(second.Endpoints) != 2 {
		t.Fatalf("%+v", second)
	}
	unknown := healthView{State: upstream.HealthUnknown}
	if a := second.Endpoints[1]; a != (endpointView{ID: "a", URL: "http://a.test:1", Weight: 1, Leaving: true, Health: unknown}) {
		t.Errorf("%+v", a)
	}
	if b := second.Endpoints[0]; b != (endpointView{ID: "b", URL: "http://b.test:2", Sessions: 1, Weight: 4, Health: unknown}) {
		t.Errorf("%+v", b)
	}
}
