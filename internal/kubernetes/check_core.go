package kubernetes

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// addCoreChecks adds what Kubernetes itself says of its kinds, as far as routing depends on it.
func addCoreChecks(t checkTable) {
	t.add(on(checkMeta))
	t.add(on(checkServicePort, "port"))
	t.add(on(checkServiceSpec))
	t.add(on(func(at spot, s *corev1.Service) {
		if !at.has("spec") {
			checkServiceSpec(at.at("spec"), &s.Spec)
		}
	}))
	t.add(on(checkSlice, "addressType"))
	t.add(on(func(at spot, e *discoveryv1.Endpoint) {
		at.at("addresses").items(len(e.Addresses), 1, 100)
	}, "addresses"))
	t.add(on(func(at spot, p *discoveryv1.EndpointPort) {
		setDefault(&p.Name, "")
		setDefault(&p.Protocol, corev1.ProtocolTCP)
		at.protocol(*p.Protocol)
		at.at("port").port(p.Port)
	}))
	t.add(on(checkSecret))
	t.add(on(checkConfigMap))
}

// checkMeta checks what all objects have. Their names have rules of their kinds, see servedKind.
func checkMeta(at spot, m *metav1.ObjectMeta) {
	if m.Generation == 0 {
		m.Generation = 1 // an API server counts from 1
	}
	if m.GenerateName != "" && m.Name == "" {
		at.at("generateName").refuse("say name: from files there is nobody who generates one", "is not supported")
	}
	for k, v := range m.Labels {
		at.at("labels").qualified(k)
		at.at("labels", k).labelValue(v)
	}
	for k := range m.Annotations {
		at.at("annotations").qualified(strings.ToLower(k))
	}
}

func (s spot) protocol(p corev1.Protocol) {
	enum(s.at("protocol"), p, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
}

func checkServicePort(at spot, p *corev1.ServicePort) {
	if p.Protocol == "" {
		p.Protocol = corev1.ProtocolTCP
	}
	at.protocol(p.Protocol)
	at.at("port").port(&p.Port)
	if p.Name != "" {
		at.at("name").label(p.Name, "a port")
	}
	switch target := &p.TargetPort; {
	case target.Type == intstr.String && target.StrVal == "", target.Type == intstr.Int && target.IntVal == 0:
		*target = intstr.FromInt32(p.Port)
	case target.Type == intstr.Int:
		at.at("targetPort").port(&target.IntVal)
	case len(target.StrVal) > 15 || !isLabel(target.StrVal):
		at.at("targetPort").refuse("remove the quotes of a number", "%s is no name of a port", shown(target.StrVal, true))
	}
}

func checkServiceSpec(at spot, s *corev1.ServiceSpec) {
	if s.Type == "" {
		s.Type = corev1.ServiceTypeClusterIP
	}
	if s.SessionAffinity == "" {
		s.SessionAffinity = corev1.ServiceAffinityNone
	}
	enum(at.at("type"), s.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer,
		corev1.ServiceTypeExternalName)
	if s.Type == corev1.ServiceTypeExternalName {
		if name := strings.TrimSuffix(s.ExternalName, "."); !isSubdomain(name) || len(name) > 253 {
			at.at("externalName").refuse("say the DNS name of the service: externalName: api.example.com", "%s is no DNS name",
				shown(s.ExternalName, true))
		}
	} else if len(s.Ports) == 0 && s.ClusterIP != corev1.ClusterIPNone {
		at.at("ports").refuse("add ports: [{port: 80}]", "is missing")
	}
	at = at.at("ports")
	unique(at, s.Ports, "name", func(p *corev1.ServicePort) string { return p.Name })
	type number struct {
		port     int32
		protocol corev1.Protocol
	}
	unique(at, s.Ports, "port and protocol", func(p *corev1.ServicePort) number { return number{p.Port, p.Protocol} })
	for i := range s.Ports {
		if len(s.Ports) > 1 && s.Ports[i].Name == "" {
			at.at(i, "name").refuse("give each of several ports a name", "is missing")
		}
	}
}

func checkSlice(at spot, s *discoveryv1.EndpointSlice) {
	enum(at.at("addressType"), s.AddressType, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN)
	at.at("ports").items(len(s.Ports), 0, 20_000)
	unique(at.at("ports"), s.Ports, "name", func(p *discoveryv1.EndpointPort) string { return *p.Name })
	at = at.at("endpoints")
	at.items(len(s.Endpoints), 0, 1000)
	for i, e := range s.Endpoints {
		for j, a := range e.Addresses {
			checkSliceAddress(at.at(i, "addresses", j), s.AddressType, a)
		}
	}
}

func checkSliceAddress(at spot, kind discoveryv1.AddressType, address string) {
	ip, err := netip.ParseAddr(address)
	switch {
	case kind == discoveryv1.AddressTypeFQDN:
		if !isSubdomain(strings.TrimSuffix(address, ".")) {
			at.refuse("", "%s is no DNS name, as addressType FQDN says", shown(address, true))
		}
	case err != nil || ip.Zone() != "":
		at.refuse("a name has addressType: FQDN", "%s is no IP address", shown(address, true))
	case ip.Is4() != (kind == discoveryv1.AddressTypeIPv4):
		at.refuse("IPv4 and IPv6 addresses stand in EndpointSlices of their own", "%s does not fit addressType %s", address, kind)
	case ip.IsUnspecified() || ip.IsMulticast():
		at.refuse("", "%s is not the address of an endpoint", address)
	}
}

// maxObjectData bounds what a Secret or ConfigMap holds, in bytes, as an API server does.
const maxObjectData = 1 << 20

func checkSecret(at spot, s *corev1.Secret) {
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
	total := 0
	for k, v := range s.Data {
		at.dataKey(k)
		total += len(v)
	}
	at.dataSize(total)
	if s.Type == corev1.SecretTypeTLS {
		for _, k := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if _, ok := s.Data[k]; !ok {
				at.at("data").refuse("add it to data in base64, or to stringData as it is", "%s is missing, which a Secret of type %s has", k, s.Type)
			}
		}
	}
}

func checkConfigMap(at spot, m *corev1.ConfigMap) {
	total := 0
	for k, v := range m.Data {
		at.dataKey(k)
		total += len(v)
	}
	for k, v := range m.BinaryData {
		at.dataKey(k)
		total += len(v)
		if _, both := m.Data[k]; both {
			at.at("binaryData", k).refuse("remove one of them", "is in data too")
		}
	}
	at.dataSize(total)
}

func (s spot) dataKey(k string) {
	if k == "" || len(k) > 253 || k == "." || strings.HasPrefix(k, "..") || strings.TrimLeft(k, alphanumeric+"-_.") != "" {
		s.refuse("", "%s is no name of data: want letters, digits, -, _ and .", shown(k, true))
	}
}

func (s spot) dataSize(n int) {
	if n > maxObjectData {
		s.refuse("", "holds %d bytes, at most %d", n, maxObjectData)
	}
}
