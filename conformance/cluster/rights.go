package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// KubeconfigAs applies a manifest of roles and bindings, and returns the kubeconfig of a user who has no rights but those.
func (c *Cluster) KubeconfigAs(manifest, user string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.apply(ctx, manifest); err != nil {
		return "", fmt.Errorf("%s: %w", manifest, err)
	}
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		return "", err
	}
	for _, info := range config.AuthInfos {
		info.Impersonate = user
	}
	for _, at := range config.Contexts {
		at.Namespace = strings.Split(user, ":")[2]
	}
	path := filepath.Join(filepath.Dir(c.Kubeconfig), "kubeconfig-fairlead")
	return path, clientcmd.WriteToFile(*config, path)
}

// apply creates the objects of a file, each of a kind whose resource is its name in lower case with an s.
func (c *Cluster) apply(ctx context.Context, manifest string) error {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	for docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		var u unstructured.Unstructured
		if err := docs.Decode(&u); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		kind := u.GroupVersionKind()
		resource := schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: strings.ToLower(kind.Kind) + "s"}
		if _, err := client.Resource(resource).Namespace(u.GetNamespace()).Create(ctx, &u, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, u.GetName(), err)
		}
	}
}
