package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// wait bounds every wait of these tests.
const wait = 20 * time.Second

// process is this test binary run as the command itself.
type process struct {
	cmd    *exec.Cmd
	dir    string
	stdout *output
	stderr *output
	exited chan error
}

// output collects what a process writes, line by line.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

func (o *output) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		o.mu.Lock()
		fmt.Fprintln(&o.text, s.Text())
		o.mu.Unlock()
		o.lines <- s.Text()
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await returns the first line from here on that contains text.
func (p *process) await(t *testing.T, o *output, text string) string {
	t.Helper()
	limit := time.After(wait)
	for {
		select {
		case line := <-o.lines:
			if strings.Contains(line, text) {
				return line
			}
		case <-limit:
			t.Fatalf("no line with %q; standard error:\n%s", text, p.stderr)
		}
	}
}

func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		cmd: exec.Command(self, args...), dir: dir, exited: make(chan error, 1),
		stdout: &output{lines: make(chan string, 10000)}, stderr: &output{lines: make(chan string, 10000)},
	}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), asCommand+"=1",
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // else the race detector has each of them end a second late
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.stdout.read(stdout) })
	wg.Go(func() { p.stderr.read(stderr) })
	go func() {
		wg.Wait()
		p.exited <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(wait):
		t.Fatalf("the process does not end; standard error:\n%s", p.stderr)
		return -1
	}
}

const baseConfig = `
gateway:
  listeners:
    - {name: https, address: "127.0.0.1:0", tls: {}}
    - {name: http, address: "127.0.0.1:0"}
registry: {address: "127.0.0.1:0"}
dataDir: data
`

func writeConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "fairlead.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is a gateway process with its addresses.
type running struct {
	*process
	http, https, registry string
}

func run(t *testing.T, text string) *running {
	t.Helper()
	dir := t.TempDir()
	g := &running{process: start(t, dir, "run", "--config", writeConfig(t, dir, text))}
	address := func(name string) string {
		line := g.await(t, g.stderr, "msg=listening name="+name)
		_, a, _ := strings.Cut(line, "address=")
		return a
	}
	g.registry = address("registry")
	g.https, g.http = address("https"), address("http")
	return g
}

// register puts an instance at addr into the registry.
func (g *running) register(t *testing.T, app, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	body := fmt.Sprintf(`{"instance":{"instanceId":"%s:%s:%s","app":"%s","hostName":"%s","ipAddr":"%s","vipAddress":"%s","status":"UP",
		"port":{"$":%s,"@enabled":true},"dataCenterInfo":{"name":"MyOwn"},
		"metadata":{"apiml.routes.ws.gatewayUrl":"ws/v1","apiml.routes.ws.serviceUrl":"/ws","apiml.routes.api.gatewayUrl":"api/v1","apiml.routes.api.serviceUrl":"/api"}}}`,
		host, app, port, app, host, host, app, port)
	resp, err := http.Post("http://"+g.registry+"/eureka/apps/"+app, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("registration: %s", resp.Status)
	}
}

// echo is a service that answers each message in upper case until the other side closes.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: wait, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/ws/") {
			fmt.Fprint(w, "rest")
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // the session has ended either way
		for {
			typ, p, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), typ, bytes.ToUpper(p)) != nil {
				return
			}
		}
	})}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { s.Close() })
	return ln.Addr().String()
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, nil) //nolint:bodyclose // coder/websocket closes it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// askOnce sends text and returns the answer.
func askOnce(t *testing.T, c *websocket.Conn, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, p, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestRunServesAndStops(t *testing.T) {
	g := run(t, baseConfig)
	g.register(t, "ECHO", echo(t))
	c := dial(t, "ws://"+g.http+"/echo/ws/v1/x?token=secret") // at once: the 204 means that the route is live
	if got := askOnce(t, c, "hello"); got != "HELLO" {
		t.Errorf("answer %q", got)
	}
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	_, _, err := c.Read(ctx)
	if websocket.CloseStatus(err) != websocket.StatusGoingAway || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("read %v, want Close 1001 with a reason", err)
	}
	if code := g.exit(t); code != 0 {
		t.Errorf("exit code %d; standard error:\n%s", code, g.stderr)
	}
	var rec map[string]any
	if err := json.Unmarshal([]byte(strings.TrimSpace(g.stdout.String())), &rec); err != nil {
		t.Fatalf("access log %q: %v", g.stdout, err)
	}
	if rec["status"] != 101.0 || rec["close_code"] != 1001.0 || rec["closed_by"] != "gateway" || rec["path"] != "/echo/ws/v1/x?token=<redacted>" {
		t.Errorf("access log %v", rec)
	}
}

