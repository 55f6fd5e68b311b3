// Package schema holds what internal/kubernetes accepts from files, and the defaults that it fills in, to what an API server
// does with the CRDs of the Gateway API and of config/crd: thousands of objects, each broken in a way of its own.
package schema
