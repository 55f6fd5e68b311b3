package kubernetes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefused holds the errors of files to testdata/refused: each document of NAME.yaml is wrong in its own way, and NAME.txt is
// what its author gets to read.
func TestRefused(t *testing.T) {
	inputs, err := filepath.Glob("testdata/refused/*.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatal(inputs, err)
	}
	for _, file := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, err := (&Files{Paths: []string{file}}).Load()
			var found FileErrors
			if !errors.As(err, &found) {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, e := range found { // Errors.Error shows the first fifty
				got.WriteString(strings.ReplaceAll(e.Error(), filepath.Dir(file)+string(filepath.Separator), "") + "\n\n")
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("not as %s says (-update writes it):\n%s", golden, diff(string(want), got.String()))
			}
			everyDocument(t, file, found)
		})
	}
}

// everyDocument checks that no document of a file is without an error.
func everyDocument(t *testing.T, file string, found FileErrors) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range (&manifest{name: file, data: data}).split() {
		last := d.line + strings.Count(string(d.text), "\n")
		wrong := false
		for _, e := range found {
			wrong = wrong || e.Line > d.line && e.Line <= last+1
		}
		if !wrong {
			t.Errorf("lines %d to %d are accepted", d.line+1, last)
		}
	}
}
