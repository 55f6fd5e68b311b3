package kubernetes

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// write makes files in a new directory; names and contents alternate.
func write(t testing.TB, namesAndTexts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(namesAndTexts); i += 2 {
		name := filepath.Join(dir, namesAndTexts[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(namesAndTexts[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads one document.
func load(t testing.TB, text string) (*Set, error) {
	t.Helper()
	var source Source = &Files{Paths: []string{write(t, "in.yaml", text)}}
	return source.Load()
}

func TestFilesFillInDefaults(t *testing.T) {
	set, err := load(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - backendRefs: [{name: web, port: 80}]
`)
	if err != nil {
		t.Fatal(err)
	}
	r := set.HTTPRoutes[0]
	if m := r.Spec.Rules[0].Matches[0].Path; *m.Type != "PathPrefix" || *m.Value != "/" {
		t.Errorf("path %+v", m)
	}
	if b := r.Spec.Rules[0].BackendRefs[0]; *b.Kind != "Service" || *b.Group != "" || *b.Weight != 1 {
		t.Errorf("backend %+v", b)
	}
	if p := r.Spec.ParentRefs[0]; *p.Kind != "Gateway" || r.Namespace != "default" || r.Generation != 1 {
		t.Errorf("parent %+v of %+v", p, r.ObjectMeta)
	}
	if len(set.Namespaces) != 1 || set.Namespaces[0].Labels["kubernetes.io/metadata.name"] != "default" {
		t.Errorf("namespaces %+v", set.Namespaces)
	}
	if filepath.Base(set.Place(r)) != "in.yaml:2" {
		t.Errorf("place %s", set.Place(r))
	}
}

func TestFilesInDirectories(t *testing.T) {
	namespace := func(name string) string {
		return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n"
	}
	dir := write(t,
		"b.yaml", namespace("b1")+"---\n"+namespace("b2"),
		"a.yml", "\ufeff"+namespace("a"),
		"c.json", `{"apiVersion": "v1", "kind": "Namespace",`+"\n\t"+`"metadata": {"name": "c", "annotations": {"x": "\ud83d\ude00\/"}}}`,
		"d/e/f.yaml", strings.ReplaceAll(namespace("f"), "\n", "\r\n"),
		".hidden.yaml", "not: [yaml",
		"..data/g.yaml", "not: [yaml",
		"notes.txt", "not: [yaml",
		"empty.yaml", "# nothing\n---\n---\n...\n",
	)
	set, err := (&Files{Paths: []string{filepath.Join(dir, "d"), dir, filepath.Join(dir, "a.yml")}}).Load()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ns := range set.Namespaces {
		names = append(names, ns.Name)
	}
	if want := []string{"f", "a", "b1", "b2", "c"}; !slices.Equal(names, want) {
		t.Errorf("in the order %v, want %v", names, want)
	}
	if at := filepath.Base(set.Place(set.Namespaces[3])); at != "b.yaml:5" {
		t.Errorf("b2 is at %s", at)
	}
	if x := set.Namespaces[4].Annotations["x"]; x != "😀/" {
		t.Errorf("JSON's escapes read as %q", x)
	}
}

func TestFilesRefuseWhatCannotBeRead(t *testing.T) {
	dir := write(t, "a.yaml", "", "large.yaml", "")
	if err := os.Truncate(filepath.Join(dir, "large.yaml"), maxFileSize+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err := (&Files{Paths: []string{dir, filepath.Join(dir, "none"), os.DevNull}}).Load()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"large.yaml: is too large: at most 32 MiB", "link.yaml: stat: no such file", "none: stat: no such file", os.DevNull + ": is not a regular file",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestFilesRefuseTheSameObjectTwice(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: %s}\nstringData: {k: v}\n"
	dir := write(t,
		"a.yaml", fmt.Sprintf(secret, "one")+"---\n"+fmt.Sprintf(secret, "two"),
		"b.yaml", fmt.Sprintf(secret, "one")+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: one}\n",
	)
	_, err := (&Files{Paths: []string{dir}}).Load()
	var found FileErrors
	if !errors.As(err, &found) || len(found) != 1 {
		t.Fatal(err)
	}
	if e := found[0]; !strings.HasSuffix(e.Place(), "b.yaml:1:1") || e.Object != "Secret one/a" || !strings.HasSuffix(e.Err.Error(), "a.yaml:1 already") {
		t.Errorf("%+v", e)
	}
	// A route of an older version is the same object.
	_, err = load(t, route1("v1")+"---\n"+route1("v1beta1"))
	if err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("one route in two versions: %v", err)
	}
}

func route1(version string) string {
	return "apiVersion: gateway.networking.k8s.io/" + version + "\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {}\n"
}

func TestFilesSkipKindsOfOthers(t *testing.T) {
	dir := write(t, "a.yaml", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {anything: [goes]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: b}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Service
metadata: {name: b}
---
apiVersion: networking.k8s.io/v1
kind: Service
metadata: {name: b}
---
apiVersion: alb.networking.azure.io/v1
kind: WebApplicationFirewallPolicy
metadata: {name: waf}
`)
	_, err := (&Files{Paths: []string{dir}}).Load()
	if err == nil || !strings.Contains(err.Error(), `kind "Service" is not known`) {
		t.Fatalf("a Service in the Gateway API's group: %v", err)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "a.yaml"))
	_, rest, _ := strings.Cut(string(text), "kind: Service")
	first, _, _ := strings.Cut(string(text), "---\napiVersion: gateway")
	_, rest, _ = strings.Cut(rest, "---\n")
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(first+"---\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	files := &Files{Paths: []string{dir}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 2 {
		set, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(set.Skipped); n != 3 || set.Skipped[0].Count != 2 || set.Skipped[1].Hint != "did you mean v1?" ||
			set.Skipped[2].Hint != "nothing of it is enforced" {
			t.Fatalf("%d kinds skipped: %+v", n, set.Skipped)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d notices for three kinds:\n%s", n, &log)
	}
}

func TestFilesReadListsAndOldVersions(t *testing.T) {
	set, err := load(t, `
apiVersion: v1
kind: List
items:
- apiVersion: gateway.networking.k8s.io/v1beta1
  kind: Gateway
  metadata: {name: gw}
  spec: {gatewayClassName: x, listeners: [{name: a, port: 80, protocol: HTTP}]}
  status: {anything: goes}
- apiVersion: gateway.networking.x-k8s.io/v1alpha1
  kind: XListenerSet
  metadata: {name: ls}
  spec: {parentRef: {name: gw}, listeners: [{name: a, port: 81, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRouteList
items:
- metadata: {name: tls}
  spec: {rules: [{backendRefs: [{name: a, port: 1}]}, {backendRefs: [{name: b, port: 2}]}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Gateways) != 1 || len(set.ListenerSets) != 1 || len(set.TLSRoutes) != 1 {
		t.Fatalf("%+v", set)
	}
	for _, o := range []*metav1.TypeMeta{&set.Gateways[0].TypeMeta, &set.ListenerSets[0].TypeMeta, &set.TLSRoutes[0].TypeMeta} {
		if o.APIVersion != "gateway.networking.k8s.io/v1" || strings.HasPrefix(o.Kind, "X") {
			t.Errorf("kept as %+v", o)
		}
	}
	if len(set.TLSRoutes[0].Spec.Rules) != 2 || len(set.Gateways[0].Status.Conditions) != 0 {
		t.Errorf("%+v", set.TLSRoutes[0])
	}
}

func TestFilesReadSecrets(t *testing.T) {
	set, err := load(t, `
apiVersion: v1
kind: Secret
metadata: {name: a}
data: {one: b25l, both: YWFh, wrapped: "b25l\n"}
stringData:
  both: bbb
  text: |
    two lines
    of text
`)
	if err != nil {
		t.Fatal(err)
	}
	s := set.Secrets[0]
	if string(s.Data["one"]) != "one" || string(s.Data["both"]) != "bbb" || string(s.Data["text"]) != "two lines\nof text\n" ||
		string(s.Data["wrapped"]) != "one" || s.StringData != nil || s.Type != "Opaque" {
		t.Errorf("%+v", s)
	}
}

func TestFilesKnowTheWordsOfKubectl(t *testing.T) {
	set, err := load(t, `
apiVersion: alb.networking.azure.io/v1
kind: HealthCheckPolicy
metadata: {name: a, annotations: {when: 2026-11-21, version: "1.0"}}
spec:
  targetRef: &t {group: "", kind: Service, name: a}
  default: {useTLS: yes, port: 0x50, interval: 5s}
---
apiVersion: alb.networking.azure.io/v1
kind: HealthCheckPolicy
metadata: &m
  name: b
  namespace: null
spec:
  targetRef: {group: "", kind: Service, <<: {name: c, kind: Other}}
`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := set.ALBHealthCheckPolicies[0], set.ALBHealthCheckPolicies[1]
	if !*a.Spec.Default.UseTLS || *a.Spec.Default.Port != 80 || a.Spec.Default.Interval.Duration != 5*time.Second || a.Annotations["when"] != "2026-11-21" {
		t.Errorf("%+v", a)
	}
	if b.Namespace != "default" || b.Spec.TargetRef.Name != "c" || b.Spec.TargetRef.Kind != "Service" {
		t.Errorf("%+v", b)
	}
}

// TestFilesHoldNoBombs feeds documents that are small as text and huge as trees, or as deep as a recursive reader can bear.
func TestFilesHoldNoBombs(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("apiVersion: v1\nkind: List\nx0: &x0 {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
	for i := 1; i <= 9; i++ {
		fmt.Fprintf(&bomb, "x%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 10), ", "))
	}
	for name, text := range map[string]string{
		"aliases": bomb.String() + "items: *x9\n",
		"metadata": strings.Replace(bomb.String(), "kind: List", "kind: ConfigMap", 1) +
			"metadata: {name: a, ownerReferences: [*x9], managedFields: [{fieldsV1: *x9}]}\n",
		"merges":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: &d {<<: *d}\n",
		"nesting": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, managedFields: [{fieldsV1: " + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + "}]}\n",
		"deeper":  strings.Repeat("[", 1_000_000),
		"itself":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, managedFields: [{fieldsV1: &f {a: *f}}]}\n",
	} {
		began := time.Now()
		if _, err := load(t, text); err == nil {
			t.Errorf("%s: accepted", name)
		} else if n := len(err.Error()); n > 20_000 {
			t.Errorf("%s: an error of %d bytes", name, n)
		}
		t.Log(name, time.Since(began))
	}
}

func TestFilesLimitTheDataOfAnObject(t *testing.T) {
	_, err := load(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: "+strings.Repeat("x", maxObjectData+1)+"}\n")
	if err == nil || !strings.Contains(err.Error(), "holds 1048577 bytes") {
		t.Errorf("%.300v", err)
	}
}

// TestFilesReadAgain keeps the objects of documents that have not changed, at the lines where they are now.
func TestFilesReadAgain(t *testing.T) {
	name := filepath.Join(write(t, "a.yaml", namespaceA+"---\n"+route1("v1")), "a.yaml")
	files := &Files{Paths: []string{name}}
	first, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	put(t, name, "# a line more\n"+namespaceA+"---\nwrong\n---\n"+route1("v1"))
	if set, err := files.Load(); err == nil {
		t.Fatalf("accepted: %+v", set)
	}
	put(t, name, "# a line more\n"+namespaceA+"---\n"+route1("v1"))
	second, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	if first.HTTPRoutes[0] != second.HTTPRoutes[0] {
		t.Error("the route was decoded again")
	}
	a, b := first.Place(first.HTTPRoutes[0]), second.Place(second.HTTPRoutes[0])
	if filepath.Base(a) != "a.yaml:5" || filepath.Base(b) != "a.yaml:6" {
		t.Errorf("the route is at %s, then at %s", a, b)
	}
}
