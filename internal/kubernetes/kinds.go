package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
)

// Groups of the Gateway API.
const (
	gatewayGroup  = gatewayv1.GroupName
	gatewayXGroup = "gateway.networking.x-k8s.io"
)

// A servedKind is a kind that a Set has a list of.
type servedKind struct {
	group, kind string
	versions    []string // that are read, the newest first
	cluster     bool     // has no namespace
	label       bool     // its names are labels of DNS, not subdomains
	named       bool     // of a cluster, only those that others refer to are read
	labels      string   // of a cluster, what those that are read have

	// kind and version under which the object is kept.
	as metav1.TypeMeta

	new func() metav1.Object
	add func(*Set, metav1.Object)
}

// kindOfSet makes a servedKind of a list in Set.
func kindOfSet[T any, P interface {
	*T
	metav1.Object
}](group, kind string, list func(*Set) *[]P, versions ...string) servedKind {
	apiVersion := versions[0]
	if group != "" {
		apiVersion = group + "/" + versions[0]
	}
	return servedKind{
		group: group, kind: kind, versions: versions,
		as:  metav1.TypeMeta{APIVersion: apiVersion, Kind: kind},
		new: func() metav1.Object { return P(new(T)) },
		add: func(s *Set, o metav1.Object) { l := list(s); *l = append(*l, o.(P)) },
	}
}

// servedKinds are the kinds that are read, by group and kind. It is never written.
var servedKinds = func() map[[2]string]*servedKind {
	m := map[[2]string]*servedKind{}
	for _, k := range []servedKind{
		kindOfSet(gatewayGroup, "GatewayClass", func(s *Set) *[]*gatewayv1.GatewayClass { return &s.GatewayClasses }, "v1", "v1beta1").clusterWide(),
		kindOfSet(gatewayGroup, "Gateway", func(s *Set) *[]*gatewayv1.Gateway { return &s.Gateways }, "v1", "v1beta1"),
		kindOfSet(gatewayGroup, "ListenerSet", func(s *Set) *[]*gatewayv1.ListenerSet { return &s.ListenerSets }, "v1"),
		kindOfSet(gatewayGroup, "HTTPRoute", func(s *Set) *[]*gatewayv1.HTTPRoute { return &s.HTTPRoutes }, "v1", "v1beta1"),
		kindOfSet(gatewayGroup, "GRPCRoute", func(s *Set) *[]*gatewayv1.GRPCRoute { return &s.GRPCRoutes }, "v1", "v1alpha2"),
		kindOfSet(gatewayGroup, "TLSRoute", func(s *Set) *[]*gatewayv1.TLSRoute { return &s.TLSRoutes }, "v1", "v1alpha3", "v1alpha2"),
		kindOfSet(gatewayGroup, "TCPRoute", func(s *Set) *[]*gatewayv1.TCPRoute { return &s.TCPRoutes }, "v1", "v1alpha2"),
		kindOfSet(gatewayGroup, "UDPRoute", func(s *Set) *[]*gatewayv1.UDPRoute { return &s.UDPRoutes }, "v1", "v1alpha2"),
		kindOfSet(gatewayGroup, "ReferenceGrant",
			func(s *Set) *[]*gatewayv1.ReferenceGrant { return &s.ReferenceGrants }, "v1", "v1beta1", "v1alpha2"),
		kindOfSet(gatewayGroup, "BackendTLSPolicy",
			func(s *Set) *[]*gatewayv1.BackendTLSPolicy { return &s.BackendTLSPolicies }, "v1", "v1alpha3"),
		kindOfSet(gatewayXGroup, "XBackendTrafficPolicy",
			func(s *Set) *[]*gatewayx.XBackendTrafficPolicy { return &s.BackendTraffic }, "v1alpha1"),
		kindOfSet("", "Service", func(s *Set) *[]*corev1.Service { return &s.Services }, "v1").labelled(),
		kindOfSet("discovery.k8s.io", "EndpointSlice", func(s *Set) *[]*discoveryv1.EndpointSlice { return &s.EndpointSlices }, "v1").having(discoveryv1.LabelServiceName),
		kindOfSet("", "Secret", func(s *Set) *[]*corev1.Secret { return &s.Secrets }, "v1").onlyNamed(),
		kindOfSet("", "ConfigMap", func(s *Set) *[]*corev1.ConfigMap { return &s.ConfigMaps }, "v1").onlyNamed(),
		kindOfSet("", "Namespace", func(s *Set) *[]*corev1.Namespace { return &s.Namespaces }, "v1").clusterWide().labelled(),
		kindOfSet(albv1.Group, "HealthCheckPolicy", func(s *Set) *[]*albv1.HealthCheckPolicy { return &s.ALBHealthCheckPolicies }, "v1"),
		kindOfSet(albv1.Group, "RoutePolicy", func(s *Set) *[]*albv1.RoutePolicy { return &s.ALBRoutePolicies }, "v1"),
		kindOfSet(albv1.Group, "BackendTLSPolicy", func(s *Set) *[]*albv1.BackendTLSPolicy { return &s.ALBBackendTLSPolicies }, "v1"),
		kindOfSet(albv1.Group, "FrontendTLSPolicy", func(s *Set) *[]*albv1.FrontendTLSPolicy { return &s.FrontendTLSPolicies }, "v1"),
		kindOfSet(albv1.Group, "BackendLoadBalancingPolicy",
			func(s *Set) *[]*albv1.BackendLoadBalancingPolicy { return &s.BackendLoadBalancingPolicies }, "v1"),
		kindOfSet(v1alpha1.Group, "RoutePolicy", func(s *Set) *[]*v1alpha1.RoutePolicy { return &s.RoutePolicies }, "v1alpha1"),
		kindOfSet(v1alpha1.Group, "HealthCheckPolicy",
			func(s *Set) *[]*v1alpha1.HealthCheckPolicy { return &s.HealthCheckPolicies }, "v1alpha1"),
		kindOfSet(v1alpha1.Group, "Backend", func(s *Set) *[]*v1alpha1.Backend { return &s.Backends }, "v1alpha1"),
		kindOfSet(v1alpha1.Group, "EurekaService", func(s *Set) *[]*v1alpha1.EurekaService { return &s.EurekaServices }, "v1alpha1"),
	} {
		m[[2]string{k.group, k.kind}] = &k
	}
	// Until v1.5 a ListenerSet had an X and a group of its own.
	old := *m[[2]string{gatewayGroup, "ListenerSet"}]
	old.group, old.kind, old.versions = gatewayXGroup, "XListenerSet", []string{"v1alpha1"}
	m[[2]string{old.group, old.kind}] = &old
	return m
}()

