// Package bridge joins an API server with a Fairlead that reads its objects from files: what the
// API server knows is written to a file that Fairlead watches, and the statuses that Fairlead
// computes are written to the API server. It is no part of the product.
package bridge

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// resources are what Fairlead reads.
var resources = []schema.GroupVersionResource{
	{Version: "v1", Resource: "namespaces"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "configmaps"},
	{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "listenersets"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "grpcroutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "tlsroutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "tcproutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "udproutes"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "referencegrants"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "backendtlspolicies"},
	{Group: "gateway.networking.x-k8s.io", Version: "v1alpha1", Resource: "xbackendtrafficpolicies"},
}

const (
	dumpDelay  = 50 * time.Millisecond // changes within it make one file
	pollPeriod = 50 * time.Millisecond // of Fairlead's statuses
)

// A Bridge works once it runs.
type Bridge struct {
	Client    dynamic.Interface
	Manifests string       // the directory that Fairlead watches
	Objects   string       // URL of Fairlead's statuses
	HTTP      *http.Client // authenticates itself
	Logf      func(string, ...any)

	store store
}

// Sync reads every object, writes the first file, and goes on following changes until ctx ends.
func (b *Bridge) Sync(ctx context.Context) error {
	b.store.changed = make(chan struct{}, 1)
	b.store.objects = map[key]*object{}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(b.Client, 0)
	for _, resource := range resources {
		_, err := factory.ForResource(resource).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { b.see(resource, obj) },
			UpdateFunc: func(_, obj any) { b.see(resource, obj) },
			DeleteFunc: b.forget,
		})
		if err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	for resource, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("%s: not read", resource.Resource)
		}
	}
	return b.dump()
}

// Run carries changes to Fairlead and statuses back until ctx ends.
func (b *Bridge) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.carryStatuses(ctx)
	}()
	b.carryObjects(ctx)
	<-done
}

func (b *Bridge) carryObjects(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.store.changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(dumpDelay):
		}
		if err := b.dump(); err != nil {
			b.Logf("manifests: %v", err)
		}
	}
}

// dump writes all objects as one file, which takes the place of the last one at once: Fairlead
// never sees a part of a set.
func (b *Bridge) dump() error {
	next := filepath.Join(filepath.Dir(b.Manifests), "next.yaml")
	if err := os.WriteFile(next, b.store.text(), 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(b.Manifests, "cluster.yaml"))
}

func (b *Bridge) see(resource schema.GroupVersionResource, obj any) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	if err := b.store.put(resource, u); err != nil {
		b.Logf("%s %s/%s: %v", u.GetKind(), u.GetNamespace(), u.GetName(), err)
	}
}

func (b *Bridge) forget(obj any) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		b.store.remove(u)
	}
}
