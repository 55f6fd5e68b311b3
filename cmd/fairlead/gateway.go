package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/admin"
	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/kubernetes"
	"github.com/fairlead-gateway/fairlead/internal/provider"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A gateway is everything that one configuration makes, wired together. startGateway builds
// it in order, once; stop ends it.
type gateway struct {
	started    *config.Config // constant: what addresses and directories were taken from
	log        *slog.Logger
	logQueue   *logQueue // of log
	level      *slog.LevelVar
	accessLog  *accesslog.Logger
	registry   *eureka.Registry     // nil: off
	cluster    *eureka.Cluster      // nil: there is none
	source     *eureka.Merged       // of both; nil: both are off
	provider   *eureka.Provider     // nil: off
	objects    *kubernetes.Provider // nil: there is no source of Gateway API objects
	kubernetes *kubernetes.Cluster  // that objects come from; nil: they do not come from one
	manager    *provider.Manager
	prober     *upstream.Prober
	server     *proxy.Server
	users      atomic.Pointer[auth.Users]    // of admin
	defaults   atomic.Pointer[config.Config] // what the provider reads anew at Refresh
	dialer     atomic.Pointer[upstream.Dialer]
	keys       *auth.KeyCache // of issuers of tokens
	keypair    *proxy.Keypair // the registry's certificate; nil: off

	registryListener net.Listener
	registryTLS      *tls.Config
	cancel           context.CancelFunc
	wg               sync.WaitGroup
	failed           chan error // capacity 1: what ended on its own

	mu     sync.Mutex // guards the following
	config *config.Config
}

// startGateway binds every address, starts every part, and returns when the gateway serves.
// objects says where Gateway API objects come from; nil: nowhere.
func startGateway(c *config.Config, objects openObjects, stdout, stderr io.Writer) (*gateway, error) {
	g := &gateway{started: c, config: c, level: new(slog.LevelVar), failed: make(chan error, 1)}
	g.level.Set(c.Log.SlogLevel())
	g.logQueue, g.log = openLogQueue(stderr, c.Log.Format, g.level)
	g.keys = auth.NewKeyCache(g.log)
	if err := g.build(c, objects, stdout); err != nil {
		g.release()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.run(ctx)
	return g, nil
}

// openObjects makes a source of Gateway API objects, which logs what it skips; nil: there is none.
type openObjects func(*config.Config, *slog.Logger) (kubernetes.Source, error)

func newLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

const dataDirHint = "name a directory that this user may write, or make"

// build makes the parts in the order of their needs and starts none of them.
func (g *gateway) build(c *config.Config, objects openObjects, stdout io.Writer) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return c.ErrorAt("dataDir", err, dataDirHint)
	}
	var err error
	if g.accessLog, err = accesslog.Open(c.AccessLog, stdout, g.log); err != nil {
		return c.ErrorAt("accessLog.path", err, "name a file that this user may write, or \"-\" for standard output")
	}
	users, err := admin.OpenUsers(c.Admin, c.DataDir, g.log)
	if err != nil {
		return c.ErrorAt("admin", err, "")
	}
	g.users.Store(users)
	g.store(c)

	pool := upstream.NewPool()
	if pool.Secret, err = c.Gateway.CookieKey(); err != nil {
		return c.ErrorAt("gateway.cookieKeyFile", err, "")
	}
	g.prober = &upstream.Prober{Pool: pool, Dialer: g.dialer.Load, OnChange: g.healthChanged}
	if err := g.openRegistries(c, pool); err != nil {
		return err
	}
	if err := g.openObjects(c, pool, objects); err != nil {
		return err
	}
	var providers []provider.Provider // in order of precedence
	if g.provider != nil {
		providers = append(providers, g.provider)
	}
	if g.objects != nil {
		providers = append(providers, g.objects)
	}
	var unbound func(map[string]error)
	if g.objects != nil {
		unbound = g.objects.Bound
	}
	g.manager = provider.New(pool, g.log, providers...)
	if g.registry != nil {
		g.registry.Programmed = g.programmed
	}
	g.server = proxy.New(proxy.Options{Table: g.manager.Table, AccessLog: g.accessLog, Log: g.log, EurekaOn: g.source != nil, Unbound: unbound})
	pool.OnLeave, pool.OnJoin = g.server.EndpointLeft, g.server.EndpointJoined // nothing that has come before has a session
	pool.OnEject, pool.OnReturn = g.endpointEjected, g.endpointReturned
	g.manager.OnSwap(func(t *route.Table) { g.server.Program(t) })
	g.server.Admin = admin.New(admin.Options{
		Sessions: &g.server.Sessions, Moves: g.server, Revoke: g.server.Revoke, Table: g.manager.Table, Pool: pool, Users: g.users.Load, Stopping: g.server.Stopping,
		Registry: g.registry, Instances: g.instances(), Cluster: g.clusterStatus(), Objects: g.statuses, Kubernetes: g.kubernetesState(),
		Metrics: g.metrics(pool), Version: buildVersion(), Log: g.log,
	})
	settings, err := reloadable(c, g.keys, g.log)
	if err != nil {
		return err
	}
	if err := g.server.Apply(*settings); err != nil {
		return err
	}
	g.keys.Keep(settings.Tokens)
	g.dialer.Store(settings.Dialer)
	return g.listen(c)
}

