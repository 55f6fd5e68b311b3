package interop

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A chaosNetwork has every instance in a network namespace of its own, on a bridge: one whose port is taken from the bridge
// is not reset, refused or reported, its packets just do not arrive.
type chaosNetwork struct {
	prefix  string // of the names of what was made
	subnet  string // "198.18.7."
	gateway string // address of this machine on the bridge
}

// newChaosNetwork makes the bridge and n namespaces; why says why there are none, if so: that takes root.
func newChaosNetwork(t *testing.T, n int) (net *chaosNetwork, why string) {
	pid := os.Getpid()
	// RFC 2544, section C.2.2: 198.18.0.0/15 is for tests of networks.
	c := &chaosNetwork{prefix: fmt.Sprintf("fl%d", pid), subnet: fmt.Sprintf("198.%d.%d.", 18+pid>>8&1, pid&255)}
	c.gateway = c.subnet + "1"
	t.Cleanup(func() {
		for i := range n {
			_ = c.ip("netns", "del", c.name(i))
		}
		_ = c.ip("link", "del", c.prefix)
	})
	steps := [][]string{
		{"link", "add", c.prefix, "type", "bridge"},
		{"addr", "add", c.gateway + "/24", "dev", c.prefix},
		{"link", "set", c.prefix, "up"},
	}
	for i := range n {
		name := c.name(i)
		steps = append(steps,
			[]string{"netns", "add", name},
			[]string{"link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name},
			[]string{"link", "set", name, "master", c.prefix},
			[]string{"link", "set", name, "up"},
			[]string{"-n", name, "addr", "add", c.host(i) + "/24", "dev", "eth0"},
			[]string{"-n", name, "link", "set", "eth0", "up"},
			[]string{"-n", name, "link", "set", "lo", "up"},
		)
	}
	for _, args := range steps {
		if err := c.ip(args...); err != nil {
			return nil, err.Error()
		}
	}
	return c, ""
}

// name is that of namespace i and of its port on the bridge.
func (c *chaosNetwork) name(i int) string { return fmt.Sprintf("%si%d", c.prefix, i+1) }

// host is the address of namespace i.
func (c *chaosNetwork) host(i int) string { return fmt.Sprintf("%s%d", c.subnet, 11+i) }

// inside is argv as it runs in namespace i.
func (c *chaosNetwork) inside(i int, argv ...string) []string {
	return append([]string{"ip", "netns", "exec", c.name(i)}, argv...)
}

// cut takes the cable of namespace i out.
func (c *chaosNetwork) cut(i int) error { return c.ip("link", "set", c.name(i), "nomaster") }

// mend puts it back.
func (c *chaosNetwork) mend(i int) error { return c.ip("link", "set", c.name(i), "master", c.prefix) }

func (c *chaosNetwork) ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
