package kubernetes

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// namespaceAllowed tells whether an object of a namespace may be attached to one in own.
func (t *translation) namespaceAllowed(from gatewayv1.FromNamespaces, selector *metav1.LabelSelector, own, namespace string) bool {
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return own == namespace
	case gatewayv1.NamespacesFromSelector:
		s, err := metav1.LabelSelectorAsSelector(selector) // nil selects nothing
		return err == nil && s.Matches(t.namespaceLabels(namespace))
	}
	return false
}

// namespaceLabels are those of a namespace. One that is not in the set, as is usual in files, has the label that every namespace has.
func (t *translation) namespaceLabels(name string) labels.Set {
	s := labels.Set{corev1.LabelMetadataName: name}
	if n := t.namespaces[name]; n != nil {
		for k, v := range n.Labels {
			s[k] = v
		}
	}
	return s
}
