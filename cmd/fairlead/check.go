package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

type checkCommand struct {
	whatToServe

	JSON bool `help:"Print the status of every object as JSON, and nothing else."`
}

// Run reads the configuration and everything it names, tries its addresses, and says what
// run would complain about. It starts nothing and writes nothing.
func (c *checkCommand) Run() error {
	conf, err := c.load()
	if err != nil {
		return err
	}
	if err := tryDataDir(conf); err != nil {
		return err
	}
	taken := tryAddresses(conf) // told last: beside a gateway that runs the rest is worth knowing
	if _, err := reloadable(conf, auth.NewKeyCache(slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if problems := eureka.StaticProblems(conf.Registry.StaticDefinitions); len(problems) > 0 {
		return together(problems...)
	}
	if !c.JSON && taken == nil {
		if err := printChecked(os.Stdout, conf); err != nil {
			return err
		}
	}
	source, err := c.objects(conf, nil)
	if err != nil || source == nil {
		return together(taken, err)
	}
	if conf.Kubernetes.Enabled {
		_, err := fmt.Fprintln(os.Stdout, "objects come from the cluster and are not judged here: kubectl shows their conditions")
		return together(taken, err)
	}
	set, err := source.Load()
	if err == nil {
		err = c.checkObjects(os.Stdout, conf, set)
	}
	return together(taken, err)
}

// tryDataDir makes sure that the data directory can be written, or made where it is
// missing, by making something there and taking it away again.
func tryDataDir(c *config.Config) error {
	dir := c.DataDir
	for {
		tmp, err := os.MkdirTemp(dir, ".fairlead-check-")
		if err == nil {
			return os.Remove(tmp)
		}
		if _, missing := os.Stat(dir); !errors.Is(missing, fs.ErrNotExist) {
			return c.ErrorAt("dataDir", err, dataDirHint)
		}
		dir = filepath.Dir(dir)
	}
}

// tryAddresses binds every address and gives it back. The error has each that is taken.
func tryAddresses(c *config.Config) error {
	var taken []error
	for i, l := range c.Gateway.ListenersOrDefault() {
		if err := try(l.Address); err != nil {
			taken = append(taken, c.ErrorAt(fmt.Sprintf("gateway.listeners[%d].address", i), err, listenHint(err)))
		}
	}
	if c.Registry.On() {
		if err := try(c.Registry.ListenAddress()); err != nil {
			taken = append(taken, c.ErrorAt("registry.address", err, listenHint(err)))
		}
	}
	return together(taken...)
}

// faults are errors that the command tells one after the other, each as if it were the only one.
type faults []error

// together is nil if all of errs are.
func together(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return faults(errs)
}

func (f faults) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\nfairlead: ")
}

// Unwrap serves errors.Is and errors.As.
func (f faults) Unwrap() []error { return f }

func try(address string) error {
	ln, err := upstream.Listen(context.Background(), address)
	if err != nil {
		return err
	}
	return ln.Close()
}

func printChecked(w io.Writer, c *config.Config) error {
	_, err := fmt.Fprintln(w, "configuration is good")
	for _, l := range c.Gateway.ListenersOrDefault() {
		kind := "http, ws"
		if l.TLS != nil {
			kind = "https, wss"
		}
		if err == nil {
			_, err = fmt.Fprintf(w, "  listener %-8s %-22s %s\n", l.Name, l.Address, kind)
		}
	}
	if err == nil && c.Registry.On() {
		_, err = fmt.Fprintf(w, "  registry          %-22s routes come with registrations\n", c.Registry.ListenAddress())
	}
	return err
}

// tryListener binds what a Gateway listens on, and gives it back.
func tryListener(l *route.Listener) error {
	if l.Network() != "udp" {
		return try(l.BindAddress())
	}
	conn, err := net.ListenPacket("udp", l.BindAddress())
	if err != nil {
		return err
	}
	return conn.Close()
}
