package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/admin"
	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
)

type runCommand struct{ whatToServe }

// Run serves until SIGTERM or SIGINT. SIGHUP, and a change of the file, reload it.
func (c *runCommand) Run() error {
	conf, err := c.load()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	g, err := startGateway(conf, c.objects, os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changed := config.Watch(ctx, c.Config, g.log)
	for {
		select {
		case <-changed:
			g.reload(c.load, c.Config)
		case err := <-g.failed:
			g.stop()
			return err
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				g.reopen()
				g.reload(c.load, c.Config)
				continue
			}
			g.log.Info("stopping", "signal", sig.String(), "sessions", g.server.Sessions.Len())
			go cutShort(signals)
			g.stop()
			return nil
		}
	}
}

// cutShort lets a second SIGTERM or SIGINT end the process at once.
func cutShort(signals <-chan os.Signal) {
	for sig := range signals {
		if sig != syscall.SIGHUP {
			os.Exit(exitFailed)
		}
	}
}

// run starts what the gateway is made of. Each part ends when ctx does.
func (g *gateway) run(ctx context.Context) {
	g.wg.Go(func() { g.watch("routes", g.manager.Run(ctx)) })
	g.wg.Go(func() { g.keys.Run(ctx) })
	g.wg.Go(func() { g.watch("probes", g.prober.Run(ctx)) })
	if g.source != nil {
		g.wg.Go(func() { g.watch("registries", g.source.Run(ctx)) })
	}
	if g.cluster != nil {
		g.announce()
		g.wg.Go(func() { g.watch("eureka cluster", g.cluster.Run(ctx)) })
	}
	if g.registry != nil {
		g.wg.Go(func() { g.watch("registry", g.registry.Run(ctx)) })
		g.wg.Go(func() { g.watch("registry listener", g.serveRegistry(ctx)) })
		g.log.Info("listening", "name", "registry", "address", g.registryListener.Addr().String())
	}
	g.awaitRoutes(ctx)
	g.wg.Go(func() { g.watch("listener", g.server.Serve()) })
	for _, b := range g.server.Bound() {
		g.log.Info("listening", "name", b.Name, "address", b.Address)
	}
}

// watch reports a part that ended with an error: the process then stops.
func (g *gateway) watch(part string, err error) {
	if err == nil {
		return
	}
	select {
	case g.failed <- fmt.Errorf("%s: %w", part, err):
	default: // another was first
	}
}

// stop ends live sessions with 1001, waits for them within gateway.shutdownTimeout, writes
// their lines, and ends every part. The registry serves until the sessions are gone.
func (g *gateway) stop() {
	g.mu.Lock()
	timeout := g.config.Gateway.ShutdownTimeout
	g.mu.Unlock()
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if g.cluster != nil { // first: then others send nothing more. A server that hangs leaves the sessions most of the time
		leave, cancel := context.WithTimeout(ctx, timeout/4)
		g.cluster.Leave(leave)
		cancel()
	}
	g.server.Shutdown(ctx)
	g.cancel()
	g.wg.Wait()
	g.release()
}

// release gives back what build has opened.
func (g *gateway) release() {
	if g.registryListener != nil {
		g.registryListener.Close()
	}
	if g.accessLog != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.accessLog.Close(ctx); err != nil {
			g.log.Error("access log not finished", "err", err)
		}
	}
	g.logQueue.Close()
}

// reopen begins new log files after a rotation.
func (g *gateway) reopen() {
	if err := g.accessLog.Reopen(); err != nil {
		g.log.Error("access log not reopened", "err", err)
	}
}

// reload reads the configuration again. A bad one keeps the old one and says why; what only
// a restart can change is named, each time until it is done or undone.
func (g *gateway) reload(load func() (*config.Config, error), path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	next, err := load()
	if err == nil {
		err = g.apply(next)
	}
	if err != nil {
		g.logRefused(err)
		return
	}
	for _, key := range config.Diff(g.started, next) {
		g.log.Warn("restart needed", "key", key)
	}
	g.config = next
	g.log.Info("configuration reloaded", "file", path)
}

// logRefused logs each thing that is wrong with a configuration, with its place.
func (g *gateway) logRefused(err error) {
	const message = "configuration not reloaded, the old one stays"
	var all config.Errors
	if !errors.As(err, &all) {
		var one *config.Error
		if !errors.As(err, &one) {
			g.log.Error(message, "err", err)
			return
		}
		all = config.Errors{one}
	}
	for _, e := range all {
		g.log.Error(message, "place", fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column), "key", e.Key, "err", e.Err, "hint", e.Remedy())
	}
}

// apply swaps in what may change while the gateway runs, or nothing of it.
func (g *gateway) apply(c *config.Config) error {
	settings, err := reloadable(c, g.keys, g.log)
	if err != nil {
		return err
	}
	users, err := admin.OpenUsers(c.Admin, g.started.DataDir, g.log)
	if err != nil {
		return c.ErrorAt("admin", err, "")
	}
	registryUsers, err := c.Registry.Auth.Open()
	if err != nil {
		return c.ErrorAt("registry.auth", err, "")
	}
	if err := g.server.ReloadCertificates(); err != nil {
		return placeListenError(c, err)
	}
	if g.keypair != nil {
		if err := g.keypair.Reload(); err != nil {
			return c.ErrorAt("registry.tls.certFile", err, "")
		}
	}
	if err := g.server.Apply(*settings); err != nil {
		return err
	}
	g.keys.Keep(settings.Tokens)
	g.dialer.Store(settings.Dialer)
	g.users.Store(users)
	if g.registry != nil {
		g.registry.SetUsers(registryUsers)
	}
	g.store(c)
	if g.provider != nil {
		g.provider.Refresh()
	}
	if g.objects != nil {
		g.objects.Refresh()
	}
	return nil
}

// awaitRoutes waits, bounded, for the table of what the registry had before the restart: nobody then meets an empty one.
func (g *gateway) awaitRoutes(ctx context.Context) {
	if g.source == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	g.programmed(ctx, 0)
}

// programmed waits until the table holds what the registry has now, and with it what it had at the generation.
func (g *gateway) programmed(ctx context.Context, _ uint64) {
	if g.provider.Published(ctx, g.source.Generation()) == nil {
		_ = g.manager.Settled(ctx) // bounded by ctx; the answer goes out either way
	}
}

func (g *gateway) serveRegistry(ctx context.Context) error {
	return eureka.Serve(ctx, g.registryListener, g.registry.Handler(), g.registryTLS,
		eureka.ServeOptions{Plain: g.config.Registry.Plain, Log: g.log})
}