func TestReload(t *testing.T) {
	g := run(t, baseConfig)
	g.register(t, "ECHO", echo(t))
	before := dial(t, "ws://"+g.http+"/echo/ws/v1/x")
	askOnce(t, before, "a")
	path := filepath.Join(g.dir, "fairlead.yaml")

	// A bad file changes nothing and says where it is bad.
	writeConfig(t, g.dir, baseConfig+"limits: {sessions: many}\n")
	if line := g.await(t, g.stderr, "not reloaded"); !strings.Contains(line, "fairlead.yaml:8:20") {
		t.Errorf("%s: does not name the place", line)
	}
	// A good one holds for new sessions, is applied without a signal, and cuts nobody.
	writeConfig(t, g.dir, strings.Replace(baseConfig, `registry: {address: "127.0.0.1:0"}`, `registry: {address: "127.0.0.1:1"}`, 1)+
		"defaults: {websocket: {connectFailure: status}}\nlimits: {sessions: 1}\n")
	if line := g.await(t, g.stderr, "restart needed"); !strings.Contains(line, "registry.address") {
		t.Errorf("%s: want registry.address", line)
	}
	g.await(t, g.stderr, "configuration reloaded")
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	for { // the limit holds at once, the policy with the next table: until then the refusal is a Close
		c, resp, err := websocket.Dial(ctx, "ws://"+g.http+"/echo/ws/v1/x", nil)
		if err != nil {
			if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("a second session: %v %v, want 503", resp, err)
			}
			break
		}
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
			t.Fatalf("a second session: %v, want Close 1013", err)
		}
		c.CloseNow()
	}
	if got := askOnce(t, before, "still here"); got != "STILL HERE" {
		t.Errorf("answer %q", got)
	}
	// SIGHUP reads it again and opens the access log anew.
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.await(t, g.stderr, "configuration reloaded")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

