package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kindsFound are the kinds that a cluster has, and where each is read.
type kindsFound map[*servedKind]schema.GroupVersionResource

// resourceOf is the resource of a kind that every cluster has; its Resource is empty for others.
func resourceOf(k *servedKind) schema.GroupVersionResource {
	if k.group != "" && k.group != "discovery.k8s.io" {
		return schema.GroupVersionResource{}
	}
	return schema.GroupVersionResource{Group: k.group, Version: k.versions[0], Resource: strings.ToLower(k.kind) + "s"}
}

// follow finds out, again and again, which kinds there are, and watches them.
func (c *Cluster) follow(ctx context.Context) {
	pause := c.pace.retry
	for {
		found, err := c.look(ctx)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.away.note(err, time.Now())
		first := !c.looked
		if err == nil {
			c.take(found)
		}
		c.mu.Unlock()
		wait := c.pace.look
		if err != nil {
			wait, pause = pause, min(2*pause, c.pace.retryAtMost)
		} else {
			pause = c.pace.retry
			if first {
				c.stir()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// take watches the kinds that were found, and no others. A kind that was there is missed twice before it is dropped: an API server that
// starts may not know yet what it has. With mu.
func (c *Cluster) take(found kindsFound) {
	wanted := map[watchKey]bool{}
	for kind, resource := range found {
		for _, namespace := range c.namespacesOf(kind) {
			key := watchKey{kind, namespace, ""}
			wanted[key] = true
			delete(c.absent, key)
			if w := c.watches[key]; w == nil || w.resource != resource {
				c.watch(key, resource)
			}
		}
	}
	for key := range c.watches {
		switch {
		case wanted[key] || key.name != "":
		case c.absent[key]:
			c.log.Info("kind is gone from the cluster", "kind", key.String())
			c.drop(key)
		default:
			c.absent[key] = true
		}
	}
	if !c.looked {
		c.publishedService()
		if !wanted[watchKey{servedKinds[[2]string{gatewayGroup, "GatewayClass"}], "", ""}] {
			c.log.Warn("the cluster does not have the Gateway API", "hint", "install its CustomResourceDefinitions: docs/kubernetes.md")
		}
	}
	c.looked = true
}

// look asks which of the kinds that are served the cluster has, and in which version each is read.
func (c *Cluster) look(ctx context.Context) (kindsFound, error) {
	groups, found := map[string][]*servedKind{}, kindsFound{}
	kinds := slices.Collect(maps.Values(servedKinds))
	if c.config.ProbeFromPods {
		kinds = append(kinds, podKind)
	}
	for _, k := range kinds {
		switch r := resourceOf(k); {
		case k.named: // by who refers to them
		case r.Resource != "":
			found[k] = r
		default:
			groups[k.group] = append(groups[k.group], k)
		}
	}
	for group, kinds := range groups {
		if err := c.lookGroup(ctx, group, kinds, found); err != nil {
			return nil, fmt.Errorf("%s: %w", group, err)
		}
	}
	return found, nil
}

// lookGroup adds the kinds of one group.
func (c *Cluster) lookGroup(ctx context.Context, group string, kinds []*servedKind, found kindsFound) error {
	var served metav1.APIGroup
	if there, err := c.ask(ctx, "/apis/"+group, &served); err != nil || !there {
		return err
	}
	for _, v := range served.Versions {
		if !slices.ContainsFunc(kinds, func(k *servedKind) bool { return slices.Contains(k.versions, v.Version) }) {
			continue
		}
		var list metav1.APIResourceList
		if there, err := c.ask(ctx, "/apis/"+group+"/"+v.Version, &list); err != nil {
			return err
		} else if !there {
			continue
		}
		for _, k := range kinds {
			i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool {
				return r.Kind == k.kind && !strings.Contains(r.Name, "/")
			})
			at := slices.Index(k.versions, v.Version)
			if i < 0 || at < 0 {
				continue
			}
			if has, ok := found[k]; !ok || at < slices.Index(k.versions, has.Version) { // the newest first
				found[k] = schema.GroupVersionResource{Group: group, Version: v.Version, Resource: list.APIResources[i].Name}
			}
		}
	}
	return nil
}

// namespacesOf are those that a kind is watched in: "" is all.
func (c *Cluster) namespacesOf(k *servedKind) []string {
	if k.cluster || len(c.config.Namespaces) == 0 {
		return []string{""}
	}
	return c.config.Namespaces
}
