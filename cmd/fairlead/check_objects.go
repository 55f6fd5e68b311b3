package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/kubernetes"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// checkObjects translates the objects as run would, tries the addresses, and prints the route table and every object's
// conditions. The error tells that something would not be served as it is written.
func (c *checkCommand) checkObjects(w io.Writer, conf *config.Config, set *kubernetes.Set) error {
	p := kubernetes.Provider{
		Source: kubernetes.Fixed{Set: set}, Pool: upstream.NewPool(), Log: slog.New(slog.DiscardHandler),
		Options: func() kubernetes.Options {
			o := translationOf(conf)
			if conf.Registry.On() { // services register later
				o.Eureka = func(id string) ([]upstream.Spec, map[string]int, route.Policy, bool) {
					return eureka.Endpoints(nil, id, conf.Defaults)
				}
			}
			return o
		},
	}
	r, err := p.Translate()
	if err != nil {
		return err
	}
	if unbound := tryListeners(r.Set.Listeners); len(unbound) > 0 {
		p.Bound(unbound)
		if r, err = p.Translate(); err != nil {
			return err
		}
	}
	if c.JSON {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		if err := out.Encode(r.Statuses); err != nil {
			return err
		}
	} else if err := printObjects(w, r); err != nil {
		return err
	}
	for _, s := range set.Skipped {
		fmt.Fprintf(w, "\n%s: %d of %s %s skipped: no kind that is served here\n", s.Place, s.Count, s.APIVersion, s.Kind)
	}
	if n := kubernetes.Unserved(r); n > 0 {
		return fmt.Errorf("%d of the manifests' objects would not be served as they are written: see their conditions", n)
	}
	return nil
}

// tryListeners binds what Gateways listen on, and gives it back.
func tryListeners(listeners []*route.Listener) map[string]error {
	unbound := map[string]error{}
	for _, l := range listeners {
		if err := tryListener(l); err != nil {
			unbound[l.Key()] = err
		}
	}
	return unbound
}

// printObjects prints as much as a person wants to know.
func printObjects(w io.Writer, r *kubernetes.Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Set.Listeners) == 0 {
		fmt.Fprintln(table, "\nthe manifests have no Gateway that could listen: nothing of theirs is served")
	} else {
		printRules(table, r.Set.Listeners)
	}
	for i := range r.Statuses {
		st := &r.Statuses[i]
		fmt.Fprintf(table, "\n%s %s/%s\n", st.Kind, st.Metadata.Namespace, st.Metadata.Name)
		for at, c := range kubernetes.Conditions(st) {
			if at != "" {
				at += ": "
			}
			fmt.Fprintf(table, "  %s%s\t%s\t%s\t%s\n", at, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintf(table, "\n%s: %s: %s\n", p.Place, p.Object, p.Text)
	}
	return table.Flush()
}

// printRules prints who listens, and what is served there.
func printRules(table io.Writer, listeners []*route.Listener) {
	fmt.Fprintln(table, "\nLISTENER\tADDRESS\tPROTOCOL\tHOSTNAME")
	for _, l := range listeners {
		for _, h := range l.Hosts {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", h.Name, l.BindAddress(), h.Protocol(l), orAny(h.Hostname))
		}
	}
	fmt.Fprintln(table, "\nHOSTNAME\tMATCH\tROUTE\tLEADS TO")
	for _, l := range listeners {
		for _, h := range l.Hosts {
			for i := range h.Rules {
				rule := &h.Rules[i]
				names := orAny(strings.Join(rule.Hostnames, ","))
				if len(rule.Hostnames) == 0 {
					names = orAny(h.Hostname)
				}
				matches := rule.Matches
				if len(matches) == 0 {
					matches = []route.RuleMatch{{Path: route.PathMatch{Value: "/"}}}
				}
				for _, m := range matches {
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", names, m, rule.ID, leadsTo(rule.Route))
				}
			}
			for i := range h.Streams {
				s := &h.Streams[i]
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", orAny(strings.Join(s.Hostnames, ",")), l.Transport, s.ID, leadsTo(s.Route))
			}
		}
	}
}

// leadsTo is where a rule leads, with the weights if there is a choice, and what its filters do on the way.
func leadsTo(r *route.Route) string {
	if r.Filters != nil && r.Filters.Redirect != nil {
		return withFilters("", r.Filters.Words())
	}
	return withFilters(backendNames(r), r.Filters.Words())
}

// withFilters adds to what a rule leads to what its filters do.
func withFilters(to string, words []string) string {
	filters := strings.Join(words, "; ")
	switch {
	case filters == "":
		return to
	case to == "":
		return filters
	}
	return to + " [" + filters + "]"
}

// backendNames lists a rule's backends.
func backendNames(r *route.Route) string {
	var names []string
	for i := range r.Backends {
		b := &r.Backends[i]
		name := b.Name
		switch {
		case b.Invalid != "":
			name += " (" + b.Invalid + ")"
		case b.Service != nil:
			name += fmt.Sprintf(" (%d)", len(b.Service.Endpoints))
		}
		if len(r.Backends) > 1 {
			name = fmt.Sprintf("%d×%s", b.Weight, name)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
