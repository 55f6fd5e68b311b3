package sample

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultServiceID is the service id of the sample service.
const DefaultServiceID = "discoverableclient"

const stopTimeout = 10 * time.Second // for Run's own Stop

// Config says how an instance listens and registers. Its zero value is a plain instance on a free port of
// 127.0.0.1 that is in no registry.
type Config struct {
	ServiceID    string // "": DefaultServiceID
	InstanceName string // as answers show it; "": "one"
	Listen       string // host:port; "": 127.0.0.1:0
	HostName     string // as registered; "": the IP address that it listens on

	TLS   *tls.Config // nil: plain HTTP, registered with the non-secure port
	Basic string      // "user:password" that /ws/** asks for; "": none

	Registry     string        // base URL such as https://127.0.0.1:10011/eureka; "": not registered
	RegistryTLS  *tls.Config   // for an https registry; nil: the system's trust
	RegistryUser string        // "user:password" for the registry; "": none
	Heartbeat    time.Duration // 0: 30s, and the lease is the registry's default of 90s; else the lease is three times it

	Metadata map[string]string // added to the instance's own, and wins
	Rooms    *Rooms            // shared by the instances of a service; nil: its own
	Log      *slog.Logger      // nil: none
}

func (c *Config) heartbeat() time.Duration {
	if c.Heartbeat > 0 {
		return c.Heartbeat
	}
	return 30 * time.Second
}

// State is where an instance is in its life.
type State string

// The states of an instance.
const (
	Stopped  State = "stopped"
	Starting State = "starting"
	Running  State = "running"
	Stopping State = "stopping"
)

// Instance is one instance of a service. It may be started and stopped again and again; it keeps its port
// if it can. All methods may be called from any goroutine.
type Instance struct {
	cfg      Config                            // constant, defaults filled in
	metadata map[string]string                 // constant
	build    func(server *server) http.Handler // constant

	life chan struct{} // capacity 1: held by whoever starts or stops

	mu      sync.Mutex // guards the following
	state   State
	server  *server // nil: not listening
	address string  // host:port, the last one listened on
	id      string  // instanceId of the last registration

	// Owned by the holder of life.
	registrar *registrar // nil: not registered
	quiet     func()     // ends the heartbeats and waits for it
}

// New returns an instance of the sample service that is not started yet.
func New(cfg Config) *Instance {
	if cfg.ServiceID == "" {
		cfg.ServiceID = DefaultServiceID
	}
	if cfg.Rooms == nil {
		cfg.Rooms = new(Rooms)
	}
	i := newInstance(cfg, sampleMetadata(cfg.ServiceID))
	i.build = func(s *server) http.Handler { return newService(&i.cfg, s) }
	return i
}

// newInstance fills in what every kind of instance needs; the caller sets build.
func newInstance(cfg Config, metadata map[string]string) *Instance {
	if cfg.InstanceName == "" {
		cfg.InstanceName = "one"
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	maps.Copy(metadata, cfg.Metadata)
	return &Instance{cfg: cfg, metadata: metadata, life: make(chan struct{}, 1), state: Stopped}
}

// sampleMetadata are the routes of zowe's sample service.
func sampleMetadata(service string) map[string]string {
	m := map[string]string{
		"apiml.service.title":         "Sample service",
		"apiml.service.description":   "WebSocket, REST, server-sent events and a page to try a gateway with",
		"apiml.apiInfo.0.apiId":       "dev.fairlead.sample",
		"apiml.apiInfo.0.gatewayUrl":  "api/v1",
		"apiml.apiInfo.0.version":     "1.0.0",
		"apiml.catalog.tile.id":       "fairlead",
		"apiml.catalog.tile.title":    "Fairlead sample",
		"apiml.catalog.tile.version":  "1.0.0",
		"apiml.authentication.scheme": "bypass",
	}
	for label, serviceURL := range map[string]string{"ui": "", "api": "/api/v1", "ws": "/ws", "sse": "/"} {
		addRoute(m, label+"/v1", "/"+service+serviceURL)
	}
	return m
}

func addRoute(metadata map[string]string, gatewayURL, serviceURL string) {
	key := "apiml.routes." + strings.ReplaceAll(gatewayURL, "/", "_")
	metadata[key+".gatewayUrl"] = gatewayURL
	metadata[key+".serviceUrl"] = serviceURL
}

// Run starts the instance, waits until ctx ends, and stops it.
func (i *Instance) Run(ctx context.Context) error {
	if err := i.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return i.Stop(ctx)
}

// Start listens and registers, and returns when the registry has accepted the instance. A registry that
// cannot be reached is tried again until ctx ends. Starting a running instance does nothing.
func (i *Instance) Start(ctx context.Context) error {
	if err := i.hold(ctx); err != nil {
		return fmt.Errorf("sample %s: start: %w", i.cfg.InstanceName, err)
	}
	defer i.release()
	if i.listening() != nil {
		return nil
	}
	i.set(Starting, nil)
	ln, err := i.listen(ctx)
	if err != nil {
		i.set(Stopped, nil)
		return fmt.Errorf("sample %s: %w", i.cfg.InstanceName, err)
	}
	s := newServer(ln, i.cfg.TLS, i.cfg.Log, i.build)
	i.set(Starting, s)
	if err := i.register(ctx, ln.Addr().(*net.TCPAddr)); err != nil {
		s.kill()
		i.set(Stopped, nil)
		return fmt.Errorf("sample %s: %w", i.cfg.InstanceName, err)
	}
	i.set(Running, s)
	i.cfg.Log.Info("sample instance started", "service", i.cfg.ServiceID, "instance", i.cfg.InstanceName, "address", i.Address())
	return nil
}

// Stop takes the instance out of the registry, closes its sessions with 1001, finishes its requests, and
// stops listening. What has not ended when ctx does is cut. Stopping a stopped instance does nothing.
func (i *Instance) Stop(ctx context.Context) error {
	if err := i.hold(ctx); err != nil {
		return fmt.Errorf("sample %s: stop: %w", i.cfg.InstanceName, err)
	}
	defer i.release()
	s := i.listening()
	if s == nil {
		return nil
	}
	i.set(Stopping, s)
	var errs []error
	if i.registrar != nil {
		i.quiet()
		errs = append(errs, i.registrar.deregister(ctx))
		i.registrar = nil
	}
	errs = append(errs, s.stop(ctx, "instance "+i.cfg.InstanceName+" is stopping"))
	i.set(Stopped, nil)
	i.cfg.Log.Info("sample instance stopped", "service", i.cfg.ServiceID, "instance", i.cfg.InstanceName)
	return errors.Join(errs...)
}

// Kill ends the instance as a crash would: its connections are reset, and the registry is not told.
func (i *Instance) Kill() {
	i.life <- struct{}{}
	defer i.release()
	s := i.listening()
	if s == nil {
		return
	}
	if i.registrar != nil {
		i.quiet()
		i.registrar = nil
	}
	s.kill()
	i.set(Stopped, nil)
}

// Name is the name of the instance as its answers show it.
func (i *Instance) Name() string { return i.cfg.InstanceName }

// State is where the instance is now.
func (i *Instance) State() State {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state
}

// Address is the host:port that the instance listens on, or did last; "" if it was never started.
func (i *Instance) Address() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.address
}

