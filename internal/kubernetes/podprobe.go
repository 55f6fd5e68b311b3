package kubernetes

import (
	"cmp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// podProbe is the probe of a port of svc that the readinessProbe of its pods says, if Options.ProbeFromPods; of pods that differ the
// first by name counts. What the gateway cannot ask as kubelet does, it does not ask: a probe must not find a good pod bad.
func (t *translation) podProbe(svc *corev1.Service, port *corev1.ServicePort) upstream.Probe {
	if !t.ProbeFromPods || len(svc.Spec.Selector) == 0 {
		return upstream.Probe{}
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	for _, pod := range t.podsIn(svc.Namespace) {
		if !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if c, number := servingContainer(pod, port); c != nil && c.ReadinessProbe != nil {
			return readiness(c, number)
		}
	}
	return upstream.Probe{}
}

// podsIn are the pods of a namespace, by name.
func (t *translation) podsIn(namespace string) []*corev1.Pod {
	if t.pods == nil {
		t.pods = make(map[string][]*corev1.Pod)
		for _, pod := range sorted(t.Pods) {
			t.pods[pod.Namespace] = append(t.pods[pod.Namespace], pod)
		}
	}
	return t.pods[namespace]
}

// servingContainer is the container of a pod that serves port, and the number of its port. One container serves what it does not list.
func servingContainer(pod *corev1.Pod, port *corev1.ServicePort) (*corev1.Container, int32) {
	target := port.TargetPort
	if target == (intstr.IntOrString{}) {
		target = intstr.FromInt32(port.Port)
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if n := containerPort(c, target); n != 0 {
			return c, n
		}
	}
	if len(pod.Spec.Containers) == 1 && target.Type == intstr.Int {
		return &pod.Spec.Containers[0], target.IntVal
	}
	return nil, 0
}

// containerPort is the number of a port that a container lists, by name or number; 0 if it does not.
func containerPort(c *corev1.Container, port intstr.IntOrString) int32 {
	for _, p := range c.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal {
			return p.ContainerPort
		}
	}
	return 0
}

// Kubelet's defaults.
const (
	kubeletPeriod  = 10
	kubeletTimeout = 1
)

// readiness is a container's readinessProbe; serves is the port that the gateway sends requests to.
func readiness(c *corev1.Container, serves int32) upstream.Probe {
	from := c.ReadinessProbe
	probe := upstream.Probe{
		Interval:           time.Duration(cmp.Or(max(from.PeriodSeconds, 0), kubeletPeriod)) * time.Second,
		Timeout:            time.Duration(cmp.Or(max(from.TimeoutSeconds, 0), kubeletTimeout)) * time.Second,
		HealthyThreshold:   int(max(from.SuccessThreshold, 0)),
		UnhealthyThreshold: int(max(from.FailureThreshold, 0)),
	}
	var port intstr.IntOrString
	switch {
	case from.HTTPGet != nil:
		get := from.HTTPGet
		if get.Host != "" && !strings.EqualFold(get.Host, "localhost") {
			return upstream.Probe{} // it asks something else than the pod
		}
		port = get.Port
		probe.Kind, probe.Path = upstream.HTTPProbe, get.Path
		if probe.Path != "" && probe.Path[0] != '/' {
			probe.Path = "/" + probe.Path
		}
		for _, h := range get.HTTPHeaders {
			if !strings.EqualFold(h.Name, "Host") {
				return upstream.Probe{} // fields that no probe here can send
			}
			probe.Host = h.Value
		}
		probe.TLS = upstream.ProbeTLSOff
		if get.Scheme == corev1.URISchemeHTTPS { // kubelet takes any certificate: no more than connecting is sure to agree with it
			probe.Kind, probe.Path, probe.Host, probe.TLS = upstream.TCPProbe, "", "", upstream.ProbeTLSAuto
		}
	case from.TCPSocket != nil:
		probe.Kind, port = upstream.TCPProbe, from.TCPSocket.Port
		if from.TCPSocket.Host != "" {
			return upstream.Probe{}
		}
	case from.GRPC != nil:
		probe.Kind, probe.TLS, port = upstream.GRPCProbe, upstream.ProbeTLSOff, intstr.FromInt32(from.GRPC.Port)
		probe.Service = orElse(from.GRPC.Service, "")
	default:
		return upstream.Probe{} // a command in the pod
	}
	number := port.IntVal
	if port.Type == intstr.String {
		number = containerPort(c, port)
	}
	if number < 1 || number > 65535 {
		return upstream.Probe{}
	}
	if number != serves {
		probe.Port = int(number)
	}
	if probe.Check() != nil {
		return upstream.Probe{}
	}
	return probe
}
