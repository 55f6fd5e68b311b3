package upstream

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// specs are n endpoints, at ports 1 to n.
func specs(n int) []Spec {
	list := make([]Spec, n)
	for i := range list {
		s := Spec{Scheme: "http", Host: "127.0.0.1", Port: i + 1}
		s.ID = s.Address()
		list[i] = s
	}
	return list
}
