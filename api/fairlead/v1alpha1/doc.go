// Package v1alpha1 is fairlead.dev/v1alpha1: what Fairlead says that the Gateway API has no words for.
//
// Durations are as Go writes them ("30s", "1h30m"), sizes as "64KiB", rates as "100/s".
//
// +kubebuilder:object:generate=true
// +groupName=fairlead.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group and Version name the API; GroupVersion is both.
const (
	Group        = "fairlead.dev"
	Version      = "v1alpha1"
	GroupVersion = Group + "/" + Version
)

// AddToScheme registers every kind of the package.
func AddToScheme(s *runtime.Scheme) error {
	gv := schema.GroupVersion{Group: Group, Version: Version}
	s.AddKnownTypes(gv,
		&RoutePolicy{}, &RoutePolicyList{},
		&HealthCheckPolicy{}, &HealthCheckPolicyList{},
		&Backend{}, &BackendList{},
		&EurekaService{}, &EurekaServiceList{},
	)
	metav1.AddToGroupVersion(s, gv)
	return nil
}

// Duration is a time above 0 as Go writes it: "30s", "1h30m", "250ms".
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
type Duration string

// DurationOrOff is a Duration, or "off".
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^(off|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`
type DurationOrOff string

// Size is a number of bytes: "64KiB", "1MiB", "4096B".
//
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:Pattern=`^[0-9]+ ?(B|KiB|MiB|GiB)?$`
type Size string

// Rate is a number per second, minute or hour: "100/s", "600/m".
//
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:Pattern=`^[0-9]+ ?/[smh]$`
type Rate string
