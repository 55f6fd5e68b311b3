package kubernetes

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// endpoints are where a port of svc runs: those of its EndpointSlices that are ready. Who terminates is not ready, and leaves.
// The order is by address, so that the order of the objects makes no difference.
func (t *translation) endpoints(svc *corev1.Service, port *corev1.ServicePort, scheme string) []upstream.Spec {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		if svc.Spec.ExternalName == "" {
			return nil
		}
		return []upstream.Spec{spec("", scheme, svc.Spec.ExternalName, int(port.Port))}
	}
	slicesOf := t.slices[nameOf(svc)]
	family := discoveryv1.AddressTypeIPv4
	if len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol {
		family = discoveryv1.AddressTypeIPv6
	}
	var specs []upstream.Spec
	pods := make(map[string]bool)
	for _, preferred := range []bool{true, false} { // a pod with addresses of both families is one endpoint
		for _, slice := range slicesOf {
			if (slice.AddressType == family) != preferred {
				continue
			}
			number := slicePort(slice, port)
			if number == 0 {
				continue
			}
			for i := range slice.Endpoints {
				e := &slice.Endpoints[i]
				if !ready(e) || len(e.Addresses) == 0 {
					continue
				}
				id := ""
				if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" {
					if id = ref.Name; !preferred && pods[id] {
						continue
					}
					pods[id] = pods[id] || preferred
				}
				specs = append(specs, spec(id, scheme, e.Addresses[0], number)) // others have no meaning
			}
		}
	}
	slices.SortFunc(specs, func(a, b upstream.Spec) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.ID, b.ID))
	})
	return slices.Compact(specs)
}

func spec(id, scheme, host string, port int) upstream.Spec {
	s := upstream.Spec{ID: id, Scheme: scheme, Host: host, Port: port}
	if id == "" {
		s.ID = s.Address()
	}
	return s
}

// ready tells whether an endpoint may take new work; who says nothing may.
func ready(e *discoveryv1.Endpoint) bool {
	return orElse(e.Conditions.Ready, true) && !orElse(e.Conditions.Terminating, false)
}

// slicePort is the number under which the endpoints of a slice serve port, found by its name; 0 if they do not. A slice that says no
// number leaves it to the Service.
func slicePort(slice *discoveryv1.EndpointSlice, port *corev1.ServicePort) int {
	own := int(port.TargetPort.IntVal)
	if own == 0 {
		own = int(port.Port)
	}
	if len(slice.Ports) == 0 {
		return own
	}
	for i := range slice.Ports {
		p := &slice.Ports[i]
		if orElse(p.Name, "") != port.Name {
			continue
		}
		n := int(orElse(p.Port, int32(own)))
		if n < 1 || n > 65535 {
			return 0
		}
		return n
	}
	return 0
}
