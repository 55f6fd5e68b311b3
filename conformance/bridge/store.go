package bridge

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A key names an object; the version of its kind does not matter.
type key struct {
	group, kind, namespace, name string
}

func keyOf(u *unstructured.Unstructured) key {
	return key{u.GroupVersionKind().Group, u.GetKind(), u.GetNamespace(), u.GetName()}
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.kind, b.kind),
		cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// An object is immutable.
type object struct {
	resource schema.GroupVersionResource
	current  *unstructured.Unstructured
	text     []byte // what Fairlead reads of it
}

// A store has every object as it was seen last.
type store struct {
	changed chan struct{} // capacity 1: what Fairlead reads has changed

	mu      sync.Mutex // guards the following
	objects map[key]*object
}

// put remembers an object. What has no meaning in a file is left out of its text, the status
// too: writing a status changes nothing that Fairlead reads.
func (s *store) put(resource schema.GroupVersionResource, u *unstructured.Unstructured) error {
	read := u.DeepCopy()
	read.SetManagedFields(nil)
	read.SetResourceVersion("")
	delete(read.Object, "status")
	text, err := read.MarshalJSON() // JSON is YAML
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(u)
	last := s.objects[k]
	s.objects[k] = &object{resource: resource, current: u, text: text}
	if last == nil || !bytes.Equal(last.text, text) {
		s.kick()
	}
	return nil
}

// remove forgets an object, but not another one that has got its name meanwhile.
func (s *store) remove(u *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.objects[keyOf(u)]; last != nil && last.current.GetUID() == u.GetUID() {
		delete(s.objects, keyOf(u))
		s.kick()
	}
}

func (s *store) kick() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *store) get(k key) *object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[k]
}

// text is every object as one YAML stream, always in the same order.
func (s *store) text() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text bytes.Buffer
	for _, k := range slices.SortedFunc(maps.Keys(s.objects), compareKeys) {
		text.WriteString("---\n")
		text.Write(s.objects[k].text)
	}
	return text.Bytes()
}
