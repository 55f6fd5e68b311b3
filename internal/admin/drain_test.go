package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// fakeMoves notes what it is asked for where the endpoint itself can.
type fakeMoves struct{}

func (fakeMoves) DrainEndpoint(e *upstream.Endpoint) int {
	e.Drain(true)
	return int(e.Sessions())
}

func (fakeMoves) MoveSession(id, instance string) error {
	if instance == "gone" {
		return proxy.ErrNotThere
	}
	return map[string]error{"none": proxy.ErrNoSession, "off": proxy.ErrStays, "alone": proxy.ErrNoOther}[id]
}

func (fakeMoves) Rebalance(sv *upstream.Service) int { return len(sv.Endpoints) }

func (fakeMoves) FailoverOffUntil(service string) (until time.Time) {
	if service == "orders" {
		until = time.Unix(1<<31, 0)
	}
	return until
}

func TestMoveAndRebalance(t *testing.T) {
	pool := upstream.NewPool()
	pool.Service("orders", []upstream.Spec{{ID: "a", Scheme: "http", Host: "a.test", Port: 1}})
	h, password := startWith(t, false, pool, route.Build(route.Set{}, nil))
	for _, c := range []struct {
		path   string
		status int
		says   string
	}{
		{"websockets/none/move", 404, "no live session"},
		{"websockets/off/move", 409, "failover is off"},
		{"websockets/alone/move", 409, "no other instance"},
		{"websockets/any/move", 202, ""},
		{"websockets/any/move?instance=there", 202, ""},
		{"websockets/any/move?instance=gone", 409, "no such other instance"},
		{"services/nowhere/rebalance", 404, "no service"},
		{"services/orders/rebalance", 202, `{"serviceId":"orders","sessions":1}`},
	} {
		w := get(h, "POST", "http://gw/application/"+c.path, loopback, password)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, want %d %s", c.path, w.Code, w.Body, c.status, c.says)
		}
	}
	if list := listServices(t, h, password); len(list) != 1 || list[0].FailoverOffUntil == nil || list[0].FailoverOffUntil.Year() != 2038 {
		t.Errorf("%+v", list)
	}
}

func TestDrain(t *testing.T) {
	pool := upstream.NewPool()
	two := []upstream.Spec{{ID: "a", Scheme: "http", Host: "a.test", Port: 1}, {ID: "b", Scheme: "http", Host: "b.test", Port: 2}}
	sv, one := pool.Service("orders", two), pool.Service("default/echo:80", two[:1])
	sv.Endpoints[1].Acquire()
	table := route.Build(route.Set{Routes: []route.Route{{ID: "r", Source: "eureka", ServiceID: "shop", Service: sv, Prefixes: []string{"/shop"}}}}, nil)
	h, password := startWith(t, false, pool, table)
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"POST", "shop/drain", 400, "several instances"},
		{"POST", "shop/drain?instance=c", 404, "no such instance"},
		{"POST", "nowhere/drain", 404, "no service"},
		{"POST", "shop/drain?instance=b", 202, `{"serviceId":"shop","instances":["b"],"sessions":1}`},
		{"POST", "default%2Fecho:80/drain", 202, `{"serviceId":"default/echo:80","instances":["a"],"sessions":0}`},
	} {
		w := get(h, c.method, "http://gw/application/services/"+c.path, loopback, password)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, w.Code, w.Body, c.status, c.says)
		}
	}
	if !sv.Endpoints[1].Leaving() || sv.Endpoints[0].Leaving() || !one.Endpoints[0].Leaving() {
		t.Error("the wrong endpoints are leaving")
	}
	list := listServices(t, h, password)
	if len(list) != 2 || len(list[1].Endpoints) != 2 || !list[1].Endpoints[1].Drained || !list[1].Endpoints[1].Leaving {
		t.Errorf("%+v", list)
	}
	if w := get(h, "DELETE", "http://gw/application/services/orders/drain?instance=b", loopback, password); w.Code != 204 || sv.Endpoints[1].Leaving() {
		t.Errorf("taken back: %d, leaving %v", w.Code, sv.Endpoints[1].Leaving())
	}
}
