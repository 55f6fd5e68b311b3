package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// probeAgent is the User-Agent of every probe.
const probeAgent = "Fairlead-Probe"

// request is the head of an HTTP probe, and of a WebSocket probe before its own fields.
func (p *Probe) request(host string) (*http.Request, error) {
	path := p.Path
	if path == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q: it must begin with /", path)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, fmt.Errorf("path %q: it is no path of a URL", path)
	}
	if p.Host != "" {
		host = p.Host
	}
	if !httpguts.ValidHostHeader(host) {
		return nil, fmt.Errorf("host %q: it is no host name", host)
	}
	if p.Subprotocol != "" && !httpguts.ValidHeaderFieldName(p.Subprotocol) {
		return nil, errors.New("subprotocol: it must be a token")
	}
	u.Scheme, u.Host = "http", host
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {probeAgent}}, Close: true,
	}, nil
}
