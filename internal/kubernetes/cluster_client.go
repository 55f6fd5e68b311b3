package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// serviceAccountNamespace is where a pod finds its namespace.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// askTimeout bounds one question that is no watch.
const askTimeout = 10 * time.Second

// restConfig is how the API server is reached, and the namespace of who asks.
func (c Config) restConfig() (*rest.Config, string, error) {
	config, namespace, err := c.whereAndWho()
	if err != nil {
		return nil, "", err
	}
	config.UserAgent = "fairlead"
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return config, namespace, nil
}

func (c Config) whereAndWho() (*rest.Config, string, error) {
	if c.Kubeconfig == "" && c.Context == "" {
		config, err := rest.InClusterConfig()
		if err == nil {
			namespace, err := os.ReadFile(serviceAccountNamespace)
			return config, strings.TrimSpace(string(namespace)), err
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, "", err
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
	config, err := loaded.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", errors.New("there is no service account of a pod here, and no kubeconfig")
	}
	if err != nil {
		return nil, "", err
	}
	namespace, _, err := loaded.Namespace()
	return config, namespace, err
}

// Check tells what of the section cannot be used, by key: where the API server is has to be known before anything starts.
func (c Config) Check() (key string, err error) {
	if !c.Enabled {
		return "", nil
	}
	if c.PublishService != "" {
		if namespace, name, ok := strings.Cut(c.PublishService, "/"); !ok || !isLabel(namespace) || !isLabel(name) {
			return "publishService", fmt.Errorf("%q is no Service: want namespace/name", c.PublishService)
		}
	}
	for _, n := range c.Namespaces {
		if !isLabel(n) {
			return "namespaces", fmt.Errorf("%q is no name of a namespace", n)
		}
	}
	if _, _, err := c.restConfig(); err != nil {
		if c.Kubeconfig == "" {
			return "enabled", err
		}
		return "kubeconfig", err
	}
	return "", nil
}

// unversioned is for questions by path.
func unversioned(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	return c
}

// ask reads one answer in JSON; false: there is nothing at that path.
func (c *Cluster) ask(ctx context.Context, path string, into any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	text, err := c.api.Get().MaxRetries(0).AbsPath(path).SetHeader("Accept", "application/json").Do(ctx).Raw()
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, json.Unmarshal(text, into)
}
