package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// proxy is one of the things compared. Without a command it is the echo service itself.
type proxy struct {
	name    string
	pkg     string                              // Debian package
	version []string                            // command that prints it
	conf    string                              // template below conf/
	command func(conf string) []string          // runs in the foreground
	path    [2]string                           // of a WebSocket and of a GET
	enter   func(context.Context, target) error // called when it runs, before it must answer
}

func (p proxy) key() string { return p.name }

// target is a running proxy, and what the templates see of the run.
type target struct {
	*child
	path                 [2]string
	plain, secure        []string // host:port to send load to
	Plain, Secure        string   // where it listens
	Registry             string
	Backends             []string
	Cert, Key, Both, Dir string
	Cores, Files         int
	Root, Logs           bool
}

func (b *bench) allProxies() []proxy {
	all := []proxy{
		{name: "direct", path: [2]string{"/ws/echo", "/api/get"}},
		{
			name: "nginx", pkg: "nginx-light", version: []string{"nginx", "-v"}, conf: "nginx.conf", path: [2]string{"/ws/echo", "/api/get"},
			command: func(conf string) []string { return []string{"nginx", "-e", "stderr", "-p", b.dir, "-c", conf} },
		},
		{
			name: "haproxy", pkg: "haproxy", version: []string{"haproxy", "-v"}, conf: "haproxy.cfg", path: [2]string{"/ws/echo", "/api/get"},
			command: func(conf string) []string { return []string{"haproxy", "-db", "-f", conf} },
		},
		b.build("fairlead", b.fairlead),
	}
	for build := range strings.SplitSeq(b.builds, ",") {
		if name, file, ok := strings.Cut(build, "="); ok {
			all = append(all, b.build(name, file))
		}
	}
	return all
}

// build is Fairlead, from the binary in file.
func (b *bench) build(name, file string) proxy {
	return proxy{
		name: name, version: []string{file, "version"}, conf: "fairlead.yaml",
		path:    [2]string{"/bench/ws/v1/echo", "/bench/api/v1/get"},
		command: func(conf string) []string { return []string{file, "run", "--config", conf} },
		enter:   b.register,
	}
}

// start starts p on free ports, with or without its access log, and waits until it passes a request on.
func (b *bench) start(ctx context.Context, p proxy, logs bool) (target, error) {
	t := target{
		path: p.path, plain: b.service, Backends: b.service, Dir: b.dir, Cores: b.proxyCores(), Files: b.files,
		Cert: b.path("cert.pem"), Key: b.path("key.pem"), Both: b.path("both.pem"), Root: os.Geteuid() == 0, Logs: logs,
	}
	if p.command == nil {
		return t, nil
	}
	for _, address := range []*string{&t.Plain, &t.Secure, &t.Registry} {
		port, err := freePort("127.0.0.1")
		if err != nil {
			return t, err
		}
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	t.plain, t.secure = []string{t.Plain}, []string{t.Secure}
	text, err := fill(p.conf, t)
	if err != nil {
		return t, err
	}
	if err := os.WriteFile(b.path(p.conf), []byte(text), 0o600); err != nil {
		return t, err
	}
	b.show(ctx, p, t, text)
	if t.child, err = b.spawn(p.name, b.placed(true, p.command(b.path(p.conf)))...); err != nil {
		return t, err
	}
	if p.enter != nil {
		if err := p.enter(ctx, t); err != nil {
			return t, fmt.Errorf("%w\n%s", err, t.lastWords())
		}
	}
	return t, b.ready(ctx, t.child, "http://"+t.Plain+p.path[1])
}

// show prints version and configuration once, and what is different with logs, so that a reader can judge whether the
// comparison is fair.
func (b *bench) show(ctx context.Context, p proxy, t target, conf string) {
	conf = strings.NewReplacer(b.dir, "DIR", t.Plain, "HTTP", t.Secure, "HTTPS", t.Registry, "REGISTRY").Replace(strings.TrimSpace(conf))
	key := p.name + onOff(t.Logs)
	other, both := b.shown[p.name+onOff(!t.Logs)]
	if _, again := b.shown[key]; again {
		return
	}
	b.shown[key] = conf
	if both {
		lines := slices.DeleteFunc(strings.Split(conf, "\n"), func(line string) bool { return strings.Contains(other+"\n", line+"\n") })
		fmt.Fprintf(b.out, "## %s, access log %s\n```\n%s\n```\n\n", p.name, onOff(t.Logs), strings.Join(lines, "\n"))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.version[0], p.version[1:]...).CombinedOutput()
	if err != nil {
		out = []byte(err.Error())
	}
	first, _, _ := strings.Cut(string(out), "\n")
	fmt.Fprintf(b.out, "## %s: %s\n```\n%s\n```\n\n", p.name, first, conf)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func fill(name string, data any) (string, error) {
	tmpl, err := template.ParseFS(files, path.Join("conf", name))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := tmpl.Execute(&text, data); err != nil {
		return "", err
	}
	return text.String(), nil
}

// register tells Fairlead's registry about the service, one instance per address.
func (b *bench) register(ctx context.Context, t target) error {
	registry := "http://" + t.Registry + "/eureka/apps/"
	if err := b.ready(ctx, t.child, registry); err != nil {
		return err
	}
	for _, address := range b.service {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		body, err := fill("instance.json", map[string]string{"Host": host, "Port": port})
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, registry+"BENCH", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client().Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return fmt.Errorf("registration: status %d", resp.StatusCode)
		}
	}
	return nil
}

func client() *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// ready waits until url answers 200, at most 10 s, and no longer than c lives.
func (b *bench) ready(ctx context.Context, c *child, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var last error
	for ctx.Err() == nil && !c.ended() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client().Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer: %w\n%s", url, last, c.lastWords())
}
