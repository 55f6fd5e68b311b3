package kubernetes

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// TestRules holds the rules of routes, their backends and all policies to testdata/rules, in more words than TestTranslate has.
func TestRules(t *testing.T) { goldens(t, "rules", describeRules) }

// describeRules is what a translation makes of routes and policies; Gateways are left out.
func describeRules(r *Result) string {
	var b strings.Builder
	for _, l := range r.Set.Listeners {
		for _, h := range l.Hosts {
			fmt.Fprintf(&b, "%s\n", h.Name)
			for i := range h.Rules {
				describeRule(&b, &h.Rules[i])
			}
			for i := range h.Streams {
				describeRule(&b, &route.Rule{Route: h.Streams[i].Route})
			}
		}
	}
	for i := range r.Statuses {
		s := &r.Statuses[i]
		if s.Kind == "Gateway" || s.Kind == "GatewayClass" {
			continue
		}
		group, _, _ := strings.Cut(s.APIVersion, "/")
		fmt.Fprintf(&b, "\n%s %s/%s\n", strings.TrimSuffix(s.Kind+"."+group, ".gateway.networking.k8s.io"), s.Metadata.Namespace, s.Metadata.Name)
		describeStatus(&b, s)
	}
	for _, p := range r.Problems {
		if !strings.HasPrefix(p.Object, "Gateway") {
			fmt.Fprintf(&b, "\nproblem: %s: %s\n", p.Object, p.Text)
		}
	}
	return b.String()
}

func describeRule(b *strings.Builder, r *route.Rule) {
	fmt.Fprintf(b, "\n  %s\n", r.ID)
	for _, m := range r.Matches {
		fmt.Fprintf(b, "    if %s\n", m)
	}
	base := route.DefaultGatewayAPI()
	describePolicy(b, "    policy", &base, r.Policy)
	if r.Filters != nil {
		fmt.Fprintf(b, "    filters %s\n", brief(r.Filters))
	}
	if r.Retry != nil {
		fmt.Fprintf(b, "    retry %s\n", brief(r.Retry))
	}
	if r.Persistence != nil {
		fmt.Fprintf(b, "    persistence %s\n", brief(r.Persistence))
	}
	for i := range r.Backends {
		k := &r.Backends[i]
		fmt.Fprintf(b, "    %d to %s\n", k.Weight, backendText(k))
		if k.Filters != nil {
			fmt.Fprintf(b, "      filters %s\n", brief(k.Filters))
		}
		if k.Policy != nil {
			describePolicy(b, "      policy", r.Policy, k.Policy)
		}
		if k.Persistence != nil {
			fmt.Fprintf(b, "      persistence %s\n", brief(k.Persistence))
		}
		if k.Budget != nil {
			fmt.Fprintf(b, "      budget %s\n", brief(k.Budget))
		}
	}
}

// describePolicy tells the fields in which p differs from base.
func describePolicy(b *strings.Builder, label string, base, p *route.Policy) {
	names := p.Differences(*base)
	if len(names) == 0 {
		return
	}
	var said []string
	for _, name := range names {
		v := reflect.ValueOf(*p)
		for part := range strings.SplitSeq(name, ".") {
			v = v.FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, part) })
		}
		said = append(said, fmt.Sprintf("%s=%v", name, v))
	}
	fmt.Fprintf(b, "%s %s\n", label, strings.Join(said, " "))
}

// backendText is a backend on one line.
func backendText(k *route.Backend) string {
	if k.Invalid != "" {
		return k.Name + " invalid: " + k.Invalid
	}
	text := k.Name
	if k.Service.Name != k.Name {
		text += fmt.Sprintf(" (%s)", k.Service.Name)
	}
	if p := k.Service.Protocol; p != upstream.HTTP1 {
		text += " " + string(p)
	}
	for _, e := range k.Service.Endpoints {
		text += fmt.Sprintf(" %s://%s", e.Scheme, e.Address())
		if e.ID != e.Address() {
			text += "=" + e.ID
		}
	}
	if s := k.Service.TLS; s != nil {
		text += fmt.Sprintf(" TLS sni=%q names=%v uris=%v", s.ServerName, s.DNSNames, s.URIs)
		if s.RootCAs != nil {
			text += " with authorities"
		}
		if s.Certificate != nil {
			text += " with certificate"
		}
		if s.Insecure {
			text += " insecure"
		}
	}
	if p := k.Service.Probe; p.Kind != upstream.NoProbe {
		status := p.Status
		p.Status = upstream.StatusSet{}
		text += " probe " + brief(p)
		if status != p.Status {
			text += fmt.Sprintf(" 200:%t 299:%t 300:%t 304:%t", status.Has(200), status.Has(299), status.Has(300), status.Has(304))
		}
	}
	if o := k.Service.Outliers; o != byDefault.Outliers {
		text += " outliers " + brief(o)
	}
	if k.Service.Panic {
		text += " panic"
	}
	return text
}

// byDefault is what holds for a service of which nobody says anything.
var byDefault = (&route.Policy{}).ServiceOptions()

// brief is a value without what is zero in it. Backends are their names.
func brief(v any) string {
	var out []string
	rv := reflect.Indirect(reflect.ValueOf(v))
	if k, ok := rv.Interface().(route.Backend); ok {
		return backendText(&k)
	}
	switch rv.Kind() {
	case reflect.Struct:
		for i := range rv.NumField() {
			if f := rv.Field(i); !f.IsZero() && rv.Type().Field(i).IsExported() {
				out = append(out, rv.Type().Field(i).Name+":"+brief(f.Interface()))
			}
		}
		return "{" + strings.Join(out, " ") + "}"
	case reflect.Slice:
		for i := range rv.Len() {
			out = append(out, brief(rv.Index(i).Interface()))
		}
		return "[" + strings.Join(out, " ") + "]"
	}
	if s, ok := rv.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	text, _ := json.Marshal(rv.Interface())
	return string(slices.Clone(text))
}
