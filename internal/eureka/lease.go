package eureka

import (
	"fmt"
	"maps"
	"net/http"
	"time"
)

// Answers to what names an instance that is not there, or not the caller's.
var (
	errUnknown = &refusal{status: http.StatusNotFound}
	errOwner   = &refusal{status: http.StatusForbidden, reason: "the application belongs to another registrant"}
)

// caller is who asks for a change.
type caller struct {
	name    string // who it is, empty where nobody has to say
	replica bool   // another registry that passes on what it was told
	static  bool   // a static definition

	renewed time.Time // when a replica's instance was last heard of; zero: now
	since   time.Time // from when its lease runs, if that is later
}

// register takes an instance, or what is new about one. It owns in.
func (r *Registry) register(in *Instance, by caller) error {
	now := time.Now()
	translate(in)
	if !by.static {
		r.supplement(in)
	}
	weight := size(in)
	if limit := r.cfg.metadataLimit(); weight > limit {
		return refuse("metadata is %d bytes, more than %d", weight, limit)
	}
	undated := in.LastDirty <= 0 && !by.replica // then it is new now, whatever is stored
	defaults(in, now)
	key := leaseKey{in.App, in.ID}

	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mayChange(key.app, by) {
		return errOwner
	}
	old := r.find(key)
	if old != nil && old.static && by.replica {
		return nil // what this registry's own files define is theirs alone
	}
	if err := r.room(old, weight); err != nil {
		return err
	}
	if err := r.rise(key, in, by); err != nil {
		return err
	}
	l := &lease{inst: in, owner: by.name, static: by.static, weight: weight, renewed: now, direct: !by.replica}
	if !by.renewed.IsZero() {
		l.renewed, l.since = by.renewed, by.since
	}
	before := old.instance()
	if old != nil {
		in = l.follow(old, undated, by.replica)
	} else {
		r.order++
		in.Order = r.order
	}
	if l.override == "" && in.Overridden != Unknown {
		l.override = in.Overridden
	}
	if l.override != "" {
		in.Overridden = l.override
	}
	in.Status = effective(in.Status, l.override, before, by.replica)
	if in.Status == Up && in.Lease.ServiceUp == 0 {
		in.Lease.ServiceUp = now.UnixMilli()
	}
	if in.Status == Up && (before == nil || !routesAlike(before, in)) {
		r.order++
		in.UpOrder = r.order
	}
	in.Action, in.LastUpdated = Added, now.UnixMilli()
	l.duration = time.Duration(in.Lease.Duration) * time.Second
	r.keep(key, old, l)
	r.publish(key, before, in)
	r.replicate(key, workRegister, by)
	r.registrations.Add(1)
	if before == nil || !routesAlike(before, in) {
		r.log.Info("instance registered", "service", in.ServiceID(), "instance", in.ID, "status", string(in.Status),
			"host", in.HostName, "lease_s", in.Lease.Duration, "by", by.name)
	} else {
		r.log.Debug("instance registered again", "service", in.ServiceID(), "instance", in.ID)
	}
	return nil
}

// instance is what the lease is for; nil: there is no lease.
func (l *lease) instance() *Instance {
	if l == nil {
		return nil
	}
	return l.inst
}

// follow takes over what holds on from the lease before it, and returns the instance that l is for now: the stored one if that is newer.
// undated: l's own is new now, whatever is stored. replica: a peer has said it.
func (l *lease) follow(old *lease, undated, replica bool) *Instance {
	in, before := l.inst, old.inst
	if undated {
		in.LastDirty = max(in.LastDirty, before.LastDirty+1)
	}
	l.override = old.override
	l.direct, l.since = l.direct || old.direct, old.since
	if l.renewed.Before(old.renewed) {
		l.renewed = old.renewed
	}
	if replica && before.LastDirty <= in.LastDirty {
		l.override = "" // a peer says all that it knows
	}
	if before.LastDirty > in.LastDirty { // what is known is newer: keep it, and renew its lease
		stored := *before
		in, l.inst, l.weight = &stored, &stored, old.weight
	}
	in.Lease.ServiceUp = before.Lease.ServiceUp
	in.Order, in.UpOrder = before.Order, before.UpOrder
	return in
}

