// Package v1 is the part of alb.networking.azure.io/v1 that Fairlead serves: the policies of Azure Application Gateway for
// Containers, as they are on the wire. What those schemas let pass and cannot be served is a condition on the object.
//
// +kubebuilder:object:generate=true
// +groupName=alb.networking.azure.io
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group and Version name the API; GroupVersion is both.
const (
	Group        = "alb.networking.azure.io"
	Version      = "v1"
	GroupVersion = Group + "/" + Version
)

// AddToScheme registers every kind of the package.
func AddToScheme(s *runtime.Scheme) error {
	gv := schema.GroupVersion{Group: Group, Version: Version}
	s.AddKnownTypes(gv,
		&HealthCheckPolicy{}, &HealthCheckPolicyList{},
		&RoutePolicy{}, &RoutePolicyList{},
		&BackendTLSPolicy{}, &BackendTLSPolicyList{},
		&FrontendTLSPolicy{}, &FrontendTLSPolicyList{},
		&BackendLoadBalancingPolicy{}, &BackendLoadBalancingPolicyList{},
	)
	metav1.AddToGroupVersion(s, gv)
	return nil
}
