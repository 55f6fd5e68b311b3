package kubernetes

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// reasonForm is the schema's, of a condition's reason.
var reasonForm = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// FuzzRules takes the objects of a file in testdata/rules and changes some of what they say, whatever their schemas allow. No translation
// panics, two of one set are the same, and a route of which nothing is served says so.
func FuzzRules(f *testing.F) {
	files, err := filepath.Glob("testdata/rules/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	var sets []*Set
	var all []Options
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		sets, all = append(sets, objects(f, text)), append(all, options(f, text))
	}
	for seed := range uint64(96) {
		random := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 1+random.IntN(300))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		b[0] = byte(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &chooser{b: b}
		i := c.n(len(sets))
		set, o := c.changed(sets[i]), all[i]
		o.Pool = upstream.NewPool()
		r := Translate(set, o)
		checkResult(t, set, o, r)
		text := describeRules(r)
		if again := describeRules(Translate(set, o)); again != text {
			t.Errorf("the second translation differs:\n%s", diff(text, again))
		}
		for i := range r.Statuses {
			for at, c := range Conditions(&r.Statuses[i]) {
				if !reasonForm.MatchString(c.Reason) || len(c.Message) > 32768 {
					t.Errorf("%s, %s: %+v", r.Statuses[i].Kind, at, c)
				}
			}
		}
		tr := newTranslation(set, o)
		for _, h := range set.HTTPRoutes {
			checkDropped(t, len(h.Spec.Rules), tr.httpRoute(h, nil))
		}
		for _, g := range set.GRPCRoutes {
			checkDropped(t, len(g.Spec.Rules), tr.grpcRoute(g, nil))
		}
		table := route.Build(r.Set, nil)
		for _, l := range table.Listeners {
			if h := l.Host("a.example"); h != nil {
				m, ok := h.Match(&route.Request{Host: "a.example", Path: "/a", Method: "GET", Header: func(string) (string, bool) { return "", false }})
				if ok && m.Route == nil {
					t.Error("a match without a route")
				}
			}
		}
	})
}

// checkDropped holds the conditions of a route with n rules to what became of them (RouteConditionPartiallyInvalid).
func checkDropped(t *testing.T, n int, m translated) {
	c := conditions(m.conditions)
	refused := c.index("Accepted") >= 0
	if refused != (n > 0 && len(m.rules) == 0) || c.isTrue("PartiallyInvalid") != (len(m.rules) > 0 && len(m.rules) < n) || c.index("ResolvedRefs") < 0 {
		t.Errorf("%d of %d rules, and conditions %+v", len(m.rules), n, m.conditions)
	}
}

// changed is a copy of a set with other values in places that c chooses.
func (c *chooser) changed(set *Set) *Set {
	out := new(Set)
	var places []reflect.Value
	from, to := reflect.ValueOf(set).Elem(), reflect.ValueOf(out).Elem()
	for i := range from.NumField() {
		if !to.Field(i).CanSet() || from.Field(i).Kind() != reflect.Slice {
			continue
		}
		for j := range from.Field(i).Len() {
			object, ok := from.Field(i).Index(j).Interface().(runtime.Object)
			if !ok {
				continue
			}
			o := reflect.ValueOf(object.DeepCopyObject())
			to.Field(i).Set(reflect.Append(to.Field(i), o))
			if _, is := object.(*gatewayv1.Gateway); !is {
				places = append(places, changeable(o.Elem(), 0)...)
			}
		}
	}
	for range c.n(24) {
		c.fill(places[(c.n(256)<<8|c.n(256))%len(places)], 0)
	}
	return out
}

// changeable are the places in v where another value may stand, its outer ones too.
func changeable(v reflect.Value, depth int) (places []reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[metav1.ObjectMeta](), reflect.TypeFor[metav1.TypeMeta]():
		return nil
	}
	if depth > 0 {
		places = append(places, v)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "Status" {
				places = append(places, changeable(f, depth+1)...)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			places = append(places, changeable(v.Elem(), depth+1)...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			places = append(places, changeable(v.Index(i), depth+1)...)
		}
	}
	return places
}