func (k servedKind) clusterWide() servedKind {
	k.cluster = true
	return k
}

func (k servedKind) labelled() servedKind {
	k.label = true
	return k
}

func (k servedKind) onlyNamed() servedKind {
	k.named = true
	return k
}

func (k servedKind) having(label string) servedKind {
	k.labels = label
	return k
}

// notServed are kinds of groups that are served, and what is done about them.
var notServed = map[[2]string]string{
	{gatewayXGroup, "XBackend"}:                   "a Backend of " + v1alpha1.GroupVersion + " does the same",
	{gatewayXGroup, "XMesh"}:                      "Fairlead is no mesh",
	{albv1.Group, "ApplicationLoadBalancer"}:      "it describes Azure's own machines",
	{albv1.Group, "IngressExtension"}:             "it belongs to Ingress; HTTPRoutes have filters",
	{albv1.Group, "WebApplicationFirewallPolicy"}: "nothing of it is enforced",
}

// knownGroup tells whether a kind of the group that is not known is an error, and not something that belongs to others.
func knownGroup(group string) bool {
	return group != "" && slices.ContainsFunc(slices.Collect(maps.Keys(servedKinds)), func(k [2]string) bool { return k[0] == group })
}

// kindsOf lists the kinds of a group, each with its versions.
func kindsOf(group string) string {
	var list []string
	for _, k := range servedKinds {
		if k.group == group {
			list = append(list, fmt.Sprintf("%s (%s)", k.kind, strings.Join(k.versions, ", ")))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// groupVersion splits an apiVersion.
func groupVersion(apiVersion string) (group, version string) {
	if group, version, ok := strings.Cut(apiVersion, "/"); ok {
		return group, version
	}
	return "", apiVersion
}