// TestClientCommands asks a running gateway from the command line, with what it keeps in its data directory.
func TestClientCommands(t *testing.T) {
	g := run(t, baseConfig)
	addr := echo(t)
	g.register(t, "ECHO", addr)
	c := dial(t, "ws://"+g.http+"/echo/ws/v1/x")
	askOnce(t, c, "a")
	command := func(args ...string) (string, int) {
		p := start(t, g.dir, append(args, "--gateway", "https://"+g.https, "--data-dir", "data")...)
		code := p.exit(t)
		return p.stdout.String() + p.stderr.String(), code
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"services"}, []string{"http://" + addr}},
		{[]string{"routes"}, []string{"/echo/ws/v1", "/ws/v1/echo", "/api"}},
		{[]string{"registry"}, []string{"registry: 1 instances of 1 services", "snapshot: ", "registry.snapshot, written"}},
		{[]string{"registry", "--json"}, []string{`"embedded":{"instances":1,`}},
		{[]string{"sessions"}, []string{"MOVES", "/echo/ws/v1/x", "127.0.0.1:"}},
		{[]string{"sessions", "watch", "--count", "2", "--interval", "100ms"}, []string{"sessions 1; since", "MOVES", "/echo/ws/v1/x"}},
		{[]string{"sessions", "list", "--json"}, []string{`"sessionId":`, `"messages_in":1`}},
	} {
		out, code := command(tt.args...)
		for _, want := range tt.want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%v: exit code %d, want %q in\n%s", tt.args, code, want, out)
			}
		}
	}
	out, _ := command("sessions")
	id, _, _ := strings.Cut(strings.Split(out, "\n")[1], " ")
	if out, code := command("sessions", "show", id); code != 0 || !strings.Contains(out, id) || !strings.Contains(out, `"uncertain":0`) {
		t.Errorf("show: exit code %d\n%s", code, out)
	}
	frames := start(t, g.dir, "sessions", "frames", id, "--payload", "100", "--gateway", "https://"+g.https, "--data-dir", "data")
	for until := time.Now().Add(wait); !strings.Contains(frames.stdout.String(), `"see"`) && time.Now().Before(until); {
		askOnce(t, c, "see")
	}
	if out, code := command("sessions", "close", id, "--code", "4000", "--reason", "enough"); code != 0 {
		t.Errorf("close: exit code %d\n%s", code, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4000 || !strings.Contains(err.Error(), "enough") {
		t.Errorf("read %v, want Close 4000 enough", err)
	}
	_ = c.CloseNow()
	if code := frames.exit(t); code != 0 {
		t.Errorf("frames: exit code %d\n%s", code, frames.stderr)
	}
	for _, want := range []string{"client   > upstream  text", "gateway  > client    close", `4000 "enough"`, "the session has ended"} {
		if out := frames.stdout.String(); !strings.Contains(out, want) {
			t.Errorf("frames: want %q in\n%s", want, out)
		}
	}
	if out, code := command("sessions", "show", "none"); code != exitFailed || !strings.Contains(out, "no live session") {
		t.Errorf("show of none: exit code %d\n%s", code, out)
	}
	if out, code := command("sessions", "--password", "wrong"); code != exitFailed || !strings.Contains(out, "401") {
		t.Errorf("wrong password: exit code %d\n%s", code, out)
	}
}

// TestErrorsNameThePlace runs both commands on configurations that cannot work.
func TestErrorsNameThePlace(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct{ name, config, place, text string }{
		{"unknown key", "gateway:\n  listner: []\n", "fairlead.yaml:2:3", "listner"},
		{"wrong type", "limits:\n  sessions: many\n", "fairlead.yaml:2:13", "sessions"},
		{"bad duration", "gateway:\n  shutdownTimeout: 5\n", "fairlead.yaml:2:20", "unit"},
		{"port in use", "gateway:\n  listeners:\n    - {address: \"" + taken.Addr().String() + "\"}\n", "fairlead.yaml:3:17", "in use"},
		{"registry's port in use", "gateway: {listeners: [{address: \"127.0.0.1:0\"}]}\nregistry:\n  address: \"" + taken.Addr().String() + "\"\n", "fairlead.yaml:3:12", "in use"},
		{"not our address", "gateway: {listeners: [{address: \"127.0.0.1:0\"}]}\nregistry: {insecure: true, address: \"192.0.2.254:1\"}\n", "fairlead.yaml:2:37", "no interface"},
		{"data directory", "gateway: {listeners: [{address: \"127.0.0.1:0\"}]}\nregistry: {address: \"127.0.0.1:0\"}\ndataDir: /proc/none\n", "fairlead.yaml:3:10", "dataDir"},
		{"unreadable certificate", "gateway:\n  listeners:\n    - address: \"127.0.0.1:0\"\n      tls: {certFile: none.pem, keyFile: none-key.pem}\n", "fairlead.yaml:4:", "none.pem"},
	}
	for _, tt := range tests {
		for _, command := range []string{"run", "check"} {
			t.Run(tt.name+"/"+command, func(t *testing.T) {
				dir := t.TempDir()
				p := start(t, dir, command, "--config", writeConfig(t, dir, tt.config))
				if code := p.exit(t); code != exitFailed {
					t.Errorf("exit code %d, want %d", code, exitFailed)
				}
				got := p.stderr.String()
				if !strings.Contains(got, tt.place) || !strings.Contains(got, tt.text) || !strings.Contains(got, "hint:") {
					t.Errorf("standard error:\n%swant %s, %q and a hint", got, tt.place, tt.text)
				}
			})
		}
	}
	t.Run("check beside a gateway", func(t *testing.T) { // which has the port: the manifests are judged all the same
		dir := t.TempDir()
		conf := "gateway: {listeners: [{address: \"" + taken.Addr().String() + "\"}]}\nregistry: {address: \"127.0.0.1:0\"}\n"
		p := start(t, dir, "check", "--config", writeConfig(t, dir, conf), "--manifests", filepath.Join(dir, "none.yaml"))
		code, got := p.exit(t), p.stderr.String()
		if code != exitFailed || !strings.HasPrefix(got, "fairlead: ") || !strings.Contains(got, "in use") || !strings.Contains(got, "\nfairlead: "+dir) {
			t.Errorf("exit code %d, standard error:\n%s", code, got)
		}
	})
	t.Run("bad usage", func(t *testing.T) {
		if code := start(t, t.TempDir(), "fly").exit(t); code != exitUsage {
			t.Errorf("exit code %d, want %d", code, exitUsage)
		}
	})
	t.Run("good", func(t *testing.T) {
		dir := t.TempDir()
		p := start(t, dir, "check", "--config", writeConfig(t, dir, baseConfig))
		if code := p.exit(t); code != 0 {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
			t.Error("check has written")
		}
	})
}

// asCommand tells a run of the test binary to be the command instead.
const asCommand = "FAIRLEAD_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
