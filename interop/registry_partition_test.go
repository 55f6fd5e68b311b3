package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Leases of those who send heartbeats, and of those who send none, in seconds.
const (
	shortLease = 8 // Netflix's servers end it after twice the time
	longLease  = 600
	beat       = 1200 * time.Millisecond // Netflix's servers pass on nothing of who sends more than two a second
)

// members are registries that form one, each with a wire to each other.
type members struct {
	t     *testing.T
	bases []string // their addresses, not over a wire
	wires map[[2]int]*wire
	alive []*process

	mu      sync.Mutex                    // guards the following
	beating map[string]context.CancelFunc // by instance
	wg      sync.WaitGroup
}

// newMembers lays the wires between registries that will listen on ports.
func newMembers(t *testing.T, ports []string) *members {
	t.Helper()
	m := &members{t: t, wires: map[[2]int]*wire{}, beating: map[string]context.CancelFunc{}}
	for i, port := range ports {
		m.bases = append(m.bases, "http://127.0.0.1:"+port+"/eureka/")
		for j := range ports {
			if i != j {
				m.wires[[2]int{j, i}] = newWire(t, "127.0.0.1:"+port)
			}
		}
	}
	t.Cleanup(func() {
		m.mu.Lock()
		for _, stop := range m.beating {
			stop()
		}
		m.mu.Unlock()
		m.wg.Wait()
	})
	return m
}

// peersOf are the addresses at which member i reaches the others.
func (m *members) peersOf(i int) (urls []string) {
	for j := range m.bases {
		if i != j {
			urls = append(urls, m.wires[[2]int{i, j}].eureka())
		}
	}
	return urls
}

// fairlead starts member i as a gateway whose registry evicts every second.
func (m *members) fairlead(i int) {
	m.t.Helper()
	dir := m.t.TempDir()
	peers, err := json.Marshal(m.peersOf(i))
	if err != nil {
		m.t.Fatal(err)
	}
	own := strings.TrimSuffix(strings.TrimPrefix(m.bases[i], "http://"), "/eureka/")
	writeFile(m.t, filepath.Join(dir, "fairlead.yaml"), fmt.Sprintf(`
gateway: {listeners: [{name: http, address: "127.0.0.1:0"}]}
registry: {address: %q, peers: %s, selfPreservation: false, evictionInterval: 1s}
dataDir: data
`, own, peers))
	m.alive = append(m.alive, start(m.t, command{name: fmt.Sprintf("member %d", i), dir: dir, argv: []string{binary(m.t), "run", "--config", "fairlead.yaml"}}))
}

// part cuts the wires between member 0 and all others, or mends them.
func (m *members) part(yes bool) {
	for ends, w := range m.wires {
		if ends[0] == 0 || ends[1] == 0 {
			w.cut(yes)
		}
	}
}

// register registers an instance of the service of the same name; v is metadata.
func (m *members) register(at int, name string, lease int, v string) (status int, err error) {
	app := strings.ToUpper(name)
	doc := fmt.Sprintf(`{"instance":{"app":%q,"instanceId":%q,"hostName":"localhost","ipAddr":"127.0.0.1","vipAddress":%q,"status":"UP",
"port":{"$":1,"@enabled":"true"},"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},
"leaseInfo":{"renewalIntervalInSecs":8,"durationInSecs":%d},"lastDirtyTimestamp":"%d","metadata":{"v":%q}}}`, app, name, name, lease, time.Now().UnixMilli(), v)
	return m.send(http.MethodPost, at, "apps/"+app, doc)
}

func (m *members) send(method string, at int, path, body string) (status int, err error) {
	req, err := http.NewRequest(method, m.bases[at]+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

// live has an instance register at a member and renew its lease there until it stops: as clients do, it registers again
// where it was forgotten.
func (m *members) live(at int, name, v string) {
	m.t.Helper()
	ctx, stop := context.WithCancel(m.t.Context())
	m.mu.Lock()
	m.beating[name] = stop
	m.mu.Unlock()
	if status, err := m.register(at, name, shortLease, v); status != http.StatusNoContent {
		m.t.Fatalf("registration of %s: %d %v", name, status, err)
	}
	m.wg.Go(func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if status, _ := m.send(http.MethodPut, at, "apps/"+strings.ToUpper(name)+"/"+name+"?status=UP", ""); status == http.StatusNotFound && ctx.Err() == nil {
				_, _ = m.register(at, name, shortLease, v) // the next heartbeat tells how it went
			}
		}
	})
}

