package sample

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// ControlID is the service id of Control.
const ControlID = "demo"

const controlTimeout = 15 * time.Second // for one start or stop

// InstanceStatus is one instance as Control lists it.
type InstanceStatus struct {
	Name     string `json:"name"`
	State    State  `json:"state"`
	ID       string `json:"id"`
	Sessions int    `json:"sessions"`
}

// Control is the service `demo`: it lists, starts and stops the instances of the sample service.
//
//	GET  /demo/api/v1/instances              [{"name":"one","state":"running","id":"...","sessions":1}, ...]
//	POST /demo/api/v1/instances/{name}/start
//	POST /demo/api/v1/instances/{name}/stop  the list as it is then
//	GET  /demo/                              the same page as the sample service's
//
// It has a registration of its own, so it can be reached through the gateway when every instance is stopped.
// It stops nothing by itself: the owner of the instances does.
type Control struct {
	*Instance
	instances []*Instance // constant, in order
}

// NewControl returns a Control that is not started yet. Of cfg, ServiceID and InstanceName default to ControlID
// and Basic has no effect.
func NewControl(cfg Config, instances ...*Instance) *Control {
	if cfg.ServiceID == "" {
		cfg.ServiceID = ControlID
	}
	if cfg.InstanceName == "" {
		cfg.InstanceName = ControlID
	}
	metadata := map[string]string{
		"apiml.service.title":       "Demo control",
		"apiml.service.description": "Starts and stops the instances of the sample service",
	}
	addRoute(metadata, "api/v1", "/"+cfg.ServiceID+"/api/v1")
	addRoute(metadata, "ui/v1", "/"+cfg.ServiceID)
	c := &Control{Instance: newInstance(cfg, metadata), instances: instances}
	c.build = c.handler
	return c
}

func (c *Control) handler(*server) http.Handler {
	root := "/" + c.cfg.ServiceID
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root+"/api/v1/instances", c.list)
	mux.HandleFunc("POST "+root+"/api/v1/instances/{name}/{verb}", c.change)
	mux.HandleFunc("GET "+root+"/application/info", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, map[string]string{"service": c.cfg.ServiceID})
	})
	mux.HandleFunc("GET "+root+"/application/health", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, map[string]string{"status": "UP"})
	})
	mux.Handle("GET "+root+"/", page(root))
	return named(c.cfg.InstanceName, mux)
}

func (c *Control) list(w http.ResponseWriter, _ *http.Request) {
	all := make([]InstanceStatus, 0, len(c.instances))
	for _, i := range c.instances {
		all = append(all, InstanceStatus{Name: i.Name(), State: i.State(), ID: i.ID(), Sessions: i.Sessions()})
	}
	answerJSON(w, http.StatusOK, all)
}

func (c *Control) change(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) {
		http.Error(w, "only the page itself may do that", http.StatusForbidden)
		return
	}
	var do func(*Instance, context.Context) error
	switch r.PathValue("verb") {
	case "start":
		do = (*Instance).Start
	case "stop":
		do = (*Instance).Stop
	default:
		http.NotFound(w, r)
		return
	}
	for _, i := range c.instances {
		if i.Name() != r.PathValue("name") {
			continue
		}
		// A start or stop that has begun is finished, whether or not the page still waits for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), controlTimeout)
		defer cancel()
		if err := do(i, ctx); err != nil {
			c.cfg.Log.Warn("instance not changed", "instance", i.Name(), "verb", r.PathValue("verb"), "err", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		c.list(w, r)
		return
	}
	http.NotFound(w, r)
}

// sameOrigin reports whether r comes from a page of this host, or from no page at all. The host is the one that
// the browser sees: behind a gateway Host is the instance's own, and X-Forwarded-Host, which a page of another
// host cannot set without a preflight that nobody answers, is the browser's.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	host := r.Header.Get("X-Forwarded-Host")
	if host == "" {
		host = r.Host
	}
	return u.Host == host
}
