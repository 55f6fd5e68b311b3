package kubernetes

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// want watches the Secrets and ConfigMaps that the newest translation has looked for, and no others. It returns when those that are new
// have been read, or after a short while; false: none is new.
func (c *Cluster) want(objects map[objectKey]bool) bool {
	c.mu.Lock()
	var fresh []*watch
	wanted := map[watchKey]bool{}
	for o := range objects {
		kind := servedKinds[[2]string{o.group, o.kind}]
		key := watchKey{kind, o.namespace, o.name}
		if kind == nil || !kind.named || !c.reads(o.namespace) {
			continue
		}
		wanted[key] = true
		if c.watches[key] == nil && c.ctx != nil && isSubdomain(o.name) && isLabel(o.namespace) {
			fresh = append(fresh, c.watch(key, resourceOf(kind)))
		}
	}
	for key := range c.watches {
		if key.kind.named && !wanted[key] {
			c.drop(key)
		}
	}
	ctx := c.ctx
	c.mu.Unlock()
	if fresh != nil {
		c.await(ctx, fresh)
	}
	return fresh != nil
}

// reads tells whether objects of a namespace are read.
func (c *Cluster) reads(namespace string) bool {
	return len(c.config.Namespaces) == 0 || slices.Contains(c.config.Namespaces, namespace)
}

// await returns when all of watches have been answered, and after a short while at the latest.
func (c *Cluster) await(ctx context.Context, watches []*watch) {
	ctx, cancel := context.WithTimeout(ctx, c.pace.named)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		now := time.Now()
		done := !slices.ContainsFunc(watches, func(w *watch) bool { return !w.answered && !w.hopeless(now) })
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// publishedService watches the Service whose addresses Gateways show. With mu.
func (c *Cluster) publishedService() {
	if namespace, name, ok := strings.Cut(c.config.PublishService, "/"); ok {
		kind := servedKinds[[2]string{"", "Service"}]
		c.watch(watchKey{kind, namespace, name}, resourceOf(kind))
	}
}

// published are the addresses of that Service; false: Gateways show what they are bound to.
func (c *Cluster) published() ([]gatewayv1.GatewayStatusAddress, bool) {
	namespace, name, ok := strings.Cut(c.config.PublishService, "/")
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watches[watchKey{servedKinds[[2]string{"", "Service"}], namespace, name}]
	if w == nil {
		return nil, true
	}
	it := w.items[types.NamespacedName{Namespace: namespace, Name: name}]
	if it == nil || it.object == nil {
		return nil, true
	}
	return addressesOf(it), true
}
