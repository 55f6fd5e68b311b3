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
