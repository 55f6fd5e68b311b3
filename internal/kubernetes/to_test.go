package kubernetes

import (
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	source, err := To("127.0.0.1:8080", []string{"ws://localhost:9000", "/api=https://[::1]/v2", "/plain=http://h:1/"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	gw := set.Gateways[0]
	if gw.Spec.Addresses[0].Value != "127.0.0.1" || gw.Spec.Listeners[0].Port != 8080 {
		t.Errorf("gateway: %+v", gw.Spec)
	}
	for i, want := range []struct {
		path, host, rewrite string
		port                int32
		secure              bool
	}{{"/", "localhost", "", 9000, false}, {"/api", "::1", "/v2", 443, true}, {"/plain", "h", "/", 1, false}} {
		rule, b := set.HTTPRoutes[0].Spec.Rules[i], set.Backends[i].Spec
		rewrite := ""
		if len(rule.Filters) > 0 {
			rewrite = *rule.Filters[0].URLRewrite.Path.ReplacePrefixMatch
		}
		if *rule.Matches[0].Path.Value != want.path || b.Host != want.host || *b.Port != want.port || (b.TLS != nil) != want.secure || rewrite != want.rewrite {
			t.Errorf("target %d: %+v to %+v", i, rule, b)
		}
	}
}

func TestToRefuses(t *testing.T) {
	for _, tt := range []struct{ listen, target, want string }{
		{":8080", "localhost:9000", `scheme "localhost": write ws://`},
		{":8080", "ws://", "no host"},
		{":8080", "/a", "no URL in it"},
		{":8080", "ws://u:p@h", "leave it out"},
		{":8080", "ws://h?x", "leave it out"},
		{":8080", "ws://h:0", "want 1 to 65535"},
		{":8080", "ws://h:99999", "want 1 to 65535"},
		{"8080", "ws://h", "--listen 8080: write address:port"},
		{":0", "ws://h", "want 1 to 65535"},
		{"h.example:80", "ws://h", "no address of this machine"},
	} {
		if _, err := To(tt.listen, []string{tt.target}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %s", tt.listen, tt.target, err, tt.want)
		}
	}
	if _, err := To(":1", []string{"ws://h", "/=ws://i"}); err == nil || !strings.Contains(err.Error(), "has a target already") {
		t.Errorf("two targets of one path: %v", err)
	}
}
