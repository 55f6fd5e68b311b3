package kubernetes

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
)

// FuzzLoad reads any bytes. The law: what is accepted is, written down and read again, the same set.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../../examples/*/*.yaml", "../../interop/schema/testdata/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
			for _, d := range (&manifest{data: text}).split() {
				f.Add(d.text)
			}
		}
	}
	f.Add([]byte(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "YQ=="}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := loadBytes(text)
		if err != nil {
			if set != nil || err.Error() == "" {
				t.Fatalf("a set beside the error %q", err)
			}
			return
		}
		again, err := loadBytes(written(t, set))
		if err != nil {
			t.Fatalf("accepted, and refused when written down: %v\n%s", err, written(t, set))
		}
		a, b := reflect.ValueOf(set).Elem(), reflect.ValueOf(again).Elem()
		for i := range a.NumField() {
			name := a.Type().Field(i).Name
			if isObjectList(a.Field(i)) && name != "Pods" && !equality.Semantic.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				x, _ := json.Marshal(a.Field(i).Interface())
				y, _ := json.Marshal(b.Field(i).Interface())
				t.Fatalf("%s differ:\n%s\n%s", name, x, y)
			}
		}
	})
}

// loadBytes is Load of one file with that content.
func loadBytes(text []byte) (*Set, error) {
	return new(Files).load([]*manifest{{name: "in.yaml", order: 1, data: text}}, nil)
}

func isObjectList(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Pointer
}

// written is a set as documents.
func written(t *testing.T, set *Set) []byte {
	var b bytes.Buffer
	v := reflect.ValueOf(set).Elem()
	for i := range v.NumField() {
		if !isObjectList(v.Field(i)) || v.Type().Field(i).Name == "Pods" { // of which a part alone is kept
			continue
		}
		for k := range v.Field(i).Len() {
			o, err := json.Marshal(v.Field(i).Index(k).Interface())
			if err != nil {
				t.Fatal(err)
			}
			text := string(o)
			if kind := v.Type().Field(i).Name; kind == "TLSRoutes" || kind == "TCPRoutes" || kind == "UDPRoutes" {
				// These may have been read in a version that allows more, and are kept as the newest.
				text = strings.Replace(text, `"apiVersion":"gateway.networking.k8s.io/v1"`, `"apiVersion":"gateway.networking.k8s.io/v1alpha2"`, 1)
			}
			b.WriteString("---\n" + text + "\n")
		}
	}
	return b.Bytes()
}
