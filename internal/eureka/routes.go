package eureka

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// sourceName is the Source of every route that comes from metadata.
const sourceName = "eureka"

// Metadata that says what is routed, and how. The keys are Zowe's, and Fairlead's own.
const (
	keyRoutes      = "apiml.routes." // + label + ".gatewayUrl" and ".serviceUrl"
	keyApimlID     = "apiml.service.apimlId"
	keyPolicy      = "fairlead."        // + field
	keyRoutePolicy = "fairlead.routes." // + label + "." + field
	keyWeight      = "fairlead.weight"  // of an instance
)

// translation turns the instances of one service into routes.
type translation struct {
	policy   route.Policy // the source's defaults with operator's over them
	operator route.Policy // what the operator has said; see route.Policy.Register
	pool     *upstream.Pool
}

// offer is one route as one instance registered it, and what was wrong with it.
type offer struct {
	instance   *Instance
	label      string
	gatewayURL string // normalised
	serviceURL string // normalised
	policy     route.Policy
	cors       bool
	filters    *route.Filters // may be nil
	problems   []string
	refused    bool
}

// routes translates all instances of one service, at least one, given in the order of their first
// registration. Each instance adds its routes; where several have one gatewayUrl, the one that
// registered UP last has its way. The result is sorted by gatewayUrl, refused routes included;
// it is never empty, so that a service without routes is known too. UP instances become the
// endpoints of the service.
func (t translation) routes(instances []*Instance) []route.Route {
	id := instances[0].ServiceID()
	specs, options, problems := t.endpoints(instances)
	byRank := slices.SortedStableFunc(slices.Values(instances), rank)
	urlID, trouble := publicID(id, byRank)
	problems = append(problems, trouble...)
	problems = append(problems, unsupported(byRank)...)
	policy, trouble, conflicts := servicePolicy(byRank, t.policy, t.operator)
	problems = append(problems, trouble...)

	weights := options.Weights
	options = policy.ServiceOptions()
	options.Weights = weights

	base := route.Route{
		Source: sourceName, ServiceID: urlID, Service: t.pool.ServiceWith(id, specs, options), Conflicts: slices.Clip(conflicts),
	}
	known := base
	known.ID = id
	known.Problems, known.Conflicts = problems, nil
	all := []route.Route{known}
	if err := checkName(urlID); err != nil {
		all[0].Problems = append(all[0].Problems, fmt.Sprintf("service id %s: %v", quoted(urlID), err))
		return all
	}

	offers := make(map[string][]offer)
	for _, in := range byRank {
		for _, o := range offersOf(in) {
			offers[o.gatewayURL] = append(offers[o.gatewayURL], o)
		}
	}
	for _, gatewayURL := range slices.Sorted(maps.Keys(offers)) {
		all = append(all, t.route(base, id, offers[gatewayURL]))
	}
	if of := byRank[len(byRank)-1]; id == gatewayID && urlID != id {
		// The gateway of another domain: what is below its id is its own to route.
		r := t.route(base, id, []offer{{instance: of, serviceURL: "/"}})
		r.Prefixes = []string{"/" + urlID}
		all = append(all, r)
	}
	return all
}

// route makes one route of its offers; the last one wins. One that is refused gives way to an
// earlier one that is not.
func (t translation) route(base route.Route, id string, offers []offer) route.Route {
	r := base
	r.ID = id + "/" + offers[0].gatewayURL
	r.GatewayURL = offers[0].gatewayURL

	winner := -1
	for i, o := range offers {
		r.Problems = append(r.Problems, o.problems...)
		if !o.refused {
			winner = i
		}
	}
	if winner < 0 {
		return r
	}
	won := offers[winner]
	for i, o := range offers {
		if i != winner && !o.refused {
			r.Conflicts = append(r.Conflicts, conflict(o, won)...)
		}
	}
	policy, eased := t.policy.Register(won.policy, t.operator)
	for _, field := range eased {
		r.Problems = append(r.Problems, fmt.Sprintf("instance %s: policy %s: it may not loosen what the operator set", won.instance.ID, field))
	}
	r.Policy = &policy
	r.CORS = won.cors
	r.SameOrigin = !won.cors && !slices.Contains(t.operator.WebSocket.AllowedOrigins, "*")
	_, listed := won.instance.Metadata[keyCORSOrigins]
	r.CORSAnyone = won.cors && !listed && len(policy.WebSocket.AllowedOrigins) == 0 && len(t.operator.WebSocket.AllowedOrigins) == 0
	r.Target, r.Filters = won.serviceURL, won.filters
	r.Retry, r.Persistence = policy.Retry(), policy.Kept(r.ServiceID)
	r.Prefixes = prefixes(r.ServiceID, r.GatewayURL)
	return r
}

