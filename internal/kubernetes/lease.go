package kubernetes

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var leases = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}

// terms are how long a Lease holds.
type terms struct {
	duration time.Duration // after its holder's last sign others may take it
	giveUp   time.Duration // without a sign that got through, its holder no longer believes in it; less than duration
	retry    time.Duration // between two signs
}

// defaultTerms are those of Kubernetes' own controllers.
var defaultTerms = terms{duration: 15 * time.Second, giveUp: 10 * time.Second, retry: 2 * time.Second}

// A lease has one process of several be the leader, by the Lease object that all of them write: the rules of client-go's leaderelection,
// whose package would bring the types of every API of Kubernetes into the binary (23 MB). The clocks of the processes need not agree: what
// counts is when a process itself has seen the Lease change.
type lease struct {
	client    dynamic.ResourceInterface // constant, as are the following
	namespace string
	name      string
	identity  string
	log       *slog.Logger
	onChange  func() // leading has changed
	terms     terms

	leading atomic.Bool

	// Belong to run.
	seen    string    // resourceVersion that was seen last
	seenAt  time.Time // since when
	signed  time.Time // when this process has got through last
	trouble string    // logged; once
}

// run takes part until ctx ends, and lets go of the Lease then.
func (l *lease) run(ctx context.Context) {
	tick := time.NewTicker(l.terms.retry)
	defer tick.Stop()
	for {
		l.turn(ctx)
		select {
		case <-ctx.Done():
			l.release()
			return
		case <-tick.C:
		}
	}
}

// turn tries to get or to keep the Lease.
func (l *lease) turn(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, l.terms.giveUp/2)
	defer cancel()
	began := time.Now()
	mine, err := l.sign(limit)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && err.Error() != l.trouble && !apierrors.IsConflict(err):
		l.trouble = err.Error()
		l.log.Warn("lease not reached", "lease", l.namespace+"/"+l.name, "err", err)
	case err == nil:
		l.trouble = ""
	}
	switch {
	case mine:
		l.signed = began
		l.lead(true)
	case err == nil, time.Since(l.signed) > l.terms.giveUp: // another has it, or may have soon
		l.lead(false)
	}
}

func (l *lease) lead(now bool) {
	if l.leading.Swap(now) == now {
		return
	}
	if now {
		l.log.Info("writing statuses", "lease", l.namespace+"/"+l.name, "identity", l.identity)
	} else {
		l.log.Warn("no longer writing statuses", "lease", l.namespace+"/"+l.name, "identity", l.identity)
	}
	l.onChange()
}

// sign writes this process into the Lease if it may; false: another has it.
func (l *lease) sign(ctx context.Context) (mine bool, err error) {
	has, err := l.client.Get(ctx, l.name, metav1.GetOptions{})
	now := time.Now()
	if apierrors.IsNotFound(err) {
		_, err = l.client.Create(ctx, l.object(nil, now), metav1.CreateOptions{})
		return err == nil, err
	}
	if err != nil {
		return false, err
	}
	if v := has.GetResourceVersion(); v != l.seen {
		l.seen, l.seenAt = v, now
	}
	holder, _, _ := unstructured.NestedString(has.Object, "spec", "holderIdentity")
	if holder != "" && holder != l.identity && now.Sub(l.seenAt) < l.holdsFor(has) {
		return false, nil
	}
	after, err := l.client.Update(ctx, l.object(has, now), metav1.UpdateOptions{}) // a conflict says that another was faster
	if err != nil {
		return false, err
	}
	l.seen, l.seenAt = after.GetResourceVersion(), now
	return true, nil
}

// holdsFor is how long the Lease is its holder's after the holder's last sign.
func (l *lease) holdsFor(has *unstructured.Unstructured) time.Duration {
	seconds, ok, _ := unstructured.NestedInt64(has.Object, "spec", "leaseDurationSeconds")
	if !ok || seconds < 0 || time.Duration(seconds)*time.Second > time.Hour {
		return l.terms.duration
	}
	return time.Duration(seconds) * time.Second
}

// leaseTime is the form of metav1.MicroTime.
const leaseTime = "2006-01-02T15:04:05.000000Z07:00"

// object is the Lease with this process as its holder; has is what it is now, nil if it is none.
func (l *lease) object(has *unstructured.Unstructured, now time.Time) *unstructured.Unstructured {
	stamp := now.UTC().Format(leaseTime)
	next := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": leases.GroupVersion().String(), "kind": "Lease",
		"metadata": map[string]any{"name": l.name, "namespace": l.namespace},
	}}
	spec := map[string]any{"acquireTime": stamp, "leaseTransitions": int64(0)}
	if has != nil {
		next = has.DeepCopy()
		old, _ := next.Object["spec"].(map[string]any)
		holder, _ := old["holderIdentity"].(string)
		changes, _ := old["leaseTransitions"].(int64)
		switch {
		case holder == l.identity && old["acquireTime"] != nil:
			spec["acquireTime"], spec["leaseTransitions"] = old["acquireTime"], changes
		default:
			spec["leaseTransitions"] = changes + 1
		}
	}
	spec["holderIdentity"], spec["renewTime"] = l.identity, stamp
	spec["leaseDurationSeconds"] = max(1, int64(l.terms.duration/time.Second))
	next.Object["spec"] = spec
	return next
}

// releaseTimeout bounds the last thing that a leader does.
const releaseTimeout = 2 * time.Second

// release lets another take the Lease at once.
func (l *lease) release() {
	if !l.leading.Swap(false) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	has, err := l.client.Get(ctx, l.name, metav1.GetOptions{})
	if err == nil {
		if holder, _, _ := unstructured.NestedString(has.Object, "spec", "holderIdentity"); holder != l.identity {
			return
		}
		err = errors.Join(
			unstructured.SetNestedField(has.Object, "", "spec", "holderIdentity"),
			unstructured.SetNestedField(has.Object, int64(1), "spec", "leaseDurationSeconds"),
		)
		if err == nil {
			_, err = l.client.Update(ctx, has, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		l.log.Info("lease not given back: another takes it when it ends", "lease", l.namespace+"/"+l.name, "err", err)
	}
}
