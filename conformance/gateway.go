package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead-gateway/fairlead/conformance/cluster"
)

const (
	gatewayClass   = "fairlead"
	controllerName = "fairlead.dev/gateway-controller"
	adminAddress   = "127.0.0.1:10080"
)

// configText is Fairlead's whole configuration.
const configText = `gateway:
  listeners: [{name: admin, address: "` + adminAddress + `"}]
registry: {enabled: false}
kubernetes: {enabled: true, kubeconfig: %q, addressPool: ` + cluster.AddressPool + `}
dataDir: %q
accessLog: {path: %q}
log: {level: debug}
`

// A gateway is a running Fairlead. The zero value is none.
type gateway struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

func startGateway(ctx context.Context, c *cluster.Cluster, o options, logf func(string, ...any)) (*gateway, error) {
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	if err := createClass(ctx, client); err != nil {
		return nil, err
	}
	if o.fairlead == "" {
		return &gateway{}, nil
	}
	kubeconfig, err := c.KubeconfigAs(o.rights, serviceAccount)
	if err != nil {
		return nil, err
	}
	g := &gateway{done: make(chan struct{})}
	if err := g.startProcess(o, kubeconfig, logf); err != nil {
		return nil, err
	}
	if err := g.awaitClass(ctx, client); err != nil {
		g.stop()
		return nil, fmt.Errorf("%w; see %s", err, filepath.Join(o.out, "fairlead.log"))
	}
	return g, nil
}

var classes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}

func createClass(ctx context.Context, client dynamic.Interface) error {
	_, err := client.Resource(classes).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
		"metadata": map[string]any{"name": gatewayClass},
		"spec":     map[string]any{"controllerName": controllerName},
	}}, metav1.CreateOptions{})
	return err
}

// awaitClass waits for the GatewayClass to say which features there are: the suite takes the
// list of what it tests from there.
func (g *gateway) awaitClass(ctx context.Context, client dynamic.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		class, err := client.Resource(classes).Get(ctx, gatewayClass, metav1.GetOptions{})
		if err == nil {
			if features, _, _ := unstructured.NestedSlice(class.Object, "status", "supportedFeatures"); len(features) > 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("the GatewayClass has no supportedFeatures after two minutes")
		case <-g.done:
			return errors.New("fairlead has ended")
		case <-tick.C:
		}
	}
}

func (g *gateway) startProcess(o options, kubeconfig string, logf func(string, ...any)) error {
	config := filepath.Join(o.out, "fairlead.yaml")
	text := fmt.Sprintf(configText, kubeconfig, filepath.Join(o.out, "data"), filepath.Join(o.out, "access.log"))
	log, err := os.Create(filepath.Join(o.out, "fairlead.log"))
	if err := errors.Join(err, os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return err
	}
	g.cmd = exec.Command(o.fairlead, "run", "--config", config)
	g.cmd.Stdout, g.cmd.Stderr = log, log
	if err := g.cmd.Start(); err != nil {
		return err
	}
	logf("fairlead is started")
	go func() {
		defer close(g.done)
		if err := g.cmd.Wait(); err != nil {
			logf("fairlead has ended: %v; see %s", err, log.Name())
		}
	}()
	return nil
}

// stop ends the gateway as an operator would; it kills it if that does not help.
func (g *gateway) stop() {
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
	case <-time.After(time.Minute):
		_ = g.cmd.Process.Kill()
		<-g.done
	}
}

// serviceAccount is Fairlead's in deploy/kubernetes, as the API server names it.
const serviceAccount = "system:serviceaccount:fairlead:fairlead"
