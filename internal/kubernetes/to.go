package kubernetes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
)

// toName is the name of the objects that To makes.
const toName = "to"

// To makes the objects of the one-line form: a Gateway that listens on an address, and for each target "[PATH=]URL" a
// Backend and a rule that sends what is below PATH (default "/") to it. A URL's own path takes PATH's place. The error
// names the target and what is wrong with it.
func To(listen string, targets []string) (Source, error) {
	at, port, err := listenAddress(listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", listen, err)
	}
	gw := &gatewayv1.Gateway{ObjectMeta: toMeta(toName), Spec: gatewayv1.GatewaySpec{
		GatewayClassName: "fairlead",
		Listeners: []gatewayv1.Listener{{
			Name: "http", Port: gatewayv1.PortNumber(port), Protocol: gatewayv1.HTTPProtocolType,
			AllowedRoutes: &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromSame)}},
		}},
	}}
	if at.IsValid() {
		gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Type: new(gatewayv1.IPAddressType), Value: at.String()}}
	}
	rt := &gatewayv1.HTTPRoute{ObjectMeta: toMeta(toName), Spec: gatewayv1.HTTPRouteSpec{CommonRouteSpec: gatewayv1.CommonRouteSpec{
		ParentRefs: []gatewayv1.ParentReference{{
			Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")), Name: toName,
		}},
	}}}
	set := &Set{Gateways: []*gatewayv1.Gateway{gw}, HTTPRoutes: []*gatewayv1.HTTPRoute{rt}}
	paths := map[string]bool{}
	for i, target := range targets {
		path, backend, rewrite, err := parseTarget(target)
		if err == nil && paths[path] {
			err = fmt.Errorf("%s has a target already", path)
		}
		if err != nil {
			return nil, fmt.Errorf("--to %s: %w", target, err)
		}
		paths[path] = true
		backend.ObjectMeta = toMeta(toName + "-" + strconv.Itoa(i))
		set.Backends = append(set.Backends, backend)
		rt.Spec.Rules = append(rt.Spec.Rules, toRule(path, backend.Name, rewrite))
	}
	return Fixed{set}, nil
}

func toMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name, Generation: 1}
}

func toRule(path, backend, rewrite string) gatewayv1.HTTPRouteRule {
	rule := gatewayv1.HTTPRouteRule{
		Matches: []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: &path}}},
		BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{
				Group: new(gatewayv1.Group(v1alpha1.Group)), Kind: new(gatewayv1.Kind("Backend")), Name: gatewayv1.ObjectName(backend),
			},
			Weight: new(int32(1)),
		}}},
	}
	if rewrite != "" {
		rule.Filters = []gatewayv1.HTTPRouteFilter{{
			Type: gatewayv1.HTTPRouteFilterURLRewrite,
			URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Path: &gatewayv1.HTTPPathModifier{
				Type: gatewayv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: &rewrite,
			}},
		}}
	}
	return rule
}

const hintTarget = "write ws://host:port, wss://…, http://… or https://…, with PATH= before it for a part of the paths"

// parseTarget reads "[PATH=]URL". rewrite is the URL's own path; "": the path stays as it is.
func parseTarget(target string) (path string, b *v1alpha1.Backend, rewrite string, err error) {
	path = "/"
	text := target
	if strings.HasPrefix(target, "/") {
		var ok bool
		if path, text, ok = strings.Cut(target, "="); !ok {
			return "", nil, "", errors.New("no URL in it: " + hintTarget)
		}
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", nil, "", fmt.Errorf("%q is no URL: %s", text, hintTarget)
	}
	secure := u.Scheme == "wss" || u.Scheme == "https"
	switch {
	case !secure && u.Scheme != "ws" && u.Scheme != "http":
		return "", nil, "", fmt.Errorf("scheme %q: %s", u.Scheme, hintTarget)
	case u.Hostname() == "":
		return "", nil, "", errors.New("no host in it: " + hintTarget)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", nil, "", errors.New("a user, a query or a fragment goes nowhere: leave it out")
	}
	port := 80
	if secure {
		port = 443
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", nil, "", fmt.Errorf("port %q: want 1 to 65535", p)
		}
		port = int(n)
	}
	b = &v1alpha1.Backend{Spec: v1alpha1.BackendSpec{Host: u.Hostname(), Port: new(int32(port))}}
	if secure {
		b.Spec.TLS = &v1alpha1.BackendTLS{}
	}
	if rewrite = u.EscapedPath(); rewrite == "/" && path == "/" {
		rewrite = ""
	}
	return path, b, rewrite, nil
}

// listenAddress reads "host:port" of --listen; an empty host is every interface.
func listenAddress(listen string) (netip.Addr, uint16, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.Addr{}, 0, errors.New(`write address:port, as "127.0.0.1:8080", or ":8080" for every interface`)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return netip.Addr{}, 0, fmt.Errorf("port %q: want 1 to 65535", port)
	}
	if host == "" {
		return netip.Addr{}, uint16(n), nil
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%q is no address of this machine: write one, or none for every interface", host)
	}
	return at, uint16(n), nil
}
