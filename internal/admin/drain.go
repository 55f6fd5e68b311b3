package admin

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Moves are what an operator may do to the sessions of an endpoint. proxy.Server implements it.
type Moves interface {
	// DrainEndpoint has an endpoint leave by the operator's word, and returns how many sessions it has.
	DrainEndpoint(e *upstream.Endpoint) (sessions int)

	// MoveSession moves a session to another endpoint: the instance of that name, or with "" any. The errors are proxy.ErrNoSession,
	// ErrStays, ErrNoOther and ErrNotThere.
	MoveSession(id, instance string) error

	// Rebalance moves sessions until the endpoints of a service have equal shares, and returns how many that will be.
	Rebalance(*upstream.Service) (sessions int)

	// FailoverOffUntil is until when failover "auto" is off for a service by its name in the pool; zero: it is not.
	FailoverOffUntil(service string) time.Time
}

// moveSession moves a session to another instance, without loss: to that of ?instance=, if it says so.
func (s *server) moveSession(w http.ResponseWriter, r *http.Request) {
	switch err := s.Moves.MoveSession(r.PathValue("id"), r.URL.Query().Get("instance")); {
	case errors.Is(err, proxy.ErrNoSession):
		noSession(w)
	case err != nil:
		writeError(w, http.StatusConflict, "ZWEAO409E", "org.zowe.apiml.common.conflict", "The session is not moved: "+err.Error())
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// rebalance moves sessions between the instances of a service until they have equal shares.
func (s *server) rebalance(w http.ResponseWriter, r *http.Request) {
	services := s.named(r.PathValue("id"))
	if len(services) == 0 {
		noService(w)
		return
	}
	v := struct {
		Service  string `json:"serviceId"`
		Sessions int    `json:"sessions"` // that are about to move
	}{Service: r.PathValue("id")}
	for _, sv := range services {
		v.Sessions += s.Moves.Rebalance(sv)
	}
	writeJSON(w, http.StatusAccepted, "application/json", v)
}

// drainView is the answer to a drain.
type drainView struct {
	Service   string   `json:"serviceId"`
	Instances []string `json:"instances"`
	Sessions  int      `json:"sessions"` // that are to follow
}

// drain has an instance of a service take nothing new, and its sessions leave it. ?instance= names it; a service with one
// instance needs no name.
func (s *server) drain(w http.ResponseWriter, r *http.Request) {
	endpoints := s.namedEndpoints(w, r)
	if endpoints == nil {
		return
	}
	v := drainView{Service: r.PathValue("id"), Instances: []string{}}
	for _, e := range endpoints {
		v.Instances = append(v.Instances, e.ID)
		v.Sessions += s.Moves.DrainEndpoint(e)
		s.Log.Info("instance drained by an operator", "service", e.Service(), "instance", e.ID)
	}
	writeJSON(w, http.StatusAccepted, "application/json", v)
}

// undrain takes drain's word back.
func (s *server) undrain(w http.ResponseWriter, r *http.Request) {
	endpoints := s.namedEndpoints(w, r)
	if endpoints == nil {
		return
	}
	for _, e := range endpoints {
		e.Drain(false)
		s.Log.Info("instance no longer drained", "service", e.Service(), "instance", e.ID)
	}
	w.WriteHeader(http.StatusNoContent)
}

// namedEndpoints are those that the path and ?instance= name: several where several sources know the same instance. Nil: there are
// none, and that has been answered.
func (s *server) namedEndpoints(w http.ResponseWriter, r *http.Request) (named []*upstream.Endpoint) {
	services := s.named(r.PathValue("id"))
	if len(services) == 0 {
		noService(w)
		return nil
	}
	instance, ids := r.URL.Query().Get("instance"), map[string]bool{}
	for _, sv := range services {
		for _, e := range sv.Endpoints {
			ids[e.ID] = true
			if e.ID == cmp.Or(instance, e.ID) {
				named = append(named, e)
			}
		}
	}
	switch {
	case len(named) == 0:
		writeError(w, http.StatusNotFound, "ZWEAM104E", "org.zowe.apiml.common.endPointNotFound", "The service has no such instance")
		return nil
	case instance == "" && len(ids) > 1:
		badRequest(w, "the service has several instances: name one with ?instance=")
		return nil
	}
	return named
}

// named are the services with that id.
func (s *server) named(id string) (found []*upstream.Service) {
	routed := routedServices(s.Table())
	for _, sv := range s.Pool.Services() {
		rt := routed[sv.Name]
		if sv.Name == id || rt != nil && rt.Service != nil && rt.ServiceID == id {
			found = append(found, sv)
		}
	}
	return found
}

func noService(w http.ResponseWriter) {
	writeError(w, http.StatusNotFound, "ZWEAM104E", "org.zowe.apiml.common.endPointNotFound", "There is no service with this id")
}
