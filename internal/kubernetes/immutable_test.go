package kubernetes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestTranslateLeavesObjects: sets share objects, so that nobody may change one.
func TestTranslateLeavesObjects(t *testing.T) {
	var names []string
	for _, dir := range []string{"rules", "translate"} {
		in, err := filepath.Glob("testdata/" + dir + "/*.yaml")
		if err != nil || len(in) == 0 {
			t.Fatal(in, err)
		}
		names = append(names, in...)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := objects(t, text)
		before, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		Translate(set, options(t, text))
		if after, err := json.Marshal(set); err != nil || string(after) != string(before) {
			t.Errorf("%s: translated, it is\n%s\nit was\n%s", name, after, before)
		}
	}
}
