package eureka

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A batch as Netflix's servers send it: zowe.md, section 4.5.
func TestReplicationBatch(t *testing.T) {
	s := newServer(t, Config{})
	info := func(id, more string) string {
		return strings.TrimSuffix(strings.TrimPrefix(doc("X", id, more), `{"instance":`), "}")
	}
	batch := func(items ...string) string {
		return s.want(200, "POST", "/eureka/peerreplication/batch/", `{"replicationList":[`+strings.Join(items, ",")+`]}`, ofJSON)
	}
	register := `{"appName":"X","id":"h:x:1","lastDirtyTimestamp":1000,"status":"UP","overriddenStatus":"UNKNOWN","instanceInfo":` +
		info("h:x:1", `,"lastDirtyTimestamp":"1000"`) + `,"action":"Register"}`
	beat := func(dirty string) string {
		return `{"appName":"x","id":"h:x:1","lastDirtyTimestamp":` + dirty + `,"status":"UP","action":"Heartbeat"}`
	}
	if got, want := batch(beat("1000"), register, beat("1000"), beat("1001")),
		`{"responseList":[{"statusCode":404},{"statusCode":204},{"statusCode":200},{"statusCode":404}]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := batch(strings.ReplaceAll(register, "1000", "998")); !strings.HasPrefix(got, `{"responseList":[{"statusCode":409,"responseEntity":{"instanceId":"h:x:1",`) {
		t.Errorf("an older registration: %s", got)
	}
	if got := batch(beat("999")); !strings.HasPrefix(got, `{"responseList":[{"statusCode":409,"responseEntity":{"instanceId":"h:x:1",`) {
		t.Errorf("an older heartbeat: %s", got)
	}
	if got, want := batch(`{"appName":"X","id":"h:x:1","lastDirtyTimestamp":1000,"status":"OUT_OF_SERVICE","action":"StatusUpdate"}`),
		`{"responseList":[{"statusCode":200}]}`; got != want || s.stored("X", "h:x:1").Status != OutOfService {
		t.Errorf("%s %+v", got, s.stored("X", "h:x:1"))
	}
	if batch(`{"appName":"X","id":"h:x:1","status":"UP","action":"DeleteStatusOverride"}`); s.stored("X", "h:x:1").Status != Up {
		t.Errorf("%+v", s.stored("X", "h:x:1"))
	}
	if got, want := batch(`{"appName":"X","id":"h:x:1","action":"Cancel"}`, `{"appName":"X","id":"h:x:1","action":"Cancel"}`),
		`{"responseList":[{"statusCode":200},{"statusCode":404}]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	bad := []string{
		`{}`, `{"action":"Dance"}`, `{"appName":"X","id":"1","action":"Register"}`,
		`{"appName":"X","id":"1","action":"Register","instanceInfo":` + info("2", "") + `}`,
		`{"appName":"Y","id":"2","action":"Register","instanceInfo":` + info("2", "") + `}`,
		`{"appName":"X","id":"2","lastDirtyTimestamp":"soon","action":"Heartbeat"}`,
		`{"appName":"X","id":"1","action":"Register","instanceInfo":` + strings.Replace(info("1", ""), `"h"`, `"169.254.169.254"`, 1) + `}`,
	}
	if got, want := batch(bad...), `{"responseList":[`+strings.Repeat(`{"statusCode":400},`, len(bad)-1)+`{"statusCode":400}]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := s.Stats().Instances; n != 0 {
		t.Errorf("%d instances", n)
	}
	s.want(400, "POST", "/eureka/peerreplication/batch/", `[`, ofJSON)
	s.want(400, "POST", "/eureka/peerreplication/batch/", `{"replicationList":[`+strings.Repeat(`{},`, batchItems)+`{}]}`, ofJSON)
	s.want(400, "POST", "/eureka/peerreplication/batch/", strings.Repeat(" ", batchBytes+1), ofJSON)
}

// FuzzReplicationBatch: as many answers as there are elements, whatever they are, and nothing registered that a client could not.
func FuzzReplicationBatch(f *testing.F) {
	f.Add(`{"replicationList":[{"appName":"X","id":"1","action":"Register","instanceInfo":{"instanceId":"1","app":"X","hostName":"h","ipAddr":"1","dataCenterInfo":{"name":"MyOwn"}}},{"appName":"X","id":"1","action":"Cancel"}]}`)
	f.Add(`{"replicationList":[{},null,{"action":"Heartbeat","lastDirtyTimestamp":1e3}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		r := NewRegistry(Config{}, quiet())
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/eureka/peerreplication/batch/", strings.NewReader(body)))
		if w.Code != http.StatusOK {
			return
		}
		var in struct {
			List []json.RawMessage `json:"replicationList"`
		}
		if err := json.Unmarshal(trimMark([]byte(body)), &in); err != nil {
			t.Fatalf("taken, but %v", err)
		}
		answers, err := readAnswers(w.Body)
		if err != nil && len(in.List) <= peerBatchItems {
			t.Fatal(err)
		}
		if err == nil && len(answers) != len(in.List) {
			t.Fatalf("%d answers to %d changes", len(answers), len(in.List))
		}
		for _, i := range r.Instances() {
			if err := check(i); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Every registry that compares two states of an instance finds the same one to be the later.
func FuzzLater(f *testing.F) {
	f.Add(int64(1), int64(1), "UP", "DOWN", "UNKNOWN", "DOWN", "v", "w")
	f.Fuzz(func(t *testing.T, dirtyA, dirtyB int64, statusA, statusB, overA, overB, metaA, metaB string) {
		a := &Instance{Status: ParseStatus(statusA), Overridden: ParseStatus(overA), LastDirty: dirtyA, Metadata: map[string]string{"k": metaA}}
		b := &Instance{Status: ParseStatus(statusB), Overridden: ParseStatus(overB), LastDirty: dirtyB, Metadata: map[string]string{"k": metaB}}
		if n := later(a, b); n != -later(b, a) {
			t.Fatalf("%d and %d", n, later(b, a))
		}
		if later(a, b) == 0 && (a.Status != b.Status || a.Overridden != b.Overridden || a.LastDirty != b.LastDirty) {
			t.Fatalf("%+v and %+v are not the same", a, b)
		}
	})
}
