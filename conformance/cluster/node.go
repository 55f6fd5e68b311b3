package cluster

import (
	"context"
	"net/http/httptest"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const nodeName = "local"

// A node stands in for scheduler and kubelet: it binds every pod to itself, runs its process and
// reports it ready once it listens.
type node struct {
	client kubernetes.Interface
	opts   Options
	logs   *httptest.Server // what kube-apiserver asks for `kubectl logs`

	wg sync.WaitGroup // one for each pod, and for each deletion under way

	mu      sync.Mutex // guards the following
	pods    map[types.UID]*pod
	numbers int // pods so far; a pod's address is made of its number
}

func newNode(client kubernetes.Interface, o Options) *node {
	return &node{client: client, opts: o, pods: map[types.UID]*pod{}}
}

// start registers the node and runs what is bound to it until ctx ends.
func (n *node) start(ctx context.Context) error {
	port, err := n.serveLogs()
	if err != nil {
		return err
	}
	if err := n.register(ctx, port); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(n.client, 0)
	_, err = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { n.see(ctx, obj) },
		UpdateFunc: func(_, obj any) { n.see(ctx, obj) },
		DeleteFunc: n.gone,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return nil
}

func (n *node) register(ctx context.Context, logPort int32) error {
	nodes := n.client.CoreV1().Nodes()
	registered, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	now := metav1.Now()
	registered.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Ready", LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	registered.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress}}
	registered.Status.DaemonEndpoints.KubeletEndpoint.Port = logPort
	_, err = nodes.UpdateStatus(ctx, registered, metav1.UpdateOptions{})
	return err
}

// see starts a pod that is new and ends one that is being deleted.
func (n *node) see(ctx context.Context, obj any) {
	spec, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pods[spec.UID]
	switch {
	case spec.DeletionTimestamp != nil:
		if p != nil {
			p.cancel()
		}
		n.wg.Go(func() { n.delete(ctx, spec) })
	case p == nil && spec.Status.Phase == corev1.PodPending:
		n.numbers++
		podCtx, cancel := context.WithCancel(ctx)
		p = &pod{spec: spec.DeepCopy(), number: n.numbers, cancel: cancel}
		n.pods[spec.UID] = p
		n.wg.Go(func() {
			if err := n.run(podCtx, p); err != nil && podCtx.Err() == nil {
				n.opts.Logf("pod %s/%s: %v", spec.Namespace, spec.Name, err)
			}
		})
	}
}

// delete confirms that a pod has ended.
func (n *node) delete(ctx context.Context, spec *corev1.Pod) {
	now := int64(0)
	_ = n.client.CoreV1().Pods(spec.Namespace).Delete(ctx, spec.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &spec.UID},
	}) // gone already, or the next update tries again
}

func (n *node) gone(obj any) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	spec, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.pods[spec.UID]; p != nil {
		p.cancel()
		delete(n.pods, spec.UID)
	}
}

// find returns the pod of that name which runs now, or nil.
func (n *node) find(namespace, name string) *pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pods {
		if p.spec.Namespace == namespace && p.spec.Name == name {
			return p
		}
	}
	return nil
}

// stop ends every pod and waits for it.
func (n *node) stop() {
	n.mu.Lock()
	for _, p := range n.pods {
		p.cancel()
	}
	n.mu.Unlock()
	n.wg.Wait()
	if n.logs != nil {
		n.logs.Close()
	}
}