// words are for fields of type string; types of strings have their own values beside them.
var words = []string{
	"", "a", "b", "web", "plain", "/", "/a", "/a/", "a b", "GET", "http", "https", "80", "10.0.0.1", "::1", "10.0.0.1:80", "host.example:443", "a.example",
	"*.example", "https://a.example", "*", "1s", "500ms", "0s", "off", "64KiB", "v[0-9]+", "(", "kubernetes.io/h2c", "kubernetes.io/wss",
	"close", "status", "auto", "wait", "basic", "none", "client", "endpoint", "random", "hash", "sticky", "frames", "200", "Host", "Upgrade",
}

var wordsOf = map[string][]string{
	"Kind": {
		"Service", "Backend", "EurekaService", "HTTPRoute", "GRPCRoute", "Gateway", "Secret", "ConfigMap", "Service", "Backend", "HTTPRoute", "Thing",
	},
	"Group":                         {"", "gateway.networking.k8s.io", "fairlead.dev", "", "example.org"},
	"Namespace":                     {"default", "other"},
	"ObjectName":                    {"web", "other", "gw", "pair", "ca", "secure", "missing"},
	"SectionName":                   {"", "a", "b"},
	"Hostname":                      {"a.example", "*.example", ""},
	"PreciseHostname":               {"a.example", "A.Example", "", "a/b"},
	"HTTPRouteFilterType":           {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "RequestMirror", "CORS", "ExternalAuth", "ExtensionRef", "X"},
	"GRPCRouteFilterType":           {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef", "X"},
	"PathMatchType":                 {"Exact", "PathPrefix", "RegularExpression", "X"},
	"HeaderMatchType":               {"Exact", "RegularExpression", "X"},
	"QueryParamMatchType":           {"Exact", "RegularExpression", "X"},
	"GRPCMethodMatchType":           {"Exact", "RegularExpression", "X"},
	"GRPCHeaderMatchType":           {"Exact", "RegularExpression", "X"},
	"HTTPPathModifierType":          {"ReplaceFullPath", "ReplacePrefixMatch", "X"},
	"HTTPRouteExternalAuthProtocol": {"HTTP", "GRPC", "X"},
	"SessionPersistenceType":        {"Cookie", "Header", "X"},
	"CookieLifetimeType":            {"Session", "Permanent", "X"},
	"SubjectAltNameType":            {"Hostname", "URI", "X"},
	"WellKnownCACertificatesType":   {"System", "", "X"},
	"AddressType":                   {"IPv4", "IPv6", "FQDN"},
	"Protocol":                      {"TCP", "UDP", ""},
	"ServiceType":                   {"ClusterIP", "ExternalName"},
	"AffinityType":                  {"managed-cookie", "application-cookie", "X"},
	"LoadBalancingStrategy":         {"", "round-robin", "least-request", "ring-hash", "load-aware", "X"},
}

var numbers = []int64{0, 1, 80, 443, 2, 5, 100, 200, 299, 301, 500, 65535, 70000, -1}

// fill gives a value content, at most so deep.
func (c *chooser) fill(v reflect.Value, depth int) {
	if depth > 12 || len(c.b) == 0 {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[metav1.ObjectMeta](), reflect.TypeFor[metav1.TypeMeta](), reflect.TypeFor[metav1.Time]():
		return
	case reflect.TypeFor[metav1.Duration]():
		v.Set(reflect.ValueOf(metav1.Duration{Duration: pick(c, 0, time.Second, -time.Second)}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "Status" {
				c.fill(f, depth+1)
			}
		}
	case reflect.Pointer:
		v.SetZero()
		if c.n(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			c.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		for range c.n(3) {
			e := reflect.New(v.Type().Elem()).Elem()
			c.fill(e, depth+1)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.String && c.n(2) > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf(discoveryv1.LabelServiceName).Convert(v.Type().Key()), reflect.ValueOf(pick(c, "web", "other")).Convert(v.Type().Elem()))
		}
	case reflect.String:
		from := words
		if own := wordsOf[v.Type().Name()]; own != nil {
			from = own
		}
		v.SetString(pick(c, from...))
	case reflect.Bool:
		v.SetBool(c.n(2) == 1)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(pick(c, numbers...))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(c.n(256)))
	}
}
