package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// BackendTLSPolicy says how a Service is spoken to with TLS. It is not the Gateway API's kind of that name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=backendtlspolicies
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BackendTLSPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec BackendTLSPolicySpec `json:"spec,omitempty,omitzero"`

	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty,omitzero"`
}

// BackendTLSPolicyList is a list of them.
//
// +kubebuilder:object:root=true
type BackendTLSPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BackendTLSPolicy `json:"items"`
}

// BackendTLSPolicySpec is the body of a BackendTLSPolicy.
type BackendTLSPolicySpec struct {
	// TargetRef is the Service.
	TargetRef CustomTargetRef `json:"targetRef"`

	// Override is refused with reason OverrideNotSupported.
	//
	// +optional
	Override *BackendTLSPolicyConfig `json:"override,omitempty"`

	// +optional
	Default *BackendTLSPolicyConfig `json:"default,omitempty"`
}

// BackendTLSPolicyConfig is how to speak TLS.
type BackendTLSPolicyConfig struct {
	// Sni is the server name that is asked for.
	//
	// +optional
	Sni *string `json:"sni,omitempty"`

	// Ports of the Service that it holds for. None: all.
	//
	// +optional
	Ports []BackendTLSPolicyPort `json:"ports,omitempty"`

	// ClientCertificateRef is the Secret with the certificate that is shown to the Service.
	//
	// +optional
	ClientCertificateRef *gatewayv1.SecretObjectReference `json:"clientCertificateRef,omitempty"`

	// Verify is what the Service's certificate must be. Unset: anything.
	//
	// +optional
	Verify *BackendTLSVerify `json:"verify,omitempty"`
}

// BackendTLSPolicyPort is a port of a Service.
type BackendTLSPolicyPort struct {
	// +optional
	// +kubebuilder:validation:Minimum=1
	Port *int32 `json:"port,omitempty"`
}

// BackendTLSVerify is what a Service's certificate must be.
type BackendTLSVerify struct {
	// CaCertificateRef is the Secret with the authority's certificate, key ca.crt.
	CaCertificateRef gatewayv1.SecretObjectReference `json:"caCertificateRef"`

	// SubjectAltName must be in the certificate.
	//
	// +optional
	SubjectAltName *string `json:"subjectAltName,omitempty"`
}

// FrontendTLSPolicy says how listeners of a Gateway speak TLS.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=frontendtlspolicies
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type FrontendTLSPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec FrontendTLSPolicySpec `json:"spec,omitempty,omitzero"`

	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty,omitzero"`
}

// FrontendTLSPolicyList is a list of them.
//
// +kubebuilder:object:root=true
type FrontendTLSPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []FrontendTLSPolicy `json:"items"`
}

// FrontendTLSPolicySpec is the body of a FrontendTLSPolicy.
type FrontendTLSPolicySpec struct {
	// TargetRef is the Gateway; its sectionNames are listeners.
	TargetRef CustomTargetRef `json:"targetRef"`

	// Override is refused with reason OverrideNotSupported.
	//
	// +optional
	Override *FrontendTLSPolicyConfig `json:"override,omitempty"`

	// +optional
	Default *FrontendTLSPolicyConfig `json:"default,omitempty"`
}

// FrontendTLSPolicyConfig is how to speak TLS.
type FrontendTLSPolicyConfig struct {
	// Verify is what a client's certificate must be. Unset: none is asked for.
	//
	// +optional
	Verify *FrontendTLSVerify `json:"verify,omitempty"`

	// +optional
	// +kubebuilder:default={name: "2023-06", type: "predefined"}
	PolicyType *PolicyType `json:"policyType,omitempty"`
}

// PolicyType is a named choice of versions and ciphers.
type PolicyType struct {
	// Name is 2023-06 or 2023-06-S.
	Name string `json:"name"`

	// Type is predefined.
	Type string `json:"type"`
}

// Names and type of a PolicyType.
const (
	PolicyType202306     = "2023-06"
	PolicyType202306S    = "2023-06-S" // without CBC
	PolicyTypePredefined = "predefined"
)

// FrontendTLSVerify is what a client's certificate must be.
type FrontendTLSVerify struct {
	// CaCertificateRef is the Secret with the authority's certificate, key ca.crt.
	CaCertificateRef gatewayv1.SecretObjectReference `json:"caCertificateRef"`

	// SubjectAltNames: the certificate must have one of them. None: any.
	//
	// +optional
	SubjectAltNames []string `json:"subjectAltNames,omitempty"`
}

// Reasons of conditions on the TLS policies, besides the shared ones.
const (
	BackendTLSPolicyReasonInvalid            = "InvalidBackendTLSPolicy"
	BackendTLSPolicyReasonServiceNotFound    = "ServiceNotFound"
	FrontendTLSPolicyReasonInvalid           = "InvalidFrontendTLSPolicy"
	FrontendTLSPolicyReasonInvalidPolicyName = "InvalidPolicyName"
	FrontendTLSPolicyReasonInvalidPolicyType = "InvalidPolicyType"
)
