package kubernetes

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// apiVersion is the release of the Gateway API that this package is written against.
const apiVersion = "v1.6.3"

// supportedFeatures are those of the Gateway API v1.6.3, both channels, whose conformance tests Fairlead is built to pass:
// everything but the features of a service mesh. In ascending order, as GatewayClassStatus asks. GatewayInfrastructure is
// absent: it speaks of objects that a controller makes for a Gateway, and none are made.
var supportedFeatures = []gatewayv1.FeatureName{
	"BackendTLSPolicy",
	"BackendTLSPolicySANValidation",
	"GRPCRoute",
	"GRPCRouteNamedRouteRule",
	"Gateway",
	"GatewayAddressEmpty",
	"GatewayBackendClientCertificate",
	"GatewayFrontendClientCertificateValidation",
	"GatewayFrontendClientCertificateValidationInsecureFallback",
	"GatewayHTTPListenerIsolation",
	"GatewayHTTPSListenerDetectMisdirectedRequests",
	"GatewayPort8080",
	"GatewayStaticAddresses",
	"HTTPRoute",
	"HTTPRoute303RedirectStatusCode",
	"HTTPRoute307RedirectStatusCode",
	"HTTPRoute308RedirectStatusCode",
	"HTTPRouteBackendProtocolH2C",
	"HTTPRouteBackendProtocolWebSocket",
	"HTTPRouteBackendRequestHeaderModification",
	"HTTPRouteBackendTimeout",
	"HTTPRouteCORS",
	"HTTPRouteDestinationPortMatching",
	"HTTPRouteHostRewrite",
	"HTTPRouteMethodMatching",
	"HTTPRouteNamedRouteRule",
	"HTTPRouteParentRefPort",
	"HTTPRoutePathRedirect",
	"HTTPRoutePathRewrite",
	"HTTPRoutePortRedirect",
	"HTTPRouteQueryParamMatching",
	"HTTPRouteRequestMirror",
	"HTTPRouteRequestMultipleMirrors",
	"HTTPRouteRequestPercentageMirror",
	"HTTPRouteRequestTimeout",
	"HTTPRouteResponseHeaderModification",
	"HTTPRouteRetry",
	"HTTPRouteRetryBackendTimeout",
	"HTTPRouteRetryConnectionError",
	"HTTPRouteSchemeRedirect",
	"ListenerSet",
	"ReferenceGrant",
	"TCPRoute",
	"TLSRoute",
	"TLSRouteModeMixed",
	"TLSRouteModeTerminate",
	"UDPRoute",
}

// class is what a GatewayClass means for its Gateways.
type class struct {
	foreign bool     // another controller's, served all the same
	refusal *refusal // why its Gateways are not served; nil: they are
}

// classesOf judges the classes that are ours, and publishes their statuses.
func (t *translation) classesOf() map[string]*class {
	m := make(map[string]*class, len(t.GatewayClasses))
	for _, gc := range sorted(t.GatewayClasses) {
		c := &class{foreign: gc.Spec.ControllerName != ControllerName}
		if c.foreign && !t.AnyClass {
			continue
		}
		m[gc.Name] = c
		if ref := gc.Spec.ParametersRef; ref != nil {
			if c.foreign {
				t.problem("GatewayClass", gc, "spec.parametersRef: skipped, since it speaks to "+string(gc.Spec.ControllerName))
			} else {
				c.refusal = refuse(gatewayv1.GatewayClassReasonInvalidParameters,
					"spec.parametersRef: "+kindOf(string(ref.Group), string(ref.Kind))+" is no kind that configures a class: remove parametersRef")
			}
		}
		var conds conditions
		unless(&conds, c.refusal, gatewayv1.GatewayClassConditionStatusAccepted, gatewayv1.GatewayClassReasonAccepted,
			"Gateways of this class are served")
		say(&conds, gatewayv1.GatewayClassConditionStatusSupportedVersion, true, gatewayv1.GatewayClassReasonSupportedVersion,
			"the Gateway API is read as "+apiVersion+" defines it")
		status := gatewayv1.GatewayClassStatus{Conditions: conds.published(gc.Generation)}
		for _, name := range supportedFeatures {
			status.SupportedFeatures = append(status.SupportedFeatures, gatewayv1.SupportedFeature{Name: name})
		}
		t.publish("GatewayClass", gc, status)
	}
	return m
}

// classOf returns the class of a Gateway, nil if Gateways of that class are not ours.
func (t *translation) classOf(classes map[string]*class, g *gatewayv1.Gateway) *class {
	if c := classes[string(g.Spec.GatewayClassName)]; c != nil {
		return c
	}
	if t.AnyClass {
		return &class{foreign: true}
	}
	return nil
}
