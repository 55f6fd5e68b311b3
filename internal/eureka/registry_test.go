package eureka

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestAnswersWaitForTheRoutes(t *testing.T) {
	r := NewRegistry(Config{}, quiet())
	var waited []uint64
	r.Programmed = func(ctx context.Context, generation uint64) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the wait has no bound")
		}
		waited = append(waited, generation)
	}
	h := r.Handler()
	do := func(method, path, body string, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		if w.Code != want {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	signalled := func() bool {
		select {
		case <-r.Changed():
			return true
		default:
			return false
		}
	}
	d := doc("A", "1", `,"lastDirtyTimestamp":5`)
	do("POST", "/eureka/apps/A", d, 204)
	if !signalled() {
		t.Error("a registration did not signal")
	}
	before := r.Generation()
	do("PUT", "/eureka/apps/A/1", "", 200)
	do("POST", "/eureka/apps/A", d, 204)
	if signalled() || r.Generation() != before {
		t.Error("a heartbeat, or a registration with nothing new, signalled")
	}
	do("PUT", "/eureka/apps/A/1/status?value=OUT_OF_SERVICE", "", 200)
	do("DELETE", "/eureka/apps/A/1/status?value=UP", "", 200)
	do("PUT", "/eureka/apps/A/1/metadata?a=b", "", 200)
	do("DELETE", "/eureka/apps/A/1", "", 200)
	if !signalled() || signalled() {
		t.Error("changes did not collapse into one signal")
	}
	if fmt.Sprint(waited) != "[1 1 2 3 4 5]" {
		t.Errorf("waited for %v", waited)
	}
	if len(r.Instances()) != 0 {
		t.Error("not empty")
	}
}

func TestSnapshotsDoNotChange(t *testing.T) {
	r := NewRegistry(Config{}, quiet())
	reg := func(app, id, more string) {
		t.Helper()
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/eureka/apps/"+app, strings.NewReader(doc(app, id, more))))
		if w.Code != 204 {
			t.Fatal(w.Body)
		}
	}
	reg("B", "2", "")
	reg("B", "1", "")
	reg("A", "1", "")
	before := r.Instances()
	if r.Instances()[0] != before[0] {
		t.Error("the same snapshot was built twice")
	}
	var order []string
	for _, i := range before {
		order = append(order, i.App+i.ID)
	}
	if fmt.Sprint(order) != "[A1 B2 B1]" {
		t.Errorf("order %v", order)
	}
	a := before[0]
	if err := r.annotate(leaseKey{"A", "1"}, map[string]string{"x": "y"}, caller{}); err != nil {
		t.Fatal(err)
	}
	if err := r.override(leaseKey{"A", "1"}, Down, 0, caller{}); err != nil {
		t.Fatal(err)
	}
	if a.Metadata["x"] != "" || a.Status != Up {
		t.Errorf("the snapshot changed: %+v", a)
	}
	now := r.Instances()[0]
	if now.Metadata["x"] != "y" || now.Status != Down || now.UpOrder <= a.UpOrder || now.Order != a.Order {
		t.Errorf("%+v", now)
	}
}

func TestErrorsCarryNoRawBytes(t *testing.T) {
	s := newServer(t, Config{})
	_, body, _ := s.do("POST", "/eureka/apps/a", doc("a", "i", `,"hostName":"a<b&c"`), ofJSON)
	if bytes.ContainsAny([]byte(strings.TrimSuffix(strings.TrimPrefix(body, "<error><message>"), "</message></error>")), "<>") {
		t.Error(body)
	}
}

func TestLogLines(t *testing.T) {
	var out bytes.Buffer
	r := NewRegistry(Config{}, slog.New(slog.NewTextHandler(&out, nil)))
	lines := func() []string {
		l := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		out.Reset()
		return l
	}
	put(t, r, "A", "1", "")
	put(t, r, "A", "1", "") // nothing new
	direct(t, r, "PUT", "/eureka/apps/A/1", "")
	direct(t, r, "PUT", "/eureka/apps/A/1/status?value=DOWN", "")
	direct(t, r, "DELETE", "/eureka/apps/A/1/status?value=UP", "")
	direct(t, r, "DELETE", "/eureka/apps/A/1", "")
	got := lines()
	for n, want := range []string{
		`msg="instance registered" service=a instance=1 status=UP host=h lease_s=90`,
		`msg="instance status overridden" service=a instance=1 status=DOWN`,
		`msg="instance status override removed" service=a instance=1 status=UP`,
		`msg="instance cancelled" service=a instance=1`,
	} {
		if len(got) != 4 || !strings.Contains(got[n], "level=INFO "+want) {
			t.Fatalf("%q, want %s", got, want)
		}
	}
	for range 100 {
		direct(t, r, "POST", "/eureka/apps/A", "{\n\x1b")
		direct(t, r, "POST", "/eureka/apps/A%0Alevel=ERROR", "{}")
	}
	got = lines()
	if len(got) < warningsPerSecond || len(got) > 5*warningsPerSecond { // a slow machine needs a few seconds
		t.Errorf("%d lines about 200 refusals", len(got))
	}
	for _, l := range got {
		if !strings.Contains(l, " level=WARN msg=\"registry request refused\"") || strings.Contains(l, "\x1b") {
			t.Errorf("%q", l)
		}
	}
}

// TestManyAtOnce: whatever order it happens in, every answer is whole, and what readers hold does not change.
func TestManyAtOnce(t *testing.T) {
	s := newServer(t, Config{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			app := fmt.Sprint("W", w%2)
			for n := range 40 {
				path := fmt.Sprintf("/eureka/apps/%s/%d-%d", app, w, n%3)
				s.do("POST", "/eureka/apps/"+app, doc(app, fmt.Sprintf("%d-%d", w, n%3), ""), ofJSON)
				s.do("PUT", path, "")
				s.do("PUT", path+"/metadata?n="+fmt.Sprint(n), "")
				s.do("DELETE", path, "")
			}
		})
		wg.Go(func() {
			for n := range 60 {
				_, body, _ := s.do("GET", []string{"/eureka/apps", "/eureka/apps/delta"}[n%2], "", asJSON)
				a, err := readApplications(strings.NewReader(body))
				if err != nil {
					t.Errorf("%s: %v", body, err)
					return
				}
				var all []*Instance
				for _, app := range a.Apps {
					all = append(all, app.Instances...)
				}
				if n%2 == 0 && hashcode(all) != a.Hash {
					t.Errorf("hash %s of %s", a.Hash, body)
				}
				for _, i := range s.Instances() {
					_ = i.Metadata["n"]
				}
			}
		})
	}
	wg.Wait()
	if got := s.Stats(); got.Instances != 0 || got.Applications != 0 || s.weight != 0 || got.Registrations != 160 || got.Cancels != 160 {
		t.Errorf("%+v, weight %d", got, s.weight)
	}
}
