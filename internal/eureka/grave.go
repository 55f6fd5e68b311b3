package eureka

import (
	"cmp"
	"net/http"
	"strconv"
	"time"
)

const graveKept = 24 * time.Hour // a partition may last as long; then what was deleted meanwhile comes back for one lease

// maxDirty bounds a lastDirtyTimestamp that is believed, in milliseconds since 1970: there is always a later one.
const maxDirty = 1 << 53

// errGone answers a peer that registers what was cancelled here.
var errGone = &refusal{status: http.StatusGone}

// grave is what a registry with peers remembers of a lease that has ended, so that it can tell an instance that a peer has
// not heard the end of from one that it has not heard of itself.
type grave struct {
	key     leaseKey
	at      time.Time
	dirty   int64 // what is not newer is the same registration
	expired bool  // nobody cancelled it: it is welcome when somebody has heard from it since
	heard   int64 // milliseconds since 1970: half a lease after it was last renewed, as peers hear of a heartbeat a little later
}

// ended is a grave in the snapshot.
type ended struct {
	App     string `json:"app"`
	ID      string `json:"id"`
	At      int64  `json:"at"` // milliseconds since 1970
	Dirty   int64  `json:"lastDirtyTimestamp"`
	Expired bool   `json:"expired,omitempty"`
	Heard   int64  `json:"heard,omitempty"` // milliseconds since 1970
}

// ends are the graves as the snapshot has them. The caller holds mu.
func (r *Registry) ends() (all []ended) {
	for e := r.graves.Front(); e != nil; e = e.Next() {
		g := e.Value.(*grave)
		all = append(all, ended{App: g.key.app, ID: g.key.id, At: g.at.UnixMilli(), Dirty: g.dirty, Expired: g.expired, Heard: g.heard})
	}
	return all
}

// takeBackEnds takes the graves of a snapshot back, as far as they make sense: what has ended is not under lease. Without peers
// nobody asks for them, and they are swept. The caller holds mu.
func (r *Registry) takeBackEnds(all []ended, now time.Time) {
	for _, e := range all {
		key, at := leaseKey{e.App, e.ID}, time.UnixMilli(e.At)
		if len(e.App) > maxApp || len(e.ID) > maxID || e.Dirty < 0 || e.Dirty > maxDirty || at.After(now) || r.find(key) != nil {
			continue
		}
		r.exhume(key)
		r.gone[key] = r.graves.PushBack(&grave{key: key, at: at, dirty: e.Dirty, expired: e.Expired, heard: e.Heard})
	}
	r.boundGraves()
	r.sweepGraves(now)
}

// boundGraves forgets the oldest ends where there are too many. The caller holds mu.
func (r *Registry) boundGraves() {
	for r.graves.Len() > 2*r.cfg.maxInstances() {
		r.exhume(r.graves.Front().Value.(*grave).key)
	}
}

// bury remembers the end of a lease. The caller holds mu.
func (r *Registry) bury(key leaseKey, l *lease, expired bool) {
	if len(r.peers) == 0 {
		return
	}
	r.exhume(key)
	dirty := l.inst.LastDirty
	if !expired {
		dirty++ // of a deletion here and a new status elsewhere, the deletion is the later
	}
	heard := l.renewed.Add(l.duration / 2).UnixMilli()
	r.gone[key] = r.graves.PushBack(&grave{key: key, at: time.Now(), dirty: dirty, expired: expired, heard: heard})
	r.boundGraves()
}

// exhume forgets the end of a lease. The caller holds mu.
func (r *Registry) exhume(key leaseKey) {
	if e := r.gone[key]; e != nil {
		r.graves.Remove(e)
		delete(r.gone, key)
	}
}

// graveOf is what is remembered of the end of a lease, or nil. The caller holds mu.
func (r *Registry) graveOf(key leaseKey) *grave {
	if e := r.gone[key]; e != nil {
		return e.Value.(*grave)
	}
	return nil
}

// sweepGraves forgets ends that every peer has had the time to hear of. The caller holds mu.
func (r *Registry) sweepGraves(now time.Time) {
	for e := r.graves.Front(); e != nil && now.Sub(e.Value.(*grave).at) > graveKept; e = r.graves.Front() {
		r.exhume(e.Value.(*grave).key)
	}
}

// rise says whether an instance may be registered that was here before. An instance that says so itself is newer than its
// end, whatever its clock says; a peer may just not have heard of it. The caller holds mu.
func (r *Registry) rise(key leaseKey, in *Instance, by caller) error {
	g := r.graveOf(key)
	if g == nil {
		return nil
	}
	if !g.expired && in.LastDirty <= g.dirty {
		if by.replica {
			return errGone
		}
		in.LastDirty = g.dirty + 1
	}
	r.exhume(key)
	return nil
}

// dirtied is the lastDirtyTimestamp of an instance that was changed by other than itself: one more than it was, not the time,
// because the instance's own next change counts by its own clock and must be newer still. Netflix's servers do not count such
// changes; and where a peer's has the same number as one made here, the two may have crossed, so that the registries are
// compared. The caller holds mu.
func (r *Registry) dirtied(i *Instance, said int64, by caller) int64 {
	if by.replica && said <= i.LastDirty {
		for _, p := range r.peers {
			p.again()
		}
	}
	return max(i.LastDirty+1, said)
}

// agree takes the number of a peer's change that was made here already. The caller holds mu.
func (r *Registry) agree(key leaseKey, l *lease, said int64, by caller) {
	switch {
	case !by.replica || said <= 0 || said == l.inst.LastDirty:
	case said > l.inst.LastDirty:
		r.set(key, l, func(i *Instance) { i.LastDirty = said })
	default:
		for _, p := range r.peers {
			p.again()
		}
	}
}

// later orders two states of an instance: by lastDirtyTimestamp; where that is the same and the states are not, by the states
// themselves, so that all registries choose the same one. Zero: they are the same to everyone who reads them.
func later(a, b *Instance) int {
	if n := cmp.Compare(a.LastDirty, b.LastDirty); n != 0 {
		return n
	}
	if routesAlike(a, b) && a.Overridden == b.Overridden && a.IPAddr == b.IPAddr && a.URLs == b.URLs {
		return 0
	}
	return cmp.Or(cmp.Compare(overridden(a), overridden(b)), cmp.Compare(essence(a), essence(b)))
}

func overridden(i *Instance) int {
	if i.Overridden == Unknown || i.Overridden == "" {
		return 0
	}
	return 1
}

// essence is what two states of an instance differ in for those who read them.
func essence(i *Instance) string {
	b := append([]byte(nil), i.Status...)
	for _, s := range []string{
		string(i.Overridden), i.HostName, i.IPAddr, i.VIPAddress, i.SecureVIPAddress, i.HomePageURL, i.StatusPageURL,
		i.HealthCheckURL, i.SecureHealthCheckURL, strconv.Itoa(i.Port.Number), strconv.FormatBool(i.Port.Enabled),
		strconv.Itoa(i.SecurePort.Number), strconv.FormatBool(i.SecurePort.Enabled),
	} {
		b = append(append(b, 0), s...)
	}
	return string(appendJSONMap(append(b, 0), i.Metadata))
}
