package admin

import "github.com/fairlead-gateway/fairlead/internal/route"

// ruleView is one rule of the Gateway API where it is attached to a listener.
type ruleView struct {
	ID        string        `json:"id"`
	Source    string        `json:"source"`
	Listener  string        `json:"listener"`
	Address   string        `json:"address"` // network and address: "tcp/:8080"
	Transport string        `json:"transport"`
	Hostnames []string      `json:"hostnames"` // none: any
	Matches   []string      `json:"matches"`   // none: everything
	Filters   []string      `json:"filters,omitempty"`
	Backends  []backendView `json:"backends"`
	Policy    *policyView   `json:"policy,omitempty"`
}

type backendView struct {
	Name      string   `json:"name"`
	Weight    int      `json:"weight"`
	Endpoints []string `json:"endpoints"`
	Invalid   string   `json:"invalid,omitempty"` // why the reference cannot be followed
}

// viewRules lists what is attached to listeners, in order of precedence within each.
func viewRules(listeners []*route.Listener) []ruleView {
	rules := []ruleView{}
	for _, l := range listeners {
		for _, h := range l.Hosts {
			for i := range h.Rules {
				v := viewRule(l, h, h.Rules[i].Route, h.Rules[i].Hostnames)
				for _, m := range h.Rules[i].Matches {
					v.Matches = append(v.Matches, m.String())
				}
				rules = append(rules, v)
			}
			for i := range h.Streams {
				rules = append(rules, viewRule(l, h, h.Streams[i].Route, h.Streams[i].Hostnames))
			}
		}
	}
	return rules
}

func viewRule(l *route.Listener, h *route.Host, r *route.Route, hostnames []string) ruleView {
	v := ruleView{
		ID: r.ID, Source: r.Source, Listener: h.Name, Address: l.Key(), Transport: string(l.Transport),
		Hostnames: hostnames, Matches: []string{}, Filters: r.Filters.Words(), Backends: []backendView{},
	}
	switch {
	case len(hostnames) > 0:
	case h.Hostname != "":
		v.Hostnames = []string{h.Hostname}
	default:
		v.Hostnames = []string{}
	}
	if r.Policy != nil {
		p := viewPolicy(r.Policy)
		v.Policy = &p
	}
	for i := range r.Backends {
		b := &r.Backends[i]
		bv := backendView{Name: b.Name, Weight: b.Weight, Endpoints: []string{}, Invalid: b.Invalid}
		if b.Service != nil {
			for _, ep := range b.Service.Endpoints {
				bv.Endpoints = append(bv.Endpoints, ep.ID)
			}
		}
		v.Backends = append(v.Backends, bv)
	}
	return v
}
