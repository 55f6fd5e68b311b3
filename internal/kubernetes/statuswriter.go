package kubernetes

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
)

// Bounds of what is written.
const (
	writesPerSecond = 50 // on average
	writesAtOnce    = 100
	statusWriters   = 8 // under way at the same time

	writeTimeout  = 10 * time.Second
	writeAttempts = 4 // where others write to the same object

	firstRewrite = time.Second // what others overwrite is written again after that, then after twice as long, …
	lastRewrite  = time.Minute
)

// A statusWriter writes what the newest translation says of objects into their statuses, where it says something else than is there.
type statusWriter struct {
	cluster *Cluster          // constant
	client  dynamic.Interface // constant
	stirred chan struct{}     // capacity 1

	mu       sync.Mutex // guards the following
	reported map[objectKey]*report

	// Belongs to run.
	done map[objectKey]*lastWrite
}

// A report is what a translation says of one object. It is constant.
type report struct {
	text       string // JSON
	uid        types.UID
	generation int64
}

// lastWrite is what was done last about an object.
type lastWrite struct {
	report   *report
	from, to string    // resourceVersions: before the write, and after it
	times    int       // that the same report has been written, or tried
	next     time.Time // not before it is it written again
	trouble  string    // why the last attempt failed; logged once
}

func newStatusWriter(c *Cluster, client dynamic.Interface) *statusWriter {
	return &statusWriter{cluster: c, client: client, stirred: make(chan struct{}, 1), reported: map[objectKey]*report{}}
}

// stir says that there may be something to write. It never blocks.
func (w *statusWriter) stir() {
	select {
	case w.stirred <- struct{}{}:
	default:
	}
}

// report takes up the statuses of a translation.
func (w *statusWriter) report(statuses []Status) {
	next := make(map[objectKey]*report, len(statuses))
	w.mu.Lock()
	for i := range statuses {
		s := &statuses[i]
		text, err := json.Marshal(s.Status)
		if err != nil { // cannot be: they are types of the API
			continue
		}
		group, _ := groupVersion(s.APIVersion)
		key := objectKey{group, s.Kind, s.Metadata.Namespace, s.Metadata.Name}
		r := &report{text: string(text), uid: s.Metadata.UID, generation: s.Metadata.Generation}
		if last := w.reported[key]; last != nil && *last == *r {
			r = last
		}
		next[key] = r
	}
	w.reported = next
	w.mu.Unlock()
	w.stir()
}

// run writes until ctx ends, while this process is the one that writes.
func (w *statusWriter) run(ctx context.Context) {
	w.done = map[objectKey]*lastWrite{}
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.stirred:
		case <-again.C:
		}
		if !w.cluster.leads() {
			continue
		}
		if wait, more := w.pass(ctx); more {
			again.Reset(wait)
		}
	}
}

// A target is an object whose status may have to be written.
type target struct {
	key      objectKey
	report   *report
	resource schema.GroupVersionResource
	item     *item
	last     *lastWrite
}

// pass writes every status that is not as it should be. It tells after what time the next pass is due, if one is.
func (w *statusWriter) pass(ctx context.Context) (wait time.Duration, more bool) {
	targets := w.targets()
	var (
		group sync.WaitGroup
		slots = make(chan struct{}, statusWriters)
		mu    sync.Mutex // guards the following
		next  time.Time
	)
	due := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	now := time.Now()
	for _, t := range targets {
		if t.last.next.After(now) {
			mu.Lock()
			due(t.last.next)
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if !w.current(t) || ctx.Err() != nil || !w.cluster.leads() {
				return
			}
			if !w.write(ctx, t) {
				mu.Lock()
				due(t.last.next)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return max(0, time.Until(next)), !next.IsZero()
}

// current tells whether nothing newer is to be said of the object.
func (w *statusWriter) current(t *target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reported[t.key] == t.report
}

// targets are the objects about which something may have to be done.
func (w *statusWriter) targets() []*target {
	w.mu.Lock()
	reported := w.reported
	w.mu.Unlock()
	var targets []*target
	seen := map[objectKey]bool{}
	c := w.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, watch := range c.watches {
		if !key.kind.reports() {
			continue
		}
		as := key.kind.as.GroupVersionKind()
		for name, it := range watch.items {
			t := &target{key: objectKey{as.Group, as.Kind, name.Namespace, name.Name}, resource: watch.resource, item: it}
			t.report = reported[t.key]
			if t.report == nil || t.report.uid != it.uid || t.report.generation != it.generation { // another, or soon said anew
				continue
			}
			seen[t.key] = true
			if t.last = w.done[t.key]; t.last == nil || t.last.report != t.report {
				t.last = &lastWrite{report: t.report}
				w.done[t.key] = t.last
			}
			if v := it.version; v != t.last.to && v != t.last.from {
				targets = append(targets, t)
			}
		}
	}
	for key := range w.done {
		if !seen[key] {
			delete(w.done, key)
		}
	}
	return targets
}

// write brings one status to what it should be; false: it is to be tried again at last.next.
func (w *statusWriter) write(ctx context.Context, t *target) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	version, status := t.item.version, t.item.status
	resource := w.client.Resource(t.resource).Namespace(t.key.namespace)
	for attempt := 1; ; attempt++ {
		after, wrote, err := w.patch(ctx, resource, t, status, version)
		if err == nil {
			t.last.from, t.last.to, t.last.trouble = t.item.version, after, ""
			if wrote { // once more only if somebody else writes something else
				t.last.delay()
			}
			return true
		}
		if !apierrors.IsConflict(err) || attempt == writeAttempts {
			return w.failed(ctx, t, err)
		}
		now, err := resource.Get(ctx, t.key.name, metav1.GetOptions{})
		if err != nil {
			return w.failed(ctx, t, err)
		}
		if now.GetUID() != t.report.uid || now.GetGeneration() != t.report.generation {
			return true // what is to be said of it is soon said anew
		}
		version = now.GetResourceVersion()
		status, _ = now.Object["status"].(map[string]any)
	}
}

// patch writes one status if it has to be. It returns the version that the object has then.
func (w *statusWriter) patch(ctx context.Context, resource dynamic.ResourceInterface, t *target, status map[string]any, version string) (
	after string, wrote bool, err error,
) {
	var own map[string]any
	if err := utiljson.Unmarshal([]byte(t.report.text), &own); err != nil { // whole numbers stay whole
		return "", false, err
	}
	next := mergeStatus(status, own, time.Now())
	if sameStatus(status, next) {
		return version, false, nil
	}
	body, err := json.Marshal(statusPatch(status, next, version))
	if err != nil {
		return "", false, err
	}
	var object *unstructured.Unstructured
	object, err = resource.Patch(ctx, t.key.name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "fairlead"}, "status")
	if err != nil {
		return "", false, err
	}
	return object.GetResourceVersion(), true, nil
}

// delay puts off the next write of the same.
func (d *lastWrite) delay() {
	d.next = time.Now().Add(min(firstRewrite<<min(d.times, 10), lastRewrite))
	d.times++
}

// failed notes why a status could not be written.
func (w *statusWriter) failed(ctx context.Context, t *target, err error) bool {
	if apierrors.IsNotFound(err) {
		return true // it is gone
	}
	t.last.delay()
	if text := err.Error(); ctx.Err() == nil && text != t.last.trouble && !apierrors.IsConflict(err) {
		t.last.trouble = text
		w.cluster.log.Warn("status not written", "object", objectName(t.key.kind, t.key.namespace, t.key.name), "err", err)
	}
	return false
}
