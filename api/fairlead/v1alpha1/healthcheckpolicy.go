package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
)

// HealthCheckPolicy says how the endpoints of services are probed. A HealthCheckPolicy of alb.networking.azure.io is one of these with
// another apiVersion; this one can also probe with a TCP connection and with a WebSocket, and have several targets.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=gateway-api,shortName=flhc
// +kubebuilder:metadata:labels="gateway.networking.k8s.io/policy=Direct"
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.ancestors[*].conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HealthCheckPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec HealthCheckPolicySpec `json:"spec"`

	// +optional
	Status gatewayv1.PolicyStatus `json:"status,omitempty,omitzero"`
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
//
// +kubebuilder:validation:XValidation:message="exactly one of targetRef and targetRefs",rule="has(self.targetRef) != has(self.targetRefs)"
type HealthCheckPolicySpec struct {
	// TargetRef is the Service, as in alb.networking.azure.io.
	//
	// +optional
	TargetRef *albv1.CustomTargetRef `json:"targetRef,omitempty"`

	// TargetRefs are Services (a port, by sectionName), Backends and EurekaServices of the policy's own namespace.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []gatewayv1.LocalPolicyTargetReferenceWithSectionName `json:"targetRefs,omitempty"`

	// Default is the probe. Unset: HTTP with every default.
	//
	// +optional
	Default *HealthCheck `json:"default,omitempty"`
}

// HealthCheck is a probe: HTTP if it does not say otherwise.
//
// +kubebuilder:validation:XValidation:message="at most one of http, grpc, tcp and websocket",rule="(has(self.http) ? 1 : 0) + (has(self.grpc) ? 1 : 0) + (has(self.tcp) ? 1 : 0) + (has(self.websocket) ? 1 : 0) <= 1"
type HealthCheck struct {
	// Interval is the time from one probe to the next.
	//
	// +optional
	// +kubebuilder:default="5s"
	Interval Duration `json:"interval,omitempty"`

	// Timeout is how long a probe may take.
	//
	// +optional
	// +kubebuilder:default="30s"
	Timeout Duration `json:"timeout,omitempty"`

	// Port to probe. Default the port that is routed to.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`

	// UnhealthyThreshold is how many probes in a row must fail for the endpoint to be unhealthy.
	//
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	UnhealthyThreshold *int32 `json:"unhealthyThreshold,omitempty"`

	// HealthyThreshold is how many probes in a row must succeed for the endpoint to be healthy.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	HealthyThreshold *int32 `json:"healthyThreshold,omitempty"`

	// UseTLS probes with TLS. Default: as the service is spoken to, if Port is its port; else plain.
	//
	// +optional
	UseTLS *bool `json:"useTLS,omitempty"`

	// HTTP probes with a GET.
	//
	// +optional
	HTTP *albv1.HTTPSpecifiers `json:"http,omitempty"`

	// GRPC probes with grpc.health.v1.Health/Check.
	//
	// +optional
	GRPC *albv1.GRPCSpecifiers `json:"grpc,omitempty"`

	// TCP probes with a connection that is closed at once.
	//
	// +optional
	TCP *TCPCheck `json:"tcp,omitempty"`

	// WebSocket probes with a WebSocket handshake.
	//
	// +optional
	WebSocket *WebSocketCheck `json:"websocket,omitempty"`
}

// TCPCheck is a probe without a parameter: {}.
type TCPCheck struct{}

// WebSocketCheck is a probe that opens a WebSocket and closes it with 1000.
type WebSocketCheck struct {
	// Path of the handshake.
	//
	// +optional
	// +kubebuilder:default="/"
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/`
	Path string `json:"path,omitempty"`

	// Host of the handshake. Default "localhost".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`

	// Ping sends a Ping after the handshake and waits for its Pong.
	//
	// +optional
	Ping bool `json:"ping,omitempty"`
}