// openRegistries makes the registry on board and the way to a cluster of others, and what turns their instances into routes.
func (g *gateway) openRegistries(c *config.Config, pool *upstream.Pool) error {
	var sources []eureka.Source // in order of precedence
	if c.Registry.On() {
		g.registry = eureka.NewRegistry(c.Registry, g.log)
		users, err := c.Registry.Auth.Open()
		if err != nil {
			return c.ErrorAt("registry.auth", err, "")
		}
		g.registry.SetUsers(users)
		g.registry.Restore(filepath.Join(c.DataDir, "registry.snapshot"))
		g.registry.LoadStatic()
		if err := g.openPeers(c); err != nil {
			return err
		}
		sources = append(sources, g.registry)
	}
	if c.Eureka.On() {
		var err error
		if g.cluster, err = openCluster(c, g.log); err != nil {
			return err
		}
		sources = append(sources, g.cluster)
	}
	if len(sources) > 0 {
		g.source = eureka.Merge(sources...)
		g.provider = &eureka.Provider{
			Registry: g.source, Pool: pool, Log: g.log,
			Defaults:    func() route.Policy { return g.defaults.Load().Defaults },
			ForgetAfter: func() time.Duration { return g.defaults.Load().Registry.ForgetAfter },
		}
	}
	return nil
}

// openObjects reads the Gateway API objects, if there is a source of them.
func (g *gateway) openObjects(c *config.Config, pool *upstream.Pool, objects openObjects) error {
	if objects == nil {
		return nil
	}
	source, err := objects(c, g.log)
	if err != nil || source == nil {
		return err
	}
	g.objects = &kubernetes.Provider{Source: source, Log: g.log, Pool: pool, Options: g.translation}
	if g.provider != nil {
		g.provider.After = g.objects.RegistryChanged
	}
	if cluster, ok := source.(*kubernetes.Cluster); ok {
		g.kubernetes = cluster // it is read once it runs
		return nil
	}
	return g.objects.Load()
}

// store sets what parts read again after a reload.
func (g *gateway) store(c *config.Config) {
	g.defaults.Store(c)
	g.level.Set(c.Log.SlogLevel())
}

// translation is what Gateway API objects are translated by, now.
func (g *gateway) translation() kubernetes.Options {
	c := g.defaults.Load()
	o := translationOf(c)
	o.Reserved, o.AnyClass = reserved(g.started), !g.started.Kubernetes.Enabled
	if g.source != nil {
		o.Eureka = func(id string) ([]upstream.Spec, map[string]int, route.Policy, bool) {
			return eureka.Endpoints(g.source.Instances(), id, c.Defaults)
		}
	}
	return o
}

// statuses are those of the Gateway API objects.
func (g *gateway) statuses() any {
	if g.objects == nil {
		return []any{}
	}
	return g.objects.Statuses()
}

// reloadable makes what the data plane may swap while it runs.
func reloadable(c *config.Config, keys *auth.KeyCache, log *slog.Logger) (*proxy.Reloadable, error) {
	tlsConfig, err := c.Upstream.TLS.Load(log)
	if err != nil {
		return nil, c.ErrorAt("upstream.tls", err, "")
	}
	users, err := c.Auth.Basic.Open()
	if err != nil {
		return nil, c.ErrorAt("auth.basic", err, "")
	}
	tokens, err := c.Auth.JWT.Open(keys)
	if wrong, ok := errors.AsType[*auth.ConfigError](err); ok {
		return nil, c.ErrorAt("auth.jwt."+wrong.Key, wrong.Err, wrong.Hint)
	}
	return &proxy.Reloadable{
		TrustedProxies: c.Gateway.TrustedProxies, Limits: c.Limits, Users: users, Tokens: tokens, PassCredentials: c.Auth.PassCredentials,
		Defaults: route.DefaultEureka().Overlay(c.Defaults), Dialer: &upstream.Dialer{TLS: tlsConfig},
	}, nil
}

// listen binds the gateway's and the registry's addresses, or none of them.
func (g *gateway) listen(c *config.Config) error {
	generated := sync.OnceValues(func() (*proxy.Keypair, error) { return proxy.GeneratedKeypair(c.DataDir) })
	if err := g.server.Listen(c.Gateway.ListenersOrDefault(), generated); err != nil {
		return placeListenError(c, err)
	}
	if g.registry == nil {
		return nil
	}
	var err error
	if t := c.Registry.TLS; t.CertFile != "" {
		g.keypair, err = proxy.LoadKeypair(t.CertFile, t.KeyFile)
	} else {
		g.keypair, err = generated()
	}
	if err != nil {
		return c.ErrorAt("registry.tls.certFile", err, "")
	}
	if g.registryTLS, err = c.Registry.ServerTLS(g.keypair.Get); err != nil {
		return c.ErrorAt("registry.tls", err, "")
	}
	g.registryTLS.Certificates, g.registryTLS.GetCertificate = nil, g.keypair.Get // so that a reload can change it
	if g.registryListener, err = upstream.Listen(context.Background(), c.Registry.ListenAddress()); err != nil {
		return c.ErrorAt("registry.address", err, listenHint(err))
	}
	return nil
}

// listenHint says what helps when an address cannot be bound.
func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has the port: choose a free one, or stop that process"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no interface of this machine has that address: name one that has, or none for all of them"
	case errors.Is(err, fs.ErrPermission):
		return "ports below 1024 need the privilege to bind them: choose a higher one"
	}
	return "write host:port with a host of this machine"
}

// placeListenError names the line of the configuration that a listener's error is about.
func placeListenError(c *config.Config, err error) error {
	var e *proxy.ListenError
	if !errors.As(err, &e) {
		return err
	}
	hint := ""
	if e.Key == "address" {
		hint = listenHint(e.Err)
	}
	return c.ErrorAt(fmt.Sprintf("gateway.listeners[%d].%s", e.Index, e.Key), e.Err, hint)
}
