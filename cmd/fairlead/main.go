// Command fairlead is an API gateway whose home ground is the WebSocket.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/fairlead-gateway/fairlead/internal/admin"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

type commandLine struct {
	Run      runCommand      `cmd:"" help:"Run the gateway."`
	Demo     demoCommand     `cmd:"" help:"Run a gateway, a registry and two instances of a sample service on loopback."`
	Check    checkCommand    `cmd:"" help:"Check the configuration and what it names, without starting."`
	Sessions sessionsCommand `cmd:"" help:"List, show, move and close the live sessions of a running gateway."`
	Services servicesCommand `cmd:"" help:"List the services of a running gateway with their load, drain instances, level their sessions."`
	Registry registryCommand `cmd:"" help:"Show the registry of a running gateway: its snapshot, its peers, and the Eureka cluster that is read."`
	Routes   routesCommand   `cmd:"" help:"List the routes of a running gateway, and what it does not serve."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

func main() {
	var cl commandLine
	parser := kong.Must(&cl,
		kong.Name("fairlead"),
		kong.Description("An API gateway whose home ground is the WebSocket."),
		kong.UsageOnError(),
	)
	ctx, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "fairlead: %v\nfairlead: hint: see fairlead --help\n", err)
		os.Exit(exitUsage)
	}
	if err := ctx.Run(); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintf(os.Stderr, "fairlead: %v\n", err)
		}
		os.Exit(exitFailed)
	}
}

// errReported is a failure of which everything has been said already.
var errReported = errors.New("failed")

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run() error {
	v := buildVersion()
	_, err := fmt.Printf("fairlead %s (%s)\n", v.Version, v.Commit)
	return err
}

// Set by the linker: version for releases, commit by make build.
var version, commit = "0.1.0-dev", ""

// buildVersion says what this binary was built from, as far as the build knows.
func buildVersion() admin.Version {
	v := admin.Version{Version: version, Build: "n/a", Commit: commit}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && commit == "":
			v.Commit = s.Value
		case s.Key == "vcs.time":
			v.Build = s.Value
		}
	}
	return v
}
