package main

import (
	"strings"
	"testing"
)

const output = `=== RUN   TestConformance
    conformance.go:117: Running conformance tests with:
=== RUN   TestConformance/HTTPRouteWeight
=== PAUSE TestConformance/HTTPRouteWeight
=== RUN   TestConformance/HTTPRouteCORS
=== NAME  TestConformance/HTTPRouteCORS
    helpers.go:1:
        	Error Trace:	helpers.go:1
        	Error:      	Received unexpected error:
        	            	context deadline exceeded
        	Test:       	TestConformance/HTTPRouteCORS
        	Messages:   	error waiting for it
=== CONT  TestConformance/HTTPRouteWeight
=== RUN   TestConformance/HTTPRouteWeight/0_request
        	Error:      	a later error
=== NAME  TestConformance/UDPRoute
    udproute.go:3: no answer
=== FAIL  UDPRoute
=== FAIL  HTTPRouteCORS
=== PASS  HTTPRouteMatching
=== FAIL  HTTPRouteWeight
=== SKIP  MeshBasic
--- FAIL: TestConformance (1.00s)
    --- FAIL: TestConformance/HTTPRouteCORS (1.00s)
        --- PASS: TestConformance/HTTPRouteCORS/0_request (1.00s)
FAIL
`

func TestOutcome(t *testing.T) {
	var o outcome
	var failed []string
	for line := range strings.Lines(output) {
		if name := o.add(line); name != "" {
			failed = append(failed, name)
		}
	}
	var text strings.Builder
	o.print(&text)
	const want = `
1 tests passed, 3 failed, 1 were skipped (of service meshes, or of features that are not claimed)
FAIL UDPRoute: udproute.go:3: no answer
FAIL HTTPRouteCORS: Received unexpected error: context deadline exceeded | error waiting for it
FAIL HTTPRouteWeight: a later error
`
	if text.String() != want {
		t.Errorf("got %s\nwant %s", text.String(), want)
	}
	if got := strings.Join(failed, " "); got != "UDPRoute HTTPRouteCORS HTTPRouteWeight" {
		t.Errorf("told at once: %s", got)
	}
}
