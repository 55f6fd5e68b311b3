package eureka

import "strings"

// Metadata of services from the time before its keys had a version.
const (
	oldRoutes     = "routed-services"
	oldTile       = "mfaas.discovery.catalogUiTile."
	oldService    = "mfaas.discovery.service."
	oldAPIInfo    = "mfaas.api-info.apiVersionProperties.v1."
	oldEnableDoc  = "mfaas.discovery.enableApiDoc"
	newRoutes     = "apiml.routes"
	newTile       = "apiml.catalog.tile."
	newService    = "apiml.service."
	schemeKey     = "apiml.authentication.scheme"
	versionMarker = "version"
)

// translate rewrites the old keys of an instance's metadata, unless a key "version" says that there are none,
// and adds the default that its name asks for. It changes the map: the instance is not yet shared.
func translate(i *Instance) {
	if _, ok := i.Metadata[versionMarker]; !ok {
		out := make(map[string]string, len(i.Metadata))
		for k, v := range i.Metadata {
			if key, keep := newKey(k); keep && key == k {
				out[k] = v
			}
		}
		for k, v := range i.Metadata {
			key, keep := newKey(k)
			if _, taken := out[key]; keep && !taken { // a key in the new spelling wins
				out[key] = v
			}
		}
		i.Metadata = out
	}
	if i.Metadata[schemeKey] == "" && strings.Contains(i.App, "ZOSMF") {
		i.Metadata[schemeKey] = "zosmf"
	}
}

var routeKeys = strings.NewReplacer(oldRoutes, newRoutes, "gateway-url", "gatewayUrl", "service-url", "serviceUrl")

// newKey is the key that stands today for k, and whether it is kept at all.
func newKey(k string) (key string, keep bool) {
	switch {
	case strings.Contains(k, oldRoutes):
		return routeKeys.Replace(k), true
	case strings.HasPrefix(k, oldAPIInfo), k == oldEnableDoc:
		return k, false
	}
	if rest, ok := strings.CutPrefix(k, oldTile); ok {
		switch rest {
		case "id", "version", "title", "description":
			return newTile + rest, true
		}
	}
	if rest, ok := strings.CutPrefix(k, oldService); ok && (rest == "title" || rest == "description") {
		return newService + rest, true
	}
	return k, true
}
