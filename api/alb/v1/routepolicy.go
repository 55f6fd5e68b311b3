package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RoutePolicy says how requests of an HTTPRoute or GRPCRoute are served.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=routepolicies
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RoutePolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec RoutePolicySpec `json:"spec,omitempty,omitzero"`

	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty,omitzero"`
}

// RoutePolicyList is a list of them.
//
// +kubebuilder:object:root=true
type RoutePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RoutePolicy `json:"items"`
}

// RoutePolicySpec is the body of a RoutePolicy.
type RoutePolicySpec struct {
	// TargetRef is the HTTPRoute or GRPCRoute.
	TargetRef CustomTargetRef `json:"targetRef"`

	// Override is refused with reason OverrideNotSupported.
	//
	// +optional
	Override *RoutePolicyConfig `json:"override,omitempty"`

	// +optional
	Default *RoutePolicyConfig `json:"default,omitempty"`
}

// RoutePolicyConfig is what holds for the target.
type RoutePolicyConfig struct {
	// +optional
	Timeouts *RouteTimeouts `json:"timeouts,omitempty"`

	// +optional
	SessionAffinity *SessionAffinity `json:"sessionAffinity,omitempty"`
}

// RouteTimeouts are the deadlines of a route.
type RouteTimeouts struct {
	// RouteTimeout bounds a whole request. 0s: no bound. The timeouts of an HTTPRoute win over it.
	//
	// +optional
	RouteTimeout *metav1.Duration `json:"routeTimeout,omitempty"`
}

// SessionAffinity keeps a client at its endpoint.
type SessionAffinity struct {
	AffinityType AffinityType `json:"affinityType"`

	// CookieName is required for application-cookie.
	//
	// +optional
	CookieName *string `json:"cookieName,omitempty"`

	// CookieDuration is how long a client keeps the cookie.
	//
	// +optional
	CookieDuration *metav1.Duration `json:"cookieDuration,omitempty"`
}

// AffinityType tells whose cookie it is.
//
// +kubebuilder:validation:Enum=application-cookie;managed-cookie
type AffinityType string

const (
	// AffinityTypeApplicationCookie hashes the value of a cookie that the application sets.
	AffinityTypeApplicationCookie AffinityType = "application-cookie"

	// AffinityTypeManagedCookie has the gateway set a cookie of its own.
	AffinityTypeManagedCookie AffinityType = "managed-cookie"
)

// Reasons of conditions on a RoutePolicy, besides the shared ones.
const (
	RoutePolicyReasonAcceptedWithTimeoutConflict = "AcceptedWithTimeoutConflict"
	RoutePolicyReasonInvalid                     = "InvalidRoutePolicy"
	RoutePolicyReasonInvalidHTTPRoute            = "InvalidHTTPRoute"
	RoutePolicyReasonInvalidGRPCRoute            = "InvalidGRPCRoute"
)
