package kubernetes

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A translation is the work on one Set.
type translation struct {
	*Set
	Options

	services   map[types.NamespacedName]*corev1.Service
	slices     map[types.NamespacedName][]*discoveryv1.EndpointSlice // by service
	secrets    map[types.NamespacedName]*corev1.Secret
	configMaps map[types.NamespacedName]*corev1.ConfigMap
	namespaces map[string]*corev1.Namespace
	pods       map[string][]*corev1.Pod // by namespace; nil: nobody has asked
	grants     map[grant]bool

	base     route.Policy            // under all RoutePolicies
	backends map[backendKey]resolved // those that were referred to

	gateways   map[types.NamespacedName]*gateway     // that are ours
	others     map[types.NamespacedName]bool         // Gateways of other controllers
	ordered    []*gateway                            // gateways, the oldest first
	setsByName map[types.NamespacedName]*listenerSet // that name one of gateways
	otherSets  map[types.NamespacedName]bool         // ListenerSets of Gateways that are not ours, or do not exist
	sets       []*listenerSet                        // the oldest first

	policies policies

	result Result
}

func newTranslation(set *Set, o Options) *translation {
	t := &translation{
		Set: set, Options: o,
		services:   byName(set.Services),
		slices:     make(map[types.NamespacedName][]*discoveryv1.EndpointSlice),
		secrets:    byName(set.Secrets),
		configMaps: byName(set.ConfigMaps),
		namespaces: make(map[string]*corev1.Namespace, len(set.Namespaces)),
		grants:     grantsOf(set.ReferenceGrants),
		base:       route.DefaultGatewayAPI().Overlay(o.Defaults),
		backends:   make(map[backendKey]resolved),
	}
	if t.Cache == nil {
		t.Cache = new(Cache)
	}
	t.Cache.begin()
	t.result.Problems = append(t.result.Problems, set.Refused...)
	for _, s := range set.EndpointSlices {
		name := types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
		t.slices[name] = append(t.slices[name], s)
	}
	for _, n := range set.Namespaces {
		t.namespaces[n.Name] = n
	}
	t.readPolicies()
	return t
}

// secret is the Secret of that name, which the referring object may refer to; nil: there is none.
func (t *translation) secret(name types.NamespacedName) *corev1.Secret {
	t.want("Secret", name)
	return t.secrets[name]
}

// configMap is the ConfigMap of that name; nil: there is none.
func (t *translation) configMap(name types.NamespacedName) *corev1.ConfigMap {
	t.want("ConfigMap", name)
	return t.configMaps[name]
}

func (t *translation) want(kind string, name types.NamespacedName) {
	if t.result.wanted == nil {
		t.result.wanted = map[objectKey]bool{}
	}
	t.result.wanted[objectKey{"", kind, name.Namespace, name.Name}] = true
}

func byName[T metav1.Object](objects []T) map[types.NamespacedName]T {
	m := make(map[types.NamespacedName]T, len(objects))
	for _, o := range objects {
		m[nameOf(o)] = o
	}
	return m
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// translated is what the spec of one route means for one Gateway, wherever in it the route is attached.
type translated struct {
	rules   []route.Rule   // of HTTPRoutes and GRPCRoutes, without Hostnames
	streams []route.Stream // of TLSRoutes, TCPRoutes and UDPRoutes, without Hostnames

	// conditions are ResolvedRefs, and where the spec cannot be served as it is, Accepted or PartiallyInvalid with
	// the reason. Without observedGeneration and lastTransitionTime.
	conditions []metav1.Condition
}

// stringOr is what p points at, or otherwise.
func stringOr[T ~string](p *T, otherwise string) string {
	if p == nil {
		return otherwise
	}
	return string(*p)
}

// sorted is a copy of objects by namespace and name.
func sorted[T metav1.Object](objects []T) []T {
	s := slices.Clone(objects)
	slices.SortStableFunc(s, func(a, b T) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return s
}
