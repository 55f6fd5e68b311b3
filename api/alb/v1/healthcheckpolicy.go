package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HealthCheckPolicy says how the endpoints of a Service are probed.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=healthcheckpolicy
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HealthCheckPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec HealthCheckPolicySpec `json:"spec,omitempty,omitzero"`

	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty,omitzero"`
}

// HealthCheckPolicyList is a list of them.
//
// +kubebuilder:object:root=true
type HealthCheckPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HealthCheckPolicy `json:"items"`
}

// HealthCheckPolicySpec is the body of a HealthCheckPolicy.
type HealthCheckPolicySpec struct {
	// TargetRef is the Service whose endpoints are probed.
	TargetRef CustomTargetRef `json:"targetRef"`

	// Override is refused with reason OverrideNotSupported.
	//
	// +optional
	Override *HealthCheckPolicyConfig `json:"override,omitempty"`

	// Default is the probe.
	//
	// +optional
	Default *HealthCheckPolicyConfig `json:"default,omitempty"`
}

// HealthCheckPolicyConfig is a probe. Without HTTP and GRPC it is HTTP.
type HealthCheckPolicyConfig struct {
	// Interval is the time from one probe to the next. Default 5s.
	//
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Timeout is how long an answer may take. Default 30s.
	//
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Port to probe. Default the port that is routed to.
	//
	// +optional
	Port *int32 `json:"port,omitempty"`

	// UnhealthyThreshold is how many probes in a row must fail for the endpoint to be unhealthy. Default 3.
	//
	// +optional
	UnhealthyThreshold *int32 `json:"unhealthyThreshold,omitempty"`

	// HealthyThreshold is how many probes in a row must succeed for the endpoint to be healthy. Default 1.
	//
	// +optional
	HealthyThreshold *int32 `json:"healthyThreshold,omitempty"`

	// UseTLS probes with TLS. Default: as the Service is spoken to, if Port is its port; else plain.
	//
	// +optional
	UseTLS *bool `json:"useTLS,omitempty"`

	// HTTP probes with a GET.
	//
	// +optional
	HTTP *HTTPSpecifiers `json:"http,omitempty"`

	// GRPC probes with grpc.health.v1.Health/Check.
	//
	// +optional
	GRPC *GRPCSpecifiers `json:"grpc,omitempty"`
}

// HTTPSpecifiers is an HTTP probe.
type HTTPSpecifiers struct {
	// Host is the request's Host. Default "localhost".
	//
	// +optional
	Host *string `json:"host,omitempty"`

	// Path of the request. Default "/".
	//
	// +optional
	Path *string `json:"path,omitempty"`

	// Match is what the answer must be.
	//
	// +optional
	Match *HTTPMatch `json:"match,omitempty"`
}

// HTTPMatch is what the answer to an HTTP probe must be.
type HTTPMatch struct {
	// Body must be contained in the answer's body.
	//
	// +optional
	Body *string `json:"body,omitempty"`

	// StatusCodes are the good ones. Default 200 to 399.
	//
	// +optional
	StatusCodes []StatusCodes `json:"statusCodes,omitempty"`
}

// StatusCodes is a range of HTTP status codes, both ends included.
type StatusCodes struct {
	// +optional
	Start *int32 `json:"start,omitempty"`
	// +optional
	End *int32 `json:"end,omitempty"`
}

// GRPCSpecifiers is a gRPC probe.
type GRPCSpecifiers struct {
	// Authority is the request's :authority.
	//
	// +optional
	Authority *string `json:"authority,omitempty"`

	// Service is the name whose health is asked for. Default "": the server's.
	//
	// +optional
	Service *string `json:"service,omitempty"`
}

// Reasons of conditions on a HealthCheckPolicy, besides the shared ones.
const (
	HealthCheckPolicyReasonInvalid                  = "InvalidHealthCheckPolicy"
	HealthCheckPolicyReasonUnsupportedStatusCodes   = "UnsupportedStatusCodes"
	HealthCheckPolicyReasonInvalidPort              = "InvalidPort"
	HealthCheckPolicyReasonBackendTLSPolicyNotFound = "BackendTLSPolicyNotFound"
)