// prefixes are the new order, /{serviceId}/{gatewayUrl}, and the old, /{gatewayUrl}/{serviceId}.
func prefixes(serviceID, gatewayURL string) []string {
	return []string{"/" + serviceID + "/" + gatewayURL, "/" + gatewayURL + "/" + serviceID}
}

// endpoints are where the UP instances run, and what they say of themselves.
func (t translation) endpoints(instances []*Instance) (specs []upstream.Spec, options upstream.Options, problems []string) {
	for _, in := range instances {
		if in.Status != Up {
			continue
		}
		spec, problem, ok := in.dialled()
		if problem != "" {
			problems = append(problems, problem)
		}
		if !ok {
			continue
		}
		specs = append(specs, spec)
		switch weight, said, err := in.weight(); {
		case err != nil:
			problems = append(problems, fmt.Sprintf("instance %s: %s %s: %v", in.ID, keyWeight, quoted(in.Metadata[keyWeight]), err))
		case said:
			if options.Weights == nil {
				options.Weights = make(map[string]int)
			}
			options.Weights[in.ID] = weight
		}
	}
	return specs, options, problems
}

// weight is what the instance says of its share beside those of the others; an error is what it should say.
func (i *Instance) weight() (weight int, said bool, err error) {
	value := strings.TrimSpace(i.Metadata[keyWeight])
	if value == "" {
		return 0, false, nil
	}
	weight, err = strconv.Atoi(value)
	if err != nil || weight < 0 || weight > upstream.MaxWeight {
		return 0, false, fmt.Errorf("want a whole number from 0 to %d; it counts as 1", upstream.MaxWeight)
	}
	return weight, true, nil
}

// Endpoints are where the UP instances of the service with that id (in lower case) run, and what they weigh. policy is what they, and
// the operator, say of the service as a whole. known tells whether any instance is registered.
func Endpoints(instances []*Instance, id string, operator route.Policy,
) (specs []upstream.Spec, weights map[string]int, policy route.Policy, known bool) {
	var own []*Instance
	for _, in := range instances {
		if in.ServiceID() == id {
			own = append(own, in)
		}
	}
	specs, options, _ := translation{}.endpoints(own) // the routes of the service tell its problems
	policy, _, _ = servicePolicy(slices.SortedStableFunc(slices.Values(own), rank), operator, operator)
	return specs, options.Weights, policy.ServicePart(), len(own) > 0
}

