package kubernetes

import (
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// maxPublished is how many addresses the status of a Gateway may have.
const maxPublished = 16

// addressesOf are those under which a Service is reached: of its load balancer, else its external ones, else its own.
func addressesOf(it *item) []gatewayv1.GatewayStatusAddress {
	svc, ok := it.object.(*corev1.Service)
	if !ok {
		return nil
	}
	var found []gatewayv1.GatewayStatusAddress
	add := func(kind gatewayv1.AddressType, value string) {
		if value != "" && value != corev1.ClusterIPNone && len(found) < maxPublished {
			found = append(found, gatewayv1.GatewayStatusAddress{Type: &kind, Value: value})
		}
	}
	balancer, _ := it.status["loadBalancer"].(map[string]any)
	ingress, _ := balancer["ingress"].([]any)
	for _, point := range ingress {
		p, _ := point.(map[string]any)
		ip, _ := p["ip"].(string)
		hostname, _ := p["hostname"].(string)
		if add(gatewayv1.IPAddressType, ip); ip == "" {
			add(gatewayv1.HostnameAddressType, hostname)
		}
	}
	if len(found) == 0 {
		for _, ip := range svc.Spec.ExternalIPs {
			add(gatewayv1.IPAddressType, ip)
		}
	}
	if len(found) == 0 && svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		for _, ip := range svc.Spec.ClusterIPs {
			add(gatewayv1.IPAddressType, ip)
		}
	}
	return found
}
