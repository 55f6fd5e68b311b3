package eureka

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// fakeServer is an Eureka server made of a registry, whose answers a test may change and counts.
type fakeServer struct {
	*Registry
	*httptest.Server

	mu     sync.Mutex // guards the following
	asked  []string
	answer func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newFakeServer(t *testing.T) *fakeServer {
	f := &fakeServer{Registry: NewRegistry(Config{}, quiet())}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/eureka/")
		f.mu.Lock()
		f.asked = append(f.asked, what)
		answer := f.answer
		f.mu.Unlock()
		if answer == nil || !answer(w, r) {
			f.Handler().ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) answers(answer func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// since gives what was asked since the last call.
func (f *fakeServer) since() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := strings.Join(f.asked, ", ")
	f.asked = nil
	return all
}

func (f *fakeServer) add(t *testing.T, app, id, more string) {
	t.Helper()
	in := mustJSON(t, doc(app, id, more))
	if err := f.register(in, caller{}); err != nil {
		t.Fatal(err)
	}
}

func broken(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
}

func newTestCluster(t *testing.T, cfg ClusterConfig, servers ...*fakeServer) *Cluster {
	t.Helper()
	for _, s := range servers {
		cfg.ServiceURLs = append(cfg.ServiceURLs, s.URL+"/eureka/")
	}
	c, err := NewCluster(cfg, ClientOptions{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, client := range c.clients {
			client.Close()
		}
	})
	return c
}

// upIDs are the instances, "svc/id" for those that are UP.
func upIDs(c Source) string {
	var all []string
	for _, i := range c.Instances() {
		if i.Status == Up {
			all = append(all, i.ServiceID()+"/"+i.ID)
		}
	}
	return strings.Join(all, " ")
}

func TestClusterFollows(t *testing.T) {
	s := newFakeServer(t)
	s.add(t, "A", "1", "")
	s.add(t, "A", "2", "")
	s.add(t, "B", "1", "")
	c, now := newTestCluster(t, ClusterConfig{}, s), time.Now()
	step := func(name, want, asked string) {
		t.Helper()
		if err := c.reader.read(t.Context(), now); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := upIDs(c); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := s.since(); got != asked {
			t.Errorf("%s: asked %s, want %s", name, got, asked)
		}
		now = now.Add(30 * time.Second)
	}
	step("first", "a/1 a/2 b/1", "GET apps/")
	generation := c.Generation()
	step("nothing new", "a/1 a/2 b/1", "GET apps/delta")
	if c.Generation() != generation {
		t.Error("nothing changed, but the generation did")
	}
	if err := s.cancel(leaseKey{"A", "2"}, caller{}); err != nil {
		t.Fatal(err)
	}
	if err := s.override(leaseKey{"B", "1"}, OutOfService, 0, caller{}); err != nil {
		t.Fatal(err)
	}
	s.add(t, "C", "1", "")
	step("changes", "a/1 c/1", "GET apps/delta")
	if c.Generation() == generation {
		t.Error("the generation did not change")
	}

	// A change that the server has forgotten: the hash tells.
	s.add(t, "A", "3", "")
	s.sweep(time.Now().Add(time.Hour))
	step("hash differs", "a/1 a/3 c/1", "GET apps/delta, GET apps/")

	s.answers(func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "delta") && broken(403)(w, r)
	})
	step("no deltas", "a/1 a/3 c/1", "GET apps/delta, GET apps/")
	s.answers(nil)
	now = now.Add(200 * time.Second)
	step("after a long time", "a/1 a/3 c/1", "GET apps/")
	if st := c.Status(); st.Stale() || st.Instances != 4 || st.Full != 4 || st.Deltas != 2 {
		t.Errorf("%+v", st)
	}
}

