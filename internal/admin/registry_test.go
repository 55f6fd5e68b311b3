package admin

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// TestRegistriesShow: each peer with its state, the age of what a silent cluster said last, and never a password.
func TestRegistriesShow(t *testing.T) {
	registry := eureka.NewRegistry(eureka.Config{}, slog.New(slog.DiscardHandler))
	if err := registry.ReplicateWith([]string{"https://me:secret@peer.example:10011/eureka"}, eureka.ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	status := eureka.ClusterStatus{Servers: []string{"http://a/", "http://b/"}}
	h, password := startWith(t, false, upstream.NewPool(), route.Build(route.Set{}, nil), func(o *Options) {
		o.Registry = registry
		o.Cluster = func() eureka.ClusterStatus { return status }
	})
	ask := func() (v registryView, body string) {
		t.Helper()
		w := get(h, "GET", "http://gw/application/registry", loopback, password)
		if err := json.Unmarshal(w.Body.Bytes(), &v); w.Code != 200 || err != nil || strings.Contains(w.Body.String(), "secret") {
			t.Fatalf("%d %v %s", w.Code, err, w.Body)
		}
		return v, w.Body.String()
	}
	v, body := ask()
	if len(v.Embedded.Peers) != 1 || v.Embedded.Peers[0].URL != "https://peer.example:10011/eureka/" || v.Embedded.Peers[0].State != "new" || v.Cluster.State != "new" {
		t.Error(body)
	}
	status.Read, status.Server, status.Err = time.Now().Add(-time.Hour), "http://b/", "http://a/: refused"
	if v, body = ask(); v.Cluster.State != "stale" || v.Cluster.AgeSeconds < 3600 || v.Cluster.Error == "" || v.Cluster.Server != "http://b/" {
		t.Error(body)
	}
	if w := get(h, "GET", "http://gw/application/registry", loopback, ""); w.Code != 401 {
		t.Errorf("without a password: %d", w.Code)
	}
}

// TestPeerStates names each state of a peer.
func TestPeerStates(t *testing.T) {
	now := time.Now()
	for want, s := range map[string]eureka.PeerStatus{
		"new": {}, "up fairlead": {Synced: now, Compared: 1, Fairlead: true}, "up eureka": {Synced: now, Compared: 1},
		"down eureka": {Synced: now, Compared: 1, Err: "x", Failing: now}, "down": {Err: "x"}, "self fairlead": {Self: true, Synced: now},
	} {
		v := viewPeer(s)
		if got := strings.TrimSpace(v.State + " " + v.Kind); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
	if v := viewPeer(eureka.PeerStatus{Lag: 1500 * time.Millisecond, Pending: 3}); v.LagSeconds != 1.5 || v.Backlog != 3 {
		t.Errorf("%+v", v)
	}
}
