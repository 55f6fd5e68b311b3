// Conformance runs the Gateway API's conformance suite against a built Fairlead: it makes a
// Kubernetes cluster out of processes in namespaces of their own, lets Fairlead serve it
// with the rights of deploy/kubernetes, and tells what the suite said. `conformance/run` builds what it needs and starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/conformance/cluster"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) > 0 {
		switch args[0] { // what runs inside pods
		case "pod":
			return 1, cluster.PodInit()
		case "dns":
			return 1, cluster.ServeDNS()
		case "check":
			return 0, cluster.Check()
		}
	}
	o, err := parse(args)
	if err != nil {
		return 2, err
	}
	if !cluster.Inside() {
		return cluster.Isolate()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return inside(ctx, o)
}

type options struct {
	tools, crds, fairlead, out, suiteOptions, rights string

	hold  bool
	suite []string // more arguments of the suite
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.StringVar(&o.tools, "tools", "", "directory of the binaries that conformance/run builds")
	flags.StringVar(&o.crds, "crds", "", "directory of the Gateway API's CustomResourceDefinitions")
	flags.StringVar(&o.fairlead, "fairlead", "", "the gateway's binary; none: a cluster without a gateway")
	flags.StringVar(&o.rights, "rights", "", "manifest of Fairlead's service account and what it may do")
	flags.StringVar(&o.out, "out", "", "directory for logs and the report; emptied first")
	flags.StringVar(&o.suiteOptions, "options", "", "file of the suite's options")
	flags.BoolVar(&o.hold, "hold", false, "keep the cluster until Ctrl-C after the suite")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.suite = flags.Args()
	for _, path := range []*string{&o.tools, &o.crds, &o.out, &o.suiteOptions, &o.rights} {
		if *path == "" {
			return o, errors.New("-tools, -crds, -out, -options and -rights are needed: use conformance/run")
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return o, err
		}
		*path = absolute
	}
	return o, nil
}

// inside is the whole run, in the namespaces.
func inside(ctx context.Context, o options) (code int, err error) {
	if err := errors.Join(os.RemoveAll(o.out), os.MkdirAll(o.out, 0o755)); err != nil {
		return 1, err
	}
	logf := progress()
	c, err := cluster.Start(ctx, cluster.Options{
		ControlPlane: filepath.Join(o.tools, "control-plane"), CRDs: o.crds,
		Echo: filepath.Join(o.tools, "echo-basic"), Dir: o.out, Logf: logf,
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	gateway, err := startGateway(ctx, c, o, logf)
	if err != nil {
		return 1, err
	}
	defer gateway.stop()
	code, err = runSuite(ctx, c, o, logf)
	if o.hold && ctx.Err() == nil {
		logf("held until Ctrl-C: nsenter -t %s -n kubectl --kubeconfig %s get gateways -A", c.PID, c.Kubeconfig)
		<-ctx.Done()
	}
	return code, err
}

// progress prints lines with the seconds since now.
func progress() func(string, ...any) {
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Printf("%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}
