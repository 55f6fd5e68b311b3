package kubernetes

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func TestHTTPRouteToService(t *testing.T) {
	port, number, name := int32(8080), int32(3000), "web"
	tr := newTranslation(&Set{
		Services: []*corev1.Service{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "echo"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: name, Port: port}}},
		}},
		EndpointSlices: []*discoveryv1.EndpointSlice{{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "a", Name: "echo-1", Labels: map[string]string{discoveryv1.LabelServiceName: "echo"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.2"}}, {Addresses: []string{"10.0.0.1"}}},
		}},
	}, Options{Pool: upstream.NewPool()})
	got := tr.httpRoute(&gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"},
		Spec: gatewayv1.HTTPRouteSpec{Rules: []gatewayv1.HTTPRouteRule{{
			BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: "echo", Port: &port},
			}}},
		}}},
	}, nil)
	if len(got.rules) != 1 || len(got.rules[0].Backends) != 1 {
		t.Fatalf("%+v, want one rule with one backend", got)
	}
	if r := got.rules[0]; r.ID != "HTTPRoute/a/web/0" || r.ServiceID != "echo" || !r.ProblemJSON || r.Policy == nil {
		t.Errorf("rule is %+v", r.Route)
	}
	b := got.rules[0].Backends[0]
	if b.Name != "a/echo:8080" || b.Weight != 1 || b.Invalid != "" || b.Service == nil {
		t.Fatalf("backend is %+v", b)
	}
	if e := b.Service.Endpoints; len(e) != 2 || e[0].Address() != "10.0.0.1:3000" || e[1].Address() != "10.0.0.2:3000" {
		t.Errorf("endpoints are %v, want both in order", e)
	}
	if c := got.conditions; len(c) != 1 || c[0].Type != "ResolvedRefs" || c[0].Status != metav1.ConditionTrue || c[0].Reason != "ResolvedRefs" {
		t.Errorf("conditions are %+v", c)
	}
}
