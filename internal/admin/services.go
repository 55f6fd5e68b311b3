package admin

import (
	"net/http"
	"slices"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// serviceView is a service with where it runs.
type serviceView struct {
	ID        string         `json:"serviceId"`
	Source    string         `json:"source,omitempty"`       // of its routes; none: it has no route that is served
	Probe     string         `json:"probe,omitempty"`        // the kind of active probe; none: its source alone says which endpoints are well
	Panic     bool           `json:"panic,omitempty"`        // when none is well, all are tried
	Stale     int            `json:"staleSeconds,omitempty"` // the Eureka cluster that has an instance of it does not answer for so long
	Endpoints []endpointView `json:"endpoints"`

	// FailoverOffUntil is there while failover "auto" is off for the service: its instances send sessions away that they are to take over.
	FailoverOffUntil *time.Time `json:"failoverOffUntil,omitempty"`
}

type endpointView struct {
	ID       string     `json:"instance"`
	URL      string     `json:"url"`
	Sessions int64      `json:"sessions"`
	Weight   int        `json:"weight"`  // its share beside the others'; 0: it takes sessions where there is no other
	Leaving  bool       `json:"leaving"` // it takes no new session; what becomes of those it has, websocket.drain says
	Drained  bool       `json:"drained"` // and that by an operator's word
	Health   healthView `json:"health"`

	Ejected   *ejectionView `json:"ejected,omitempty"`   // it takes nothing new until then, because of outliers; its sessions stay
	Ejections uint64        `json:"ejections,omitempty"` // since the endpoint became known
}

type ejectionView struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// healthView is what active probes have found out; an unhealthy endpoint takes no new session either.
type healthView struct {
	State  upstream.HealthState `json:"state"`
	Since  *time.Time           `json:"since,omitempty"`
	Error  string               `json:"error,omitempty"` // of the last probe that failed, until one passes
	Probes uint64               `json:"probes"`          // since the endpoint became known
	Failed uint64               `json:"failed"`
}

// services lists the endpoints by service, with their live sessions and their health: first those that may take new sessions,
// then those that are leaving.
func (s *server) services(w http.ResponseWriter, _ *http.Request) {
	leaving := map[string][]*upstream.Endpoint{}
	for _, e := range s.Pool.Endpoints() {
		if e.Leaving() && !slices.Contains(e.Newest().Endpoints, e) {
			leaving[e.Service()] = append(leaving[e.Service()], e)
		}
	}
	list, routed, stale := []serviceView{}, routedServices(s.Table()), s.staleServices()
	for _, sv := range s.Pool.Services() {
		rt := routed[sv.Name]
		if rt == nil && len(sv.Endpoints) == 0 && len(leaving[sv.Name]) == 0 {
			continue
		}
		v := serviceView{ID: sv.Name, Probe: string(sv.Probe.Kind), Panic: sv.Panic, Stale: stale[sv.Name], Endpoints: []endpointView{}}
		if rt != nil {
			v.Source = rt.Source
			if rt.Service != nil {
				v.ID = rt.ServiceID
			}
		}
		for _, e := range append(sv.Endpoints[:len(sv.Endpoints):len(sv.Endpoints)], leaving[sv.Name]...) {
			v.Endpoints = append(v.Endpoints, viewEndpoint(e))
		}
		if until := s.Moves.FailoverOffUntil(sv.Name); !until.IsZero() {
			until = until.UTC()
			v.FailoverOffUntil = &until
		}
		list = append(list, v)
	}
	writeJSON(w, http.StatusOK, "application/json", list)
}

// staleServices gives for how many seconds, one at least, nobody has answered for services of the Eureka cluster.
func (s *server) staleServices() map[string]int {
	stale := map[string]int{}
	if s.Cluster == nil {
		return stale
	}
	cluster := s.Cluster()
	if !cluster.Stale() {
		return stale
	}
	for _, in := range s.Instances() {
		if in.External {
			stale[in.ServiceID()] = max(1, int(time.Since(cluster.Read).Seconds()))
		}
	}
	return stale
}

// routedServices gives one route for each service that has any, by the service's name in the pool.
func routedServices(t *route.Table) map[string]*route.Route {
	routed := map[string]*route.Route{}
	add := func(rt *route.Route) {
		if rt.Service != nil {
			routed[rt.Service.Name] = rt
		}
		for i := range rt.Backends {
			if sv := rt.Backends[i].Service; sv != nil {
				routed[sv.Name] = rt
			}
		}
	}
	for _, rt := range t.Routes() {
		add(rt)
	}
	for _, l := range t.Listeners {
		for _, h := range l.Hosts {
			for i := range h.Rules {
				add(h.Rules[i].Route)
			}
			for i := range h.Streams {
				add(h.Streams[i].Route)
			}
		}
	}
	return routed
}

func viewEndpoint(e *upstream.Endpoint) endpointView {
	h := e.Health()
	v := endpointView{
		ID: e.ID, URL: e.Scheme + "://" + e.Address(), Sessions: e.Sessions(), Weight: e.Weight(), Leaving: e.Leaving(), Drained: e.Drained(),
		Health: healthView{State: h.State, Error: h.Err, Probes: h.Probes, Failed: h.Failed},
	}
	if !h.Since.IsZero() {
		since := h.Since.UTC()
		v.Health.Since = &since
	}
	j := e.Ejection()
	v.Ejections = j.Times
	if j.Ejected {
		v.Ejected = &ejectionView{Since: j.Since.UTC(), Until: j.Until.UTC(), Reason: j.Why}
	}
	return v
}
