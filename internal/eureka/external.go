package eureka

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// keyExternalURL says where an instance is reached from outside its own network: its requests go there (zowe.md, section 1.3).
const keyExternalURL = "apiml.service.externalUrl"

// external reads apiml.service.externalUrl; nil where there is none. As in Zowe's gateway its path does not count.
func external(metadata map[string]string) (*url.URL, error) {
	value := strings.TrimSpace(metadata[keyExternalURL])
	if value == "" {
		return nil, nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL") // err would quote it
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("want http:// or https://")
	case u.User != nil:
		return nil, errors.New("credentials in it")
	}
	_, port := hostPort(u)
	return u, checkDialled(u.Hostname(), port)
}

func hostPort(u *url.URL) (host string, port int) {
	port = 80
	if u.Scheme == "https" {
		port = 443
	}
	if text := u.Port(); text != "" {
		port, _ = strconv.Atoi(text) // what is no port is judged by checkDialled
	}
	return u.Hostname(), port
}

// dialled is where to reach an instance. An external URL that cannot be used gives way to the instance itself: then there is a spec
// and a problem.
func (i *Instance) dialled() (spec upstream.Spec, problem string, ok bool) {
	spec = upstream.Spec{ID: i.ID, Scheme: "http"}
	u, err := external(i.Metadata)
	if err != nil {
		problem = fmt.Sprintf("instance %s: %s %s: %v", i.ID, keyExternalURL, quoted(i.Metadata[keyExternalURL]), err)
	} else if u != nil {
		spec.Scheme = u.Scheme
		spec.Host, spec.Port = hostPort(u)
		return spec, "", true
	}
	spec.Host, spec.Port = i.Address()
	if i.Secure() {
		spec.Scheme = "https"
	}
	if err := checkDialled(spec.Host, spec.Port); err != nil {
		return spec, fmt.Sprintf("instance %s: %v", i.ID, err), false
	}
	return spec, problem, true
}

// checkReaches judges every place where an instance says that it is reached.
func checkReaches(i *Instance, allowed []string, near bool) error {
	if err := checkReach(i.HostName, allowed, near); err != nil {
		return err
	}
	return checkExternal(i.Metadata, allowed, near)
}

// checkExternal judges the external URL, if there is one that can be used.
func checkExternal(metadata map[string]string, allowed []string, near bool) error {
	u, err := external(metadata)
	if u == nil || err != nil {
		return nil // what cannot be used is not dialled, and told with the routes
	}
	if err := checkReach(u.Hostname(), allowed, near); err != nil {
		e := &refusal{status: http.StatusBadRequest, reason: keyExternalURL + ": " + err.Error()}
		if r, ok := errors.AsType[*refusal](err); ok {
			e.status = r.status
		}
		return e
	}
	return nil
}
