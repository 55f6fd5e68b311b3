package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BackendLoadBalancingPolicy says how load is spread over the endpoints of Services, and bounded.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=backendloadbalancingpolicy
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.targets[0].conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BackendLoadBalancingPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec BackendLoadBalancingPolicySpec `json:"spec,omitempty,omitzero"`

	// +optional
	Status BackendLoadBalancingPolicyStatus `json:"status,omitempty,omitzero"`
}

// BackendLoadBalancingPolicyList is a list of them.
//
// +kubebuilder:object:root=true
type BackendLoadBalancingPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BackendLoadBalancingPolicy `json:"items"`
}

// BackendLoadBalancingPolicySpec is the body of a BackendLoadBalancingPolicy.
type BackendLoadBalancingPolicySpec struct {
	// TargetRefs are the Services.
	TargetRefs []TargetRefSpec `json:"targetRefs"`

	// +optional
	CircuitBreaker *CircuitBreakerConfig `json:"circuitBreaker,omitempty"`

	// +optional
	LoadBalancing *LoadBalancingConfig `json:"loadBalancing,omitempty"`
}

// TargetRefSpec is a Service, and ports of it.
type TargetRefSpec struct {
	TargetRef CustomTargetRef `json:"targetRef"`

	// Ports that it holds for. None: all.
	//
	// +optional
	Ports []BackendLoadBalancingPolicyPort `json:"ports,omitempty"`
}

// BackendLoadBalancingPolicyPort is a port of a Service.
type BackendLoadBalancingPolicyPort struct {
	// +optional
	// +kubebuilder:validation:Minimum=1
	Port *int32 `json:"port,omitempty"`
}

// CircuitBreakerConfig bounds what a Service is given at a time. 1000000000 is no bound.
type CircuitBreakerConfig struct {
	// MaxConnections bounds the connections.
	//
	// +optional
	// +kubebuilder:default=1000000000
	// +kubebuilder:validation:Minimum=0
	MaxConnections *int32 `json:"maxConnections,omitempty"`

	// MaxPendingRequests bounds the requests that wait for a connection.
	//
	// +optional
	// +kubebuilder:default=1000000000
	// +kubebuilder:validation:Minimum=0
	MaxPendingRequests *int32 `json:"maxPendingRequests,omitempty"`

	// MaxRequests bounds the requests in flight.
	//
	// +optional
	// +kubebuilder:default=1000000000
	// +kubebuilder:validation:Minimum=0
	MaxRequests *int32 `json:"maxRequests,omitempty"`

	// MaxRetries bounds the retries in flight.
	//
	// +optional
	// +kubebuilder:default=1000000000
	// +kubebuilder:validation:Minimum=0
	MaxRetries *int32 `json:"maxRetries,omitempty"`
}

// LoadBalancingConfig is how an endpoint is chosen.
type LoadBalancingConfig struct {
	// Strategy: default round-robin.
	//
	// +optional
	Strategy LoadBalancingStrategy `json:"strategy,omitempty"`

	// SlowStart gives a new endpoint little at first; for round-robin and least-request.
	//
	// +optional
	SlowStart *SlowStartConfig `json:"slowStart,omitempty"`

	// LoadAware tunes the strategy of that name.
	//
	// +optional
	LoadAware *LoadAwareConfig `json:"loadAware,omitempty"`
}

// LoadBalancingStrategy is how an endpoint is chosen.
//
// +kubebuilder:validation:Enum=round-robin;least-request;load-aware;ring-hash
type LoadBalancingStrategy string

// The strategies.
const (
	LoadBalancingRoundRobin   LoadBalancingStrategy = "round-robin"
	LoadBalancingLeastRequest LoadBalancingStrategy = "least-request"
	LoadBalancingLoadAware    LoadBalancingStrategy = "load-aware"
	LoadBalancingRingHash     LoadBalancingStrategy = "ring-hash"
)

// SlowStartConfig is how the share of a new endpoint grows.
type SlowStartConfig struct {
	// Window is how long it grows.
	Window metav1.Duration `json:"window"`

	// Aggression is the speed: a decimal above 0. Default "1.0".
	//
	// +optional
	// +kubebuilder:default="1.0"
	// +kubebuilder:validation:Pattern=`^([0-9]+([.][0-9]+)?|[.][0-9]+)$`
	Aggression *string `json:"aggression,omitempty"`

	// StartWeightPercent is the share at first, of what an old endpoint gets. Default 10.
	//
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	StartWeightPercent *int32 `json:"startWeightPercent,omitempty"`
}

// LoadAwareConfig tunes the strategy that follows what endpoints report (ORCA).
type LoadAwareConfig struct {
	// BlackoutPeriod is how long an endpoint must have reported before it counts. Default 10s.
	//
	// +optional
	BlackoutPeriod *metav1.Duration `json:"blackoutPeriod,omitempty"`

	// MetricExpirationPeriod is how long a report holds. Default 3m.
	//
	// +optional
	MetricExpirationPeriod *metav1.Duration `json:"metricExpirationPeriod,omitempty"`

	// ErrorUtilizationPenalty is how heavily errors weigh: a decimal, not negative. Default "1.0".
	//
	// +optional
	// +kubebuilder:default="1.0"
	// +kubebuilder:validation:Pattern=`^([0-9]+([.][0-9]+)?|[.][0-9]+)$`
	ErrorUtilizationPenalty *string `json:"errorUtilizationPenalty,omitempty"`

	// NamedMetrics are the metrics of the application of which the highest counts.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=10
	NamedMetrics []string `json:"namedMetrics,omitempty"`
}

// BackendLoadBalancingPolicyStatus is what became of a policy, for each of its targets.
type BackendLoadBalancingPolicyStatus struct {
	Targets []BackendLoadBalancingPolicyTargetStatus `json:"targets"`
}

// BackendLoadBalancingPolicyTargetStatus is what became of a policy at one target.
type BackendLoadBalancingPolicyTargetStatus struct {
	TargetRef CustomTargetRef `json:"targetRef"`

	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:default={{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BackendLoadBalancingPolicyReasonInvalid is the reason where nothing more special fits.
const BackendLoadBalancingPolicyReasonInvalid = "InvalidBackendLoadBalancingPolicy"