// defaults fills in what an instance did not say, within bounds.
func defaults(in *Instance, now time.Time) {
	ms := now.UnixMilli()
	if in.LastDirty <= 0 {
		in.LastDirty = ms
	}
	if in.CountryID == 0 {
		in.CountryID = defaultCountry
	}
	l := Lease{RenewalInterval: 30, Duration: 90, Registered: ms, LastRenewal: ms}
	if n := in.Lease.RenewalInterval; n > 0 {
		l.RenewalInterval = min(n, maxSeconds)
	}
	if n := in.Lease.Duration; n > 0 {
		l.Duration = min(n, maxSeconds)
	}
	in.Lease = l
}

// room says whether a registration of that weight fits. The caller holds mu.
func (r *Registry) room(old *lease, weight int) error {
	if old != nil {
		weight -= old.weight
	}
	switch {
	case old == nil && r.count >= r.cfg.maxInstances():
		return &refusal{
			status: http.StatusServiceUnavailable,
			reason: fmt.Sprintf("the registry is full: %d instances", r.count),
		}
	case r.weight+weight > maxWeight:
		return &refusal{
			status: http.StatusServiceUnavailable,
			reason: fmt.Sprintf("the registry is full: %d bytes of metadata", r.weight),
		}
	}
	return nil
}

// keep puts a lease in the place of old. The caller holds mu.
func (r *Registry) keep(key leaseKey, old, l *lease) {
	if old == nil {
		r.count++
	} else {
		r.weight -= old.weight
	}
	r.weight += l.weight
	if r.apps[key.app] == nil {
		r.apps[key.app] = map[string]*lease{}
	}
	r.apps[key.app][key.id] = l
}

// effective is the status that counts. In order: what is neither UP nor OUT_OF_SERVICE is as sent; then the
// override; then, unless a peer passes it on, the status the instance had; then as sent.
func effective(sent, override Status, before *Instance, replica bool) Status {
	switch {
	case sent != Up && sent != OutOfService:
		return sent
	case override != "":
		return override
	case !replica && before != nil && (before.Status == Up || before.Status == OutOfService):
		return before.Status
	}
	return sent
}

// mayChange says whether by may change the application's instances. The caller holds mu.
func (r *Registry) mayChange(app string, by caller) bool {
	if !r.cfg.Auth.Ownership {
		return true
	}
	for _, l := range r.apps[app] {
		return l.owner == by.name // all have one owner
	}
	return true
}

// held finds a lease that by may change. The caller holds mu.
func (r *Registry) held(key leaseKey, by caller) (*lease, error) {
	l := r.find(key)
	switch {
	case l == nil:
		return nil, errUnknown
	case !r.mayChange(key.app, by):
		return nil, errOwner
	}
	return l, nil
}

// renew is a heartbeat. dirty is the client's lastDirtyTimestamp, or 0. The instance is returned where the
// caller's copy is the older one and the caller is a peer.
func (r *Registry) renew(key leaseKey, dirty int64, by caller) (*Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.held(key, by)
	if err != nil {
		return nil, err
	}
	status := effective(l.inst.Status, l.override, l.inst, by.replica)
	if status == Unknown {
		return nil, errUnknown // the client then registers again, and says what it is
	}
	if status != l.inst.Status {
		r.set(key, l, func(i *Instance) { i.Status = status })
	}
	l.renewed = time.Now()
	l.direct = l.direct || !by.replica
	r.replicate(key, workHeartbeat, by)
	r.renews++
	r.heartbeats.Add(1)
	switch {
	case dirty > l.inst.LastDirty:
		return nil, errUnknown // the client knows something newer
	case dirty > 0 && dirty < l.inst.LastDirty && by.replica:
		return l.current(), &refusal{status: http.StatusConflict}
	}
	return nil, nil
}

