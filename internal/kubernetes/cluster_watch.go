package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// An item is one object as it was seen last. It is immutable.
type item struct {
	object  metav1.Object // without its status; nil: it was refused
	refused string        // why it cannot be read; empty: it can
	version string        // its resourceVersion
	uid     types.UID

	generation int64
	status     map[string]any // as it was seen last, of the kinds whose status is written
}

// same tells whether a translation would make the same of both.
func (it *item) same(other *item) bool {
	return it.refused == other.refused && reflect.DeepEqual(it.object, other.object)
}

// A watch keeps what the API server says of one kind, or of one object. It is the store of a reflector, which lists, watches, and
// begins again where it must.
type watch struct {
	cluster  *Cluster
	key      watchKey
	resource schema.GroupVersionResource
	cancel   context.CancelFunc

	// Guarded by the cluster's mu.
	items    map[types.NamespacedName]*item
	answered bool // the API server has said which objects there are
	trouble  trouble
}

var _ cache.ReflectorStore = (*watch)(nil)

// hopeless tells whether it is no use to wait for the first answer: who may not read a kind, or gets nothing but errors for it, serves
// the others. With mu.
func (w *watch) hopeless(now time.Time) bool {
	waited, p := now.Sub(w.cluster.began), w.cluster.pace
	switch err := w.trouble.err; {
	case err == nil || unreached(err):
		return false
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return waited > p.refused
	}
	return waited > p.stubborn
}

// unreached tells whether an error is about the API server as a whole, and not about what was asked for.
func unreached(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true
	}
	switch code := answer.Status().Code; code {
	case http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// run follows the API server until ctx ends.
func (w *watch) run(ctx context.Context) {
	p := w.cluster.pace
	logger := klog.FromContext(ctx)
	cache.NewReflectorWithOptions(w.listWatch(), &unstructured.Unstructured{}, w, cache.ReflectorOptions{
		Name: w.key.String(), Logger: &logger,
		Backoff: &wait.Backoff{Duration: p.retry, Cap: p.retryAtMost, Factor: 2, Jitter: 0.5, Steps: math.MaxInt32},
	}).RunWithContext(ctx)
}

func (w *watch) listWatch() *cache.ListWatch {
	var resource dynamic.ResourceInterface = w.cluster.client.Resource(w.resource)
	if w.key.namespace != "" {
		resource = w.cluster.client.Resource(w.resource).Namespace(w.key.namespace)
	}
	narrow := func(o *metav1.ListOptions) {
		if w.key.name != "" {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, w.key.name).String()
		}
		o.LabelSelector = w.key.kind.labels
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			list, err := resource.List(ctx, o)
			w.note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			narrow(&o)
			events, err := resource.Watch(ctx, o)
			if o.SendInitialEvents == nil || !apierrors.IsInvalid(err) { // else an older API server: it is asked for a list next
				w.note(ctx, err)
			}
			return events, err
		},
	}
}

// note takes up how a list or a watch has begun.
func (w *watch) note(ctx context.Context, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) { // expired: it is listed anew
		return
	}
	w.cluster.mu.Lock()
	w.trouble.note(err, time.Now())
	waiting := !w.answered
	w.cluster.mu.Unlock()
	if err != nil && waiting {
		w.cluster.stir() // it may be all that was waited for
	}
}

// Add implements cache.ReflectorStore.
func (w *watch) Add(obj any) error { return w.Update(obj) }

// Update implements cache.ReflectorStore.
func (w *watch) Update(obj any) error {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	name, it := nameOf(u), w.key.kind.read(u, w.resource.Version, w.key.publishes())
	w.cluster.mu.Lock()
	old := w.items[name]
	if w.items == nil {
		w.items = map[types.NamespacedName]*item{}
	}
	w.items[name] = it
	w.cluster.mu.Unlock()
	w.changed(old == nil || !old.same(it) || w.key.publishes())
	return nil
}

// Delete implements cache.ReflectorStore.
func (w *watch) Delete(obj any) error {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		w.cluster.mu.Lock()
		delete(w.items, nameOf(u))
		w.cluster.mu.Unlock()
		w.changed(true)
	}
	return nil
}

// Replace implements cache.ReflectorStore: these objects there are, and no others.
func (w *watch) Replace(list []any, _ string) error {
	items := make(map[types.NamespacedName]*item, len(list))
	for _, obj := range list {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			items[nameOf(u)] = w.key.kind.read(u, w.resource.Version, w.key.publishes())
		}
	}
	w.cluster.mu.Lock()
	before, first := w.items, !w.answered
	w.items, w.answered = items, true
	w.cluster.mu.Unlock()
	differ := first || len(items) != len(before)
	for name, it := range items {
		differ = differ || before[name] == nil || !before[name].same(it)
	}
	w.changed(differ)
	return nil
}

// Resync implements cache.ReflectorStore: there is nothing to do.
func (w *watch) Resync() error { return nil }

// changed tells whom it concerns: that objects are to be translated anew, or else that a status or a version is another.
func (w *watch) changed(meaning bool) {
	if meaning || w.key.publishes() {
		w.cluster.stir()
	}
	if w.key.kind.reports() {
		w.cluster.writer.stir()
	}
}

func compareNames(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
