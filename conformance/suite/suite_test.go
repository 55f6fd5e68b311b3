// Package suite is the Gateway API's conformance suite, as its authors publish it.
package suite

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

// TestConformance runs against the cluster of KUBECONFIG. The suite registers its own flags.
func TestConformance(t *testing.T) { conformance.RunConformance(t) }
