package kubernetes

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// reasonInvalidBackend is ours: the specification has none for a backend whose own spec is wrong.
const reasonInvalidBackend gatewayv1.RouteConditionReason = "InvalidBackend"

// ownBackend resolves a Backend of fairlead.dev.
func (t *translation) ownBackend(k backendKey, gw *gateway) (b route.Backend, bad *refError) {
	o, _ := t.object(k.target()).(*v1alpha1.Backend)
	if o == nil {
		return b, badRef(gatewayv1.RouteReasonBackendNotFound, "there is no %s", k.target())
	}
	specs, tls, wrong := t.readBackend(o)
	if wrong != nil {
		reason := gatewayv1.RouteConditionReason(wrong.reason)
		if wrong.reason == string(gatewayv1.PolicyReasonInvalid) {
			reason = reasonInvalidBackend
		}
		return b, badRef(reason, "%s: %s", k.target(), wrong.message)
	}
	appProtocol := o.Spec.AppProtocol
	speaks, bad := protocolOf(&appProtocol, k, tls != nil)
	if bad != nil {
		bad.text = fmt.Sprintf("%s: %s", k.target(), bad.text)
		return b, bad
	}
	for i := range specs {
		specs[i].Scheme = speaks.scheme
	}
	b.Service = t.pooled(k, "", specs, speaks, tls, gw, backendSays{probe: upstream.Probe{Kind: upstream.TCPProbe}, weak: true})
	return b, nil
}

// readBackend reads where a Backend runs, and how TLS is spoken to it; nil: it is not.
func (t *translation) readBackend(o *v1alpha1.Backend) (specs []upstream.Spec, tls *upstream.TLSSettings, bad *refusal) {
	invalid := func(format string, args ...any) *refusal {
		return &refusal{string(gatewayv1.PolicyReasonInvalid), fmt.Sprintf(format, args...)}
	}
	s := &o.Spec
	for i, e := range s.Endpoints {
		host, port, err := splitEndpoint(e)
		if err != nil {
			return nil, nil, invalid("spec.endpoints[%d] %q: %v", i, e, err)
		}
		specs = append(specs, spec("", "http", host, port))
	}
	if s.Host != "" {
		if len(s.Endpoints) > 0 {
			return nil, nil, invalid("spec: endpoints, and host with port, exclude each other")
		}
		host, port, err := splitEndpoint(net.JoinHostPort(s.Host, strconv.Itoa(int(orElse(s.Port, 0)))))
		if err != nil {
			return nil, nil, invalid("spec.host %q: %v", s.Host, err)
		}
		specs = append(specs, spec("", "http", host, port))
	}
	if len(specs) == 0 {
		return nil, nil, invalid("spec: neither endpoints nor host")
	}
	if s.TLS != nil {
		if tls, bad = t.readBackendsTLS(o, s.TLS); bad != nil {
			return nil, nil, bad
		}
	}
	return specs, tls, nil
}

// splitEndpoint reads "host:port".
func splitEndpoint(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("want host:port")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q: want 1 to 65535", text)
	}
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || !plainHostname(strings.ToLower(strings.ReplaceAll(host, "_", "-")))) {
		return "", 0, fmt.Errorf("host %q: neither a name nor an address", host)
	}
	return host, int(n), nil
}

func (t *translation) readBackendsTLS(o *v1alpha1.Backend, c *v1alpha1.BackendTLS) (*upstream.TLSSettings, *refusal) {
	s := &upstream.TLSSettings{ServerName: strings.ToLower(string(c.SNI)), Insecure: c.InsecureSkipVerify}
	if !plainHostname(s.ServerName) {
		return nil, &refusal{string(gatewayv1.PolicyReasonInvalid), fmt.Sprintf("spec.tls.sni %q: no name of a host", c.SNI)}
	}
	if len(c.CACertificateRefs) > 0 {
		pool, bad := t.authorities("Backend", o.Namespace, c.CACertificateRefs)
		if bad != nil {
			return nil, &refusal{bad.reason, "spec.tls." + bad.message}
		}
		s.RootCAs = pool
	}
	if why := subjectAltNames(s, c.SubjectAltNames); why != "" {
		return nil, &refusal{string(gatewayv1.PolicyReasonInvalid), "spec.tls." + why}
	}
	if ref := c.ClientCertificateRef; ref != nil {
		pair, bad := t.keyPairOf(v1alpha1.Group, "Backend", o.Namespace, ref, "InvalidClientCertificateRef")
		if bad != nil {
			return nil, &refusal{bad.reason, "spec.tls.clientCertificateRef: " + bad.message}
		}
		s.Certificate = pair
	}
	return s, nil
}

// eurekaBackend resolves a service of the registry. One that is unknown has no endpoint yet, which is no error of the route: a registry
// fills later.
func (t *translation) eurekaBackend(k backendKey, gw *gateway) (b route.Backend, bad *refError) {
	if t.Eureka == nil {
		return b, badRef(gatewayv1.RouteReasonInvalidKind, "%s: no registry is read here", k.target())
	}
	if k.stream {
		return b, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "%s: services of the registry speak HTTP", k.target())
	}
	id := k.name.Name
	if o, _ := t.object(k.target()).(*v1alpha1.EurekaService); o != nil && o.Spec.ServiceID != "" {
		id = o.Spec.ServiceID
	}
	specs, weights, said, _ := t.Eureka(id)
	s := speech{scheme: "http"}
	if k.grpc {
		s.protocol = upstream.H2C
		if len(specs) > 0 && specs[0].Secure() {
			s.protocol = upstream.H2
		}
	}
	b.Service = t.pooled(k, "", specs, s, nil, gw, backendSays{policy: said, weights: weights})
	return b, nil
}

// publishBackends adds the statuses of the objects of fairlead.dev that routes point at.
func (t *translation) publishBackends() {
	for _, o := range byAge(t.Backends) {
		resolved := condition(gatewayv1.RouteConditionResolvedRefs, true, gatewayv1.RouteReasonResolvedRefs, "all references are resolved")
		c := accepted("the backend can be used")
		if _, _, bad := t.readBackend(o); bad != nil {
			c = unaccepted(gatewayv1.PolicyReasonInvalid, bad.message)
			if bad.reason != c.Reason {
				resolved = condition(gatewayv1.RouteConditionResolvedRefs, false, bad.reason, bad.message)
			}
		}
		t.publishOwn("Backend", o, c, resolved)
	}
	for _, o := range byAge(t.EurekaServices) {
		c := accepted("the service is looked up in the registry")
		if t.Eureka == nil {
			c = unaccepted("NoRegistry", "no registry is read here")
		}
		t.publishOwn("EurekaService", o, c)
	}
}

func (t *translation) publishOwn(kind string, o metav1.Object, c ...metav1.Condition) {
	list := conditions(c)
	t.publishAs(v1alpha1.GroupVersion, kind, o, v1alpha1.ConditionStatus{Conditions: list.published(o.GetGeneration())})
}
