package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/fairlead-gateway/fairlead/internal/config"
)

type checkCommand struct {
	Config string `placeholder:"FILE" help:"Configuration (fairlead.yaml). Without one the defaults are checked." type:"path"`
}

// Run reads the configuration and everything it names, tries its addresses, and says what
// run would complain about. It starts nothing and writes nothing.
func (c *checkCommand) Run() error {
	conf, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if err := tryAddresses(conf); err != nil {
		return err
	}
	if _, err := reloadable(conf, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	return printChecked(os.Stdout, conf)
}

// tryAddresses binds every address and gives it back.
func tryAddresses(c *config.Config) error {
	for i, l := range c.Gateway.ListenersOrDefault() {
		if err := try(l.Address); err != nil {
			return c.ErrorAt(fmt.Sprintf("gateway.listeners[%d].address", i), err, portHint)
		}
	}
	if c.Registry.On() {
		if err := try(c.Registry.ListenAddress()); err != nil {
			return c.ErrorAt("registry.address", err, portHint)
		}
	}
	return nil
}

func try(address string) error {
	ln, err := net.Listen("tcp", address)
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
