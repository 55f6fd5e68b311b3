package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemoCheck is the main job through everything that the binary has: gateway, registry, sample service.
func TestDemoCheck(t *testing.T) {
	for _, basic := range []string{"", "user:pa ss"} {
		var out bytes.Buffer
		if err := runDemo(t.Context(), &demoCommand{Check: true, Basic: basic}, &out, startDemoGateway); err != nil {
			t.Fatalf("basic %q: %v\n%s", basic, err, out.String())
		}
		want := 8
		if basic != "" {
			want = 9
		}
		if got := strings.Count(out.String(), "ok    "); got != want || strings.Contains(out.String(), "FAIL") {
			t.Errorf("basic %q: %d steps, want %d:\n%s", basic, got, want, out.String())
		}
	}
}

// TestDemoStaysUp: without --check it says what to try, stays, and leaves nothing behind.
func TestDemoStaysUp(t *testing.T) {
	var dir string
	start := func(s demoSettings) (*demoGateway, error) {
		dir = s.DataDir
		return startDemoGateway(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- runDemo(ctx, &demoCommand{Basic: "user:pass"}, w, start); w.Close() }()
	text := make([]byte, 4096)
	n, err := r.Read(text)
	if err != nil {
		t.Fatal(err, <-done)
	}
	for _, want := range []string{"https://localhost:", "/discoverableclient/ui/v1/", "wss://localhost:", "--auth user:pass", "/admin-password"} {
		if !strings.Contains(string(text[:n]), want) {
			t.Errorf("no %q in\n%s", want, text[:n])
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it did not stay: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
}

// TestDemoKeepsDataDir: a directory that the user has named is theirs, and a second run uses it again.
func TestDemoKeepsDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var before []byte
	for range 2 {
		var out bytes.Buffer
		if err := runDemo(t.Context(), &demoCommand{Check: true, DataDir: dir}, &out, startDemoGateway); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		password, err := os.ReadFile(filepath.Join(dir, "admin-password"))
		if err != nil || before != nil && !bytes.Equal(before, password) {
			t.Errorf("password %q, was %q, %v", password, before, err)
		}
		before = password
	}
}

func TestDemoSettings(t *testing.T) {
	s, err := (&demoCommand{Port: 10010, Basic: "u:"}).settings()
	if err != nil || s.HTTPS != "127.0.0.1:10010" || s.Registry != "127.0.0.1:10011" || s.HTTP != "127.0.0.1:10080" {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = (&demoCommand{}).settings()
	if err != nil || s.HTTPS != "127.0.0.1:0" || s.Registry != "127.0.0.1:0" || s.HTTP != "127.0.0.1:0" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []demoCommand{{Port: -1}, {Port: 65500}, {Basic: "user"}, {Basic: ":pass"}} {
		if _, err := bad.settings(); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{"/tmp/a-1.pem": "/tmp/a-1.pem", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		if got := quote(s); got != want {
			t.Errorf("%q is quoted %s, want %s", s, got, want)
		}
	}
}
