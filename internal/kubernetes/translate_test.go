package kubernetes

import (
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func TestTranslateTo(t *testing.T) {
	source, err := To("127.0.0.1:9000", []string{"ws://127.0.0.1:9001"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	r := Translate(set, Options{Pool: upstream.NewPool(), AnyClass: true})
	table := route.Build(r.Set, nil)
	if len(table.Listeners) != 1 || table.Listeners[0].Key() != "tcp/127.0.0.1:9000" {
		t.Fatalf("listeners: %v", table.Listeners)
	}
	for _, s := range r.Statuses {
		for at, c := range Conditions(&s) {
			t.Log(s.Kind, s.Metadata.Name, at, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	t.Log(r.Problems)
}
