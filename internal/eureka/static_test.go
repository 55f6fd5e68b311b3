package eureka

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const definitions = `# sample
services:
  - serviceId: StaticClient
    title: "Statically defined"
    description: a client
    catalogUiTileId: tile
    instanceBaseUrls:
      - https://one.example.com:10012/base/
      - http://two.example.com/base
    homePageRelativeUrl: /
    statusPageRelativeUrl: /application/info
    healthCheckRelativeUrl: application/health
    routes:
      - gatewayUrl: api/v1
        serviceRelativeUrl: /api/v1
      - gatewayUrl: /ws/v1.1/
        serviceRelativeUrl:
    authentication: {scheme: httpBasicPassTicket, applid: APPL}
    apiInfo:
      - apiId: my.api
        gatewayUrl: api/v1
        version: 1.0
    customMetadata:
      apiml: {okToRetryOnAllOperations: true, list: [a, {b: c}]}
      own.key: x
catalogUiTiles:
  tile: {title: Tile, description: about}
additionalServiceMetadata:
  - serviceId: dynamic
    mode: UPDATE
    routes: [{gatewayUrl: api/v2, serviceRelativeUrl: /v2}]
    customMetadata: {k: static}
`

// TestStaticDefinition holds what a definition becomes to its golden form.
func TestStaticDefinition(t *testing.T) {
	file, errs, ok := parseStatic([]byte(definitions))
	if !ok || len(errs) > 0 || len(file.services) != 1 || len(file.services[0].instances) != 2 || len(file.additional) != 1 {
		t.Fatalf("%+v, %v", file, errs)
	}
	const metadata = `"metadata":{"apiml.apiInfo.0.apiId":"my.api","apiml.apiInfo.0.gatewayUrl":"api/v1","apiml.apiInfo.0.version":"1.0",` +
		`"apiml.authentication.applid":"APPL","apiml.authentication.scheme":"httpBasicPassTicket","apiml.catalog.tile.description":"about",` +
		`"apiml.catalog.tile.id":"tile","apiml.catalog.tile.title":"Tile","apiml.catalog.tile.version":"1.0.0","apiml.list.0":"a","apiml.list.1.b":"c",` +
		`"apiml.okToRetryOnAllOperations":"true","apiml.routes.api-v1.gatewayUrl":"api/v1","apiml.routes.api-v1.serviceUrl":"/base/api/v1",` +
		`"apiml.routes.ws-v1-1.gatewayUrl":"ws/v1.1","apiml.routes.ws-v1-1.serviceUrl":"/base/","apiml.service.description":"a client",` +
		`"apiml.service.title":"Statically defined","own.key":"x","version":"2.2.0"}`
	for n, want := range []string{
		`{"instance":{"instanceId":"STATIC-one.example.com:staticclient:10012","hostName":"one.example.com","app":"STATICCLIENT","ipAddr":"one.example.com",` +
			`"status":"UP","overriddenStatus":"UNKNOWN","port":{"$":10012,"@enabled":"false"},"securePort":{"$":10012,"@enabled":"true"},`,
		`{"instance":{"instanceId":"STATIC-two.example.com:staticclient:80","hostName":"two.example.com","app":"STATICCLIENT","ipAddr":"two.example.com",` +
			`"status":"UP","overriddenStatus":"UNKNOWN","port":{"$":80,"@enabled":"true"},"securePort":{"$":80,"@enabled":"false"},`,
	} {
		got := string(appendJSONInstance(nil, file.services[0].instances[n]))
		if !strings.HasPrefix(got, want) || !strings.Contains(got, metadata) {
			t.Errorf("%s\nwant %s\nand %s", got, want, metadata)
		}
	}
	if in := file.services[0].instances[0]; in.HomePageURL != "https://one.example.com:10012/base/" ||
		in.SecureHealthCheckURL != "https://one.example.com:10012/base/application/health" || in.HealthCheckURL != "" {
		t.Errorf("%+v", in.URLs)
	}
}

// TestStaticErrors: each with its line, and only what is wrong suffers.
func TestStaticErrors(t *testing.T) {
	const good = "services:\n- {serviceId: good, instanceBaseUrls: ['http://h:1']}\n"
	for _, row := range []struct{ text, want, services string }{
		{good, "", "good"},
		{"", "", ""},
		{"services: [", "1: not YAML", ""},
		{"[]", "1: want keys and values", ""},
		{"services: {}", "1: services: want a list", ""},
		{"a: &x 1\nb: *x", "1: anchors, aliases", ""},
		{good + "- serviceId: bad\n  title: x\n", "3: service \"bad\": instanceBaseUrls is missing", "good"},
		{good + "- serviceId: bad\n  instanceBaseUrls:\n  - http://h:1\n  - ftp://h\n", `6: instanceBaseUrls "ftp://h": want http or https`, "good"},
		{good + "- serviceId: bad\n  instanceBaseUrls: ['https://u:secret@h']\n", `4: instanceBaseUrls "https://u:xxxxx@h": want scheme`, "good"},
		{good + "- serviceId: bad\n  instanceBaseUrls: ['http://h h']\n", "4: instanceBaseUrls", "good"},
		{good + "- serviceId: b/d\n  instanceBaseUrls: ['http://h']\n", "4: service \"b/d\": app has a character", "good"},
		{good + "- {title: x}\n", "3: serviceId is missing", "good"},
		{good + "- serviceId: bad\n  instanceBaseUrls: ['http://h']\n  routes: [{serviceRelativeUrl: /x}]\n", "5: routes: gatewayUrl is missing", "good"},
		{good + "- serviceId: ok\n  colour: blue\n  instanceBaseUrls: ['http://h']\n", `4: key "colour" is not known, and ignored`, "good ok"},
		{good + "additionalServiceMetadata:\n- serviceId: x\n  mode: DROP\n", `5: mode "DROP": want UPDATE or FORCE_UPDATE`, "good"},
		{"services:\n- serviceId: a\n  serviceId: b\n", "3: key \"serviceId\" stands twice", ""},
		{strings.Repeat("\n", maxStaticLines+1), "1: 10001 lines", ""},
		{strings.Repeat("[", 40), "1: nested too deeply", ""},
	} {
		file, errs, _ := parseStatic([]byte(row.text))
		var ids []string
		for _, s := range file.services {
			ids = append(ids, s.id)
		}
		if got := strings.Join(ids, " "); got != row.services || row.want == "" != (len(errs) == 0) {
			t.Errorf("%.200s: %s, %v", row.text, got, errs)
		}
		if row.want != "" && (len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), row.want)) {
			t.Errorf("%.200s: %v, want %s", row.text, errs, row.want)
		}
	}
}

