package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// defaultMaxAge is how long, in seconds, a page may keep the answer to a preflight where the rule does not say.
const defaultMaxAge = 5

// shareByRule does for a rule's backends what CORS asks of a server (GEP-1767; Fetch standard, section 3.2). A preflight is
// answered here, whether or not the page may go on: that is the *failure. Any other request goes to the backend, and its
// answer says what the rule says of CORS and nothing else. A WebSocket handshake has no CORS.
func (x *exchange) shareByRule(c *route.CORS) error {
	fields := x.request.Fields
	x.ruled = true
	origin := fields.Get("Origin")
	if origin == "" {
		x.sharing = varying(c)
		return nil
	}
	preflight := x.request.Method == http.MethodOptions && fields.Has("Access-Control-Request-Method")
	if fields.Count("Origin") > 1 || !c.Allows(origin) {
		if preflight {
			f := originRefused()
			f.detail = "The Origin is not allowed for this route."
			return f
		}
		x.sharing = varying(c)
		return nil
	}
	x.sharing = sharing(c, origin)
	if !preflight {
		return nil
	}
	x.sharing.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	x.sharing = addAllowed(x.sharing, "Access-Control-Allow-Methods", c.AllowMethods, joined(fields, "Access-Control-Request-Method"))
	x.sharing = addAllowed(x.sharing, "Access-Control-Allow-Headers", c.AllowHeaders, joined(fields, "Access-Control-Request-Headers"))
	age := c.MaxAge
	if age <= 0 {
		age = defaultMaxAge
	}
	x.sharing.Add("Access-Control-Max-Age", strconv.Itoa(age))
	return &failure{status: http.StatusNoContent, bare: true, http: true}
}

// sharing is what every answer to a page of that origin, which is allowed, says.
func sharing(c *route.CORS, origin string) http1.Fields {
	var fields http1.Fields
	if varies(c) {
		fields.Add("Access-Control-Allow-Origin", origin)
		fields.Add("Vary", "Origin")
	} else {
		fields.Add("Access-Control-Allow-Origin", "*")
	}
	if c.AllowCredentials {
		fields.Add("Access-Control-Allow-Credentials", "true")
	}
	if exposed := strings.Join(c.ExposeHeaders, ", "); exposed != "" && !(c.AllowCredentials && exposed == "*") {
		fields.Add("Access-Control-Expose-Headers", exposed)
	}
	return fields
}

// varies tells whether answers differ by the origin that asks.
func varies(c *route.CORS) bool {
	return c.AllowCredentials || len(c.AllowOrigins) != 1 || c.AllowOrigins[0] != "*"
}

// varying is what the answer to a page that may not read it says, for caches: another page may.
func varying(c *route.CORS) http1.Fields {
	if !varies(c) {
		return nil
	}
	return http1.Fields{{Name: "Vary", Value: "Origin"}}
}

// addAllowed adds a list; of "*" what was asked for, since that word means itself beside credentials and has exceptions
// without them.
func addAllowed(fields http1.Fields, name string, list []string, asked string) http1.Fields {
	value := strings.Join(list, ", ")
	if value == "*" {
		value = asked
	}
	if value != "" {
		fields.Add(name, value)
	}
	return fields
}
