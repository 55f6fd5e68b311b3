package admin

import (
	"net/http"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// routes lists the table as it is served, and what is not served with its reason.
func (s *server) routes(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		ID         string        `json:"id"`
		Source     string        `json:"source"`
		ServiceID  string        `json:"serviceId"`
		GatewayURL string        `json:"gatewayUrl"`
		ServiceURL string        `json:"serviceUrl"`
		Prefixes   []string      `json:"prefixes"`
		Endpoints  []string      `json:"endpoints"`
		Conflicts  []string      `json:"conflicts,omitempty"`
		Policy     *route.Policy `json:"policy"`
	}
	type problem struct {
		Source    string `json:"source"`
		Route     string `json:"route"`
		ServiceID string `json:"serviceId"`
		Text      string `json:"problem"`
	}
	t := s.Table()
	answer := struct {
		Routes   []entry   `json:"routes"`
		Problems []problem `json:"problems"`
	}{[]entry{}, []problem{}}
	for _, rt := range t.Routes() {
		e := entry{
			ID: rt.ID, Source: rt.Source, ServiceID: rt.ServiceID, GatewayURL: rt.GatewayURL, ServiceURL: rt.Target,
			Prefixes: rt.Prefixes, Endpoints: []string{}, Conflicts: rt.Conflicts, Policy: rt.Policy,
		}
		for _, ep := range rt.Service.Endpoints {
			e.Endpoints = append(e.Endpoints, ep.ID)
		}
		answer.Routes = append(answer.Routes, e)
	}
	for _, p := range t.Problems {
		answer.Problems = append(answer.Problems, problem(p))
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
}

// services lists the endpoints that may take new sessions, by service, with their live sessions.
func (s *server) services(w http.ResponseWriter, _ *http.Request) {
	type endpoint struct {
		ID       string `json:"instance"`
		URL      string `json:"url"`
		Sessions int64  `json:"sessions"`
	}
	type service struct {
		ID        string     `json:"serviceId"`
		Endpoints []endpoint `json:"endpoints"`
	}
	list, seen := []service{}, map[string]bool{}
	for _, rt := range s.Table().Routes() {
		if seen[rt.ServiceID] {
			continue
		}
		seen[rt.ServiceID] = true
		sv := service{ID: rt.ServiceID, Endpoints: []endpoint{}}
		for _, ep := range rt.Service.Endpoints {
			sv.Endpoints = append(sv.Endpoints, endpoint{ID: ep.ID, URL: ep.Scheme + "://" + ep.Address(), Sessions: ep.Sessions()})
		}
		list = append(list, sv)
	}
	writeJSON(w, http.StatusOK, "application/json", list)
}