// TestStaticFollows: what files say is registered; changes, removals and errors of theirs are followed.
func TestStaticFollows(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	service := func(id, url string) string {
		return fmt.Sprintf("- serviceId: %s\n  instanceBaseUrls: [%q]\n  routes: [{gatewayUrl: api/v1, serviceRelativeUrl: /}]\n", id, url)
	}
	r := NewRegistry(Config{StaticDefinitions: []string{dir}}, quiet())
	if err := r.register(mustJSON(t, doc("DYN", "1", `,"metadata":{"a":"own"}`)), caller{}); err != nil {
		t.Fatal(err)
	}
	write("a.yml", "services:\n"+service("one", "http://h1:1")+service("two", "http://h2:2"))
	write("b.yaml", "services:\n"+service("one", "http://h1:1")+service("three", "http://h3:3"))
	write("ignored.txt", "services:\n"+service("four", "http://h1:1"))
	r.LoadStatic()
	step := func(name, want string, problems ...string) {
		t.Helper()
		r.static.apply(r, time.Now())
		if got := upIDs(r); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if len(r.static.told) != len(problems) {
			t.Errorf("%s: %v", name, r.static.told)
		}
		for _, p := range problems {
			if !r.static.told[dir+p] {
				t.Errorf("%s: %v, want %s", name, r.static.told, p)
			}
		}
	}
	twice := "/b.yaml:2: instance \"STATIC-h1:one:1\" is defined in " + dir + "/a.yml:2 already"
	const one, two, three = "one/STATIC-h1:one:1", "two/STATIC-h2:two:2", "three/STATIC-h3:three:3"
	step("loaded", "dyn/1 "+one+" "+three+" "+two, twice)
	generation := r.Generation()
	step("nothing new", "dyn/1 "+one+" "+three+" "+two, twice)
	if r.Generation() != generation {
		t.Error("nothing changed, but the generation did")
	}
	write("b.yaml", "services: [")
	step("not YAML", "dyn/1 "+one+" "+three+" "+two, twice, "/b.yaml:1: not YAML: sequence end token ']' not found")
	write("b.yaml", "services:\n- serviceId: three\n")
	step("a service is wrong", "dyn/1 "+one+" "+three+" "+two, `/b.yaml:2: service "three": instanceBaseUrls is missing`)
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	write("a.yml", "services:\n"+service("one", "http://h1:1")+service("two", "http://h2:22"))
	step("changed and gone", "dyn/1 "+one+" two/STATIC-h2:two:22")
	write("c.yml", "additionalServiceMetadata:\n- {serviceId: dyn, customMetadata: {a: def, b: def}}\n- {serviceId: DYN, mode: FORCE_UPDATE, customMetadata: {c: def}}\n")
	step("additional", "dyn/1 "+one+" two/STATIC-h2:two:22")
	if err := r.register(mustJSON(t, doc("DYN", "2", `,"metadata":{"a":"own","c":"own"}`)), caller{}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2"} {
		if got := fmt.Sprint(r.one(leaseKey{"DYN", id}).Metadata); got != "map[a:own b:def c:def]" {
			t.Errorf("%s: %s", id, got)
		}
	}
	if got := document(t, r); strings.Contains(got, "STATIC-") {
		t.Errorf("static instances are in the snapshot: %s", got)
	}
	weight := 0
	for _, i := range r.Instances() {
		weight += size(i)
	}
	if weight != r.weight {
		t.Errorf("weight %d, want %d", r.weight, weight)
	}
	r.static.dirs = []string{dir, filepath.Join(dir, "none")}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r.static.apply(r, time.Now())
	if got := upIDs(r); got != "dyn/1 dyn/2 "+one+" two/STATIC-h2:two:22" || len(r.static.told) != 2+2 {
		t.Errorf("directory gone: %s, %v", got, r.static.told)
	}
}

// FuzzStatic: whatever the file holds, errors have a line of it, and what is read can be registered.
func FuzzStatic(f *testing.F) {
	f.Add([]byte(definitions))
	f.Add([]byte("services:\n- serviceId: bad\n  instanceBaseUrls: ['http://h h']\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		file, errs, _ := parseStatic(data)
		for _, err := range errs {
			if at, ok := errors.AsType[*lineError](err); !ok || at.line < 1 {
				t.Errorf("%v has no line", err)
			}
		}
		for _, s := range file.services {
			for _, i := range s.instances {
				if err := missing(whole(i), i.App); err != nil {
					t.Error(err)
				}
				sameBothWays(t, i)
			}
		}
	})
}