// TestClusterFails: what was read last stays, another server is used, and a server that comes back empty is not believed
// at once.
func TestClusterFails(t *testing.T) {
	one, two := newFakeServer(t), newFakeServer(t)
	for n := range 3 {
		one.add(t, "A", fmt.Sprint(n), "")
		two.add(t, "A", fmt.Sprint(n), "")
	}
	c, now := newTestCluster(t, ClusterConfig{}, one, two), time.Now()
	read := func() error { now = now.Add(30 * time.Second); return c.reader.read(t.Context(), now) }
	if err := read(); err != nil || two.since() != "" {
		t.Fatal(err)
	}
	one.answers(broken(503))
	if err := read(); err != nil || two.since() != "GET apps/" || c.Status().Server != two.URL+"/eureka/" {
		t.Fatalf("%v, %+v", err, c.Status())
	}
	if err := read(); err != nil || two.since() != "GET apps/delta" {
		t.Fatal(err)
	}
	two.answers(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, "<html>"); return true })
	before := c.Generation()
	err := read()
	if err == nil || !strings.Contains(err.Error(), "answered 503") || !strings.Contains(err.Error(), two.URL) {
		t.Errorf("%v", err)
	}
	if st := c.Status(); !st.Stale() || upIDs(c) != "a/0 a/1 a/2" || c.Generation() != before {
		t.Errorf("%+v, %s", st, upIDs(c))
	}

	// The second comes back empty: a lease later it is believed.
	two.Registry = NewRegistry(Config{}, quiet())
	two.answers(nil)
	if err := read(); err != nil || upIDs(c) != "a/0 a/1 a/2" || c.Status().Stale() {
		t.Fatalf("%v, %s", err, upIDs(c))
	}
	two.add(t, "A", "1", "")
	for range 2 {
		if err := read(); err != nil || upIDs(c) != "a/0 a/1 a/2" {
			t.Fatalf("%v, %s", err, upIDs(c))
		}
	}
	if err := read(); err != nil || upIDs(c) != "a/1" {
		t.Fatalf("%v, %s", err, upIDs(c))
	}
}

