package eureka

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// server is a registry behind its own listener on loopback.
type server struct {
	*Registry
	t    testing.TB
	addr string
	http *http.Client
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serveRegistry starts r on loopback and stops it with the test.
func serveRegistry(t testing.TB, r *Registry) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(ctx, ln, r.Handler(), nil, ServeOptions{Log: quiet()}); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(func() { tr.CloseIdleConnections(); cancel(); wg.Wait() })
	return &server{Registry: r, t: t, addr: ln.Addr().String(), http: &http.Client{Transport: tr}}
}

func newServer(t testing.TB, cfg Config) *server { return serveRegistry(t, NewRegistry(cfg, quiet())) }

// do sends one request; header lines are "Name: value".
func (s *server) do(method, path, body string, header ...string) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// want sends a request and holds the answer to a status.
func (s *server) want(status int, method, path, body string, header ...string) string {
	s.t.Helper()
	got, answer, _ := s.do(method, path, body, header...)
	if got != status {
		s.t.Fatalf("%s %s: %d %q, want %d", method, path, got, answer, status)
	}
	return answer
}

const (
	asJSON = "Accept: application/json"
	ofJSON = "Content-Type: application/json"
	ofXML  = "Content-Type: application/xml"
)

// doc is a registration of a plain service.
func doc(app, id, more string) string {
	return fmt.Sprintf(`{"instance":{"app":%q,"instanceId":%q,"hostName":"h","ipAddr":"10.0.0.1","vipAddress":%q,
"dataCenterInfo":{"name":"MyOwn"}%s}}`, app, id, strings.ToLower(app), more)
}

func (s *server) register(app, id, more string) {
	s.t.Helper()
	s.want(204, "POST", "/eureka/apps/"+app, doc(app, id, more), ofJSON)
}

