package eureka

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// schemeEffect is what becomes of an authentication scheme of Zowe's that the gateway does not carry out.
const schemeEffect = "the gateway makes no credentials for the service, which gets the client's as they came"

// withoutEffect are Zowe's keys (zowe.md, section 4.7) that say how a gateway treats requests and that this one does not follow,
// with what happens instead. A value that asks for nothing is none.
var withoutEffect = map[string]string{
	"apiml.lb.cacheRecordExpirationTimeInHours": "a user's instance is found by hash, and stays the same while it is there",
	"zone": "instances of all zones take their share",
	"apiml.service.supportClientCertForwarding": "client certificates are not forwarded to another gateway",
	"apiml.authentication.applid":               "no passtickets are made",
	"apiml.authentication.headers":              "no headers are made of client certificates",
	"apiml.connectionManagerTimeout":            "apiml.connectTimeout and apiml.readTimeout bound a request",
	"apiml.response.compress":                   "answers are passed on as the service has compressed them",
	"apiml.response.compressRoutes":             "answers are passed on as the service has compressed them",
	"apiml.corsAllowedHeaders":                  "pages of allowed origins may send what headers they ask for",
	"apiml.corsAllowedMethods":                  "pages of allowed origins may use the methods that the gateway allows for all services",
}

const keyCORSCredentials = "apiml.corsAllowCredentials"

// unsupported says what the metadata of a service asks for in vain: one sentence for each key and value.
func unsupported(instances []*Instance) (problems []string) {
	told := map[string]bool{}
	tell := func(in *Instance, key, effect string) {
		value := in.Metadata[key]
		if what := key + "\x00" + value; !told[what] {
			told[what] = true
			problems = append(problems, fmt.Sprintf("instance %s: %s %s is not supported: %s", in.ID, key, quoted(value), effect))
		}
	}
	for _, in := range instances {
		for _, key := range slices.Sorted(maps.Keys(withoutEffect)) {
			if value := strings.TrimSpace(in.Metadata[key]); value != "" && !strings.EqualFold(value, "false") {
				tell(in, key, withoutEffect[key])
			}
		}
		if strings.EqualFold(strings.TrimSpace(in.Metadata[keyCORSCredentials]), "false") {
			tell(in, keyCORSCredentials, "pages of allowed origins may send credentials")
		}
		switch scheme := strings.TrimSpace(in.Metadata[schemeKey]); {
		case scheme == "" || strings.EqualFold(scheme, "bypass"):
		default:
			tell(in, schemeKey, schemeEffect)
		}
	}
	return problems
}
