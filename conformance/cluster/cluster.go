// Package cluster is Kubernetes on one machine for as long as a test needs it: a real etcd,
// kube-apiserver and kube-controller-manager, and a node that runs the few images of the Gateway
// API's conformance suite as processes, each in a network namespace of its own. All of it lives
// in namespaces that end with the process.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Options says what the cluster is made of.
type Options struct {
	ControlPlane string               // directory with etcd, kube-apiserver, kube-controller-manager
	CRDs         string               // directory of CustomResourceDefinitions
	Echo         string               // the suite's echo-basic, which serves every pod but DNS
	Dir          string               // logs, volumes of pods, the kubeconfig
	Logf         func(string, ...any) // progress
}

// A Cluster is running until Stop.
type Cluster struct {
	Config     *rest.Config // of a client that may do anything
	Kubeconfig string       // the same, as a file
	PID        string       // of this process, as seen from outside

	environment *envtest.Environment
	manager     *exec.Cmd
	node        *node
	cancel      context.CancelFunc
}

// Start makes the network of this process's namespaces and starts the control plane and the node.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	pid, err := openNetwork()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &Cluster{PID: pid, cancel: cancel}
	for _, step := range []func(context.Context, Options) error{c.startServer, c.writeKubeconfig, c.startManager, c.startNode} {
		if err := step(ctx, o); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

func (c *Cluster) startServer(_ context.Context, o Options) error {
	c.environment = &envtest.Environment{
		BinaryAssetsDirectory:    o.ControlPlane,
		CRDDirectoryPaths:        []string{o.CRDs},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 4 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	log, err := os.Create(filepath.Join(o.Dir, "kube-apiserver.log"))
	if err != nil {
		return err
	}
	server := c.environment.ControlPlane.GetAPIServer()
	server.Out, server.Err = log, log
	// The namespace has no default route to take an address from, and loopback is not accepted.
	server.Configure().Set("advertise-address", nodeAddress)
	c.Config, err = c.environment.Start()
	if err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	c.Config.QPS, c.Config.Burst = 400, 800
	o.Logf("etcd and kube-apiserver are up, the CRDs are established")
	return nil
}

func (c *Cluster) writeKubeconfig(_ context.Context, o Options) error {
	server := c.Config.Host
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["local"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: c.Config.CAData}
	kubeconfig.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.Config.CertData, ClientKeyData: c.Config.KeyData}
	kubeconfig.Contexts["local"] = &clientcmdapi.Context{Cluster: "local", AuthInfo: "admin"}
	kubeconfig.CurrentContext = "local"
	c.Kubeconfig = filepath.Join(o.Dir, "kubeconfig")
	return clientcmd.WriteToFile(*kubeconfig, c.Kubeconfig)
}

// controllers are those of kube-controller-manager that the suite's objects need.
const controllers = "deployment-controller,replicaset-controller,endpointslice-controller," +
	"namespace-controller,garbage-collector-controller,serviceaccount-controller"

func (c *Cluster) startManager(_ context.Context, o Options) error {
	log, err := os.Create(filepath.Join(o.Dir, "kube-controller-manager.log"))
	if err != nil {
		return err
	}
	c.manager = exec.Command(filepath.Join(o.ControlPlane, "kube-controller-manager"),
		"--kubeconfig="+c.Kubeconfig, "--controllers="+controllers, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=400", "--kube-api-burst=800")
	c.manager.Stdout, c.manager.Stderr = log, log
	return c.manager.Start()
}

func (c *Cluster) startNode(ctx context.Context, o Options) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	c.node = newNode(client, o)
	if err := c.node.start(ctx); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	o.Logf("kube-controller-manager and the node are up")
	return nil
}

// Stop ends everything that Start has started, as far as it came.
func (c *Cluster) Stop() error {
	c.cancel()
	if c.node != nil {
		c.node.stop()
	}
	if c.manager != nil && c.manager.Process != nil {
		_ = c.manager.Process.Kill()
		_ = c.manager.Wait()
	}
	if c.environment != nil {
		return c.environment.Stop()
	}
	return nil
}
