package admin

import (
	"net/http"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
)

// registryView is where registered instances come from, and how those sources fare. Addresses are without credentials.
type registryView struct {
	Embedded *embeddedView `json:"embedded,omitempty"` // none: registry.enabled is false
	Cluster  *clusterView  `json:"cluster,omitempty"`  // none: there are no eureka.serviceUrls
}

// embeddedView is the gateway's own registry.
type embeddedView struct {
	Instances        int          `json:"instances"`
	Applications     int          `json:"applications"`
	RenewsLastMinute int64        `json:"renewsLastMinute"`
	RenewsExpected   int64        `json:"renewsExpected"`   // with as many, or fewer, no lease ends
	SelfPreservation bool         `json:"selfPreservation"` // leases that have ended are kept
	Snapshot         snapshotView `json:"snapshot"`
	Peers            []peerView   `json:"peers"`
}

type snapshotView struct {
	File     string     `json:"file"`
	Written  *time.Time `json:"written,omitempty"` // none: not since start
	Error    string     `json:"error,omitempty"`   // why it cannot be written
	Restored int        `json:"restored"`          // instances that it brought back at the start
	Refused  int        `json:"refused,omitempty"` // instances in it that were not
	Unused   string     `json:"unused,omitempty"`  // why the file was not used at the start, and where it is now
}

// peerView is one of registry.peers.
type peerView struct {
	URL         string     `json:"url"`
	State       string     `json:"state"`                 // up, down, self (it is this registry, and left out), or new: nothing is known yet
	Kind        string     `json:"kind,omitempty"`        // fairlead or eureka, as far as it is known
	LastContact *time.Time `json:"lastContact,omitempty"` // when it answered last as it should; none: never
	LastSync    *time.Time `json:"lastSync,omitempty"`    // when the whole registries were compared last; none: never
	Error       string     `json:"error,omitempty"`       // while it is down
	DownSince   *time.Time `json:"downSince,omitempty"`
	Backlog     int        `json:"backlog"`    // instances that it is still to be told of
	LagSeconds  float64    `json:"lagSeconds"` // since the oldest of those changes
	Instances   int        `json:"instances"`  // that it had at the last comparison
	Sent        int64      `json:"sent"`       // changes since start
	Refused     int64      `json:"refused"`    // of those, that it did not take
	Dropped     int64      `json:"dropped"`    // changes that were too many; a comparison makes up for them
	Syncs       int64      `json:"syncs"`      // comparisons since start
}

// clusterView is the Eureka cluster of eureka.serviceUrls.
type clusterView struct {
	URLs       []string   `json:"urls"`
	Server     string     `json:"server,omitempty"`     // the one that answered last
	State      string     `json:"state"`                // up; stale: none answers, what was read last is served; new: nothing was read yet
	LastRead   *time.Time `json:"lastRead,omitempty"`   // none: never
	AgeSeconds float64    `json:"ageSeconds,omitempty"` // of what is served
	Error      string     `json:"error,omitempty"`
	Instances  int        `json:"instances"`
	Refused    int        `json:"refused"` // that were read and are not used; the log has said why
	FullReads  int64      `json:"fullReads"`
	DeltaReads int64      `json:"deltaReads"`
	Registers  bool       `json:"registers"`  // this gateway wants to be registered there
	Registered bool       `json:"registered"` // it is
}

// registries shows the registries, and how far what they say is of now.
func (s *server) registries(w http.ResponseWriter, _ *http.Request) {
	var v registryView
	now := time.Now()
	if s.Registry != nil {
		v.Embedded = viewEmbedded(s.Registry)
	}
	if s.Cluster != nil {
		v.Cluster = viewWholeCluster(s.Cluster(), now)
	}
	writeJSON(w, http.StatusOK, "application/json", v)
}

func viewEmbedded(r *eureka.Registry) *embeddedView {
	stats, snap := r.Stats(), r.Snapshot()
	v := &embeddedView{
		Instances: stats.Instances, Applications: stats.Applications, RenewsLastMinute: stats.RenewsLastMinute,
		RenewsExpected: stats.RenewsExpected, SelfPreservation: stats.SelfPreservation, Peers: []peerView{},
		Snapshot: snapshotView{
			File: snap.File, Written: moment(snap.Written), Error: snap.Err, Restored: snap.Restored, Refused: snap.Refused, Unused: snap.Unused,
		},
	}
	for _, p := range r.Peers() {
		v.Peers = append(v.Peers, viewPeer(p))
	}
	return v
}

func viewPeer(p eureka.PeerStatus) peerView {
	v := peerView{
		URL: p.Server, State: "up", LastContact: moment(p.Contact), LastSync: moment(p.Synced), Error: p.Err, DownSince: moment(p.Failing),
		Backlog: p.Pending, LagSeconds: seconds(p.Lag), Instances: p.Instances, Sent: p.Sent, Refused: p.Refused, Dropped: p.Dropped,
		Syncs: p.Compared,
	}
	switch {
	case p.Fairlead:
		v.Kind = "fairlead"
	case p.Compared > 0:
		v.Kind = "eureka"
	}
	switch {
	case p.Self:
		v.State, v.Kind = "self", "fairlead"
	case p.Err != "":
		v.State = "down"
	case p.Synced.IsZero():
		v.State = "new"
	}
	return v
}

func viewWholeCluster(c eureka.ClusterStatus, now time.Time) *clusterView {
	v := &clusterView{
		URLs: c.Servers, Server: c.Server, State: "up", LastRead: moment(c.Read), Error: c.Err, Instances: c.Instances, Refused: c.Refused,
		FullReads: c.Full, DeltaReads: c.Deltas, Registers: c.Registers, Registered: c.Registered,
	}
	switch {
	case c.Read.IsZero():
		v.State = "new"
	case c.Stale():
		v.State = "stale"
	}
	if !c.Read.IsZero() {
		v.AgeSeconds = seconds(now.Sub(c.Read))
	}
	return v
}

// moment is a time in a document, or nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// seconds are to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
