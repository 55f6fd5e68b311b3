package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClusterGoesAndComes: a gateway without a registry of its own reads the first of its servers that answers, registers there, and
// serves what it has read while none does, saying how old that is; when it stops it leaves.
func TestClusterGoesAndComes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String() // where the server comes back
	_ = ln.Close()
	dir := t.TempDir()
	writeConfig(t, dir, strings.Replace(baseConfig, `registry: {address: "127.0.0.1:0"}`, fmt.Sprintf("registry: {address: %q}", address), 1))
	server := runIn(t, dir)
	server.register(t, "ECHO", echo(t))

	clientDir := t.TempDir()
	writeConfig(t, clientDir, strings.Replace(baseConfig, `registry: {address: "127.0.0.1:0"}`,
		fmt.Sprintf(`registry: {enabled: false}
eureka: {serviceUrls: ["http://127.0.0.1:9/eureka/", "http://me:hidden@%s/eureka/"], fetchInterval: 1s, hostName: client.example}`, address), 1))
	client := &running{process: start(t, clientDir, "run", "--config", "fairlead.yaml")}
	for name, at := range map[string]*string{"https": &client.https, "http": &client.http} {
		eventually(t, func() error {
			_, rest, ok := strings.Cut(client.stderr.String(), "msg=listening name="+name+" address=")
			if !ok {
				return errors.New("not listening: " + name)
			}
			*at, _, _ = strings.Cut(rest, "\n")
			return nil
		})
	}
	registry := func(want ...string) {
		t.Helper()
		eventually(t, func() error {
			p := start(t, clientDir, "registry", "--gateway", "https://"+client.https, "--data-dir", "data")
			code := p.exit(t)
			out := p.stdout.String() + p.stderr.String()
			for _, text := range want {
				if code != 0 || !strings.Contains(out, text) || strings.Contains(out, "hidden") {
					return fmt.Errorf("exit code %d, want %q in\n%s", code, text, out)
				}
			}
			return nil
		})
	}
	ask := func() {
		t.Helper()
		if got := askOnce(t, dial(t, "ws://"+client.http+"/echo/ws/v1/x"), "through"); got != "THROUGH" {
			t.Error(got)
		}
	}
	registry("cluster: up: 1 instances", "from http://"+address+"/eureka/")
	ask()
	eventually(t, func() error { return server.has("GATEWAY") })

	server.kill(t)
	registry("cluster: stale: 1 instances", "refused")
	ask() // of what was read last
	server = runIn(t, dir)
	registry("cluster: up: 1 instances")

	if err := client.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := client.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + server.registry + "/eureka/apps/GATEWAY")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("after the gateway has stopped it is still registered: %s", resp.Status)
	}
}