// rank orders instances so that the last one wins: those that are not UP first, then those of other registries, then by
// when they registered UP.
func rank(a, b *Instance) int {
	number := func(yes bool) int {
		if yes {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(number(a.Status == Up), number(b.Status == Up)), cmp.Compare(number(!a.External), number(!b.External)),
		cmp.Compare(a.UpOrder, b.UpOrder))
}

// PublicID is the id under which the service of instances, at least one, stands in paths.
func PublicID(instances []*Instance) string {
	id, _ := publicID(instances[0].ServiceID(), slices.SortedStableFunc(slices.Values(instances), rank))
	return id
}

// publicID is the service's id in paths: apiml.service.apimlId of the instance that wins, else id.
func publicID(id string, byRank []*Instance) (urlID string, problems []string) {
	for _, in := range slices.Backward(byRank) {
		apimlID := strings.ToLower(in.Metadata[keyApimlID])
		if apimlID == "" {
			continue
		}
		if err := checkName(apimlID); err != nil {
			problems = append(problems, fmt.Sprintf("instance %s: %s %s: %v", in.ID, keyApimlID, quoted(apimlID), err))
			continue
		}
		return apimlID, problems
	}
	return id, problems
}

// offersOf reads the routes of one instance, one for each gatewayUrl. A key counts if "." splits it
// into exactly four parts. Half a pair is dropped; of two labels with one gatewayUrl the later
// in order of spelling counts, because metadata has no other order.
func offersOf(in *Instance) []offer {
	byURL := make(map[string]offer)
	for _, key := range slices.Sorted(maps.Keys(in.Metadata)) {
		label, ok := routeLabel(key, "gatewayUrl")
		if !ok {
			continue
		}
		serviceKey := keyRoutes + label + ".serviceUrl"
		serviceURL, ok := in.Metadata[serviceKey]
		if !ok {
			continue
		}
		o := offer{
			instance:   in,
			label:      label,
			gatewayURL: strings.Trim(in.Metadata[key], "/"),
			serviceURL: "/" + strings.TrimLeft(serviceURL, "/"),
		}
		if err := checkGatewayURL(o.gatewayURL); err != nil {
			o.refuse(key, in.Metadata[key], err)
		}
		if err := checkServiceURL(o.serviceURL); err != nil {
			o.refuse(serviceKey, serviceURL, err)
		}
		o.readPolicy()
		if before, twice := byURL[o.gatewayURL]; twice {
			o.problem(key, o.gatewayURL, fmt.Errorf("label %s has the same and gives way", before.label))
		}
		byURL[o.gatewayURL] = o
	}
	all := make([]offer, 0, len(byURL))
	for _, gatewayURL := range slices.Sorted(maps.Keys(byURL)) {
		all = append(all, byURL[gatewayURL])
	}
	return all
}

// routeLabel takes the label out of "apiml.routes.<label>.<end>".
func routeLabel(key, end string) (label string, ok bool) {
	parts := strings.Split(key, ".")
	if len(parts) != 4 || parts[0] != "apiml" || parts[1] != "routes" || parts[3] != end {
		return "", false
	}
	return parts[2], true
}

// readPolicy reads what the instance says of its service, then of this route. A field that is
// refused is left as it was, except that a route is not served at all rather than without the
// authentication or the origins that it asked for.
func (o *offer) readPolicy() {
	o.readZowe()
	own := keyRoutePolicy + o.label + "."
	for _, prefix := range []string{keyPolicy, own} {
		for _, key := range slices.Sorted(maps.Keys(o.instance.Metadata)) {
			if !strings.HasPrefix(key, prefix) || key == keyWeight || prefix == keyPolicy && strings.HasPrefix(key, keyRoutePolicy) {
				continue
			}
			name, value := strings.TrimPrefix(key, prefix), o.instance.Metadata[key]
			if route.OfService(name) {
				if prefix == own {
					o.problem(key, value, fmt.Errorf("it holds for a service as a whole: write %s%s", keyPolicy, name))
				}
				continue // servicePolicy reads it
			}
			err := o.policy.Set(name, value)
			switch {
			case err == nil:
			case name == "auth" || name == "websocket.allowedOrigins":
				o.refuse(key, value, err)
			default:
				o.problem(key, value, err)
			}
		}
	}
}

func (o *offer) refuse(key, value string, err error) {
	o.problem(key, value, err)
	o.refused = true
}

func (o *offer) problem(key, value string, err error) {
	o.problems = append(o.problems, fmt.Sprintf("instance %s: %s %s: %v", o.instance.ID, key, quoted(value), err))
}

// conflict tells how lost differs from won.
func conflict(lost, won offer) (conflicts []string) {
	if lost.serviceURL != won.serviceURL {
		conflicts = append(conflicts, fmt.Sprintf("serviceUrl: instance %s has %s, instance %s has %s and wins",
			lost.instance.ID, quoted(lost.serviceURL), won.instance.ID, quoted(won.serviceURL)))
	}
	for _, key := range []string{keyAnswerHeaders, keyIgnoredHeaders} {
		if lost.instance.Metadata[key] != won.instance.Metadata[key] {
			conflicts = append(conflicts, fmt.Sprintf("%s: instances %s and %s differ, the latter wins", key, lost.instance.ID, won.instance.ID))
		}
	}
	if fields := won.policy.Differences(lost.policy); len(fields) > 0 {
		conflicts = append(conflicts, fmt.Sprintf("policy %s: instances %s and %s differ, the latter wins",
			strings.Join(fields, ", "), lost.instance.ID, won.instance.ID))
	}
	return conflicts
}

// checkGatewayURL judges a normalised gatewayUrl: segments that a path can hold, none of them
// empty, and no escapes, because an escaped slash must match nothing.
func checkGatewayURL(s string) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case strings.Contains(s, "://"):
		return errors.New("it is an absolute URL")
	case strings.Contains(s, "//"):
		return errors.New("empty segment")
	case strings.Contains(s, "%"):
		return errors.New("percent-escape in it")
	}
	return route.CheckPath("/" + s)
}

// checkServiceURL judges a normalised serviceUrl.
func checkServiceURL(s string) error {
	if strings.Contains(s, "://") {
		return errors.New("it is an absolute URL")
	}
	return route.CheckPath(s)
}

// checkName judges a service id, which is one segment of a path.
func checkName(s string) error {
	if strings.Contains(s, "/") {
		return errors.New("slash in it")
	}
	return checkGatewayURL(s)
}

// checkDialled judges where an instance says that it listens. The host is sent in a header.
func checkDialled(host string, port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d: want 1 to 65535", port)
	}
	if host == "" {
		return errors.New("host name is empty")
	}
	if net.ParseIP(host) != nil {
		return nil
	}
	for _, c := range []byte(host) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("/\\?#@:[]%\"<>", c) >= 0 {
			return fmt.Errorf("host name %s: byte %q in it", quoted(host), c)
		}
	}
	return nil
}

// quoted is s in quotes, escaped and cut to a length that a list can show.
func quoted(s string) string {
	const limit = 120
	if len(s) > limit {
		return fmt.Sprintf("%q...", s[:limit])
	}
	return fmt.Sprintf("%q", s)
}
