package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/sample"
)

// The demo's ports keep their distance from the HTTPS port: 10010, 10011, 10080.
const (
	registryOffset = 1
	httpOffset     = 70
)

const demoStartTimeout = 20 * time.Second // for the instances to listen and register

type demoCommand struct {
	Port    int    `default:"10010" help:"Port of the HTTPS listener; the registry has the next one, plain HTTP the 70th after. 0: free ports everywhere."`
	Basic   string `placeholder:"USER:PASS" help:"Basic credentials that the sample service asks for on its WebSocket."`
	DataDir string `placeholder:"DIR" type:"path" help:"Where certificate and admin password are kept. Default: a temporary directory, removed at the end."`
	Check   bool   `help:"Run the main job once through a real WebSocket, print one line per step, and exit 0 or 1."`
}

// Validate refuses bad flags before anything runs.
func (c *demoCommand) Validate() error {
	_, err := c.settings()
	return err
}

// Run is the demo until SIGINT or SIGTERM, or its check. A second signal ends the process at once.
func (c *demoCommand) Run() error {
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer restore()
	context.AfterFunc(ctx, restore)
	return runDemo(ctx, c, os.Stdout, startDemoGateway)
}

// demoSettings is what the demo asks of the gateway that it starts: addresses as host:port.
type demoSettings struct {
	HTTPS, HTTP, Registry string
	DataDir               string
	Quiet                 bool // the access log goes to a file of DataDir, the log says warnings only
}

// demoGateway is a running gateway.
type demoGateway struct {
	HTTPS, HTTP, Registry string // the real addresses, host:port
	CertFile              string // PEM file of the certificate that HTTPS shows
	Failed                <-chan error
	Stop                  func()
}

// demo is everything that runs in the one process.
type demo struct {
	*demoCommand
	gateway   *demoGateway
	dataDir   string
	instances []*sample.Instance
	control   *sample.Control
}

// runDemo starts a gateway with start, and the sample service's two instances and their control, which register
// with it as any service would. Then it runs the check, or waits until ctx ends or the gateway does.
func runDemo(ctx context.Context, c *demoCommand, out io.Writer, start func(demoSettings) (*demoGateway, error)) (err error) {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	if settings.DataDir == "" {
		if settings.DataDir, err = os.MkdirTemp("", "fairlead-demo-"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(settings.DataDir)) }()
	}
	d := &demo{demoCommand: c, dataDir: settings.DataDir}
	if d.gateway, err = start(settings); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w, or take free ports with --port 0", err) // the error ends in the gateway's hint
		}
		return err
	}
	defer d.stop()
	if err := d.startServices(ctx); err != nil {
		return err
	}
	if c.Check {
		return d.check(ctx, out)
	}
	if err := d.welcome(out); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.gateway.Failed:
		return err
	}
}

func (c *demoCommand) settings() (demoSettings, error) {
	s := demoSettings{DataDir: c.DataDir, Quiet: c.Check}
	if c.Port < 0 || c.Port > 65535-httpOffset {
		return s, fmt.Errorf("--port %d: want a number from 1 to %d, or 0 for free ports", c.Port, 65535-httpOffset)
	}
	if user, _, ok := strings.Cut(c.Basic, ":"); c.Basic != "" && (!ok || user == "") {
		return s, errors.New("--basic: want user:password")
	}
	address := func(offset int) string {
		if c.Port == 0 {
			offset = 0
		}
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port+offset))
	}
	s.HTTPS, s.HTTP, s.Registry = address(0), address(httpOffset), address(registryOffset)
	return s, nil
}

// startServices starts and registers both instances and the control.
func (d *demo) startServices(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoStartTimeout)
	defer cancel()
	conf := sample.Config{
		Basic:    d.Basic,
		Registry: "http://" + d.gateway.Registry + "/eureka",
		Rooms:    new(sample.Rooms),
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, name := range []string{"one", "two"} {
		conf.InstanceName = name
		d.instances = append(d.instances, sample.New(conf))
	}
	conf.InstanceName = ""
	d.control = sample.NewControl(conf, d.instances...)
	for _, i := range append([]*sample.Instance{d.control.Instance}, d.instances...) {
		if err := i.Start(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return nil
}

// stop ends the gateway first: it says goodbye to every session. The registry goes with it, so the services
// then have nobody to tell.
func (d *demo) stop() {
	d.gateway.Stop()
	if d.control != nil {
		d.control.Kill()
	}
	for _, i := range d.instances {
		i.Kill()
	}
}

// host is the gateway's HTTPS authority as people write it.
func (d *demo) host() string { return localhost(d.gateway.HTTPS) }

func localhost(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return net.JoinHostPort("localhost", port)
}

// welcome says what to open and what to try.
func (d *demo) welcome(out io.Writer) error {
	cert := quote(d.gateway.CertFile)
	wscat, curl := "npx -y wscat --ca "+cert, "curl --cacert "+cert
	if d.Basic != "" {
		wscat += " --auth " + quote(d.Basic)
	}
	password := filepath.Join(d.dataDir, "admin-password")
	sessions := curl + " -u admin:$(cat " + quote(password) + ")"
	if _, err := os.Stat(password); err != nil {
		sessions = curl + " -u admin:PASSWORD" // kept from an earlier run, its clear text since removed
	}
	lines := []string{
		"The Fairlead demo is up. Ctrl-C ends it.",
		"",
		"Open       https://" + d.host() + "/discoverableclient/ui/v1/",
		"           (its certificate is generated, so the browser warns once)",
		"WebSocket  " + wscat + " -c wss://" + d.host() + "/discoverableclient/ws/v1/uppercase -w 2 -x hello",
		"REST       " + curl + " https://" + d.host() + "/discoverableclient/api/v1/ws",
		"Sessions   " + sessions + " https://" + d.host() + "/application/websockets",
		"Watch      https://" + d.host() + "/application/ as admin, with the password in " + password,
		"Registry   curl -H 'Accept: application/json' http://" + localhost(d.gateway.Registry) + "/eureka/apps",
		"Plain      http://" + localhost(d.gateway.HTTP) + "/discoverableclient/ui/v1/",
		"Data       " + d.dataDir,
		"",
		"Each request and each session that ends writes one line below.",
		"",
	}
	_, err := io.WriteString(out, strings.Join(lines, "\n"))
	return err
}

// quote makes s one word for a shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
