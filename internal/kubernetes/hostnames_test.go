package kubernetes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestIntersect(t *testing.T) {
	for _, c := range []struct {
		listener, route string
		want            string // "-": nothing in common
	}{
		{"", "", ""},
		{"a.example", "", ""},
		{"", "a.example *.b.example", "a.example *.b.example"},
		{"a.example", "a.example", "a.example"},
		{"a.example", "A.Example a.example", "a.example"},
		{"a.example", "*.example b.example", "a.example"},
		{"*.example", "a.example b.a.example example", "a.example b.a.example"},
		{"*.example", "*.example", "*.example"},
		{"*.example", "*.a.example", "*.a.example"},
		{"*.a.example", "*.example", "*.a.example"},
		{"*.example", "example", "-"},
		{"a.example", "*.a.example", "-"},
		{"a.example", "b.example *.b.example", "-"},
		{"*.a.example", "*.b.example", "-"},
		{"*.example", "aexample", "-"},
	} {
		var route []gatewayv1.Hostname
		for h := range strings.FieldsSeq(c.route) {
			route = append(route, gatewayv1.Hostname(h))
		}
		got, ok := intersect(c.listener, route)
		if text := strings.Join(got, " "); ok != (c.want != "-") || ok && text != c.want {
			t.Errorf("listener %q and route %q: %q %t, want %q", c.listener, c.route, text, ok, c.want)
		}
	}
}

// TestNameSet compares each answer with the plain definition, for every set of three names and every question.
func TestNameSet(t *testing.T) {
	names := []string{"", "example", "*.example", "a.example", "*.a.example", "b.a.example", "*.b.a.example", "c.b.a.example", "*.other", "xa.example"}
	for _, one := range names {
		for _, two := range names {
			var s nameSet
			s.add(one, "one")
			s.add(two, "two")
			for _, asked := range names {
				meets := func(n string) bool { return covers(n, asked) || covers(asked, n) }
				who, found := s.overlap(asked)
				if want := meets(one) || meets(two); found != want {
					t.Errorf("%q in {%q, %q}: %t, want %t", asked, one, two, found, want)
				}
				if found && !slices.ContainsFunc([]string{"one" + one, "two" + two}, func(n string) bool { return who == n[:3] && meets(n[3:]) }) {
					t.Errorf("%q in {%q, %q}: %s has nothing in common with it", asked, one, two, who)
				}
			}
		}
	}
	var empty nameSet
	if who, found := empty.overlap(""); found {
		t.Error(fmt.Sprint("the empty set overlaps: ", who))
	}
}
