package sample

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestREST(t *testing.T) {
	i := start(t, Config{InstanceName: "two"})
	for path, want := range map[string]string{
		"/api/v1/ws": "Hello, Web service!", "/api/v1/sse": "Hello, Web service!",
		"/api/v1/greeting": "Hello, world!", "/api/v1/greeting?name=Ann%20B": "Hello, Ann B!",
	} {
		resp, body := get(t, i.URL(path))
		got := decode[greeting](t, body)
		if resp.StatusCode != 200 || got.Content != want || time.Since(got.Date) > time.Minute || resp.Header.Get("X-Instance") != "two" {
			t.Errorf("%s: %d %s %v", path, resp.StatusCode, body, resp.Header)
		}
	}
	if _, body := get(t, i.URL("/application/info")); body != `{"instance":"two","service":"discoverableclient"}`+"\n" {
		t.Errorf("info %s", body)
	}
	if _, body := get(t, i.URL("/application/health")); body != `{"status":"UP"}`+"\n" {
		t.Errorf("health %s", body)
	}
}

// TestEchoStreams: each part of the body is back before the next is sent, and the trailer has the length.
func TestEchoStreams(t *testing.T) {
	i := start(t, Config{})
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(wait(t), http.MethodPost, i.URL("/api/v1/echo"), pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	go func() { _, _ = io.WriteString(pw, "one") }()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, 3)
	for _, part := range []string{"one", "two", "six"} {
		if part != "one" {
			_, _ = io.WriteString(pw, part)
		}
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != part {
			t.Fatalf("got %q, %v, want %q", got, err, part)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
		t.Errorf("then came %q, %v", rest, err)
	}
	if resp.Trailer.Get("X-Echo-Bytes") != "9" || resp.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("trailer %v, header %v", resp.Trailer, resp.Header)
	}
}

func TestEvents(t *testing.T) {
	i := start(t, Config{})
	resp, body := get(t, i.URL("/events?count=3&interval=10ms"))
	if want := "id: 1\ndata: event\n\nid: 2\ndata: event\n\nid: 3\ndata: event\n\n"; body != want || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("events %q, %v", body, resp.Header)
	}
	for _, bad := range []string{"count=0", "count=x", "count=3601", "interval=1ns", "interval=x"} {
		if resp, _ := get(t, i.URL("/events?"+bad)); resp.StatusCode != 400 {
			t.Errorf("%s: %d, want 400", bad, resp.StatusCode)
		}
	}
}

// TestEventsEndWithTheInstance: an open stream does not hold the stop up.
func TestEventsEndWithTheInstance(t *testing.T) {
	i := start(t, Config{})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(wait(t), http.MethodGet, i.URL("/events"), http.NoBody)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	if first, err := br.ReadString('\n'); first != "id: 1\n" {
		t.Fatalf("first event %q, %v", first, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := i.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(br); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
}

func TestPage(t *testing.T) {
	i := start(t, Config{})
	resp, page := get(t, i.URL("/"))
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") ||
		!strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("page: %d %v", resp.StatusCode, resp.Header)
	}
	if bad := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script>|(src|href)="(/|[a-z]+:)`).FindString(page); bad != "" {
		t.Errorf("the page has %q, which its policy forbids or a prefix breaks", bad)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(page, -1) {
		if resp, body := get(t, i.URL("/"+m[1])); resp.StatusCode != 200 || body == "" {
			t.Errorf("%s: %d", m[1], resp.StatusCode)
		}
	}
	script, err := web.ReadFile("web/app.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$\("([^"]+)"\)`).FindAllStringSubmatch(string(script), -1) {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("the script uses #%s, which the page lacks", m[1])
		}
	}
	if resp, _ := get(t, i.URL("/nothing")); resp.StatusCode != 404 {
		t.Errorf("unknown file: %d", resp.StatusCode)
	}
}
