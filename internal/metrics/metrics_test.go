package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func sources() Sources {
	times := proxy.HistogramCounts{Bounds: []time.Duration{time.Second, time.Minute}, Counts: []uint64{1, 2}, Total: 3, Sum: 90 * time.Second}
	pool := upstream.NewPool()
	pool.Service("chat", []upstream.Spec{
		{ID: "host:chat:1", Scheme: "http", Host: "127.0.0.1", Port: 1},
		{ID: "host:chat:1", Scheme: "http", Host: "127.0.0.1", Port: 2},
		{ID: "not \xff text", Scheme: "http", Host: "127.0.0.1", Port: 3},
	})
	return Sources{
		Counts: func() proxy.Counts {
			return proxy.Counts{Connections: 7, Refused: 2, Held: 10, HeldMost: 100, CutOff: 1, Unmirrored: 3, Routes: []proxy.RouteCounts{
				{Requests: [6]uint64{4: 3}, Times: times},
				{
					Route: "chat/ws/v1", Refused: map[uint16]uint64{1013: 4, 403: 1}, Opened: 5, Live: 2, Lifetimes: times, Unmoved: 1,
					Closed:  map[proxy.Closing]uint64{{Code: 1001, By: "gateway"}: 2, {Code: 1001, By: "client"}: 1},
					Traffic: proxy.Traffic{BytesIn: 1, BytesOut: 2, MessagesIn: 3, MessagesOut: 4, Moves: 5, Uncertain: 6},
				},
				{Route: "TCPRoute/default/db/0", Carried: 9, CarriedIn: 10, CarriedOut: 11},
				{Route: "bad \xff", Times: times, Requests: [6]uint64{2: 3}},
			}}
		},
		Table: func() *route.Table { return &route.Table{Problems: []route.Problem{{}}} }, Pool: pool,
		LinesLost: func() int64 { return 12 },
		Registry: func() eureka.Stats {
			return eureka.Stats{Instances: 3, Heartbeats: 4, Refused: 5, SelfPreservation: true}
		},
		Peers: func() []eureka.PeerStatus {
			return []eureka.PeerStatus{{Server: "http://a/"}, {Server: "http://b/", Err: "refused", Pending: 2, Lag: 1500 * time.Millisecond}}
		},
		Version: "1.2.3", Commit: "abc",
	}
}

// The text says what the sources say, under names that Prometheus' own rules accept, whatever bytes services have in their names.
func TestText(t *testing.T) {
	gathered := gather(sources())
	problems, err := testutil.GatherAndLint(gathered)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	r := httptest.NewRecorder()
	Handler(sources()).ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/application/metrics", nil))
	text := r.Body.String()
	for _, want := range strings.Split(strings.TrimSpace(`
fairlead_build_info{commit="abc",version="1.2.3"} 1
fairlead_connections 7
fairlead_limited_total 2
fairlead_held_bytes 10
fairlead_slow_readers_closed_total 1
fairlead_mirrors_dropped_total 3
fairlead_access_log_dropped_total 12
fairlead_routes_unserved 1
fairlead_requests_total{class="4xx",route=""} 3
fairlead_request_duration_seconds_bucket{route="",le="60"} 2
fairlead_request_duration_seconds_count{route=""} 3
fairlead_handshakes_refused_total{code="1013",route="chat/ws/v1"} 4
fairlead_sessions{route="chat/ws/v1"} 2
fairlead_sessions_closed_total{by="gateway",code="1001",route="chat/ws/v1"} 2
fairlead_session_duration_seconds_sum{route="chat/ws/v1"} 90
fairlead_session_messages_total{direction="out",route="chat/ws/v1"} 4
fairlead_session_moves_total{route="chat/ws/v1"} 5
fairlead_session_moves_failed_total{route="chat/ws/v1"} 1
fairlead_session_messages_uncertain_total{route="chat/ws/v1"} 6
fairlead_carried_bytes_total{direction="in",route="TCPRoute/default/db/0"} 10
fairlead_endpoint_up{endpoint="host:chat:1",service="chat"} 1
fairlead_endpoint_ejections_total{endpoint="host:chat:1",service="chat"} 0
fairlead_registry_instances 3
fairlead_registry_operations_total{operation="renew"} 4
fairlead_registry_peer_up{peer="http://a/"} 1
fairlead_registry_peer_up{peer="http://b/"} 0
fairlead_registry_peer_backlog{peer="http://b/"} 2
fairlead_registry_peer_lag_seconds{peer="http://b/"} 1.5
fairlead_registry_self_preservation 1
go_goroutines `), "\n") {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("%q is missing in\n%s", want, text)
			break
		}
	}
}
