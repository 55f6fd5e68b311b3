// Package metrics tells the gateway's counters in Prometheus' text format. It reads its owners' state; it keeps none.
package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Sources are what is read. All are required but Registry, Peers, Cluster and Kubernetes.
type Sources struct {
	Counts    func() proxy.Counts
	Table     func() *route.Table
	Pool      *upstream.Pool
	LinesLost func() int64                // of the access log
	Registry  func() eureka.Stats         // of the embedded registry; nil: there is none
	Peers     func() []eureka.PeerStatus  // of the embedded registry; nil: there are none
	Cluster   func() eureka.ClusterStatus // the Eureka cluster that is read; nil: there is none

	// Kubernetes tells how old is what is known of the cluster that objects come from, and whether this gateway writes their
	// statuses; nil: there is none.
	Kubernetes func() (age time.Duration, writes bool)

	Version, Commit string // of the build
}

// Handler answers in Prometheus' text format, or OpenMetrics' for who asks for it. Everything is read when it is asked for, by
// two at the same time at most.
func Handler(from Sources) http.Handler {
	return promhttp.HandlerFor(gather(from), promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 2})
}

func gather(from Sources) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(reader{from}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// A reader is the gateway's own part.
type reader struct{ Sources }

// A metric is the name and meaning of one, with its labels.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newMetric(kind prometheus.ValueType, name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("fairlead_"+name, help, labels, nil), kind}
}

func counter(name, help string, labels ...string) metric {
	return newMetric(prometheus.CounterValue, name, help, labels...)
}

func gauge(name, help string, labels ...string) metric {
	return newMetric(prometheus.GaugeValue, name, help, labels...)
}

var (
	buildInfo   = gauge("build_info", "Always 1; its labels say which build runs.", "version", "commit")
	connections = gauge("connections", "Client connections that are open, but for those of sessions.")
	overLimit   = counter("limited_total", "Connections, sessions and requests that were refused because a limit was reached.")
	heldBytes   = gauge("held_bytes", "Bytes that wait in the gateway for peers that are slow to read.")
	heldMost    = gauge("held_bytes_limit", "How many bytes may.")
	cutOff      = counter("slow_readers_closed_total", "Sessions that were ended because all together held too many bytes.")
	unmirrored  = counter("mirrors_dropped_total", "Copies of requests that were not sent, because too many were under way.")
	linesLost   = counter("access_log_dropped_total", "Lines of the access log that were lost.")
	unserved    = gauge("routes_unserved", "Routes, parts of routes and settings that cannot be served; GET /application/routes says why.")

	requests = counter("requests_total", "Plain requests that have ended, by the class of their status; \"none\" had no answer.", "route", "class")
	requestT = newMetric(0, "request_duration_seconds", "How long plain requests took, from their head to the end of the answer.", "route")
	refused  = counter("handshakes_refused_total", "WebSocket handshakes that became no session, by status, or code of the Close.", "route", "code")
	opened   = counter("sessions_opened_total", "WebSocket sessions that were opened.", "route")
	live     = gauge("sessions", "WebSocket sessions that are open.", "route")
	closed   = counter("sessions_closed_total", "WebSocket sessions that have ended, by the code of the Close (0: none; codes of applications by the thousand) "+
		"and who sent it first.", "route", "code", "by")
	lifetime = newMetric(0, "session_duration_seconds", "How long WebSocket sessions lived.", "route")
	bytes    = counter("session_bytes_total", "Bytes of frames received, of open and ended sessions; in: from clients.", "route", "direction")
	messages = counter("session_messages_total", "Messages of sessions received, of open and ended ones; in: from clients.", "route", "direction")
	moves    = counter("session_moves_total", "How often sessions went on with another endpoint.", "route")
	unmoved  = counter("session_moves_failed_total", "How often sessions looked for another endpoint, and found none.", "route")
	unsure   = counter("session_messages_uncertain_total", "Client messages that had gone to an endpoint which was lost before it was known to have answered them.",
		"route")
	carried  = counter("carried_connections_total", "Connections of TCPRoutes and TLSRoutes, and clients of UDPRoutes, that have ended.", "route")
	carriedB = counter("carried_bytes_total", "Their bytes; in: from clients.", "route", "direction")

	epSessions = gauge("endpoint_sessions", "WebSocket sessions that are open, by endpoint.", "service", "endpoint")
	epTotal    = counter("endpoint_sessions_total", "WebSocket sessions that were given to an endpoint, moves included.", "service", "endpoint")
	epUp       = gauge("endpoint_up", "Whether an endpoint takes new sessions and requests.", "service", "endpoint")
	epEjected  = counter("endpoint_ejections_total", "How often an endpoint was ejected because of what it did to requests.", "service", "endpoint")
	epProbes   = counter("endpoint_probes_total", "Active probes of an endpoint.", "service", "endpoint", "result")

	instances  = gauge("registry_instances", "Instances in the embedded registry.")
	operations = counter("registry_operations_total", "What was done in the embedded registry.", "operation")
	regRefused = counter("registry_refused_total", "Requests to the embedded registry that were refused.", "reason")
	preserving = gauge("registry_self_preservation", "Whether the embedded registry keeps expired leases, because too few are renewed.")
	peerUp     = gauge("registry_peer_up", "Whether a registry that the embedded one replicates with can be told anything.", "peer")
	peerLag    = gauge("registry_peer_lag_seconds", "How long the oldest change waits that a peer is still to be told of.", "peer")
	peerQueue  = gauge("registry_peer_backlog", "Instances that a peer is still to be told of.", "peer")
	clusterAge = gauge("eureka_age_seconds", "How old is what is known of the Eureka cluster that is read.")

	kubernetesAge    = gauge("kubernetes_age_seconds", "For how long the API server that objects come from has not been reached.")
	kubernetesWrites = gauge("kubernetes_writes_statuses", "Whether this gateway is the one that writes the statuses of objects.")
)