// TestClusterJudges: what one instance says wrong, only that one suffers for.
func TestClusterJudges(t *testing.T) {
	s := newFakeServer(t)
	s.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, `{"applications":{"apps__hashcode":"UP_7_","application":{"name":"A","instance":[
			{"instanceId":"1","hostName":"good","metadata":{"routed-services.1.gateway-url":"ws/v1"}},
			{"instanceId":"2","hostName":"bad host"},{"instanceId":"3","hostName":"169.254.169.254"},{"instanceId":"4","port":{"$":"x"}},
			{"instanceId":"5","hostName":"other"},{"instanceId":"6","hostName":"good","app":"A/B"},{}]}}}`)
		return true
	})
	c := newTestCluster(t, ClusterConfig{AllowedHosts: []string{"good"}}, s)
	for range 2 { // the hash counts them all, so the second is a delta
		if err := c.reader.read(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if st := c.Status(); upIDs(c) != "a/1" || st.Refused != 6 || st.Deltas != 1 || len(c.reader.told) != 6 {
		t.Errorf("%s, %+v, %v", upIDs(c), st, c.reader.told)
	}
	if in := c.Instances()[0]; in.Metadata["apiml.routes.1.gatewayUrl"] != "ws/v1" || !in.External {
		t.Errorf("%+v", in)
	}
}

// TestClusterRegisters: the gateway registers, is not among what it reads, registers again where it is forgotten, goes to
// another server where one fails, and ends its registration.
func TestClusterRegisters(t *testing.T) {
	one, two := newFakeServer(t), newFakeServer(t)
	c := newTestCluster(t, ClusterConfig{}, one, two)
	own := GatewayInstance("gw", 10010, true, "1.2.3", one.URL)
	c.Announce(own)
	key := leaseKey{"GATEWAY", "gw:gateway:10010"}

	if err := c.announce(t.Context(), c.clients[0], false); err != nil || one.one(key) == nil {
		t.Fatal(err)
	}
	if err := c.reader.read(t.Context(), time.Now()); err != nil || len(c.Instances()) != 0 || len(c.reader.all) != 1 {
		t.Errorf("%v, %v", err, c.Instances())
	}
	one.since()
	if err := c.announce(t.Context(), c.clients[0], true); err != nil || one.since() != "PUT apps/GATEWAY/"+key.id {
		t.Error(err)
	}
	if err := one.cancel(key, caller{}); err != nil {
		t.Fatal(err)
	}
	if err := c.announce(t.Context(), c.clients[0], true); err != nil || one.since() != "PUT apps/GATEWAY/"+key.id+", POST apps/GATEWAY" {
		t.Error(err)
	}
	one.answers(broken(500))
	at := 0
	if err := c.try(&at, func(client *Client) error { return c.announce(t.Context(), client, true) }); err != nil || at != 1 || two.one(key) == nil {
		t.Error(err, at)
	}
	one.answers(nil)
	two.answers(broken(500))

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	eventually(t, func() string { return "not registered" }, func() bool { return c.Status().Registered })
	c.Leave(t.Context())
	if one.one(key) != nil || c.Status().Registered {
		t.Error("still registered")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestClusterLeavesThoughAServerHangs: a registration that is not answered is not waited for, and ended like one that was.
func TestClusterLeavesThoughAServerHangs(t *testing.T) {
	s := newFakeServer(t)
	asked, over := make(chan struct{}), make(chan struct{})
	defer close(over)
	s.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		close(asked)
		select {
		case <-r.Context().Done():
		case <-over:
		}
		return true
	})
	c := newTestCluster(t, ClusterConfig{}, s)
	c.Announce(GatewayInstance("gw", 10010, true, "1.2.3", s.URL))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-asked
	leave, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if c.Leave(leave); leave.Err() != nil {
		t.Error("it waits for the server")
	}
	if asked := s.since(); !strings.Contains(asked, "DELETE apps/GATEWAY/gw:gateway:10010") {
		t.Errorf("asked: %s", asked)
	}
	cancel()
	<-done
}

func TestGatewayInstance(t *testing.T) {
	i := GatewayInstance("gw.example.com", 10010, true, "1.2.3", "http://127.0.0.1:1/eureka/")
	i.LastDirty = 17
	if err := missing(i, "GATEWAY"); err != nil && !strings.Contains(err.Error(), "dataCenterInfo") {
		t.Error(err)
	}
	if err := check(i); err != nil {
		t.Error(err)
	}
	const want = `{"instance":{"instanceId":"gw.example.com:gateway:10010","hostName":"gw.example.com","app":"GATEWAY","ipAddr":"127.0.0.1","status":"UP",` +
		`"overriddenStatus":"UNKNOWN","port":{"$":10010,"@enabled":"false"},"securePort":{"$":10010,"@enabled":"true"},"countryId":1,` +
		`"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},` +
		`"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":0,"lastRenewalTimestamp":0,"evictionTimestamp":0,"serviceUpTimestamp":0},` +
		`"metadata":{"apiml.apiBasePath":"/gateway/api/v1","apiml.apiInfo.0.apiId":"zowe.apiml.gateway","apiml.apiInfo.0.gatewayUrl":"api/v1",` +
		`"apiml.apiInfo.0.version":"1.2.3","apiml.catalog.tile.description":"The gateway and its own services.","apiml.catalog.tile.id":"apimediationlayer",` +
		`"apiml.catalog.tile.title":"API Mediation Layer API","apiml.catalog.tile.version":"1.0.0","apiml.routes.api_v1.gatewayUrl":"api/v1",` +
		`"apiml.routes.api_v1.serviceUrl":"/gateway/api/v1","apiml.service.description":"Fairlead routes requests and WebSocket sessions to the registered services.",` +
		`"apiml.service.title":"API Gateway","version":"2.2.0"},"homePageUrl":"https://gw.example.com:10010/",` +
		`"statusPageUrl":"https://gw.example.com:10010/application/info","secureHealthCheckUrl":"https://gw.example.com:10010/application/health",` +
		`"vipAddress":"gateway","secureVipAddress":"gateway","isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"0","lastDirtyTimestamp":"17"}}`
	if got := string(appendJSONInstance(nil, i)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestMerge: of one instance in two sources the first one's is taken, and its word on a route counts.
func TestMerge(t *testing.T) {
	const route = `,"metadata":{"apiml.routes.1.gatewayUrl":"ws/v1","apiml.routes.1.serviceUrl":%q}`
	s := newFakeServer(t)
	r := NewRegistry(Config{}, quiet())
	own := &fakeServer{Registry: r}
	own.add(t, "B", "1", fmt.Sprintf(route, "/own"))
	own.add(t, "C", "1", "")
	s.add(t, "B", "1", fmt.Sprintf(route, "/other"))
	s.add(t, "B", "2", fmt.Sprintf(route, "/other"))
	s.add(t, "A", "1", "")
	c := newTestCluster(t, ClusterConfig{}, s)
	m := Merge(r, c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-m.Changed()
	before := m.Generation()
	if err := c.reader.read(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	<-m.Changed()
	if got := upIDs(m); got != "a/1 b/1 b/2 c/1" || m.Generation() == before {
		t.Errorf("%s, generation %d after %d", got, m.Generation(), before)
	}
	if a, b := m.Instances(), m.Instances(); &a[0] != &b[0] {
		t.Error("nothing changed, but the snapshot was made again")
	}
	routes := translation{pool: upstream.NewPool()}.routes(m.Instances()[1:3])
	if got := routes[1].Target; got != "/own" || len(routes[1].Service.Endpoints) != 2 {
		t.Errorf("%s, %+v", got, routes[1])
	}
	cancel()
	<-done
}
