package kubernetes

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"go.yaml.in/yaml/v3"
)

// object is one that was read. It is constant: sets share it as long as its document does not change.
type object struct {
	line, column int // in its document, from 1

	kind *servedKind // nil: not served
	key  objectKey   // if it is served
	meta metav1.Object

	apiVersion, kindName, hint string // if it is not served

	pod *corev1.Pod // of an object that is not served; nil: it has none
}

type objectKey struct{ group, kind, namespace, name string }

// document decodes the object, or the list of objects, that a document is.
func (d *objectDecoder) document(n *yaml.Node) {
	n, ok := d.enter(n)
	if !ok {
		return
	}
	d.reset()
	if n.Kind != yaml.MappingNode {
		if pasted, rest := d.doc.shell(); pasted != nil {
			d.errs = append(append(d.errs, pasted...), rest.load().errs...)
			return
		}
		remedy := "an object begins with apiVersion: and kind:"
		if n.Kind == yaml.SequenceNode {
			remedy = "separate objects by lines of ---, or put the items in an object of kind: List"
		}
		d.failHere(n, remedy, "want an object, have %s", d.describe(n))
		return
	}
	apiVersion, kind := textOf(n, "apiVersion"), textOf(n, "kind")
	switch {
	case apiVersion == "" || kind == "":
		d.headless(n, apiVersion)
	case kind == "List" || strings.HasSuffix(kind, "List") && childOf(n, step{field: "items"}) != nil:
		d.list(n, apiVersion, strings.TrimSuffix(kind, "List"))
	default:
		d.object(n, apiVersion, kind)
	}
}

// reset forgets the object that was decoded before.
func (d *objectDecoder) reset() {
	d.name, d.version, d.secret, d.steps, d.structs = "", "", false, d.steps[:0], d.structs[:0]
}

// textOf is the text of a field; empty if it has none.
func textOf(n *yaml.Node, field string) string {
	if v := childOf(n, step{field: field}); v != nil && !isNull(v) {
		if s, ok := resolveScalar(v); ok && s.kind == scalarString {
			return s.text
		}
	}
	return ""
}

func (d *objectDecoder) headless(n *yaml.Node, apiVersion string) {
	what, remedy := "kind", "add kind, as in kind: HTTPRoute"
	if apiVersion == "" {
		what, remedy = "apiVersion", "add apiVersion, as in apiVersion: gateway.networking.k8s.io/v1"
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i].Value; key == "version" || nearest(key, []string{"apiVersion"}) != "" {
				remedy = fmt.Sprintf("did you mean apiVersion, where %s is?", key)
			}
		}
	}
	d.fail(n, []step{{field: what}}, errors.New("is missing"), remedy)
}

// list decodes the items of a List, or of a list of one kind, whose items need not say what they are.
func (d *objectDecoder) list(n *yaml.Node, apiVersion, kind string) {
	items := childOf(n, step{field: "items"})
	if isNull(items) {
		return
	}
	items, ok := d.enter(items)
	if !ok {
		return
	}
	if items.Kind != yaml.SequenceNode {
		d.fail(items, []step{{field: "items"}}, fmt.Errorf("want a list, have %s", d.describe(items)), `begin each item with "- "`)
		return
	}
	for _, item := range items.Content {
		item, ok := d.enter(item)
		if !ok {
			return
		}
		d.reset()
		itemVersion, itemKind := textOf(item, "apiVersion"), textOf(item, "kind")
		switch {
		case item.Kind != yaml.MappingNode:
			d.fail(item, []step{{field: "items"}}, fmt.Errorf("want an object, have %s", d.describe(item)), "")
		case itemVersion == "" && itemKind == "" && kind != "":
			d.object(item, apiVersion, kind)
		case itemVersion == "" || itemKind == "":
			d.headless(item, itemVersion)
		case itemKind == "List":
			d.fail(item, []step{{field: "items"}}, errors.New("a list within a list"), "")
		default:
			d.object(item, itemVersion, itemKind)
		}
	}
}

// object decodes one object.
func (d *objectDecoder) object(n *yaml.Node, apiVersion, kind string) {
	group, version := groupVersion(apiVersion)
	served := servedKinds[[2]string{group, kind}]
	d.name = kind
	switch {
	case served != nil && isFlat(n):
		d.flattened(n, served)
		return
	case served == nil:
		d.unserved(n, apiVersion, kind)
		return
	case !slices.Contains(served.versions, version):
		d.fail(childOf(n, step{field: "apiVersion"}), []step{{field: "apiVersion"}},
			fmt.Errorf("version %q of %s is not known", version, kind), "known are "+strings.Join(served.versions, ", "))
		return
	}
	d.version, d.secret = version, kind == "Secret"
	namespace, name := d.metaOf(n, served)
	d.name = objectName(kind, namespace, name)
	before := len(d.errs)
	o := served.new()
	d.value(n, reflect.ValueOf(o).Elem())
	if at := (spot{d: d, node: n}).at("metadata", "name"); len(d.errs) == before {
		at.objectName(served, name)
		if !served.cluster {
			spot{d: d, node: n}.at("metadata", "namespace").label(namespace, "a namespace")
		}
	}
	if len(d.errs) > before {
		return
	}
	o.SetNamespace(namespace)
	o.(runtime.Object).GetObjectKind().SetGroupVersionKind(served.as.GroupVersionKind())
	if ns, ok := o.(*corev1.Namespace); ok {
		labelNamespace(ns)
	}
	d.objects = append(d.objects, &object{
		line: n.Line, column: n.Column, kind: served, meta: o,
		key: objectKey{served.as.GroupVersionKind().Group, served.as.Kind, namespace, name},
	})
}