// ID is the instanceId of the last registration, host:service:port; "" if there was none.
func (i *Instance) ID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

// URL is the address of path (which begins with a slash) below the service's own root, without a gateway.
func (i *Instance) URL(path string) string {
	scheme := "http://"
	if i.cfg.TLS != nil {
		scheme = "https://"
	}
	return scheme + i.Address() + "/" + i.cfg.ServiceID + path
}

// Sessions is the number of open WebSocket sessions.
func (i *Instance) Sessions() int {
	if s := i.listening(); s != nil {
		return s.count()
	}
	return 0
}

func (i *Instance) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	if again := i.Address(); again != "" {
		if ln, err := lc.Listen(ctx, "tcp", again); err == nil {
			return ln, nil
		}
	}
	ln, err := lc.Listen(ctx, "tcp", i.cfg.Listen)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.address = ln.Addr().String()
	i.mu.Unlock()
	return ln, nil
}

// register registers the instance at addr and starts its heartbeats.
func (i *Instance) register(ctx context.Context, addr *net.TCPAddr) error {
	if i.cfg.Registry == "" {
		return nil
	}
	r := newRegistrar(i.cfg.Registry, i.cfg.RegistryTLS, i.cfg.RegistryUser, i.cfg.heartbeat(), i.cfg.Log)
	r.self = i.describe(addr)
	if err := r.register(ctx); err != nil {
		r.client.CloseIdleConnections()
		return err
	}
	i.mu.Lock()
	i.id = r.self.InstanceID
	i.mu.Unlock()
	beat, stop := context.WithCancel(context.Background()) // ends with quiet, not with Start's ctx
	var wg sync.WaitGroup
	wg.Go(func() { r.run(beat) })
	i.registrar, i.quiet = r, func() { stop(); wg.Wait() }
	return nil
}

// describe is the instance as the registry shall know it.
func (i *Instance) describe(addr *net.TCPAddr) registration {
	ip := addr.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	host := i.cfg.HostName
	if host == "" {
		host = ip.String()
	}
	scheme, secure := "http://", i.cfg.TLS != nil
	if secure {
		scheme = "https://"
	}
	service := i.cfg.ServiceID
	root := scheme + net.JoinHostPort(host, strconv.Itoa(addr.Port)) + "/" + service
	self := registration{
		App: service, VIPAddress: service, SecureVIPAddress: service,
		InstanceID: host + ":" + service + ":" + strconv.Itoa(addr.Port),
		HostName:   host, IPAddr: ip.String(), Status: "UP",
		Port: port{addr.Port, !secure}, SecurePort: port{addr.Port, secure},
		HomePageURL: root + "/", StatusPageURL: root + "/application/info",
		DataCenterInfo: dataCenter{"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "MyOwn"},
		Metadata:       i.metadata,
	}
	if secure {
		self.SecureHealthURL = root + "/application/health"
	} else {
		self.HealthCheckURL = root + "/application/health"
	}
	if i.cfg.Heartbeat > 0 {
		secs := max(1, int(i.cfg.Heartbeat/time.Second))
		self.LeaseInfo = &lease{RenewalIntervalInSecs: secs, DurationInSecs: 3 * secs}
	}
	return self
}

func (i *Instance) hold(ctx context.Context) error {
	select {
	case i.life <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *Instance) release() { <-i.life }

func (i *Instance) listening() *server {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.server
}

func (i *Instance) set(state State, s *server) {
	i.mu.Lock()
	i.state, i.server = state, s
	i.mu.Unlock()
}
