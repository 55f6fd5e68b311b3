package eureka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// restored is a new registry with what the snapshot of r says.
func restored(t *testing.T, r *Registry, cfg Config) *Registry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registry.snapshot")
	r.saved.path = path
	if err := r.saved.write(r); err != nil {
		t.Fatal(err)
	}
	next := NewRegistry(cfg, quiet())
	next.Restore(path)
	return next
}

func document(t *testing.T, r *Registry) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.writeSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSnapshotKeeps: instances, statuses, overrides, owners and the order in which they registered UP.
func TestSnapshotKeeps(t *testing.T) {
	r := NewRegistry(Config{Auth: AuthConfig{Ownership: true}}, quiet())
	for _, row := range [][2]string{{"A", "1"}, {"A", "2"}, {"B", "1"}} {
		if err := r.register(mustJSON(t, doc(row[0], row[1], `,"metadata":{"k_$":"<&>\u00e9"}`)), caller{name: "me " + row[0]}); err != nil {
			t.Fatal(err)
		}
	}
	me := caller{name: "me A"}
	for _, status := range []Status{OutOfService, Up} { // A/1 is the last to turn UP
		if err := r.override(leaseKey{"A", "1"}, status, 0, me); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.override(leaseKey{"A", "2"}, OutOfService, 0, me); err != nil {
		t.Fatal(err)
	}
	next := restored(t, r, Config{Auth: AuthConfig{Ownership: true}})
	for _, i := range r.Instances() {
		if o := next.one(leaseKey{i.App, i.ID}); o == nil || !routesAlike(i, o) || o.Lease.Duration != i.Lease.Duration || o.LastDirty != i.LastDirty {
			t.Errorf("%+v\nwant %+v", o, i)
		}
	}
	one, two := next.one(leaseKey{"A", "1"}), next.one(leaseKey{"A", "2"})
	if one.Status != Up || two.Status != OutOfService || two.Overridden != OutOfService || one.UpOrder < two.UpOrder || one.Order > two.Order {
		t.Errorf("%+v\n%+v", one, two)
	}
	if err := next.cancel(leaseKey{"A", "1"}, caller{name: "other"}); !errors.Is(err, errOwner) {
		t.Errorf("by another: %v", err)
	}
	if err := next.restore(leaseKey{"A", "2"}, Up, 0, me); err != nil || next.one(leaseKey{"A", "2"}).Status != Up {
		t.Errorf("%v", err)
	}
	if _, err := next.renew(leaseKey{"A", "1"}, 0, me); err != nil {
		t.Error(err)
	}
	if next.Generation() == 0 || len(next.Changed()) != 1 {
		t.Error("nobody is told of what was restored")
	}
}

// TestSnapshotLeavesNoHalves: what a process that was killed has left is removed at the next start, and nothing else.
func TestSnapshotLeavesNoHalves(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "registry.snapshot")
	long := time.Now().Add(-2 * snapshotHalf)
	for name, gone := range map[string]bool{
		".123": true, ".77": false, ".bad": false, ".": false, ".9x": false, "9": false,
	} {
		name = path + name
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if gone || !strings.HasSuffix(name, ".77") { // that is new
			if err := os.Chtimes(name, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	NewRegistry(Config{}, quiet()).Restore(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, strings.TrimPrefix(e.Name(), "registry.snapshot"))
	}
	if got := strings.Join(left, " "); got != ". .77 .9x .bad 9" {
		t.Errorf("left: %s", got)
	}
}

// TestSnapshotOnDisk holds the file to its golden form.
func TestSnapshotOnDisk(t *testing.T) {
	r := NewRegistry(Config{}, quiet())
	in := mustJSON(t, doc("A", "1", `,"leaseInfo":{"durationInSecs":60}`))
	if err := r.register(in, caller{name: "me"}); err != nil {
		t.Fatal(err)
	}
	in.Lease = Lease{RenewalInterval: 30, Duration: 60, Registered: 1, LastRenewal: 2, ServiceUp: 3}
	in.LastUpdated, in.LastDirty = 4, 5
	r.find(leaseKey{"A", "1"}).renewed = time.UnixMilli(2)
	const want = `{"snapshot":1,"owners":{"A":"me"},"order":{},
"applications":{"application":[
{"name":"A","instance":[{"instanceId":"1","hostName":"h","app":"A","ipAddr":"10.0.0.1","status":"UP","overriddenStatus":"UNKNOWN",` +
		`"port":{"$":7001,"@enabled":"true"},"securePort":{"$":7002,"@enabled":"false"},"countryId":1,` +
		`"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},` +
		`"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":60,"registrationTimestamp":1,"lastRenewalTimestamp":2,"evictionTimestamp":0,"serviceUpTimestamp":3},` +
		`"metadata":{"@class":"java.util.Collections$EmptyMap"},"vipAddress":"a","isCoordinatingDiscoveryServer":"false",` +
		`"lastUpdatedTimestamp":"4","lastDirtyTimestamp":"5","actionType":"ADDED"}]}
]}}
`
	if got := document(t, r); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	r.saved.path = filepath.Join(t.TempDir(), "s")
	if err := r.saved.write(r); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(r.saved.path); err != nil || info.Mode() != 0o600 || info.Size() != int64(len(want)) {
		t.Errorf("%v, %v", info, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(r.saved.path)); len(files) != 1 {
		t.Errorf("%v", files)
	}
}

// TestSnapshotLeases: each lease gets all of its time again, and ends after it.
func TestSnapshotLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{SelfPreservation: off(), EvictionInterval: time.Second}
		life := func(test func(r *Registry)) {
			r := NewRegistry(cfg, quiet())
			r.Restore(path)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			test(r)
			cancel()
			<-done
		}
		life(func(r *Registry) {
			put(t, r, "A", "1", `,"leaseInfo":{"durationInSecs":20}`)
			time.Sleep(15 * time.Second) // in which the file is written
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Hour)
		life(func(r *Registry) {
			time.Sleep(19 * time.Second)
			if got := ids(r); got != "1" {
				t.Errorf("after 19 s: %s", got)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if got := ids(r); got != "" {
				t.Errorf("after 22 s: %s", got)
			}
		})
		life(func(r *Registry) {
			if got := ids(r); got != "" {
				t.Errorf("what expired is back: %s", got)
			}
			put(t, r, "A", "2", "")
		}) // which writes when it ends
		life(func(r *Registry) {
			if got := ids(r); got != "2" {
				t.Errorf("the last change is lost: %s", got)
			}
		})
	})
}

// TestSnapshotsOfOthers: a file that is none of ours is renamed, and the registry starts.
func TestSnapshotsOfOthers(t *testing.T) {
	r := NewRegistry(Config{}, quiet())
	if err := r.register(mustJSON(t, doc("A", "1", "")), caller{}); err != nil {
		t.Fatal(err)
	}
	good := document(t, r)
	for name, text := range map[string]string{
		"empty": "", "text": "hello", "null": "null", "list": "[]", "no version": `{"applications":{}}`, "half": good[:len(good)/2],
		"newer": strings.Replace(good, `"snapshot":1`, `"snapshot":2`, 1), "foreign": `{"snapshot":1,"x":1}`, "more": good + good,
		"shape": `{"snapshot":1,"owners":[]}`,
	} {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		next := NewRegistry(Config{}, quiet())
		next.Restore(path)
		kept, err := os.ReadFile(path + snapshotAside)
		if _, still := os.Stat(path); err != nil || string(kept) != text || still == nil || len(next.Instances()) != 0 {
			t.Errorf("%s: %v, %v, %s", name, err, still, ids(next))
		}
	}

	// Bad instances take no other with them.
	path := filepath.Join(t.TempDir(), "s")
	text := strings.Replace(good, `"instance":[`, `"instance":[{"instanceId":"2"},{"port":{"$":"x"}},`, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	next := NewRegistry(Config{MaxInstances: 1}, quiet())
	next.Restore(path)
	if got := ids(next); got != "1" {
		t.Errorf("%q", got)
	}
}

// FuzzSnapshot: whatever the file holds, what is taken back writes a file that gives the same again.
func FuzzSnapshot(f *testing.F) {
	r := NewRegistry(Config{}, quiet())
	for n := range 3 {
		_ = r.register(mustJSON(f, doc("A", fmt.Sprint(n), "")), caller{name: "me"})
	}
	var b bytes.Buffer
	_ = r.writeSnapshot(&b)
	f.Add(b.Bytes())
	f.Add([]byte(`{"snapshot":1,"order":{"A":["1"]},"applications":{"application":{"name":"A","instance":{"instanceId":"1"}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := NewRegistry(Config{}, quiet())
		r.Restore(path)
		next := restored(t, r, Config{})
		if len(next.Instances()) != len(r.Instances()) {
			t.Fatalf("%s\n%s", document(t, r), document(t, next))
		}
		for _, i := range r.Instances() {
			other := next.one(leaseKey{i.App, i.ID})
			if other == nil || !routesAlike(i, other) || i.Overridden != other.Overridden {
				t.Errorf("%+v\n%+v", i, other)
			}
		}
	})
}
