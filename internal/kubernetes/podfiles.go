package kubernetes

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.yaml.in/yaml/v3"
)

// podKinds are the kinds that are read for Options.ProbeFromPods alone, by apiVersion and kind: pods, and what has a template of them.
var podKinds = map[[2]string]bool{
	{"v1", "Pod"}: true, {"apps/v1", "Deployment"}: true, {"apps/v1", "StatefulSet"}: true, {"apps/v1", "DaemonSet"}: true,
	{"apps/v1", "ReplicaSet"}: true,
}

// podText is as much of a pod, or of what has a template of it, as is read.
type podText struct {
	Metadata struct {
		Namespace string            `json:"namespace"`
		Name      string            `json:"name"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Containers []containerText `json:"containers"`
		Template   *podText        `json:"template"`
	} `json:"spec"`
}

type containerText struct {
	Name           string                 `json:"name"`
	Ports          []corev1.ContainerPort `json:"ports"`
	ReadinessProbe *corev1.Probe          `json:"readinessProbe"`
}

// podOf is the pod that an object is, or that its template makes, with what probes are taken from. Nil if it is another object, or cannot
// be read: files may hold what only a cluster understands, and nothing but probes depends on it.
func podOf(n *yaml.Node, apiVersion, kind string) *corev1.Pod {
	if !podKinds[[2]string{apiVersion, kind}] {
		return nil
	}
	var content any
	var text podText
	if n.Decode(&content) != nil {
		return nil
	}
	if js, err := json.Marshal(content); err != nil || json.Unmarshal(js, &text) != nil {
		return nil
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: text.Metadata.Namespace, Name: text.Metadata.Name}}
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	from := &text
	if text.Spec.Template != nil {
		from = text.Spec.Template
	}
	pod.Labels = from.Metadata.Labels
	for _, c := range from.Spec.Containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c.Name, Ports: c.Ports, ReadinessProbe: c.ReadinessProbe})
	}
	return pod
}