// cancel ends a lease at the client's wish.
func (r *Registry) cancel(key leaseKey, by caller) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.held(key, by)
	if err != nil {
		return err
	}
	r.bury(key, l, false)
	r.remove(key, l)
	r.replicate(key, workCancel, by)
	r.cancels.Add(1)
	r.log.Info("instance cancelled", "service", l.inst.ServiceID(), "instance", key.id, "by", by.name)
	return nil
}

// remove ends a lease. The caller holds mu.
func (r *Registry) remove(key leaseKey, l *lease) {
	delete(r.apps[key.app], key.id)
	if len(r.apps[key.app]) == 0 {
		delete(r.apps, key.app)
	}
	r.count--
	r.weight -= l.weight
	gone := *l.current()
	gone.Action, gone.LastUpdated = Deleted, time.Now().UnixMilli()
	gone.Lease.Evicted = gone.LastUpdated
	r.publish(key, l.inst, &gone)
}

// override sets a status from outside; it holds until it is taken back, whatever the instance says but
// DOWN or STARTING.
func (r *Registry) override(key leaseKey, status Status, dirty int64, by caller) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.held(key, by)
	if err != nil {
		return err
	}
	l.renewed = time.Now()
	if l.inst.Status == status {
		r.agree(key, l, dirty, by)
		return nil
	}
	l.override = status
	r.set(key, l, func(i *Instance) {
		i.Status, i.Overridden = status, status
		i.LastDirty = r.dirtied(i, dirty, by)
	})
	r.replicate(key, workStatus, by)
	r.statusChanges.Add(1)
	r.log.Info("instance status overridden", "service", l.inst.ServiceID(), "instance", key.id,
		"status", string(status), "by", by.name)
	return nil
}

// restore takes an override back. The status is then what the caller says until the instance speaks.
func (r *Registry) restore(key leaseKey, status Status, dirty int64, by caller) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.held(key, by)
	if err != nil {
		return err
	}
	l.renewed = time.Now()
	if l.override == "" {
		r.agree(key, l, dirty, by)
		return nil
	}
	l.override = ""
	r.set(key, l, func(i *Instance) {
		i.Status, i.Overridden = status, Unknown
		i.LastDirty = r.dirtied(i, dirty, by)
	})
	r.replicate(key, workStatus, by)
	r.statusChanges.Add(1)
	r.log.Info("instance status override removed", "service", l.inst.ServiceID(), "instance", key.id,
		"status", string(status), "by", by.name)
	return nil
}

// annotate adds to the metadata of an instance.
func (r *Registry) annotate(key leaseKey, add map[string]string, by caller) error {
	if err := checkMap("metadata", add); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.held(key, by)
	if err != nil {
		return err
	}
	all := maps.Clone(l.inst.Metadata)
	maps.Copy(all, add)
	next := *l.inst
	next.Metadata = all
	weight := size(&next)
	if limit := r.cfg.metadataLimit(); weight > limit || len(all) > maxMapItems {
		return refuse("metadata is %d bytes in %d keys, more than %d in %d", weight, len(all), limit, maxMapItems)
	}
	if err := r.room(l, weight); err != nil {
		return err
	}
	r.weight += weight - l.weight
	l.weight = weight
	l.renewed = time.Now()
	r.set(key, l, func(i *Instance) {
		i.Metadata = all
		i.LastDirty = r.dirtied(i, 0, by)
	})
	r.replicate(key, workRegister, by)
	r.log.Info("instance metadata changed", "service", l.inst.ServiceID(), "instance", key.id, "keys", len(add), "by", by.name)
	return nil
}

// set replaces the instance of a lease by a changed copy. The caller holds mu.
func (r *Registry) set(key leaseKey, l *lease, edit func(*Instance)) {
	before, after := l.inst, *l.current()
	edit(&after)
	after.Action, after.LastUpdated = Modified, time.Now().UnixMilli()
	if after.Status == Up && after.Lease.ServiceUp == 0 {
		after.Lease.ServiceUp = after.LastUpdated
	}
	if after.Status == Up && !routesAlike(before, &after) {
		r.order++
		after.UpOrder = r.order
	}
	l.inst = &after
	r.publish(key, before, &after)
}
