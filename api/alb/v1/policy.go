package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// CustomTargetRef names the object that a policy is for.
type CustomTargetRef struct {
	// Group of the target; "" is Kubernetes' core group.
	Group gatewayv1.Group `json:"group"`

	// Kind of the target.
	Kind gatewayv1.Kind `json:"kind"`

	// Name of the target.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Namespace of the target. Default the policy's own; another one needs a ReferenceGrant there.
	//
	// +optional
	Namespace *gatewayv1.Namespace `json:"namespace,omitempty"`

	// SectionNames are parts of the target: listeners of a Gateway, ports of a Service. None: all of it.
	//
	// +optional
	SectionNames []string `json:"sectionNames,omitempty"`
}

// PolicyStatus is what became of a policy.
type PolicyStatus struct {
	// Conditions are Accepted and, where the policy refers to other objects, ResolvedRefs.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:default={{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Types of conditions on the policies of this group.
const (
	ConditionAccepted     = "Accepted"
	ConditionResolvedRefs = "ResolvedRefs"
	ConditionProgrammed   = "Programmed"
)

// Reasons of conditions that several kinds have.
const (
	ReasonAccepted               = "Accepted"
	ReasonPending                = "Pending"
	ReasonResolvedRefs           = "ResolvedRefs"
	ReasonInvalid                = "Invalid"
	ReasonConflicted             = "Conflicted"
	ReasonOverrideNotSupported   = "OverrideNotSupported"
	ReasonRefNotPermitted        = "RefNotPermitted"
	ReasonInvalidCertificateRef  = "InvalidCertificateRef"
	ReasonNoTargetReference      = "NoTargetReference"
	ReasonInvalidGroup           = "InvalidGroup"
	ReasonInvalidKind            = "InvalidKind"
	ReasonInvalidName            = "InvalidName"
	ReasonInvalidTargetReference = "InvalidTargetReference"
	ReasonSectionNamesNotAllowed = "SectionNamesNotPermitted"
	ReasonInvalidService         = "InvalidService"
	ReasonInvalidGateway         = "InvalidGateway"
	ReasonProgrammed             = "Programmed"
)
