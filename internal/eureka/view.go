package eureka

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// viewAge bounds how old the lease times in prebuilt answers get: heartbeats alone do not rebuild them.
const viewAge = 30 * time.Second

// view is an immutable picture of the registry after one change, with the answers built from it so far.
// Readers share it; a change makes the next reader build another.
type view struct {
	built   time.Time
	version uint64
	hash    string

	instances []*Instance            // by application, then by first registration
	apps      []Application          // by name
	byApp     map[string]int         // index in apps
	byID      map[string]*Instance   // where two applications share an id, the first
	vips      map[string][]*Instance // by virtual host name in lower case
	svips     map[string][]*Instance
	changes   []*Instance // the last state of each instance that changed lately, oldest change first

	mu      sync.Mutex
	answers map[answerKey]*answer
}

// resource says which part of a view an answer carries.
type resource uint8

const (
	allApps resource = iota
	delta
	oneApp
	vip
	svip
)

type answerKey struct {
	what          resource
	name          string
	json, compact bool
}

// answer is a body built once, and its gzip form, built once when first asked for.
type answer struct {
	once    sync.Once
	body    []byte
	zipOnce sync.Once
	zipped  []byte
}

// newView builds a view; instances are its own to sort.
func newView(instances, changes []*Instance, version uint64) *view {
	slices.SortFunc(instances, func(a, b *Instance) int {
		return cmp.Or(strings.Compare(a.App, b.App), cmp.Compare(a.Order, b.Order))
	})
	v := &view{
		built: time.Now(), version: version, hash: hashcode(instances),
		instances: instances, changes: changes,
		byApp: map[string]int{}, byID: make(map[string]*Instance, len(instances)),
		vips: map[string][]*Instance{}, svips: map[string][]*Instance{}, answers: map[answerKey]*answer{},
	}
	for start := 0; start < len(instances); {
		end := start
		for ; end < len(instances) && instances[end].App == instances[start].App; end++ {
			i := instances[end]
			if v.byID[i.ID] == nil {
				v.byID[i.ID] = i
			}
			index(v.vips, i.VIPAddress, i)
			index(v.svips, i.SecureVIPAddress, i)
		}
		v.byApp[instances[start].App] = len(v.apps)
		v.apps = append(v.apps, Application{Name: instances[start].App, Instances: instances[start:end:end]})
		start = end
	}
	return v
}

func index(m map[string][]*Instance, names string, i *Instance) {
	for name := range strings.SplitSeq(names, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if l := m[name]; name != "" && (len(l) == 0 || l[len(l)-1] != i) {
			m[name] = append(l, i)
		}
	}
}

// hashcode is apps__hashcode: "DOWN_1_UP_3_", by name of status.
func hashcode(instances []*Instance) string {
	count := map[Status]int{}
	for _, i := range instances {
		count[i.Status]++
	}
	var b []byte
	for _, s := range slices.Sorted(maps.Keys(count)) {
		b = append(b, s...)
		b = append(b, '_')
		b = strconv.AppendInt(b, int64(count[s]), 10)
		b = append(b, '_')
	}
	return string(b)
}

// answer is the prebuilt answer for key, or nil where there is nothing of that name.
func (v *view) answer(key answerKey) *answer {
	switch key.what {
	case oneApp:
		if _, ok := v.byApp[key.name]; !ok {
			return nil
		}
	case vip: // a name that nobody has is answered, but not kept
		if v.vips[key.name] == nil {
			return &answer{body: v.build(key)}
		}
	case svip:
		if v.svips[key.name] == nil {
			return &answer{body: v.build(key)}
		}
	}
	v.mu.Lock()
	a := v.answers[key]
	if a == nil {
		a = &answer{}
		v.answers[key] = a
	}
	v.mu.Unlock()
	a.once.Do(func() { a.body = v.build(key) })
	return a
}

func (v *view) build(key answerKey) []byte {
	full := &Applications{Version: "1", Hash: v.hash}
	switch key.what {
	case oneApp:
		app := &v.apps[v.byApp[key.name]]
		if key.json {
			return appendJSONApplication(nil, app, key.compact)
		}
		return appendXMLApplication(nil, app, key.compact)
	case allApps:
		full.Apps = v.apps
	case delta:
		full.Version = strconv.FormatUint(v.version, 10)
		full.Apps = group(v.changes)
	case vip:
		full.Apps, full.Hash = group(v.vips[key.name]), hashcode(v.vips[key.name])
	case svip:
		full.Apps, full.Hash = group(v.svips[key.name]), hashcode(v.svips[key.name])
	}
	if key.json {
		return appendJSONApplications(nil, full, key.compact)
	}
	return appendXMLApplications(nil, full, key.compact)
}

// group puts instances under their applications; the order within each stays.
func group(instances []*Instance) []Application {
	var apps []Application
	at := map[string]int{}
	for _, i := range instances {
		n, ok := at[i.App]
		if !ok {
			n = len(apps)
			at[i.App] = n
			apps = append(apps, Application{Name: i.App})
		}
		apps[n].Instances = append(apps[n].Instances, i)
	}
	return apps
}

// gzip is the body compressed.
func (a *answer) gzip() []byte {
	a.zipOnce.Do(func() { a.zipped = compress(a.body) })
	return a.zipped
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is valid
	_, _ = z.Write(body)                            // a bytes.Buffer does not fail
	_ = z.Close()
	return b.Bytes()
}
