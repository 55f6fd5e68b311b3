package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Cluster is a Source that reads the objects of a Kubernetes API server and writes their statuses there. It watches every kind
// that the cluster has; of Secrets and ConfigMaps those alone that other objects refer to. While the API server is away, what it
// said last stays. NewCluster makes it, Changes starts it.
type Cluster struct {
	config Config            // constant
	log    *slog.Logger      // constant
	client dynamic.Interface // constant; reads
	api    *rest.RESTClient  // constant; asks what kinds there are
	pace   pace              // constant once Changes has been called

	writer *statusWriter // constant
	lease  *lease        // constant; nil: this process always writes

	stirred chan struct{} // capacity 1: something has changed
	changed chan struct{} // capacity 1: and it has settled
	ended   sync.WaitGroup

	mu      sync.Mutex // guards the following, and what watches have
	ctx     context.Context
	began   time.Time
	looked  bool // it is known which kinds there are
	watches map[watchKey]*watch
	absent  map[watchKey]bool // kinds that the last look did not find, and that were there before
	away    trouble           // of finding out which kinds there are
}

// A watchKey says what a watch is about.
type watchKey struct {
	kind            *servedKind
	namespace, name string // empty: all
}

func (k watchKey) String() string {
	return strings.TrimSuffix(objectName(k.kind.kind, k.namespace, cmp.Or(k.name, "*")), " *")
}

// A trouble is why something cannot be read now.
type trouble struct {
	err   error // nil: it can
	since time.Time
}

// note takes up how the last attempt went.
func (t *trouble) note(err error, now time.Time) {
	if err == nil {
		*t = trouble{}
		return
	}
	if t.err == nil {
		t.since = now
	}
	t.err = err
}

// pace is how long things wait.
type pace struct {
	settle, settleAtMost time.Duration // after a change, for others
	look                 time.Duration // between looks at which kinds there are
	retry, retryAtMost   time.Duration // of a watch that fails
	named                time.Duration // at most, for a Secret or ConfigMap that has just been referred to
	refused              time.Duration // a kind that may not be read, or is gone, holds up the start no longer: a young API server refuses all
	stubborn             time.Duration // nor one that answers with other errors
}

var defaultPace = pace{
	settle: 25 * time.Millisecond, settleAtMost: 250 * time.Millisecond, look: 30 * time.Second,
	retry: 500 * time.Millisecond, retryAtMost: 10 * time.Second, named: 2 * time.Second, refused: 5 * time.Second, stubborn: 30 * time.Second,
}