// stop ends the heartbeats of an instance.
func (m *members) stop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beating[name]()
}

// quiet registers an instance with a long lease, which says nothing more.
func (m *members) quiet(at int, name string) {
	m.t.Helper()
	if status, err := m.register(at, name, longLease, "1"); status != http.StatusNoContent {
		m.t.Fatalf("registration of %s: %d %v", name, status, err)
	}
}

func (m *members) cancel(at int, name string) {
	m.t.Helper()
	told(m.t, http.MethodDelete, m.bases[at]+"apps/"+strings.ToUpper(name)+"/"+name)
}

func (m *members) status(at int, name, status string) {
	m.t.Helper()
	told(m.t, http.MethodPut, m.bases[at]+"apps/"+strings.ToUpper(name)+"/"+name+"/status?value="+status)
}

// print is what a member has, as "id=STATUS v".
func (m *members) print(at int) (all []string, err error) {
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, m.bases[at]+"apps/", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Applications struct {
			Application []struct{ Instance []instance }
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, err
	}
	for _, app := range answer.Applications.Application {
		for _, i := range app.Instance {
			all = append(all, fmt.Sprintf("%s=%s %s", i.ID, i.Status, i.Metadata["v"]))
		}
	}
	slices.Sort(all)
	return all, nil
}

// have waits until members print what is wanted, and nothing else.
func (m *members) have(what string, want map[string]string, at ...int) {
	m.t.Helper()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		lines = append(lines, name+"="+want[name])
	}
	slices.Sort(lines)
	begin := time.Now()
	waitFor(m.t, what, 3*time.Minute, m.alive, func() error {
		for _, i := range at {
			got, err := m.print(i)
			if err != nil {
				return err
			}
			if !slices.Equal(got, lines) {
				return fmt.Errorf("member %d has\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(lines, "\n"))
			}
		}
		return nil
	})
	m.t.Logf("%s: after %v", what, time.Since(begin).Round(100*time.Millisecond))
}

// partition takes the members through a partition, of member 0 from all others, that outlasts leases: with registrations, status
// changes and deletes on both sides. others are all but member 0; counting says that all count changes, as Fairleads do. both is
// how the instance ends that each side says something else of.
func (m *members) partition(others []int, counting bool, both string) {
	b, all := others[0], append([]int{0}, others...)
	for _, name := range []string{"a-lives", "a-dies", "a-moves", "a-status", "a-deleted", "a-again"} {
		m.live(0, name, "1")
	}
	for _, name := range []string{"b-lives", "b-dies", "b-status", "b-deleted"} {
		m.live(b, name, "1")
	}
	for _, name := range []string{"q-by-a", "q-by-b", "q-both", "q-deleted-by-a", "q-untouched"} {
		m.quiet(0, name)
	}
	want := map[string]string{}
	for name := range m.beating {
		want[name] = "UP 1"
	}
	for _, name := range []string{"q-by-a", "q-by-b", "q-both", "q-deleted-by-a", "q-untouched"} {
		want[name] = "UP 1"
	}
	if counting {
		m.quiet(b, "q-deleted-by-b")
		want["q-deleted-by-b"] = "UP 1"
	}
	m.have("one registry", want, all...)

	m.part(true)
	for _, name := range []string{"a-dies", "b-dies", "a-deleted", "b-deleted", "a-moves"} {
		m.stop(name)
	}
	m.cancel(0, "a-deleted")
	m.cancel(b, "b-deleted")
	m.cancel(0, "a-moves")
	m.live(b, "a-moves", "2")
	m.stop("a-again")
	m.cancel(0, "a-again")
	m.live(0, "a-again", "2")
	m.live(0, "a-new", "1")
	m.live(b, "b-new", "1")
	m.status(0, "a-status", "OUT_OF_SERVICE")
	m.status(b, "b-status", "OUT_OF_SERVICE")
	m.status(0, "q-by-a", "DOWN")
	m.status(b, "q-by-b", "DOWN")
	m.status(0, "q-both", "OUT_OF_SERVICE")
	m.status(b, "q-both", "DOWN")
	m.cancel(0, "q-deleted-by-a")
	here := map[string]string{
		"a-lives": "UP 1", "a-status": "OUT_OF_SERVICE 1", "a-again": "UP 2", "a-new": "UP 1",
		"q-by-a": "DOWN 1", "q-by-b": "UP 1", "q-both": "OUT_OF_SERVICE 1", "q-untouched": "UP 1",
	}
	there := map[string]string{
		"b-lives": "UP 1", "b-status": "OUT_OF_SERVICE 1", "b-new": "UP 1", "a-moves": "UP 2",
		"q-by-a": "UP 1", "q-by-b": "DOWN 1", "q-both": "DOWN 1", "q-untouched": "UP 1", "q-deleted-by-a": "UP 1",
	}
	if counting {
		m.cancel(b, "q-deleted-by-b")
		here["q-deleted-by-b"] = "UP 1"
	}
	m.have("two registries, leases have ended: one side", here, 0)
	m.have("two registries, leases have ended: the other", there, others...)

	m.part(false)
	m.have("one registry again", map[string]string{
		"a-lives": "UP 1", "a-status": "OUT_OF_SERVICE 1", "a-again": "UP 2", "a-new": "UP 1", "a-moves": "UP 2",
		"b-lives": "UP 1", "b-status": "OUT_OF_SERVICE 1", "b-new": "UP 1",
		"q-by-a": "DOWN 1", "q-by-b": "DOWN 1", "q-both": both + " 1", "q-untouched": "UP 1",
	}, all...)
	m.stays(all)
}

