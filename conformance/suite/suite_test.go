// Package suite is the Gateway API's conformance suite, as its authors publish it.
package suite

import (
	"fmt"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// TestConformance runs against the cluster of KUBECONFIG. The suite registers its own flags.
func TestConformance(t *testing.T) {
	opts := conformance.DefaultOptions(t)
	opts.Hook = tell
	conformance.RunConformanceWithOptions(t, opts)
}

// tell prints what came of a test as soon as it has ended; the testing package waits for all.
func tell(t *testing.T, test suite.ConformanceTest, _ *suite.ConformanceTestSuite) {
	result := "PASS"
	switch {
	case t.Failed():
		result = "FAIL"
	case t.Skipped():
		result = "SKIP"
	}
	fmt.Printf("=== %s  %s\n", result, test.ShortName)
}