// NewCluster reads the kubeconfig and starts nothing.
func NewCluster(c Config, log *slog.Logger) (*Cluster, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config, namespace, err := c.restConfig()
	if err != nil {
		return nil, err
	}
	cl := &Cluster{
		config: c, log: log, pace: defaultPace, watches: map[watchKey]*watch{}, absent: map[watchKey]bool{},
		stirred: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	reads := rest.CopyConfig(config)
	reads.QPS = -1 // a watch for each kind; the API server has its own bounds
	if cl.client, err = dynamic.NewForConfig(reads); err != nil {
		return nil, err
	}
	if cl.api, err = rest.UnversionedRESTClientFor(unversioned(reads)); err != nil {
		return nil, err
	}
	writes := rest.CopyConfig(config)
	writes.QPS, writes.Burst = writesPerSecond, writesAtOnce
	writing, err := dynamic.NewForConfig(writes)
	if err != nil {
		return nil, err
	}
	cl.writer = newStatusWriter(cl, writing)
	if c.elects() {
		who, _ := os.Hostname()
		cl.lease = &lease{
			client: writing.Resource(leases).Namespace(cmp.Or(c.LeaseNamespace, namespace)), namespace: cmp.Or(c.LeaseNamespace, namespace),
			name: cmp.Or(c.LeaseName, "fairlead"), identity: who + "_" + uuid.NewString(), log: log, onChange: cl.writer.stir, terms: defaultTerms,
		}
	}
	return cl, nil
}

// errNotRead says that nothing can be served yet.
var errNotRead = errors.New("the cluster has not been read yet")

// Load implements Source. The error is errNotRead until every kind has been read once.
func (c *Cluster) Load() (*Set, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready(time.Now()) {
		return nil, errNotRead
	}
	set, taken := &Set{}, map[objectKey]string{}
	for _, key := range slices.SortedFunc(maps.Keys(c.watches), compareWatches) {
		if key.publishes() {
			continue
		}
		as := key.kind.as.GroupVersionKind()
		w := c.watches[key]
		for _, name := range slices.SortedFunc(maps.Keys(w.items), compareNames) {
			it, at := w.items[name], objectKey{as.Group, as.Kind, name.Namespace, name.Name}
			object := objectName(key.kind.kind, name.Namespace, name.Name)
			switch {
			case it.refused != "":
				set.Refused = append(set.Refused, Problem{Object: object, Text: it.refused})
			case taken[at] != "":
				set.Refused = append(set.Refused, Problem{Object: object, Text: "not served beside the " + taken[at] + " of that name"})
			default:
				taken[at] = key.kind.kind
				key.kind.add(set, it.object)
			}
		}
	}
	addNamespaces(set, taken)
	return set, nil
}

// publishes tells whether the watch is of the Service whose addresses are published. It is no part of the set.
func (k watchKey) publishes() bool { return k.kind.kind == "Service" && k.name != "" }

// ready tells whether everything that can be read has been read. With mu.
func (c *Cluster) ready(now time.Time) bool {
	if !c.looked {
		return false
	}
	for key, w := range c.watches {
		if key.name == "" && !w.answered && !w.hopeless(now) {
			return false
		}
	}
	return true
}

// Changes implements Source: it starts to read, until ctx ends.
func (c *Cluster) Changes(ctx context.Context) <-chan struct{} {
	ctx = klog.NewContext(ctx, logr.Discard()) // what goes wrong is noted and logged here
	c.mu.Lock()
	c.ctx, c.began, c.looked = ctx, time.Now(), false
	c.watches, c.absent = map[watchKey]*watch{}, map[watchKey]bool{}
	c.mu.Unlock()
	for _, part := range []func(context.Context){c.follow, c.settle, c.tell, c.writer.run} {
		c.ended.Go(func() { part(ctx) })
	}
	if c.lease != nil {
		c.ended.Go(func() { c.lease.run(ctx) })
	}
	return c.changed
}

// Wait returns when everything that Changes has started has ended, after its context.
func (c *Cluster) Wait() { c.ended.Wait() }

// stir says that something has changed. It never blocks.
func (c *Cluster) stir() {
	select {
	case c.stirred <- struct{}{}:
	default:
	}
}

// settle passes changes on when they have come to rest, or have lasted for long.
func (c *Cluster) settle(ctx context.Context) {
	rest := time.NewTimer(0)
	rest.Stop()
	defer rest.Stop()
	var latest time.Time // zero: nothing has changed since
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.stirred:
			now := time.Now()
			if latest.IsZero() {
				latest = now.Add(c.pace.settleAtMost)
			}
			rest.Reset(max(0, min(c.pace.settle, latest.Sub(now))))
		case <-rest.C:
			latest = time.Time{}
			select {
			case c.changed <- struct{}{}:
			default: // one is pending: its reader will see the newest
			}
		}
	}
}

// watch begins to watch something. With mu.
func (c *Cluster) watch(key watchKey, resource schema.GroupVersionResource) *watch {
	ctx, cancel := context.WithCancel(c.ctx)
	w := &watch{cluster: c, key: key, resource: resource, cancel: cancel}
	if old := c.watches[key]; old != nil { // of another version: its objects stay until the new one has answered
		old.cancel()
		w.items, w.answered = maps.Clone(old.items), old.answered
	}
	c.watches[key] = w
	c.ended.Go(func() { w.run(ctx) })
	return w
}

// drop ends a watch and forgets what it knows. With mu.
func (c *Cluster) drop(key watchKey) {
	w := c.watches[key]
	delete(c.watches, key)
	delete(c.absent, key)
	w.cancel()
	if len(w.items) > 0 {
		c.stir()
	}
}

func compareWatches(a, b watchKey) int {
	return cmp.Or(cmp.Compare(a.kind.group, b.kind.group), cmp.Compare(a.kind.kind, b.kind.kind),
		cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}
