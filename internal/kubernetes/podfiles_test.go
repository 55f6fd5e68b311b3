package kubernetes

import "testing"

func TestFilesKeepProbesOfPods(t *testing.T) {
	set, err := load(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: not-the-pods}}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: web:1
        resources: {limits: {memory: what a cluster judges}}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 3}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: main}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: odd}
spec: {template: [not, a, template]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec: {template: {spec: {containers: [{name: main}]}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Pods) != 2 || len(set.Skipped) != 4 {
		t.Fatalf("%d pods, %d kinds skipped, want 2 and 4", len(set.Pods), len(set.Skipped))
	}
	web, one := set.Pods[0], set.Pods[1]
	if web.Namespace != "shop" || web.Labels["app"] != "web" || len(web.Spec.Containers) != 1 {
		t.Fatalf("the Deployment's pod is %+v", web)
	}
	c := web.Spec.Containers[0]
	if c.Ports[0].ContainerPort != 8080 || c.ReadinessProbe.HTTPGet.Path != "/ready" || c.ReadinessProbe.HTTPGet.Port.StrVal != "http" {
		t.Errorf("its container is %+v", c)
	}
	if one.Namespace != "default" || one.Name != "one" {
		t.Errorf("the Pod is %+v", one.ObjectMeta)
	}
}
