package route

import "testing"

func TestAllowsOrigin(t *testing.T) {
	tests := []struct {
		allowed              []string
		origin, scheme, host string
		want                 bool
	}{
		{nil, "", "https", "gw.test", true},
		{nil, "https://gw.test", "https", "gw.test", true},
		{nil, "https://GW.test", "https", "gw.TEST", true},
		{nil, "https://gw.test:443", "https", "gw.test", true},
		{nil, "https://gw.test", "https", "gw.test:443", true},
		{nil, "http://gw.test", "http", "gw.test:80", true},
		{nil, "https://gw.test:10010", "https", "gw.test:10010", true},
		{nil, "https://[::1]:10010", "https", "[::1]:10010", true},
		{nil, "https://[0::1]:10010", "https", "[::1]:10010", true},
		{nil, "http://gw.test", "https", "gw.test", false},
		{nil, "https://gw.test", "http", "gw.test", false},
		{nil, "https://gw.test", "https", "gw.test:10010", false},
		{nil, "https://gw.test:444", "https", "gw.test", false},
		{nil, "https://gw.test.evil", "https", "gw.test", false},
		{nil, "https://evil.test", "https", "gw.test", false},
		{nil, "null", "https", "gw.test", false},
		{nil, "https://gw.test/", "https", "gw.test", false},
		{nil, "https://gw.test/path", "https", "gw.test", false},
		{nil, "https://gw.test?", "https", "gw.test", false},
		{nil, "https://gw.test#", "https", "gw.test", false},
		{nil, "https://user@gw.test", "https", "gw.test", false},
		{nil, "https://gw.test:", "https", "gw.test", false},
		{nil, "https://", "https", "", false},
		{nil, "gw.test", "https", "gw.test", false},
		{nil, "https://gw.test https://evil.test", "https", "gw.test", false},
		{[]string{"https://app.test"}, "https://app.test", "https", "gw.test", true},
		{[]string{"https://APP.test:443"}, "https://app.test", "https", "gw.test", true},
		{[]string{"https://app.test"}, "http://app.test", "https", "gw.test", false},
		{[]string{"https://app.test"}, "https://app.test:8443", "https", "gw.test", false},
		{[]string{"https://app.test"}, "https://gw.test", "https", "gw.test", true},
		{[]string{"*"}, "https://evil.test", "https", "gw.test", true},
		{[]string{"*"}, "null", "https", "gw.test", true},
	}
	for _, tt := range tests {
		p := Policy{WebSocket: WebSocket{AllowedOrigins: tt.allowed}}
		if got := p.AllowsOrigin(tt.origin, tt.scheme, tt.host); got != tt.want {
			t.Errorf("%v: %q to %s://%s: %t, want %t", tt.allowed, tt.origin, tt.scheme, tt.host, got, tt.want)
		}
	}
}
