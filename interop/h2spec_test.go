package interop

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// h2specNeeded is how many of h2spec's cases must pass.
const h2specNeeded = 140

var h2specSummary = regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`)

// h2spec is the tool that `make http` builds.
func h2spec(t *testing.T) string {
	t.Helper()
	name := os.Getenv("FAIRLEAD_H2SPEC")
	if name == "" {
		name = "../.tools/h2spec"
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("no h2spec: %v; run `make http`", err)
	}
	return absolute(t, name)
}

// h2spec sends HTTP/2 frames, right and wrong ones, to a route of a service. What fails is in the test's log.
func TestHTTP2Spec(t *testing.T) {
	g := startGateway(t, newPKI(t))
	g.serve(t, "spec", answer(1024))
	for _, tc := range []struct {
		name, address string
		args          []string
	}{
		{"TLS", g.https, []string{"-t", "-k"}},
		{"prior knowledge", g.plain, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, port, err := net.SplitHostPort(tc.address)
			if err != nil {
				t.Fatal(err)
			}
			args := append([]string{"-h", "localhost", "-p", port, "-P", "/spec/api/v1/x", "-o", "2"}, tc.args...)
			cmd := exec.CommandContext(beforeDeadline(t), h2spec(t), args...)
			cmd.WaitDelay = time.Second
			out, _ := cmd.CombinedOutput() // it exits with 1 if any case fails
			found := h2specSummary.FindStringSubmatch(string(out))
			if found == nil {
				t.Fatalf("h2spec says no summary:\n%s", out)
			}
			t.Logf("%s\n%s", found[0], h2specFailures(string(out)))
			if passed, _ := strconv.Atoi(found[2]); passed < h2specNeeded {
				t.Errorf("%d cases pass, want %d", passed, h2specNeeded)
			}
		})
	}
}

// h2specFailures is the part of h2spec's output that tells what failed, without the cases that passed.
func h2specFailures(out string) string {
	_, failures, found := strings.Cut(out, "Failures:")
	if !found {
		return "nothing fails"
	}
	return failures
}
