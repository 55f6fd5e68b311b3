package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mount writes a pod's Secrets and ConfigMaps below dir and returns each volume's directory.
func (n *node) mount(ctx context.Context, spec *corev1.Pod, dir string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for _, v := range spec.Spec.Volumes {
		data, items, err := n.volume(ctx, spec.Namespace, v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		dirs[v.Name] = filepath.Join(dir, v.Name)
		if err := writeVolume(dirs[v.Name], data, items); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// volume returns the content of a volume. It waits for an object that is not there yet: the
// suite makes some Secrets after the Deployments that mount them.
func (n *node) volume(ctx context.Context, namespace string, v corev1.Volume) (map[string][]byte, []corev1.KeyToPath, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		data, items, err := n.read(ctx, namespace, v)
		if !apierrors.IsNotFound(err) {
			return data, items, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-tick.C:
		}
	}
}

func (n *node) read(ctx context.Context, namespace string, v corev1.Volume) (map[string][]byte, []corev1.KeyToPath, error) {
	switch {
	case v.Secret != nil:
		secret, err := n.client.CoreV1().Secrets(namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		return secret.Data, v.Secret.Items, nil
	case v.ConfigMap != nil:
		configMap, err := n.client.CoreV1().ConfigMaps(namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		data := map[string][]byte{}
		for key, text := range configMap.Data {
			data[key] = []byte(text)
		}
		return data, v.ConfigMap.Items, nil
	}
	return nil, nil, fmt.Errorf("only Secrets and ConfigMaps can be mounted here")
}

// writeVolume writes the items, or all data if there are none.
func writeVolume(dir string, data map[string][]byte, items []corev1.KeyToPath) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if len(items) == 0 {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		if err := os.WriteFile(filepath.Join(dir, item.Path), data[item.Key], 0o600); err != nil {
			return err
		}
	}
	return nil
}
