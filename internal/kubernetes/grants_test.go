package kubernetes

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestGranted(t *testing.T) {
	one := gatewayv1.ObjectName("one")
	tr := newTranslation(&Set{ReferenceGrants: []*gatewayv1.ReferenceGrant{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "grant"},
		Spec: gatewayv1.ReferenceGrantSpec{
			From: []gatewayv1.ReferenceGrantFrom{{Group: gatewayv1.GroupName, Kind: "HTTPRoute", Namespace: "a"}},
			To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service", Name: &one}, {Group: "fairlead.dev", Kind: "Backend"}},
		},
	}}}, Options{})
	for _, c := range []struct {
		from, fromNamespace, group, kind, namespace, name string
		want                                              bool
	}{
		{"HTTPRoute", "a", "", "Service", "b", "one", true},
		{"HTTPRoute", "a", "", "Service", "b", "two", false},
		{"HTTPRoute", "a", "fairlead.dev", "Backend", "b", "any", true},
		{"HTTPRoute", "a", "", "Backend", "b", "any", false},
		{"GRPCRoute", "a", "", "Service", "b", "one", false},
		{"HTTPRoute", "c", "", "Service", "b", "one", false},
		{"HTTPRoute", "a", "", "Service", "c", "one", false},
		{"GRPCRoute", "c", "", "Service", "c", "one", true}, // nothing to grant
	} {
		got := tr.granted(gatewayv1.GroupName, c.from, c.fromNamespace, c.group, c.kind, c.namespace, c.name)
		if got != c.want {
			t.Errorf("%s of %s to %s %s/%s: %t, want %t", c.from, c.fromNamespace, c.kind, c.namespace, c.name, got, c.want)
		}
	}
}
