package proxy

import (
	"strconv"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// redirection is the answer of a redirect (Gateway API, HTTPRequestRedirectFilter). Without a port of its own it goes to the
// usual one of its scheme, or, if it has none of its own either, to the listener's: shifted as the listener is (kubernetes.portOffset), so
// that it leads somewhere. A usual port is not written.
func (x *exchange) redirection(r *route.Redirect) *failure {
	scheme, port := r.Scheme, r.Port
	switch {
	case scheme == "":
		scheme = x.origin.proto
		if port == 0 {
			port = int(x.listener.Address.Port())
		}
	case port == 0 && x.listener.Address.Port() != x.listener.Port:
		port = usualPort(scheme) + int(x.listener.Address.Port()) - int(x.listener.Port)
	}
	host := r.Hostname
	if host == "" {
		host = withoutPort(x.origin.host)
	}
	if host == "" { // HTTP/1.0
		return badRequest("no Host, which the redirect needs")
	}
	location := scheme + "://" + host
	if port != 0 && !(scheme == "http" && port == 80) && !(scheme == "https" && port == 443) {
		location += ":" + strconv.Itoa(port)
	}
	path := x.path
	if r.Path != nil {
		path = x.to.Rewritten(r.Path)
	}
	return &failure{
		status: r.Status, bare: true, http: true,
		fields: http1.Fields{{Name: "Location", Value: location + path + x.query}},
	}
}

func usualPort(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}
