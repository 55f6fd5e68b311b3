package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runIn runs a gateway in a directory that has its configuration.
func runIn(t *testing.T, dir string) *running {
	t.Helper()
	g := &running{process: start(t, dir, "run", "--config", filepath.Join(dir, "fairlead.yaml"))}
	address := func(name string) string {
		_, a, _ := strings.Cut(g.await(t, g.stderr, "msg=listening name="+name), "address=")
		return a
	}
	g.registry = address("registry")
	g.https, g.http = address("https"), address("http")
	return g
}

func (g *running) kill(t *testing.T) {
	t.Helper()
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.exit(t)
}

// eventually waits until ok says nil.
func eventually(t *testing.T, ok func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	err := ok()
	for end := time.Now().Add(wait); err != nil && time.Now().Before(end); err = ok() {
		<-tick.C
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (g *running) has(app string) error {
	resp, err := http.Get("http://" + g.registry + "/eureka/apps/" + app)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", app, resp.Status)
	}
	return nil
}

// TestKilledRegistryComesBack: after a SIGKILL the routes are there with the first connection, and who has died meanwhile expires;
// a damaged snapshot costs what it held, and nothing else.
func TestKilledRegistryComesBack(t *testing.T) {
	dir := t.TempDir()
	writeConfig(t, dir, strings.Replace(baseConfig, `registry: {address: "127.0.0.1:0"}`,
		`registry: {address: "127.0.0.1:0", selfPreservation: false, evictionInterval: 1s}`, 1))
	g := runIn(t, dir)
	g.register(t, "ECHO", echo(t))
	doc := `{"instance":{"instanceId":"gone","app":"GONE","hostName":"127.0.0.1","ipAddr":"127.0.0.1","vipAddress":"gone","status":"UP",` +
		`"dataCenterInfo":{"name":"MyOwn"},"leaseInfo":{"durationInSecs":2}}}`
	resp, err := http.Post("http://"+g.registry+"/eureka/apps/GONE", "application/json", strings.NewReader(doc))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	snapshot := filepath.Join(dir, "data", "registry.snapshot")
	eventually(t, func() error {
		text, err := os.ReadFile(snapshot)
		if err == nil && (!strings.Contains(string(text), `"ECHO"`) || !strings.Contains(string(text), `"GONE"`)) {
			err = fmt.Errorf("the snapshot is %s", text)
		}
		return err
	})
	g.kill(t)

	began := time.Now()
	g = runIn(t, dir)
	c := dial(t, "ws://"+g.http+"/echo/ws/v1/x") // at once
	if got := askOnce(t, c, "back"); got != "BACK" {
		t.Errorf("%q", got)
	}
	t.Logf("%v from the start of the process to an answer over a new session", time.Since(began).Round(time.Millisecond))
	if err := g.has("GONE"); err != nil {
		t.Errorf("its lease was to begin anew: %v", err)
	}
	eventually(t, func() error {
		if g.has("GONE") == nil {
			return fmt.Errorf("GONE has not expired")
		}
		return g.has("ECHO")
	})
	g.kill(t)

	if err := os.WriteFile(snapshot, []byte(`{"snapshot":1,"applications":{"application":[{"na`), 0o600); err != nil {
		t.Fatal(err)
	}
	g = runIn(t, dir)
	if !strings.Contains(g.stderr.String(), "registry snapshot not used") {
		t.Error(g.stderr)
	}
	if kept, err := os.ReadFile(snapshot + ".bad"); err != nil || !strings.HasSuffix(string(kept), `"na`) {
		t.Errorf("%q %v", kept, err)
	}
	p := start(t, dir, "registry", "--gateway", "https://"+g.https, "--data-dir", "data")
	if code := p.exit(t); code != 0 || !strings.Contains(p.stdout.String(), "renamed to ") {
		t.Errorf("exit code %d, and no word of it in\n%s", code, p.stdout)
	}
	g.register(t, "ECHO", echo(t))
	if got := askOnce(t, dial(t, "ws://"+g.http+"/echo/ws/v1/x"), "anew"); got != "ANEW" {
		t.Errorf("%q", got)
	}
}
