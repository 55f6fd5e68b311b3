package websocket

import (
	"slices"
	"testing"
)

func TestOfferWithoutContext(t *testing.T) {
	for _, c := range []struct{ offer, want []string }{
		{nil, nil},
		{[]string{"permessage-deflate"}, []string{"permessage-deflate; server_no_context_takeover", "permessage-deflate"}},
		{
			[]string{"permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; server_max_window_bits=10"},
			[]string{
				"permessage-deflate; server_no_context_takeover; client_max_window_bits", "permessage-deflate; client_max_window_bits",
				"permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
			},
		},
	} {
		if got := OfferWithoutContext(c.offer); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.offer, got, c.want)
		}
	}
}

func TestWithoutContext(t *testing.T) {
	for agreed, want := range map[string]string{
		"":                   "",
		"permessage-deflate": "permessage-deflate; client_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=12": "permessage-deflate; server_no_context_takeover; client_max_window_bits=12; client_no_context_takeover",
		"permessage-deflate; client_no_context_takeover":                            "permessage-deflate; client_no_context_takeover",
	} {
		if got := (&Agreed{Extensions: agreed}).WithoutContext(); got != want {
			t.Errorf("%q: %q, want %q", agreed, got, want)
		}
	}
}

func TestContinues(t *testing.T) {
	const plain = "permessage-deflate"
	for _, c := range []struct {
		was, now Agreed
		ok       bool
	}{
		{Agreed{}, Agreed{}, true},
		{Agreed{Protocol: "a"}, Agreed{Protocol: "a"}, true},
		{Agreed{Protocol: "a"}, Agreed{}, false},
		{Agreed{Extensions: plain}, Agreed{}, false},
		{Agreed{}, Agreed{Extensions: plain}, false},
		{Agreed{Extensions: plain}, Agreed{Extensions: plain + "; server_no_context_takeover"}, true},
		{Agreed{Extensions: plain}, Agreed{Extensions: plain + "; client_no_context_takeover"}, true},
		{Agreed{Extensions: plain + "; client_max_window_bits=12"}, Agreed{Extensions: plain + "; client_max_window_bits=12"}, true},
		{Agreed{Extensions: plain + "; client_max_window_bits=12"}, Agreed{Extensions: plain + "; client_max_window_bits=11"}, false},
		{Agreed{Extensions: plain + "; client_max_window_bits=12"}, Agreed{Extensions: plain}, true},
		{Agreed{Extensions: plain + "; server_max_window_bits=12"}, Agreed{Extensions: plain + "; server_max_window_bits=10"}, true},
	} {
		if got := c.was.Continues(&c.now); (got == "") != c.ok {
			t.Errorf("%+v, then %+v: %q", c.was, c.now, got)
		}
	}
}