// Describe implements prometheus.Collector: what there is depends on the routes.
func (reader) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r reader) Collect(to chan<- prometheus.Metric) {
	out := output{to}
	out.tell(buildInfo, 1, r.Version, r.Commit)
	c := r.Counts()
	out.tell(connections, float64(c.Connections))
	out.tell(overLimit, float64(c.Refused))
	out.tell(heldBytes, float64(c.Held))
	out.tell(heldMost, float64(c.HeldMost))
	out.tell(cutOff, float64(c.CutOff))
	out.tell(unmirrored, float64(c.Unmirrored))
	out.tell(linesLost, float64(r.LinesLost()))
	out.tell(unserved, float64(len(r.Table().Problems)))
	for i := range c.Routes {
		out.route(&c.Routes[i])
	}
	r.endpoints(out)
	if r.Registry != nil {
		out.registry(r.Registry())
	}
	if r.Peers != nil {
		for _, p := range r.Peers() {
			out.peer(p)
		}
	}
	if r.Cluster != nil {
		if read := r.Cluster().Read; !read.IsZero() {
			out.tell(clusterAge, time.Since(read).Seconds())
		}
	}
	if r.Kubernetes != nil {
		age, writes := r.Kubernetes()
		out.tell(kubernetesAge, age.Seconds())
		told := 0.0
		if writes {
			told = 1
		}
		out.tell(kubernetesWrites, told)
	}
}

type output struct{ to chan<- prometheus.Metric }

// tell says one value. Labels come from services, too.
func (o output) tell(m metric, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	o.to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
}

func (o output) times(m metric, h *proxy.HistogramCounts, route string) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	for i, b := range h.Bounds {
		buckets[b.Seconds()] = h.Counts[i]
	}
	o.to <- prometheus.MustNewConstHistogram(m.desc, h.Total, h.Sum.Seconds(), buckets, strings.ToValidUTF8(route, "\uFFFD"))
}

