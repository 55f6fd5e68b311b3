package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// changing is a Source that a test changes.
type changing struct {
	mu      sync.Mutex
	set     *Set
	err     error
	changed chan struct{}
}

func (c *changing) Load() (*Set, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set, c.err
}

func (c *changing) Changes(context.Context) <-chan struct{} { return c.changed }

func (c *changing) put(set *Set, err error) {
	c.mu.Lock()
	c.set, c.err = set, err
	c.mu.Unlock()
	c.changed <- struct{}{}
}

// publishing runs a Provider and hands its sets on.
type publishing struct {
	*Provider
	source *changing
	log    *bytes.Buffer // read it between two sets only
	sets   chan route.Set
}

func publishTo(t *testing.T, o Options) *publishing {
	t.Helper()
	source, log := &changing{changed: make(chan struct{})}, new(bytes.Buffer)
	to, err := To("127.0.0.1:8080", []string{"ws://127.0.0.1:9000"})
	if err != nil {
		t.Fatal(err)
	}
	source.set, _ = to.Load()
	p := &publishing{source: source, log: log, sets: make(chan route.Set)}
	o.AnyClass = true
	p.Provider = &Provider{Source: source, Log: slog.New(slog.NewTextHandler(log, nil)), Pool: upstream.NewPool(), Options: func() Options { return o }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Run(ctx, func(s route.Set) {
			select {
			case p.sets <- s:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	return p
}

func (p *publishing) next(t *testing.T) route.Set {
	t.Helper()
	select {
	case s := <-p.sets:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nothing published")
		panic("unreachable")
	}
}

func (p *publishing) condition(t *testing.T, kind, name string) metav1.Condition {
	t.Helper()
	for i := range p.Statuses() {
		st := &p.Statuses()[i]
		for _, c := range conditionsOf(st.Status) {
			if st.Kind == kind && c.Type == name {
				return *c
			}
		}
	}
	t.Fatalf("no condition %s of a %s", name, kind)
	panic("unreachable")
}

func TestProviderFollowsItsSource(t *testing.T) {
	p := publishTo(t, Options{})
	set := p.next(t)
	if len(set.Listeners) != 1 || len(set.Listeners[0].Hosts[0].Rules) != 1 {
		t.Fatalf("%+v", set)
	}
	service := set.Listeners[0].Hosts[0].Rules[0].Backends[0].Service

	p.source.put(nil, errors.Join(errors.New("a.yaml:3:1: first"), errors.New("b.yaml:1:1: second")))
	p.Refresh() // Run has taken the change by then, and publishes nothing for it
	if again := p.next(t); len(again.Listeners) != 1 {
		t.Errorf("a set that could not be loaded has replaced the old one: %+v", again)
	}
	for _, want := range []string{"the old ones stay", "a.yaml:3:1: first", "b.yaml:1:1: second"} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, p.log)
		}
	}

	p.source.put(&Set{}, nil)
	if empty := p.next(t); len(empty.Listeners) != 0 || len(p.Statuses()) != 0 {
		t.Errorf("not empty: %+v %+v", empty, p.Statuses())
	}
	if service.Endpoints[0].Leaving() {
		t.Error("an endpoint that a table before the newest may lead to leaves at once")
	}
}

func TestServicesLinger(t *testing.T) {
	to, err := To("127.0.0.1:8080", []string{"ws://127.0.0.1:9000"})
	if err != nil {
		t.Fatal(err)
	}
	source := &changing{}
	source.set, _ = to.Load()
	p := &Provider{Source: source, Log: slog.New(slog.DiscardHandler), Pool: upstream.NewPool(), Options: func() Options { return Options{AnyClass: true} }}
	translate := func(set *Set) *Result {
		t.Helper()
		source.set = set
		r, err := p.Translate()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	full := source.set
	endpoint := translate(full).Set.Listeners[0].Hosts[0].Rules[0].Backends[0].Service.Endpoints[0]
	for _, again := range []bool{true, false} {
		translate(&Set{})
		p.leave(time.Now())
		if endpoint.Leaving() {
			t.Fatal("the endpoint leaves at once")
		}
		if again {
			translate(full)
		}
		p.leave(time.Now().Add(lingerFor))
		if endpoint.Leaving() == again {
			t.Errorf("leaving: %t, in use again: %t", endpoint.Leaving(), again)
		}
	}
}

func TestProviderTellsWhatIsUnbound(t *testing.T) {
	p := publishTo(t, Options{})
	set := p.next(t)
	first := p.condition(t, "Gateway", "Programmed")
	if first.Status != metav1.ConditionTrue || first.LastTransitionTime.IsZero() {
		t.Fatalf("%+v", first)
	}
	key := set.Listeners[0].Key()
	p.Bound(map[string]error{key: errors.New("address already in use")})
	set = p.next(t)
	c := p.condition(t, "Gateway", "Programmed")
	if c.Status != metav1.ConditionFalse || len(set.Listeners) != 1 { // it stays wanted, and is tried again
		t.Errorf("unbound: %+v, %d listeners", c, len(set.Listeners))
	}
	if n := strings.Count(p.log.String(), "type=Programmed"); n == 0 {
		t.Errorf("not logged:\n%s", p.log)
	}
	said := p.log.Len()
	p.Bound(map[string]error{key: errors.New("address already in use")}) // nothing new
	p.Refresh()
	p.next(t)
	if p.log.Len() != said {
		t.Errorf("said again:\n%s", p.log.String()[said:])
	}
	p.Bound(nil)
	p.next(t)
	if c := p.condition(t, "Gateway", "Programmed"); c.Status != metav1.ConditionTrue {
		t.Errorf("bound again: %+v", c)
	}
}

func TestProviderFollowsTheRegistry(t *testing.T) {
	var mu sync.Mutex
	var specs []upstream.Spec
	p := publishTo(t, Options{Eureka: func(id string) ([]upstream.Spec, map[string]int, route.Policy, bool) {
		mu.Lock()
		defer mu.Unlock()
		return specs, nil, route.Policy{}, id == "chat"
	}})
	p.next(t)
	p.RegistryChanged() // concerns nobody: a set after this one would be late for the next
	set, err := To(":8080", []string{"ws://127.0.0.1:9000"})
	if err != nil {
		t.Fatal(err)
	}
	objects, _ := set.Load()
	ref := &objects.HTTPRoutes[0].Spec.Rules[0].BackendRefs[0]
	ref.Kind, ref.Name = new(gatewayv1.Kind("EurekaService")), "chat"
	p.source.put(objects, nil)
	if n := len(p.next(t).Listeners[0].Hosts[0].Rules[0].Backends[0].Service.Endpoints); n != 0 {
		t.Errorf("%d endpoints of a service without instances", n)
	}
	mu.Lock()
	specs = []upstream.Spec{{ID: "a", Scheme: "http", Host: "127.0.0.1", Port: 1}}
	mu.Unlock()
	p.RegistryChanged()
	if n := len(p.next(t).Listeners[0].Hosts[0].Rules[0].Backends[0].Service.Endpoints); n != 1 {
		t.Errorf("%d endpoints", n)
	}
}

func TestHistory(t *testing.T) {
	status := func(s metav1.ConditionStatus) []Status {
		return []Status{{Kind: "HTTPRoute", Status: gatewayv1.HTTPRouteStatus{RouteStatus: gatewayv1.RouteStatus{Parents: []gatewayv1.RouteParentStatus{{
			Conditions: []metav1.Condition{{Type: "Accepted", Status: s}},
		}}}}}}
	}
	var h history
	at := func(all []Status) time.Time {
		for place, c := range conditionsOf(all[0].Status) {
			if place != "parents[0]" {
				t.Errorf("place %q", place)
			}
			return c.LastTransitionTime.Time
		}
		t.Fatal("no condition")
		return time.Time{}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, tt := range []struct {
		status metav1.ConditionStatus
		want   time.Time
	}{{"True", now}, {"True", now}, {"False", now.Add(2 * time.Hour)}, {"False", now.Add(2 * time.Hour)}} {
		all := status(tt.status)
		h.stamp(all, now.Add(time.Duration(i)*time.Hour))
		if got := at(all); !got.Equal(tt.want) {
			t.Errorf("step %d: %v, want %v", i, got, tt.want)
		}
	}
}
