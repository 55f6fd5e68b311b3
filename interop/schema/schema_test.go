package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-gateway/fairlead/internal/kubernetes"
)

// oddWords are values that are nearly right in one place or another.
var oddWords = []string{
	"/", "//", "/a/./b", "/a/../b", "/a%2fb", "/a%2Fb", "/a#b", "/a/..", "/a/.", "/a b", "/%4", "/[x]", "a/b", "/é", "%41",
	"*.a.example", "*", "a.*.example", "A.example", "a..example", "-a.example", "a.example.", "1.2.3.4", "::1", "fe80::1%eth0",
	"1s", "0s", "500ms", "1h30m", "1d", "1.5s", "100000s", "1h1m1s1ms1s", "2h", "off", "30s", "3601s", "1us",
	"HTTP", "HTTPS", "TLS", "TCP", "UDP", "example.com/custom", "example.com/", "Hostname", "IPAddress", "xIPAddressx", "a/b",
	"Service", "Gateway", "1x", "x-", "X-Header", "x header", "x:y", "a,b", "a\tb", "a  b", " a", "a ", "Bearer x", "ä",
	"https://a.example", "https://*.a.example:8443", "http://*", "https://a.example/", "null", "spiffe://c/ns/x", "mailto:x", "http://[::1]",
	"System", "system", "domain.example/name", "domain.example/", "com.example.Service", ".a.B", "a.1b", "Get", "get-it", "1.0", ".5", "5.", "-1",
	"64KiB", "64 KiB", "64kb", "12", "100/s", "100 /m", "100/d", "hash", "sticky", "none", "basic, bearer", "basic,", "basic,forward",
	"127.0.0.1:9000", "[::1]:9000", "::1:9000", "a.example:80", "a.example:0", "a.example:70000", "a.example", "http://a:80", "a_b:80",
	"kubernetes.io/ws", "kubernetes.io/wss", "https", "v1", "gateway.networking.k8s.io", "fairlead.dev", "name", "my.section", "My", "a_b",
	strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("é", 253), "=", "K", "ſervice",
}

