package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// env is an environment with a few variables.
func env(name string) (string, bool) {
	value, ok := map[string]string{
		"LEVEL": "debug", "EMPTY": "", "PORT": "18080", "NESTED": "${LEVEL}", "HASH": hash, "ON": "true",
	}[name]
	return value, ok
}

const hash = "ada:$2y$04$zVHmKQtGGQob.b/Nc7l9NO8UlrYcW05FiuCj/SxsFO/ZtiN9.mNzy"

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("fairlead.yaml", []byte(text), env)
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	return c
}

// sansSource is a Config without what is only for errors.
func sansSource(c *Config) Config {
	plain := *c
	plain.src = nil
	return plain
}

func TestDefaults(t *testing.T) {
	want := Default()
	if l := want.Gateway.Listeners; len(l) != 2 || l[0].TLS == nil || l[0].Address != ":10010" || l[1].TLS != nil || l[1].Address != ":10080" {
		t.Errorf("listeners %+v", l)
	}
	if want.Registry.Address != "127.0.0.1:10011" || !want.Registry.On() || want.DataDir != "./fairlead-data" ||
		want.AccessLog.Path != "-" || want.AccessLog.Format != "json" || want.Log != (Log{Level: "info", Format: "text"}) {
		t.Errorf("defaults %+v", want)
	}
	if errs := check(want); len(errs) > 0 {
		t.Errorf("the defaults do not pass: %v", errs)
	}
	loaded, err := Load("")
	if err != nil || !reflect.DeepEqual(loaded, want) {
		t.Errorf("Load(\"\") = %+v, %v", loaded, err)
	}
	for _, text := range []string{
		"", "\n\n", "# nothing\n", "---\n", "---\n# nothing\n...\n", "\ufeff", "\ufeff# x\r\n", "~\n", "null", "{}",
		"gateway:\nregistry:\ndefaults:\nmanifests:\n", "gateway: {listeners: []}",
	} {
		if c := mustParse(t, text); !reflect.DeepEqual(sansSource(c), *want) {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

// TestSamples loads the file that the design shows, and the one in docs/config.md, which
// claims to say nothing but defaults.
func TestSamples(t *testing.T) {
	for _, name := range []string{"testdata/design.yaml", "testdata/sample.yaml"} {
		c, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		want := Default()
		want.Registry.ForgetAfter = 15 * time.Minute
		if name == "testdata/sample.yaml" {
			want.Gateway.ShutdownTimeout = 10 * time.Second
		}
		diff("", reflect.ValueOf(*want), reflect.ValueOf(*c), func(key string) {
			t.Errorf("%s: %s is not the default", name, key)
		})
	}
}

func TestParse(t *testing.T) {
	c := mustParse(t, `
gateway:
  listeners:
  - name: one
    address: ":${PORT}"
    tls: {}
  - {address: "[::1]:${NONE:-9}", tls: {minVersion: 1.3}}
  - {address: localhost:0}
  - {name: four, address: localhost:0}
  trustedProxies: [10.0.0.0/8, "::1"]
  shutdownTimeout: 1m30s
limits: {headerBytes: 8KiB, sessions: "12", connections: 0}
registry:
  enabled: ${ON}
  selfPreservation: false
  bodyLimit: 4096
  forgetAfter: -1s
  auth: {users: ["${HASH}"], ownership: true}
admin:
  users:
  - `+hash+`
auth: {basic: {users: ['`+hash+`']}}
defaults:
  loadBalancing: random
  auth: basic
  websocket: {allowedOrigins: [], idleTimeout: 30s, maxMessageSize: 1MiB, connectFailure: status}
accessLog: {path: 'it''s $5 $${LEVEL} ${EMPTY}${EMPTY:-x}', format: "${EMPTY:-agc}"}
log: {level: "${LEVEL}"}
dataDir: ${NESTED}
`)
	listeners := []proxy.ListenerConfig{
		{Name: "one", Address: ":18080", TLS: &proxy.TLSConfig{}},
		{Name: "https", Address: "[::1]:9", TLS: &proxy.TLSConfig{MinVersion: "1.3"}},
		{Name: "http", Address: "localhost:0"},
		{Name: "four", Address: "localhost:0"},
	}
	if !reflect.DeepEqual(c.Gateway.Listeners, listeners) {
		t.Errorf("listeners %+v", c.Gateway.Listeners)
	}
	for _, tt := range []struct{ have, want any }{
		{c.Gateway.TrustedProxies, []string{"10.0.0.0/8", "::1"}},
		{c.Gateway.ShutdownTimeout, 90 * time.Second},
		{c.Limits, proxy.Limits{HeaderBytes: 8 << 10, Sessions: 12}},
		{*c.Registry.Enabled, true},
		{*c.Registry.SelfPreservation, false},
		{c.Registry.BodyLimit, unit.Size(4096)},
		{c.Registry.ForgetAfter, -time.Second},
		{c.Registry.Auth.Users, []string{hash}},
		{c.Admin.Users, []string{hash}},
		{c.Auth.Basic.Users, []string{hash}},
		{string(c.Defaults.LoadBalancing), "random"},
		{c.Defaults.WebSocket.AllowedOrigins, []string{}},
		{c.Defaults.WebSocket.IdleTimeout, 30 * time.Second},
		{c.AccessLog.Path, "it's $5 ${LEVEL} x"},
		{c.AccessLog.Format, "agc"},
		{c.Log.SlogLevel(), slog.LevelDebug},
		{c.DataDir, "${LEVEL}"},
	} {
		if !reflect.DeepEqual(tt.have, tt.want) {
			t.Errorf("have %#v, want %#v", tt.have, tt.want)
		}
	}
	if c := mustParse(t, "defaults: {websocket: {}}"); c.Defaults.WebSocket.AllowedOrigins != nil {
		t.Error("allowedOrigins was not said, yet it is")
	}
}

func TestSlogLevel(t *testing.T) {
	for name, want := range map[string]slog.Level{"debug": -4, "info": 0, "": 0, "warn": 4, "error": 8} {
		if have := (Log{Level: name}).SlogLevel(); have != want {
			t.Errorf("%s: %v", name, have)
		}
	}
}

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "fairlead.yaml")
	missing := path + ": no such file or directory\nfairlead: hint: --config names the file; without it the defaults serve"
	if _, err := Load(path); err == nil || err.Error() != missing {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
	if err := os.WriteFile(path, []byte("# "+strings.Repeat("x", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasSuffix(strings.SplitN(err.Error(), "\n", 2)[0], "1048578 bytes, at most 1048576 are read") {
		t.Errorf("too large: %v", err)
	}
	if _, err := Parse(path, make([]byte, maxFile+1), env); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("too large: %v", err)
	}
	t.Setenv("FAIRLEAD_TEST_LEVEL", "warn")
	if err := os.WriteFile(path, []byte("log: {level: '${FAIRLEAD_TEST_LEVEL}'}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.Log.Level != "warn" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestDiff(t *testing.T) {
	base := `{gateway: {listeners: [{address: ":1"}]}, registry: {forgetAfter: 1m}, log: {level: info}}`
	for _, tt := range []struct {
		next string
		want []string
	}{
		{base, nil},
		{`{gateway: {listeners: [{name: http, address: ":1"}]}, registry: {peers: []}, log: {level: debug}}`, nil},
		{`{gateway: {listeners: [{address: ":1"}], shutdownTimeout: 1s, trustedProxies: ["::1"]}, limits: {sessions: 4},` +
			` defaults: {auth: none}, registry: {forgetAfter: 2m}, upstream: {tls: {insecureSkipVerify: true}}}`, nil},
		{`{gateway: {listeners: [{address: ":2"}]}}`, []string{"gateway.listeners"}},
		{`{gateway: {listeners: [{address: ":1", tls: {}}]}}`, []string{"gateway.listeners"}},
		{
			`{gateway: {listeners: [{address: ":1"}]}, dataDir: x, log: {format: json}, accessLog: {path: a, format: agc},` +
				` registry: {enabled: false, address: "localhost:1234", auth: {users: ['` + hash + `']}}}`,
			[]string{"registry.enabled", "registry.address", "accessLog.path", "accessLog.format", "log.format", "dataDir"},
		},
		{`{gateway: {listeners: [{address: ":1"}]}, limits: {headerBytes: 8KiB}}`, []string{"limits.headerBytes"}},
	} {
		if have := Diff(mustParse(t, base), mustParse(t, tt.next)); !slices.Equal(have, tt.want) {
			t.Errorf("%s: %v, want %v", tt.next, have, tt.want)
		}
	}
}

// Users of the registry come and go with a reload; that there are none is for a restart.
func TestDiffOfRegistryUsers(t *testing.T) {
	none := mustParse(t, `{}`)
	users := mustParse(t, `{registry: {auth: {users: ['`+hash+`']}}}`)
	if have := Diff(none, users); have != nil {
		t.Error(have)
	}
	if have := Diff(users, none); !slices.Equal(have, []string{"registry.auth"}) {
		t.Error(have)
	}
}

// TestReloadKeysExist keeps the lists of keys true to the structs.
func TestReloadKeysExist(t *testing.T) {
	known := map[string]bool{}
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, key string) {
		known[key] = true
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct {
			walk(typ.Elem(), key+"[]")
		}
		if typ.Kind() == reflect.Struct {
			for _, f := range fieldsOf(typ) {
				walk(f.typ, join(key, f.name))
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for _, key := range slices.Concat(restartKeys, reloadedKeys) {
		if !known[key] {
			t.Errorf("%s is no key", key)
		}
	}
	for _, key := range laterKeys {
		if known[key] {
			t.Errorf("%s is said to come later, and it is there", key)
		}
		if section := key[:strings.LastIndex(key, ".")]; !known[section] {
			t.Errorf("%s: no section %s", key, section)
		}
	}
}
