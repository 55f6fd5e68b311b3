package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// admin with a generated user; the password is what the file says.
func start(t *testing.T, stopping bool) (h http.Handler, password string) {
	t.Helper()
	return startWith(t, stopping, upstream.NewPool(), route.Build(route.Set{}, nil))
}

// startWith is start with what is served.
func startWith(t *testing.T, stopping bool, pool *upstream.Pool, table *route.Table, edits ...func(*Options)) (h http.Handler, password string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	password = "a password"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost) // of others the race detector makes seconds
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.ParseHtpasswd(strings.NewReader("admin:"+string(hash)), "test")
	if err != nil {
		t.Fatal(err)
	}
	registry := eureka.NewRegistry(eureka.Config{}, log)
	o := Options{
		Sessions: new(proxy.Sessions), Moves: fakeMoves{}, Table: func() *route.Table { return table }, Pool: pool, Users: func() *auth.Users { return users },
		Stopping: func() bool { return stopping }, Instances: registry.Instances, Registry: registry, Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		Version: Version{Version: "1.2.3", Build: "b", Commit: "c"}, Log: log,
	}
	for _, edit := range edits {
		edit(&o)
	}
	return New(o), password
}

// The password that the first start makes is written once, for nobody else to read; the second start knows it.
func TestGeneratedUser(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if _, err := OpenUsers(Config{}, dir, log); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, PasswordFile))
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(filepath.Join(dir, PasswordFile)); st.Mode().Perm() != 0o600 {
		t.Errorf("password file has mode %v", st.Mode())
	}
	again, err := OpenUsers(Config{}, dir, log)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{strings.TrimSpace(string(text)): true, "another": false} {
		if good, err := again.Verify(t.Context(), "admin", password); good != want || err != nil {
			t.Errorf("the second start, %q: %v %v, want %v", password, good, err, want)
		}
	}
}

func get(h http.Handler, method, target, remote, password string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = remote
	if password != "" {
		r.SetBasicAuth("admin", password)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	loopback = "127.0.0.1:50000"
	abroad   = "203.0.113.9:50000"
)

func TestWhoMaySee(t *testing.T) {
	h, password := start(t, false)
	tests := []struct {
		method, target, remote, password string
		status                           int
	}{
		{"GET", "http://gw/application/health", abroad, "", 200},
		{"GET", "http://gw/application/info", abroad, "", 200},
		{"GET", "http://gw/application/version", abroad, "", 200},
		{"GET", "http://gw/application/websockets", abroad, password, 403},
		{"GET", "https://gw/application/websockets", abroad, "", 401},
		{"GET", "https://gw/application/websockets", abroad, "wrong", 401},
		{"GET", "https://gw/application/websockets", abroad, password, 200},
		{"GET", "http://gw/application/websockets", loopback, password, 200},
		{"GET", "http://gw/application/websockets", "[::1]:5", password, 200},
		{"GET", "http://gw/application/websockets", loopback, "", 401},
		{"POST", "http://gw/application/websockets", loopback, password, 405},
		{"GET", "http://gw/application/websockets/none", loopback, password, 404},
		{"DELETE", "http://gw/application/websockets/none", loopback, "", 401},
		{"DELETE", "http://gw/application/websockets/none", loopback, password, 404},
		{"DELETE", "http://gw/application/websockets/none?code=1006", loopback, password, 400},
		{"GET", "http://gw/application/websockets?limit=x", loopback, password, 400},
		{"GET", "http://gw/application/env", loopback, "", 401},
		{"GET", "http://gw/application/env", loopback, password, 404},
		{"GET", "http://gw/application/routes", loopback, password, 200},
		{"GET", "http://gw/gateway/services", loopback, "", 401},
		{"GET", "http://gw/gateway/services", loopback, password, 200},
		{"GET", "http://gw/gateway/api/v1/services/none", loopback, password, 404},
		{"DELETE", "http://gw/gateway/services/none", loopback, password, 405},
		{"GET", "http://gw/application/services", loopback, password, 200},
		{"GET", "http://gw/application/metrics", loopback, "", 401},
		{"GET", "http://gw/application/", loopback, "", 401},
		{"GET", "http://gw/application/", abroad, password, 403},
		{"GET", "http://gw/application/", loopback, password, 200},
		{"GET", "http://gw/application", loopback, password, 302},
		{"GET", "http://gw/application/dashboard.js", loopback, "", 401},
		{"GET", "http://gw/application/dashboard.js", loopback, password, 200},
		{"GET", "http://gw/application/page.html", loopback, password, 404},
		{"GET", "http://gw/application/metrics", loopback, password, 200},
		{"POST", "http://gw/application/services/none/drain", loopback, "", 401},
		{"POST", "http://gw/application/services/none/drain", loopback, password, 404},
		{"GET", "http://gw/application/services/none/drain", loopback, password, 405},
	}
	for _, tt := range tests {
		w := get(h, tt.method, tt.target, tt.remote, tt.password)
		if w.Code != tt.status {
			t.Errorf("%s %s from %s with %q: %d, want %d: %s", tt.method, tt.target, tt.remote, tt.password, w.Code, tt.status, w.Body)
		}
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") != `Basic realm="Realm"` {
			t.Errorf("%s: challenge %q", tt.target, w.Header().Get("WWW-Authenticate"))
		}
	}
	if body := get(h, "GET", "http://gw/application/websockets", loopback, password).Body.String(); body != "[]" {
		t.Errorf("no sessions: %s, want []", body)
	}
}

// health is read by Zowe's start-up checker at these paths.
func TestHealthShape(t *testing.T) {
	h, _ := start(t, false)
	w := get(h, "GET", "http://gw/application/health", abroad, "")
	var got struct {
		Status     string
		Components struct {
			Gateway struct {
				Details struct {
					Discovery, Auth, APICatalog string
					GatewayCount                int
				}
			}
			DiscoveryComposite struct {
				Components struct {
					DiscoveryClient struct{ Details struct{ Services []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	d := got.Components.Gateway.Details
	if got.Status != "UP" || d.Discovery != "UP" || d.Auth != "UP" || d.APICatalog != "DOWN" || d.GatewayCount != 1 {
		t.Errorf("health %s", w.Body)
	}
	if s := got.Components.DiscoveryComposite.Components.DiscoveryClient.Details.Services; len(s) != 1 || s[0] != "gateway" {
		t.Errorf("services %v", s)
	}
	h, _ = start(t, true)
	if w := get(h, "GET", "http://gw/application/health", abroad, ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("health of a gateway that stops: %d", w.Code)
	}
}

func TestFiveKeysInOrder(t *testing.T) {
	text, err := json.Marshal(view(proxy.SessionView{GatewayPath: "g", ServiceURL: "s", ServiceSessionID: "i"}, false))
	if err != nil {
		t.Fatal(err)
	}
	dec, keys := json.NewDecoder(strings.NewReader(string(text))), []string(nil)
	for i := 0; ; i++ {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if s, ok := tok.(string); ok && i%2 == 1 {
			keys = append(keys, s)
		}
	}
	if got := strings.Join(keys, " "); got != "sessionId clientAddress gatewayPath serviceUrl serviceSessionId" {
		t.Errorf("keys %s", got)
	}
}

// The page runs its own script alone, and no other page may frame it: its buttons close sessions.
func TestPageIsKeptToItself(t *testing.T) {
	h, password := start(t, false)
	head := get(h, "GET", "http://gw/application/", loopback, password).Header()
	policy := head.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %s", policy, want)
		}
	}
	if head.Get("X-Frame-Options") != "DENY" || head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Cache-Control") != "no-store" {
		t.Errorf("head %v", head)
	}
}
