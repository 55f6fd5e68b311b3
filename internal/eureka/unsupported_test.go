package eureka

import (
	"slices"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// TestUnsupportedKeysAreTold: once for each key and value, with the effect; what asks for nothing is not told.
func TestUnsupportedKeysAreTold(t *testing.T) {
	same := ws("/s", "apiml.response.compress", "true", "apiml.authentication.scheme", "zosmf", "apiml.corsAllowCredentials", "false")
	routes := translated(route.Policy{}, upAt(1, same...), upAt(2, same...),
		upAt(3, ws("/s", "apiml.response.compress", "FALSE", "apiml.authentication.scheme", "bypass", "apiml.corsAllowCredentials", "true", "apiml.service.externalUrl", "")...))
	want := []string{
		`instance host:svc:1: apiml.response.compress "true" is not supported: answers are passed on as the service has compressed them`,
		`instance host:svc:1: apiml.corsAllowCredentials "false" is not supported: pages of allowed origins may send credentials`,
		`instance host:svc:1: apiml.authentication.scheme "zosmf" is not supported: ` + schemeEffect,
	}
	if got := problems(routes); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if len(served(routes)) != 1 {
		t.Errorf("%q", served(routes))
	}
}

// TestGatewayOfAnotherDomain: what is below its id is its own to route; a gateway of this domain gets no route at all.
func TestGatewayOfAnotherDomain(t *testing.T) {
	in := upAt(1, "apiml.service.apimlId", "apiml2", "apiml.routes.a.gatewayUrl", "api/v1", "apiml.routes.a.serviceUrl", "/gateway/api/v1")
	in.App = "GATEWAY"
	routes := translated(route.Policy{}, in)
	want := []string{"/apiml2/api/v1 | /api/v1/apiml2 -> /gateway/api/v1", "/apiml2 -> /"}
	if got := served(routes); !slices.Equal(got, want) || len(problems(routes)) > 0 {
		t.Errorf("%q, %q; want %q", got, problems(routes), want)
	}
	if in.isSibling() {
		t.Error("a gateway of another domain is taken for one of this")
	}
	delete(in.Metadata, keyApimlID)
	if !in.isSibling() {
		t.Error("a gateway of this domain is routed")
	}
}
