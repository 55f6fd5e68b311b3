package kubernetes

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"go.yaml.in/yaml/v3"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
)

// podKind is read for Options.ProbeFromPods alone. In files, pods are no objects of their own.
var podKind = func() *servedKind {
	k := kindOfSet("", "Pod", func(s *Set) *[]*corev1.Pod { return &s.Pods }, "v1")
	return &k
}()

// reports tells whether objects of the kind have a status that Fairlead writes.
func (k *servedKind) reports() bool {
	switch k.group {
	case gatewayGroup, gatewayXGroup, albv1.Group, v1alpha1.Group:
		return true
	}
	return false
}

// lastApplied is where kubectl keeps a copy of the object.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// read makes an item of what the API server has sent, which it takes over; withStatus keeps the status, whichever kind it is.
func (k *servedKind) read(u *unstructured.Unstructured, version string, withStatus bool) (it *item) {
	it = &item{version: u.GetResourceVersion(), uid: u.GetUID(), generation: u.GetGeneration()}
	defer func() {
		if r := recover(); r != nil { // one object must not end what reads all of them
			it.object, it.refused = nil, fmt.Sprintf("cannot be read: %v", r)
		}
	}()
	if k.reports() || withStatus {
		it.status, _ = u.Object["status"].(map[string]any)
	}
	delete(u.Object, "status")
	u.SetManagedFields(nil)
	u.SetResourceVersion("")
	if notes := u.GetAnnotations(); notes[lastApplied] != "" {
		delete(notes, lastApplied)
		u.SetAnnotations(notes)
	}
	var err error
	if it.object, err = k.decode(u, version); err != nil {
		it.object, it.refused = nil, err.Error()
	}
	return it
}

// decode makes of an object what the same object in a file would be, with its defaults: an older schema than ours has fewer of them. What
// only a newer one knows is left out, and what ours refuses is refused.
func (k *servedKind) decode(u *unstructured.Unstructured, version string) (metav1.Object, error) {
	o := k.new()
	if k == podKind {
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &pod); err != nil {
			return nil, err
		}
		return slimPod(&pod), nil
	}
	d := &objectDecoder{doc: &document{file: &manifest{}}, nodes: math.MaxInt, lenient: true, version: version, secret: k.kind == "Secret"}
	d.value(nodeOf(u.Object), reflect.ValueOf(o).Elem())
	if len(d.errs) > 0 {
		var texts []string
		for _, e := range d.errs[:min(len(d.errs), 3)] {
			texts = append(texts, strings.TrimPrefix(e.Path+": "+e.Err.Error(), ": "))
		}
		return nil, fmt.Errorf("%s", strings.Join(texts, "; "))
	}
	o.(runtime.Object).GetObjectKind().SetGroupVersionKind(k.as.GroupVersionKind())
	if ns, ok := o.(*corev1.Namespace); ok {
		labelNamespace(ns)
	}
	return o, nil
}

// slimPod is what probes are taken from.
func slimPod(pod *corev1.Pod) *corev1.Pod {
	slim := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels}}
	for _, c := range pod.Spec.Containers {
		slim.Spec.Containers = append(slim.Spec.Containers, corev1.Container{Name: c.Name, Ports: c.Ports, ReadinessProbe: c.ReadinessProbe})
	}
	return slim
}

// nodeOf is a value of JSON as the decoder reads it.
func nodeOf(v any) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text} }
	switch v := v.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: make([]*yaml.Node, 0, 2*len(v))}
		for name, value := range v {
			n.Content = append(n.Content, textNode(name), nodeOf(value))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: make([]*yaml.Node, len(v))}
		for i := range v {
			n.Content[i] = nodeOf(v[i])
		}
		return n
	case string:
		return textNode(v)
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case int64:
		return scalar("!!int", strconv.FormatInt(v, 10))
	case float64:
		return scalar("!!float", strconv.FormatFloat(v, 'g', -1, 64))
	}
	return scalar("!!null", "null")
}

// textNode is a text, whatever it looks like.
func textNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}
}
