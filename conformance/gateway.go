package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead-gateway/fairlead/conformance/bridge"
	"github.com/fairlead-gateway/fairlead/conformance/cluster"
)

const (
	gatewayClass = "fairlead"
	adminAddress = "127.0.0.1:10080"
)

// configText is Fairlead's whole configuration: where its manifests are is said on the command line.
const configText = `gateway:
  listeners: [{name: admin, address: "` + adminAddress + `"}]
registry: {enabled: false}
kubernetes: {addressPool: ` + cluster.AddressPool + `}
dataDir: %q
accessLog: {path: %q}
log: {level: debug}
`

// A gateway is a running Fairlead and the bridge between it and the API server. The zero value
// is none.
type gateway struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has ended
	cancel context.CancelFunc
	bridge chan struct{} // closed when the bridge has ended
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
	manifests := filepath.Join(o.out, "manifests")
	b := &bridge.Bridge{
		Client: client, Manifests: manifests,
		Objects: "http://" + adminAddress + "/application/objects", Logf: logf,
		HTTP: &http.Client{Transport: &adminTransport{dataDir: filepath.Join(o.out, "data")}},
	}
	ctx, cancel := context.WithCancel(ctx)
	if err := b.Sync(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("bridge: %w", err)
	}
	g := &gateway{cancel: cancel, done: make(chan struct{}), bridge: make(chan struct{})}
	if err := g.startProcess(o, manifests, logf); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(g.bridge)
		b.Run(ctx)
	}()
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
		"spec":     map[string]any{"controllerName": bridge.ControllerName},
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

func (g *gateway) startProcess(o options, manifests string, logf func(string, ...any)) error {
	config := filepath.Join(o.out, "fairlead.yaml")
	text := fmt.Sprintf(configText, filepath.Join(o.out, "data"), filepath.Join(o.out, "access.log"))
	log, err := os.Create(filepath.Join(o.out, "fairlead.log"))
	if err := errors.Join(err, os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return err
	}
	g.cmd = exec.Command(o.fairlead, "run", "--config", config, "--manifests", manifests)
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

// stop ends the bridge, and the gateway as an operator would; it kills it if that does not help.
func (g *gateway) stop() {
	if g.cmd == nil {
		return
	}
	g.cancel()
	<-g.bridge
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
	case <-time.After(time.Minute):
		_ = g.cmd.Process.Kill()
		<-g.done
	}
}

// adminTransport signs requests with the password that Fairlead has made.
type adminTransport struct{ dataDir string }

func (t *adminTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	password, err := os.ReadFile(filepath.Join(t.dataDir, "admin-password"))
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.SetBasicAuth("admin", strings.TrimSpace(string(password)))
	return http.DefaultTransport.RoundTrip(req)
}