func (s *server) stored(app, id string) *Instance {
	s.t.Helper()
	i, err := parseJSONInstance([]byte(s.want(200, "GET", "/eureka/apps/"+app+"/"+id, "", asJSON)))
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

func TestNodeEnabler(t *testing.T) {
	s := newServer(t, Config{})
	s.want(204, "POST", "/eureka/apps/hwexpress", nodeDocument, ofJSON)
	s.want(200, "PUT", "/eureka/apps/hwexpress/localhost:hwexpress:10020", "")
	s.want(200, "PUT", "/eureka/apps/hwexpress/localhost%3Ahwexpress%3A10020", "")
	status, body, h := s.do("GET", "/eureka/apps/", "", asJSON)
	if status != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", status, h)
	}
	var got struct {
		Applications struct {
			Version string `json:"versions__delta"`
			Hash    string `json:"apps__hashcode"`
			Apps    []struct {
				Name      string
				Instances []map[string]any `json:"instance"`
			} `json:"application"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	a := got.Applications
	if a.Version != "1" || a.Hash != "UP_1_" || len(a.Apps) != 1 || a.Apps[0].Name != "HWEXPRESS" {
		t.Fatalf("%s", body)
	}
	i := a.Apps[0].Instances[0]
	lease := i["leaseInfo"].(map[string]any)
	if i["actionType"] != "ADDED" || lease["durationInSecs"] != 90.0 || lease["registrationTimestamp"].(float64) < 1e12 ||
		i["port"].(map[string]any)["@enabled"] != "false" || i["port"].(map[string]any)["$"] != 10020.0 ||
		i["overriddenStatus"] != "UNKNOWN" || i["lastDirtyTimestamp"] == "0" || i["isCoordinatingDiscoveryServer"] != "false" {
		t.Errorf("%s", body)
	}
	s.want(200, "DELETE", "/eureka/apps/hwexpress/localhost:hwexpress:10020", "")
	s.want(404, "PUT", "/eureka/apps/hwexpress/localhost:hwexpress:10020", "")
	s.want(404, "DELETE", "/eureka/apps/hwexpress/localhost:hwexpress:10020", "")
	if body := s.want(200, "GET", "/eureka/apps", "", asJSON); body != `{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}` {
		t.Errorf("empty registry: %s", body)
	}
}

func TestXMLService(t *testing.T) {
	s := newServer(t, Config{})
	s.want(204, "POST", "/eureka/apps/sampleclient", xmlDocument, ofXML)
	for _, accept := range []string{"", "*/*", "application/xml", "text/html"} {
		status, body, h := s.do("GET", "/eureka/apps/", "", "Accept: "+accept)
		if status != 200 || h.Get("Content-Type") != "application/xml" ||
			!strings.HasPrefix(body, "<applications><versions__delta>1</versions__delta><apps__hashcode>UP_1_</apps__hashcode><application><name>SAMPLECLIENT</name><instance>") {
			t.Errorf("Accept %q: %d %v %s", accept, status, h, body)
		}
	}
	body := s.want(200, "GET", "/eureka/instances/host:sampleclient:10080", "")
	for _, part := range []string{
		`<apiml.routes.ws__v1.gatewayUrl>ws/v1</apiml.routes.ws__v1.gatewayUrl>`, `<port enabled="false">10080</port>`,
		`<securePort enabled="true">10080</securePort>`, `<overriddenstatus>UNKNOWN</overriddenstatus>`,
		`<dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo>`,
		`<status>UP</status>`, `<durationInSecs>90</durationInSecs>`,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("%s\nlacks %s", body, part)
		}
	}
}

func TestEveryEndpoint(t *testing.T) {
	s := newServer(t, Config{})
	s.register("ONE", "h:one:1", `,"metadata":{"k":"v"},"secureVipAddress":"sone,other"`)
	for _, base := range []string{"/eureka", "/eureka/v2", "//eureka/"} {
		for _, path := range []string{
			"/apps", "/apps/", "/apps/delta", "/apps/ONE", "/apps/one/", "/apps/one/h:one:1", "/apps/one/h%3aone%3A1",
			"/instances/h:one:1", "/vips/one", "/svips/sone", "/svips/other", "/vips/x", "/svips/one", "/status", "/serverinfo/statusoverrides",
		} {
			s.want(200, "GET", base+path, "")
			s.want(200, "GET", base+path, "", asJSON)
			s.want(200, "HEAD", base+path, "")
		}
	}
	for _, path := range []string{
		"/eureka/apps/TWO", "/eureka/apps/one/x", "/eureka/instances/x",
		"/eureka/peerreplication", "/eureka/x", "/apps", "/eureka/apps/a/b/c", "/eureka/v2x/apps", "/eureka/apps/h:one:1/one",
	} {
		s.want(404, "GET", path, "")
	}
	for _, tt := range []struct{ method, path string }{
		{"PUT", "/eureka/apps/one/x"},
		{"DELETE", "/eureka/apps/one/x"},
		{"PUT", "/eureka/apps/one/x/status?value=UP"},
		{"DELETE", "/eureka/apps/one/x/status"},
		{"PUT", "/eureka/apps/one/x/metadata?a=b"},
	} {
		if body := s.want(404, tt.method, tt.path, ""); body != "" {
			t.Errorf("%s %s: body %q", tt.method, tt.path, body)
		}
	}
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/eureka/apps", "GET, HEAD"},
		{"PUT", "/eureka/apps/one", "GET, POST, HEAD"},
		{"POST", "/eureka/apps/one/h:one:1", "GET, PUT, DELETE, HEAD"},
		{"GET", "/eureka/apps/one/h:one:1/status", "PUT, DELETE"},
		{"OPTIONS", "/eureka/apps/delta", "GET, HEAD"},
		{"GET", "/eureka/apps/one/h:one:1/metadata", "PUT"},
	} {
		status, _, h := s.do(tt.method, tt.path, "")
		if status != 405 || h.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q, want %q", tt.method, tt.path, status, h.Get("Allow"), tt.allow)
		}
	}
	s.want(200, "PUT", "/eureka/apps/one/h:one:1/metadata?k=w&new=a%20b", "")
	if m := s.stored("ONE", "h:one:1").Metadata; m["k"] != "w" || m["new"] != "a b" {
		t.Errorf("metadata: %v", m)
	}
	for _, path := range []string{"/", "/eureka", "/eureka/", "/eureka/v2/"} {
		if body := s.want(200, "GET", path, ""); !strings.Contains(body, "one UP h:7001 h:one:1") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

func TestRegistrationRefused(t *testing.T) {
	s := newServer(t, Config{MetadataLimit: 1000})
	for _, tt := range []struct{ doc, want string }{
		{`{"instance":{"ipAddr":"1"}}`, "Missing instanceId"},
		{`{"instance":{"instanceId":"i"}}`, "Missing hostname"},
		{`{"instance":{"hostName":"h"}}`, "Missing ip address"},
		{`{"instance":{"hostName":"h","ipAddr":"1"}}`, "Missing appName"},
		{`{"instance":{"hostName":"h","ipAddr":"1","app":"b"}}`, "Mismatched appName, expecting A but was B"},
		{`{"instance":{"hostName":"h","ipAddr":"1","app":"a"}}`, "Missing dataCenterInfo"},
		{`{"instance":{"hostName":"h","ipAddr":"1","app":"a","dataCenterInfo":{}}}`, "Missing dataCenterInfo Name"},
	} {
		if got := s.want(400, "POST", "/eureka/apps/a", tt.doc, ofJSON); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.doc, got, tt.want)
		}
	}
	for _, more := range []string{
		`,"metadata":{"":"x"}`, `,"metadata":{"a":"\u0000"}`, `,"metadata":{"a\nb":"c"}`, `,"instanceId":"a\u001bb"`,
		`,"instanceId":"` + strings.Repeat("x", 600) + `"`, `,"hostName":"a b"`, `,"hostName":"http://x/"`, `,"hostName":"169.254.169.254"`,
		`,"hostName":"0.0.0.0"`, `,"hostName":"[fe80::1]"`, `,"hostName":"127.1"`, `,"hostName":"0x7f000001"`, `,"hostName":"::ffff:169.254.1.1"`,
		`,"dataCenterInfo":{"name":"evil"}`, `,"metadata":{"a":"` + strings.Repeat("x", 1000) + `"}`, `,"port":{"$":99999}`,
		`,"homePageUrl":"` + strings.Repeat("x", 5000) + `"`,
	} {
		body := s.want(400, "POST", "/eureka/apps/a", doc("a", "i", more), ofJSON, asJSON)
		var e struct{ Error string }
		if json.Unmarshal([]byte(body), &e) != nil || e.Error == "" {
			t.Errorf("%s: %s", more, body)
		}
	}
	for _, app := range []string{"a%2Fb", "a%20b", "a%0Ab", "%3Cb%3E"} {
		name := strings.NewReplacer("%2F", "/", "%20", " ", "%0A", `\n`, "%3C", "<", "%3E", ">").Replace(app)
		d := strings.Replace(doc("X", "i", ""), `"X"`, `"`+name+`"`, 1)
		s.want(400, "POST", "/eureka/apps/"+app, d, ofJSON)
	}
	if n := s.Stats(); n.Instances != 0 || n.Refused < 25 {
		t.Errorf("%+v", n)
	}
	body := s.want(400, "POST", "/eureka/apps/a", "{", ofJSON, asJSON)
	if !strings.HasPrefix(body, `{"error":"cannot parse request body`) {
		t.Error(body)
	}
	body = s.want(400, "POST", "/eureka/apps/a", "<a", ofXML)
	if !strings.HasPrefix(body, `<error><message>cannot parse request body`) {
		t.Error(body)
	}
}

func TestBodyLimits(t *testing.T) {
	s := newServer(t, Config{BodyLimit: 10000, MetadataLimit: 20000})
	zip := func(text string) string { return string(compress([]byte(text))) }
	big := doc("a", "i", `,"metadata":{"a":"`+strings.Repeat("x", 9000)+`"}`)
	s.want(204, "POST", "/eureka/apps/a", big, ofJSON)
	s.want(204, "POST", "/eureka/apps/a", zip(big), ofJSON, "Content-Encoding: gzip")
	huge := doc("a", "i", `,"metadata":{"a":"`+strings.Repeat("x", 11000)+`"}`)
	for _, tt := range []struct{ body, encoding string }{
		{huge, ""}, {zip(huge), "gzip"}, {strings.Repeat(" ", 5<<20), ""}, {zip(strings.Repeat(" ", 9<<20)), "gzip"},
	} {
		body := s.want(400, "POST", "/eureka/apps/a", tt.body, ofJSON, "Content-Encoding: "+tt.encoding)
		if !strings.Contains(body, "longer than") {
			t.Errorf("%d bytes: %q", len(tt.body), body)
		}
	}
	s.want(400, "POST", "/eureka/apps/a", "no gzip", ofJSON, "Content-Encoding: gzip")
	s.want(400, "POST", "/eureka/apps/a", zip(big)[:100], ofJSON, "Content-Encoding: gzip")
	s.want(415, "POST", "/eureka/apps/a", big, ofJSON, "Content-Encoding: br")
	// A body without a declared length is bounded just as well.
	resp, err := s.http.Post("http://"+s.addr+"/eureka/apps/a", "application/json", io.MultiReader(strings.NewReader(huge)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
}

func TestContentTypes(t *testing.T) {
	s := newServer(t, Config{})
	for _, tt := range []struct{ contentType, body string }{
		{"", nodeDocument},
		{"application/x-www-form-urlencoded", nodeDocument},
		{"text/plain", nodeDocument},
		{"application/json;charset=UTF-8", nodeDocument},
		{"application/vnd.x+json", nodeDocument},
	} {
		s.want(204, "POST", "/eureka/apps/HWEXPRESS", tt.body, "Content-Type: "+tt.contentType)
	}
	for _, contentType := range []string{"", "text/xml", "application/xml; charset=utf-8"} {
		s.want(204, "POST", "/eureka/apps/sampleclient", xmlDocument, "Content-Type: "+contentType)
	}
}

func TestGzipAndCompact(t *testing.T) {
	s := newServer(t, Config{})
	s.register("ONE", "i", `,"metadata":{"secret":"v"},"homePageUrl":"http://h/"`)
	for _, path := range []string{"/eureka/apps", "/eureka/apps/delta", "/eureka/apps/one", "/eureka/apps/one/i", "/eureka/vips/one"} {
		_, plain, h := s.do("GET", path, "", asJSON)
		if h.Get("Content-Encoding") != "" || !strings.Contains(h.Get("Vary"), "Accept-Encoding") {
			t.Errorf("%s: %v", path, h)
		}
		_, zipped, h := s.do("GET", path, "", asJSON, "Accept-Encoding: deflate, gzip;q=0.5")
		if h.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %v", path, h)
		}
		z, err := gzip.NewReader(strings.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || string(got) != plain {
			t.Errorf("%s: %q, %v, want %q", path, got, err, plain)
		}
		if _, _, h := s.do("GET", path, "", "Accept-Encoding: gzip;q=0"); h.Get("Content-Encoding") != "" {
			t.Errorf("%s: gzip was refused, got %v", path, h)
		}
	}
	for _, accept := range []string{asJSON, "Accept: application/xml"} {
		body := s.want(200, "GET", "/eureka/apps", "", accept, "X-Eureka-Accept: compact")
		if strings.Contains(body, "secret") || strings.Contains(body, "leaseInfo") || strings.Contains(body, "homePageUrl") || !strings.Contains(body, "vipAddress") {
			t.Errorf("compact: %s", body)
		}
		if body := s.want(200, "GET", "/eureka/apps", "", accept, "X-Eureka-Accept: full"); !strings.Contains(body, "secret") {
			t.Errorf("full: %s", body)
		}
	}
}

func TestHeartbeats(t *testing.T) {
	s := newServer(t, Config{})
	s.register("A", "i", `,"lastDirtyTimestamp":"1000","status":"STARTING"`)
	beat := "/eureka/apps/A/i"
	s.want(200, "PUT", beat, "")
	s.want(200, "PUT", beat+"?status=UP&lastDirtyTimestamp=1000", "")
	s.want(200, "PUT", beat+"?status=UP&lastDirtyTimestamp=999", "")
	s.want(404, "PUT", beat+"?status=UP&lastDirtyTimestamp=1001", "")
	s.want(400, "PUT", beat+"?lastDirtyTimestamp=soon", "")
	replica := "X-Netflix-Discovery-Replication: true"
	if body := s.want(409, "PUT", beat+"?lastDirtyTimestamp=999", "", replica, asJSON); !strings.HasPrefix(body, `{"instance":{"instanceId":"i"`) {
		t.Error(body)
	}
	s.want(404, "PUT", beat+"?lastDirtyTimestamp=1001", "", replica)
	if got := s.stored("A", "i"); got.Status != Starting {
		t.Errorf("a heartbeat changed the status to %s", got.Status)
	}
	// An older registration does not replace a newer one, an equal or newer one does.
	s.register("A", "i", `,"lastDirtyTimestamp":"900","metadata":{"n":"old"}`)
	if got := s.stored("A", "i"); got.LastDirty != 1000 || got.Metadata["n"] != "" {
		t.Errorf("%+v", got)
	}
	s.register("A", "i", `,"lastDirtyTimestamp":"1001","status":"UP","metadata":{"n":"new"}`)
	if got := s.stored("A", "i"); got.LastDirty != 1001 || got.Metadata["n"] != "new" || got.Status != Up {
		t.Errorf("%+v", got)
	}
}

func TestStatusRules(t *testing.T) {
	s := newServer(t, Config{})
	status := func(id string, want, overridden Status) {
		t.Helper()
		if got := s.stored("A", id); got.Status != want || got.Overridden != overridden {
			t.Errorf("%s: %s overridden %s, want %s, %s", id, got.Status, got.Overridden, want, overridden)
		}
	}
	s.register("A", "i", `,"status":"STARTING"`)
	status("i", Starting, Unknown)
	s.register("A", "i", `,"status":"UP"`)
	status("i", Up, Unknown)
	s.register("A", "i", `,"status":"OUT_OF_SERVICE"`) // the lease's UP wins over what is sent
	status("i", Up, Unknown)
	s.want(200, "PUT", "/eureka/apps/A/i/status?value=OUT_OF_SERVICE", "")
	status("i", OutOfService, OutOfService)
	if got := s.want(200, "GET", "/eureka/serverinfo/statusoverrides", ""); got != `{"i":"OUT_OF_SERVICE"}` {
		t.Error(got)
	}
	s.want(200, "PUT", "/eureka/apps/A/i?status=UP", "")
	s.register("A", "i", `,"status":"UP"`)
	status("i", OutOfService, OutOfService)
	s.register("A", "i", `,"status":"DOWN"`) // DOWN is as sent
	status("i", Down, OutOfService)
	s.register("A", "i", `,"status":"STARTING"`) // and so is STARTING
	status("i", Starting, OutOfService)
	s.register("A", "i", `,"status":"UP"`)
	status("i", OutOfService, OutOfService)
	s.want(200, "DELETE", "/eureka/apps/A/i/status?value=UP", "")
	status("i", Up, Unknown)
	s.want(200, "DELETE", "/eureka/apps/A/i/status?value=DOWN", "") // no override: nothing happens
	status("i", Up, Unknown)

	// Without a value the status is unknown, and the next heartbeat makes the client register again.
	s.want(200, "PUT", "/eureka/apps/A/i/status?value=OUT_OF_SERVICE", "")
	s.want(200, "DELETE", "/eureka/apps/A/i/status", "")
	status("i", Unknown, Unknown)
	s.want(404, "PUT", "/eureka/apps/A/i", "")
	s.register("A", "i", `,"status":"UP"`)
	status("i", Up, Unknown)

	// An override that comes with the registration counts, and ends with the lease.
	s.register("A", "j", `,"status":"UP","overriddenstatus":"OUT_OF_SERVICE"`)
	status("j", OutOfService, OutOfService)
	s.want(200, "DELETE", "/eureka/apps/A/j", "")
	s.register("A", "j", `,"status":"UP"`)
	status("j", Up, Unknown)
	s.want(400, "PUT", "/eureka/apps/A/j/status", "")
	if got := s.want(200, "GET", "/eureka/apps", "", asJSON); !strings.Contains(got, `"apps__hashcode":"UP_2_"`) {
		t.Error(got)
	}
}

func TestOldKeysAreTranslated(t *testing.T) {
	s := newServer(t, Config{})
	s.register("ibmzosmf", "i", `,"metadata":{"routed-services.ws_v1.gateway-url":"ws/v1","routed-services.ws_v1.service-url":"/sample/ws",
"mfaas.discovery.catalogUiTile.id":"t","mfaas.discovery.service.title":"T","mfaas.api-info.apiVersionProperties.v1.title":"x","mfaas.discovery.enableApiDoc":"true","other":"o"}`)
	m := s.stored("ibmzosmf", "i").Metadata
	want := map[string]string{
		"apiml.routes.ws_v1.gatewayUrl": "ws/v1", "apiml.routes.ws_v1.serviceUrl": "/sample/ws", "apiml.catalog.tile.id": "t",
		"apiml.service.title": "T", "other": "o", "apiml.authentication.scheme": "zosmf",
	}
	if fmt.Sprint(m) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", m, want)
	}
	s.register("new", "i", `,"metadata":{"routed-services.a.gateway-url":"ui/v1","version":"2.0.0"}`)
	if m := s.stored("new", "i").Metadata; m["routed-services.a.gateway-url"] != "ui/v1" {
		t.Errorf("a version marks new keys: %v", m)
	}
}

func TestFullRegistry(t *testing.T) {
	s := newServer(t, Config{MaxInstances: 2})
	s.register("A", "1", "")
	s.register("A", "2", "")
	s.want(503, "POST", "/eureka/apps/A", doc("A", "3", ""), ofJSON)
	s.register("A", "2", "") // one that is known still fits
	s.want(200, "DELETE", "/eureka/apps/A/1", "")
	s.register("A", "3", "")
	if n := s.Stats(); n.Instances != 2 || n.Refused != 1 {
		t.Errorf("%+v", n)
	}
}
