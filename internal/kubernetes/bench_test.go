package kubernetes

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// routesOf is a Gateway with n HTTPRoutes of three matches each, of which ten share a hostname and a Service.
func routesOf(n int) *Set {
	set := &Set{Gateways: []*gatewayv1.Gateway{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gw"},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: "fairlead", Listeners: []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}}}
	prefix, exact, name := gatewayv1.PathMatchPathPrefix, gatewayv1.PathMatchExact, "http"
	port, number, ready := gatewayv1.PortNumber(80), int32(8080), true
	for i := range n {
		service := fmt.Sprintf("service-%d", i/10)
		if i%10 == 0 {
			set.Services = append(set.Services, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: service},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: name, Port: 80}}},
			})
			set.EndpointSlices = append(set.EndpointSlices, &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
				Ports:      []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
				Endpoints: []discoveryv1.Endpoint{
					{Addresses: []string{fmt.Sprintf("10.0.%d.%d", i/10/250, i/10%250)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}},
				},
			})
		}
		r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("route-%05d", i)}}
		r.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "gw"}}
		r.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(fmt.Sprintf("host-%d.example", i/10))}
		path := func(of string) *string { s := fmt.Sprintf("/%s/%d", of, i); return &s }
		r.Spec.Rules = []gatewayv1.HTTPRouteRule{{
			Matches: []gatewayv1.HTTPRouteMatch{
				{Path: &gatewayv1.HTTPPathMatch{Type: &prefix, Value: path("one")}},
				{Path: &gatewayv1.HTTPPathMatch{Type: &exact, Value: path("two")}},
				{Path: &gatewayv1.HTTPPathMatch{Type: &prefix, Value: path("three")}, Headers: []gatewayv1.HTTPHeaderMatch{{Name: "version", Value: "1"}}},
			},
			BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(service), Port: &port},
			}}},
		}}
		set.HTTPRoutes = append(set.HTTPRoutes, r)
	}
	return set
}

// BenchmarkTranslate is issue 5's bound: 10,000 routes with 3 matches each, translated and made a table.
func BenchmarkTranslate(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		set := routesOf(n)
		o := Options{Pool: upstream.NewPool(), AnyClass: true, Cache: new(Cache)}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := Translate(set, o)
				if table := route.Build(r.Set, nil); len(table.Problems) > 0 {
					b.Fatal(table.Problems[0])
				}
			}
		})
	}
}