// stays holds all members to one picture for a while: nothing is handed to and fro.
func (m *members) stays(all []int) {
	m.t.Helper()
	first, err := m.print(0)
	if err != nil {
		m.t.Fatal(err)
	}
	for range 12 {
		time.Sleep(500 * time.Millisecond)
		for _, i := range all {
			if got, err := m.print(i); err != nil || !slices.Equal(got, first) {
				m.t.Fatalf("member %d has now %v\n%s\nbefore it was\n%s", i, err, strings.Join(got, "\n"), strings.Join(first, "\n"))
			}
		}
	}
}

// Two gateways, then three, whose registries are each other's peers.
func TestRegistryPartition(t *testing.T) {
	requireInterop(t)
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			m := newMembers(t, freePorts(t, n))
			var others []int
			for i := range n {
				m.fairlead(i)
				if i > 0 {
					others = append(others, i)
				}
			}
			m.answering()
			m.partition(others, true, "OUT_OF_SERVICE")
		})
	}
}

// answering waits until all members do.
func (m *members) answering() {
	m.t.Helper()
	waitFor(m.t, "the registries", springStart, m.alive, func() error {
		for i := range m.bases {
			if _, err := m.print(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// A gateway on one side, on the other another one and Spring Cloud's Eureka server, or that alone.
func TestSpringRegistryPartition(t *testing.T) {
	requireInterop(t)
	jar := absolute(t, "spring-registry/target/springregistry.jar")
	if _, err := os.Stat(jar); err != nil {
		t.Skipf("%v: `make interop` could not package it, Maven Central was not there", err)
	}
	// Alone it has not counted its own change, and so has the smaller number; told by the second gateway it has the same number.
	for both, others := range map[string][]int{"OUT_OF_SERVICE": {1}, "DOWN": {1, 2}} {
		t.Run(fmt.Sprint(1+len(others)), func(t *testing.T) {
			t.Parallel()
			ports := freePorts(t, 1+len(others))
			m := newMembers(t, ports)
			m.fairlead(0)
			if len(others) > 1 {
				m.fairlead(2)
			}
			m.alive = append(m.alive, start(t, command{
				name: "spring registry",
				env:  []string{"PORT=" + ports[1], "PEER_URL=" + strings.Join(m.peersOf(1), ","), "REGISTER=false", "MAX_DELAY=2000"},
				argv: []string{"java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-jar", jar},
			}))
			m.answering()
			m.partition(others, false, both)
		})
	}
}
