package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Backend is something that a route may point at without a Service: {group: fairlead.dev, kind: Backend, name}. A backendRef to it
// needs no port.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=gateway-api,shortName=flbe
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Backend struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec BackendSpec `json:"spec"`

	// +optional
	Status ConditionStatus `json:"status,omitempty,omitzero"`
}

// BackendList is a list of them.
//
// +kubebuilder:object:root=true
type BackendList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Backend `json:"items"`
}

// BackendSpec is the body of a Backend.
//
// +kubebuilder:validation:XValidation:message="either endpoints, or host and port",rule="has(self.endpoints) ? !has(self.host) && !has(self.port) : has(self.host) && has(self.port)"
// +kubebuilder:validation:XValidation:message="appProtocol https and kubernetes.io/wss need tls",rule="!has(self.appProtocol) || !(self.appProtocol in ['https', 'kubernetes.io/wss']) || has(self.tls)"
type BackendSpec struct {
	// Endpoints are host:port each: "10.0.0.7:8080", "[::1]:9000", "chat.internal:443". Names are resolved when they are connected to.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=261
	// +kubebuilder:validation:items:Pattern=`^(\[[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?\]|[0-9A-Za-z]([-0-9A-Za-z._]*[0-9A-Za-z])?):[0-9]{1,5}$`
	Endpoints []string `json:"endpoints,omitempty"`

	// Host is the one endpoint's name or address, with Port.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`

	// Port is the one endpoint's port.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`

	// AppProtocol is what the endpoints speak, as a Service's port says it: kubernetes.io/h2c (HTTP/2 without TLS), kubernetes.io/ws
	// (WebSocket alone), kubernetes.io/wss (the same with TLS). Default HTTP/1.1, WebSocket included.
	//
	// +optional
	// +kubebuilder:validation:Enum=http;https;kubernetes.io/h2c;kubernetes.io/ws;kubernetes.io/wss
	AppProtocol string `json:"appProtocol,omitempty"`

	// TLS is how to speak TLS to the endpoints. Unset: they are spoken to in the clear. {}: with the system's certificate authorities.
	//
	// +optional
	TLS *BackendTLS `json:"tls,omitempty"`
}

// BackendTLS is how to speak TLS to a Backend.
//
// +kubebuilder:validation:XValidation:message="insecureSkipVerify goes with neither caCertificateRefs nor subjectAltNames",rule="!has(self.insecureSkipVerify) || !self.insecureSkipVerify || (!has(self.caCertificateRefs) && !has(self.subjectAltNames))"
type BackendTLS struct {
	// SNI is the server name that is asked for, and that the certificate must be for if there are no subjectAltNames. Default the
	// endpoint's host, if that is a name.
	//
	// +optional
	SNI gatewayv1.PreciseHostname `json:"sni,omitempty"`

	// CACertificateRefs are ConfigMaps or Secrets of the Backend's namespace with certificates of authorities, key ca.crt. None: the
	// system's.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	CACertificateRefs []gatewayv1.LocalObjectReference `json:"caCertificateRefs,omitempty"`

	// SubjectAltNames: the certificate must have one of them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	SubjectAltNames []gatewayv1.SubjectAltName `json:"subjectAltNames,omitempty"`

	// ClientCertificateRef is the Secret of type kubernetes.io/tls with the certificate that is shown to the endpoints.
	//
	// +optional
	ClientCertificateRef *gatewayv1.SecretObjectReference `json:"clientCertificateRef,omitempty"`

	// InsecureSkipVerify takes any certificate. Danger: whoever is between the gateway and the endpoint can read and change all.
	//
	// +optional
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// EurekaService gives a service of the registry a name in a namespace. A backendRef {group: fairlead.dev, kind: EurekaService, name}
// needs no such object: without one, the name itself is the service's id.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=gateway-api,shortName=fles
// +kubebuilder:printcolumn:name="ServiceID",type=string,JSONPath=`.spec.serviceId`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type EurekaService struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec EurekaServiceSpec `json:"spec,omitempty,omitzero"`

	// +optional
	Status ConditionStatus `json:"status,omitempty,omitzero"`
}

// EurekaServiceList is a list of them.
//
// +kubebuilder:object:root=true
type EurekaServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EurekaService `json:"items"`
}

// EurekaServiceSpec is the body of an EurekaService.
type EurekaServiceSpec struct {
	// ServiceID is the id in the registry. Default the object's name.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ServiceID string `json:"serviceId,omitempty"`
}

// ConditionStatus is what became of an object.
type ConditionStatus struct {
	// Conditions are Accepted and, where the object refers to others, ResolvedRefs.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