// metaOf is the name of an object, and its namespace: "default" if it says none, empty if it can have none.
func (d *objectDecoder) metaOf(n *yaml.Node, served *servedKind) (namespace, name string) {
	if meta := childOf(n, step{field: "metadata"}); meta != nil {
		namespace, name = textOf(meta, "namespace"), textOf(meta, "name")
	}
	switch {
	case served.cluster:
		return "", name
	case namespace == "":
		return metav1.NamespaceDefault, name
	}
	return namespace, name
}

func objectName(kind, namespace, name string) string {
	switch {
	case name == "":
		return kind
	case namespace == "":
		return kind + " " + name
	}
	return kind + " " + namespace + "/" + name
}

func (s spot) objectName(served *servedKind, name string) {
	switch {
	case name == "":
		s.refuse("add metadata: {name: …}", "is missing")
	case served.label:
		s.label(name, "a "+served.kind)
	case s.length(name, 1, 253) && !isSubdomain(name):
		s.refuse("", "%s is no name of an object: want lower-case letters, digits, - and .", shown(name, true))
	}
}

// labelNamespace sets the label that every namespace has.
func labelNamespace(ns *corev1.Namespace) {
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
}

// unserved notes an object of a kind that is not served, or refuses it if its group is.
func (d *objectDecoder) unserved(n *yaml.Node, apiVersion, kind string) {
	group, _ := groupVersion(apiVersion)
	hint, known := notServed[[2]string{group, kind}]
	if !known && knownGroup(group) {
		remedy := "known in " + group + " are " + kindsOf(group)
		var names []string
		for _, k := range servedKinds {
			if k.group == group {
				names = append(names, k.kind)
			}
		}
		if guess := nearest(kind, names); guess != "" {
			remedy = fmt.Sprintf("did you mean %s? %s", guess, remedy)
		}
		d.fail(childOf(n, step{field: "kind"}), []step{{field: "kind"}}, fmt.Errorf("kind %q is not known", kind), remedy)
		return
	}
	if !known {
		for _, k := range servedKinds {
			if k.kind == kind {
				hint = "did you mean " + k.as.APIVersion + "?"
			}
		}
	}
	d.objects = append(d.objects, &object{
		line: n.Line, column: n.Column, apiVersion: apiVersion, kindName: kind, hint: hint, pod: podOf(n, apiVersion, kind),
	})
}

// merging puts objects together to a Set.
type merging struct {
	set     *Set
	taken   map[objectKey]string // places
	skipped map[string]int       // index in set.Skipped, by kind
	errs    FileErrors
}

// add adds an object of a document.
func (m *merging) add(d *document, o *object) {
	place := fmt.Sprintf("%s:%d", d.file.name, d.line+o.line)
	if o.kind == nil {
		m.skip(o, place)
		return
	}
	if first, ok := m.taken[o.key]; ok {
		e := d.errorAt(o.line, o.column, fmt.Errorf("is in %s already", first), "remove one of the two, or give it another name")
		e.Object = objectName(o.key.kind, o.key.namespace, o.key.name)
		m.errs = append(m.errs, e)
		return
	}
	m.taken[o.key] = place
	m.set.places[o.meta] = place
	o.kind.add(m.set, o.meta)
}

func (m *merging) skip(o *object, place string) {
	kind := o.apiVersion + " " + o.kindName
	i, ok := m.skipped[kind]
	if !ok {
		i = len(m.set.Skipped)
		m.skipped[kind] = i
		m.set.Skipped = append(m.set.Skipped, Skipped{APIVersion: o.apiVersion, Kind: o.kindName, Place: place, Hint: o.hint})
	}
	m.set.Skipped[i].Count++
	if o.pod != nil {
		m.set.Pods = append(m.set.Pods, o.pod)
	}
}

// finish completes the set.
func (m *merging) finish() { addNamespaces(m.set, m.taken) }

// addNamespaces adds the namespaces that objects are in and that the source does not have: there is no object without its
// namespace, and the label that names it is what selectors mean.
func addNamespaces(set *Set, taken map[objectKey]string) {
	have := map[string]bool{"": true}
	for key := range taken {
		if key.kind == "Namespace" {
			have[key.name] = true
		}
	}
	var missing []string
	for key := range taken {
		if !have[key.namespace] {
			have[key.namespace] = true
			missing = append(missing, key.namespace)
		}
	}
	slices.Sort(missing)
	for _, name := range missing {
		ns := &corev1.Namespace{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1},
		}
		labelNamespace(ns)
		set.Namespaces = append(set.Namespaces, ns)
	}
}