// TestAsAPIServer holds what files may say to what an API server accepts, and the defaults to its defaults.
func TestAsAPIServer(t *testing.T) {
	all := judges(t)
	seeds := seeds(t, all)
	n := 20_000
	if s := os.Getenv("OBJECTS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	seed := uint64(1)
	if s := os.Getenv("SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 2)), words: slices.Clone(oddWords)}
	for _, s := range seeds {
		m.collect(s["spec"])
	}
	const batch = 500
	accepted, refused, differ := 0, 0, map[string]int{}
	for done := 0; done < n; done += batch {
		var objects []map[string]any
		for i := range batch {
			o := clone(seeds[(done+i)%len(seeds)]).(map[string]any)
			j := all[kindOf(o)]
			for range m.IntN(4) {
				m.mutate(o, j.structural)
			}
			o["metadata"] = map[string]any{"name": fmt.Sprintf("n-%d", done+i), "namespace": "ns"}
			objects = append(objects, o)
		}
		a, r := compare(t, all, objects, differ)
		accepted, refused = accepted+a, refused+r
	}
	t.Logf("%d seeds; %d objects accepted, %d refused by both", len(seeds), accepted, refused)
	if accepted < n/20 || refused < n/20 {
		t.Error("one side is hardly tested")
	}
}

func kindOf(o map[string]any) string { return fmt.Sprintf("%v %v", o["apiVersion"], o["kind"]) }

// seeds are the objects of testdata and of the Gateway API's own examples that both sides accept.
func seeds(t *testing.T, all map[string]*judge) (list []map[string]any) {
	t.Helper()
	for _, dir := range []string{"testdata", filepath.Join(moduleDir(t, "sigs.k8s.io/gateway-api"), "examples")} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for doc := range strings.SplitSeq("\n"+string(text), "\n---") {
				var o map[string]any
				asJSON, err := yaml.YAMLToJSON([]byte(doc))
				if err == nil {
					err = utiljson.Unmarshal(asJSON, &o) // with whole numbers
				}
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				j := all[kindOf(o)]
				if j == nil {
					continue
				}
				delete(o, "status")
				list = append(list, o)
				if err := j.judge(clone(o).(map[string]any)); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// compare has both sides judge objects. differ counts what kinds of difference were shown.
func compare(t *testing.T, all map[string]*judge, objects []map[string]any, differ map[string]int) (accepted, refused int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	write := func(objects []map[string]any) (begins []int) {
		var b strings.Builder
		line := 1
		for _, o := range objects {
			begins = append(begins, line)
			text, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("---\n")
			b.Write(text)
			line += 1 + strings.Count(string(text), "\n")
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return begins
	}
	begins := write(objects)
	files := &kubernetes.Files{Paths: []string{file}}
	set, err := files.Load()
	ours := make([]error, len(objects))
	var found kubernetes.FileErrors
	if err != nil && !errors.As(err, &found) {
		t.Fatal(err)
	}
	for _, e := range found {
		i, exact := slices.BinarySearch(begins, e.Line)
		if !exact {
			i--
		}
		ours[i] = errors.Join(ours[i], e)
	}
	var good, defaulted []map[string]any
	for i, o := range objects {
		full := clone(o).(map[string]any)
		theirs := all[kindOf(o)].judge(full)
		switch {
		case theirs == nil && ours[i] == nil:
			accepted++
			good, defaulted = append(good, o), append(defaulted, full)
		case theirs != nil && ours[i] != nil, theirs == nil && onPurpose(ours[i]):
			refused++
		default:
			key := "refused by files alone: " + firstPath(ours[i])
			if theirs != nil {
				key = "accepted by files alone: " + strings.SplitN(theirs.Error(), "\n", 2)[0]
			}
			if differ[key]++; differ[key] < 2 && len(differ) < 40 {
				text, _ := yaml.Marshal(o["spec"])
				t.Errorf("%s\n%s\nan API server: %v\nfiles: %v\n%s", key, kindOf(o), theirs, ours[i], text)
			}
		}
	}
	if len(good) == 0 {
		return accepted, refused
	}
	write(good)
	if set, err = files.Load(); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		sameDefaults(t, set, good[i], defaulted[i], differ)
	}
	return accepted, refused
}

// onPurpose tells of what files alone refuse, and should: values that the schema lets pass and the Go type cannot hold, so that
// no controller gets to see the object, since its client fails to decode it; and entries of maps without a value, which an API server
// leaves out, and so makes a selector match more than is written.
func onPurpose(err error) bool {
	text := err.Error()
	return strings.Contains(text, "want a duration, have the text") || strings.Contains(text, "is out of the range of uint16") ||
		strings.Contains(text, ": has no value")
}

func firstPath(err error) string {
	var e *kubernetes.FileError
	if errors.As(err, &e) {
		return e.Path + ": " + e.Err.Error()
	}
	return fmt.Sprint(err)
}

// sameDefaults compares the object in set with what an API server would keep.
func sameDefaults(t *testing.T, set *kubernetes.Set, in, want map[string]any, differ map[string]int) {
	t.Helper()
	name := in["metadata"].(map[string]any)["name"].(string)
	have := find(set, in, name)
	if have == nil {
		t.Errorf("%s is not in the set", name)
		return
	}
	expected := reflect.New(reflect.TypeOf(have).Elem()).Interface()
	text, err := json.Marshal(want)
	if err == nil {
		err = json.Unmarshal(text, expected)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, b := reflect.ValueOf(have).Elem().FieldByName("Spec").Interface(), reflect.ValueOf(expected).Elem().FieldByName("Spec").Interface()
	if !equality.Semantic.DeepEqual(a, b) {
		key := "defaults of " + kindOf(in)
		if differ[key]++; differ[key] < 3 {
			x, _ := yaml.Marshal(a)
			y, _ := yaml.Marshal(b)
			z, _ := yaml.Marshal(in["spec"])
			t.Errorf("%s: defaults differ\n--- in\n%s--- files\n%s--- API server\n%s", kindOf(in), z, x, y)
		}
	}
}

// find is the object of a set with a name.
func find(set *kubernetes.Set, in map[string]any, name string) metav1.Object {
	group, _, _ := strings.Cut(fmt.Sprint(in["apiVersion"]), "/")
	v := reflect.ValueOf(set).Elem()
	for i := range v.NumField() {
		list := v.Field(i)
		if list.Kind() != reflect.Slice || list.Type().Elem().Kind() != reflect.Pointer {
			continue
		}
		for k := range list.Len() {
			o, ok := list.Index(k).Interface().(metav1.Object)
			if !ok || o.GetName() != name {
				continue
			}
			meta := list.Index(k).Elem().FieldByName("TypeMeta").Interface().(metav1.TypeMeta)
			if meta.Kind == fmt.Sprint(in["kind"]) && strings.HasPrefix(meta.APIVersion, group) {
				return o
			}
		}
	}
	return nil
}
