package kubernetes

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
)

// Set is every object that a translation may read, at one moment. Whoever makes it has filled in the defaults that the
// schemas say, and left out what the schemas refuse. It is immutable. From files, lists are in the order of reading (by path, then
// by document), and objects have no creationTimestamp unless the file says one.
type Set struct {
	GatewayClasses     []*gatewayv1.GatewayClass
	Gateways           []*gatewayv1.Gateway
	ListenerSets       []*gatewayv1.ListenerSet
	HTTPRoutes         []*gatewayv1.HTTPRoute
	GRPCRoutes         []*gatewayv1.GRPCRoute
	TLSRoutes          []*gatewayv1.TLSRoute
	TCPRoutes          []*gatewayv1.TCPRoute
	UDPRoutes          []*gatewayv1.UDPRoute
	ReferenceGrants    []*gatewayv1.ReferenceGrant
	BackendTLSPolicies []*gatewayv1.BackendTLSPolicy
	BackendTraffic     []*gatewayx.XBackendTrafficPolicy
	Services           []*corev1.Service
	EndpointSlices     []*discoveryv1.EndpointSlice
	Secrets            []*corev1.Secret
	ConfigMaps         []*corev1.ConfigMap
	Namespaces         []*corev1.Namespace

	// Pods are read for Options.ProbeFromPods alone: their labels, ports and probes. From files they are also what the templates
	// of Deployments and the like would make.
	Pods []*corev1.Pod

	// Of alb.networking.azure.io. What is wrong with their values is a condition: those schemas let much pass.
	ALBHealthCheckPolicies       []*albv1.HealthCheckPolicy
	ALBRoutePolicies             []*albv1.RoutePolicy
	ALBBackendTLSPolicies        []*albv1.BackendTLSPolicy
	FrontendTLSPolicies          []*albv1.FrontendTLSPolicy
	BackendLoadBalancingPolicies []*albv1.BackendLoadBalancingPolicy

	// Of fairlead.dev.
	RoutePolicies       []*v1alpha1.RoutePolicy
	HealthCheckPolicies []*v1alpha1.HealthCheckPolicy
	Backends            []*v1alpha1.Backend

	// EurekaServices give services of the registry other names than their ids. A backendRef to a name that is not
	// among them means the service with that id.
	EurekaServices []*v1alpha1.EurekaService

	// Skipped are the kinds that were found and are not served, in the order of their first objects.
	Skipped []Skipped

	// Refused are objects that the source has left out, since they cannot be read.
	Refused []Problem

	places map[metav1.Object]string // file:line
}

// Skipped is a kind that was found and is not served.
type Skipped struct {
	APIVersion, Kind string
	Count            int    // objects
	Place            string // file:line of the first
	Hint             string // may be empty
}

// Place is where an object of the set was read, "routes.yaml:14"; empty if it is from no file.
func (s *Set) Place(o metav1.Object) string { return s.places[o] }

// Status is what a translation says of one object. It is computed here and written elsewhere.
type Status struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   StatusMeta `json:"metadata"`

	// Status is the object's status subresource as its type has it: gatewayv1.GatewayStatus, HTTPRouteStatus, PolicyStatus, …
	Status any `json:"status"`
}

// StatusMeta names the object that a Status is about.
type StatusMeta struct {
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	Generation int64  `json:"generation,omitempty"`

	// UID tells the object from another that has had its name; "" if it has none, as in a file.
	UID types.UID `json:"uid,omitempty"`
}

// Problem is something that keeps an object, or a part of it, from being served, and that no condition of the
// specification says. It is logged and listed.
type Problem struct {
	Object string // "HTTPRoute default/web"
	Place  string // file:line:column, if it comes from a file
	Text   string
}
