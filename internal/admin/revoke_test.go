package admin

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func TestRevoke(t *testing.T) {
	var asked []string
	h, password := startWith(t, false, upstream.NewPool(), route.Build(route.Set{}, nil), func(o *Options) {
		o.Revoke = func(r *proxy.Revocation) (proxy.Revoked, error) {
			asked = append(asked, fmt.Sprint(r.Users, r.Tokens, r.Issuer, r.Sessions))
			done := proxy.Revoked{Sessions: 2, Users: len(r.Users), Tokens: len(r.Tokens), Unknown: []string{}}
			if r.Issuer == "full" {
				return done, fmt.Errorf("token: %w", auth.ErrFull)
			}
			return done, nil
		}
	})
	for _, c := range []struct {
		body, password string
		status         int
		says           string
	}{
		{`{"users": ["ada"], "tokens": ["t1", "t2"], "issuer": "i", "expires": "2026-11-21T22:00:00Z", "sessions": []}`, password, 200, `{"sessions":2,"users":1,"tokens":2,"unknown":[]}`},
		{`{"users": ["ada"]}`, "", 401, "ZWEAO402E"},
		{`{"tokens": ["t"], "issuer": "full"}`, password, 507, "no room for more"},
		{``, password, 400, "want JSON as"},
		{`{"user": "ada"}`, password, 400, "want JSON as"},
		{`{}`, password, 400, "names no users"},
		{`{"users": ["ada"], "issuer": "i"}`, password, 400, "go with tokens"},
		{`{"users": ["a"` + strings.Repeat(`,"a"`, 1000) + `]}`, password, 400, "more than 1000"},
	} {
		r := httptest.NewRequest("POST", "http://gw/application/revoke", strings.NewReader(c.body))
		r.RemoteAddr = loopback
		if c.password != "" {
			r.SetBasicAuth("admin", c.password)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%.60s: %d %s, want %d %s", c.body, w.Code, w.Body, c.status, c.says)
		}
	}
	if want := "[ada] [t1 t2]i[]"; len(asked) != 2 || asked[0] != want {
		t.Errorf("asked for %q", asked)
	}
	if w := get(h, "GET", "http://gw/application/revoke", loopback, password); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d", w.Code)
	}
}