func (o output) both(m metric, in, out int64, route string) {
	o.tell(m, float64(in), route, "in")
	o.tell(m, float64(out), route, "out")
}

var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (o output) route(r *proxy.RouteCounts) {
	if r.Times.Total > 0 {
		for i, n := range r.Requests {
			if n > 0 {
				o.tell(requests, float64(n), r.Route, classes[i])
			}
		}
		o.times(requestT, &r.Times, r.Route)
	}
	for code, n := range r.Refused {
		o.tell(refused, float64(n), r.Route, strconv.Itoa(int(code)))
	}
	if r.Carried > 0 {
		o.tell(carried, float64(r.Carried), r.Route)
		o.both(carriedB, r.CarriedIn, r.CarriedOut, r.Route)
	}
	if r.Opened == 0 {
		return
	}
	o.tell(opened, float64(r.Opened), r.Route)
	o.tell(live, float64(r.Live), r.Route)
	for how, n := range r.Closed {
		o.tell(closed, float64(n), r.Route, strconv.Itoa(int(how.Code)), how.By)
	}
	o.times(lifetime, &r.Lifetimes, r.Route)
	o.both(bytes, r.Traffic.BytesIn, r.Traffic.BytesOut, r.Route)
	o.both(messages, r.Traffic.MessagesIn, r.Traffic.MessagesOut, r.Route)
	o.tell(moves, float64(r.Traffic.Moves), r.Route)
	o.tell(unmoved, float64(r.Unmoved), r.Route)
	o.tell(unsure, float64(r.Traffic.Uncertain), r.Route)
}

func (r reader) endpoints(o output) {
	type key struct{ service, endpoint string }
	told := map[key]bool{} // two endpoints of a service may have one name for a while: the newer of them counts
	one := func(e *upstream.Endpoint) {
		k := key{e.Service(), e.ID}
		if told[k] {
			return
		}
		told[k] = true
		up := 0.0
		if e.Takes() {
			up = 1
		}
		o.tell(epUp, up, k.service, k.endpoint)
		o.tell(epSessions, float64(e.Sessions()), k.service, k.endpoint)
		o.tell(epTotal, float64(e.Total()), k.service, k.endpoint)
		o.tell(epEjected, float64(e.Ejection().Times), k.service, k.endpoint)
		if h := e.Health(); h.Probes > 0 {
			o.tell(epProbes, float64(h.Probes-h.Failed), k.service, k.endpoint, "passed")
			o.tell(epProbes, float64(h.Failed), k.service, k.endpoint, "failed")
		}
	}
	for _, sv := range r.Pool.Services() {
		for _, e := range sv.Endpoints {
			one(e)
		}
	}
	for _, e := range r.Pool.Endpoints() { // those that are leaving, too
		one(e)
	}
}

func (o output) peer(p eureka.PeerStatus) {
	up := 0.0
	if p.Err == "" {
		up = 1
	}
	o.tell(peerUp, up, p.Server)
	o.tell(peerLag, p.Lag.Seconds(), p.Server)
	o.tell(peerQueue, float64(p.Pending), p.Server)
}

func (o output) registry(st eureka.Stats) {
	o.tell(instances, float64(st.Instances))
	for _, op := range []struct {
		name string
		n    int64
	}{
		{"register", st.Registrations},
		{"renew", st.Heartbeats},
		{"cancel", st.Cancels},
		{"expire", st.Expired},
		{"status", st.StatusChanges},
		{"read", st.Reads},
	} {
		o.tell(operations, float64(op.n), op.name)
	}
	o.tell(regRefused, float64(st.Refused), "malformed")
	o.tell(regRefused, float64(st.Unauthorized), "unauthorized")
	kept := 0.0
	if st.SelfPreservation {
		kept = 1
	}
	o.tell(preserving, kept)
}
