package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// The addresses inside the namespace. Pods have addresses of their own on a bridge, because
// kube-apiserver refuses loopback addresses in EndpointSlices and every echo server listens on
// the same ports. Gateways bind addresses of the two local ranges.
const (
	nodeAddress = "10.244.0.1"
	podPrefix   = "10.244"

	// AddressPool is what Gateways that ask for no address get theirs from.
	AddressPool = "10.96.255.0/24"
	// UsableAddress can be bound and is not in AddressPool; UnusableAddress cannot be (RFC 5737).
	UsableAddress   = "10.96.254.1"
	UnusableAddress = "192.0.2.1"
)

// insideVariable tells the process that it is the one inside the namespaces.
const insideVariable = "FAIRLEAD_CONFORMANCE_INSIDE"

// Inside tells whether this process has been started by Isolate.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Isolate runs this program again, with the same arguments, in network, mount and process
// namespaces of its own, and returns its exit code when it has ended. Nothing that it starts
// outlives it or is seen from outside. Without root it takes a user namespace too. An error
// means that the machine does not allow that.
func Isolate() (int, error) {
	runtime.LockOSThread() // Pdeathsig counts from the death of the thread that started the child
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = isolation()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("namespaces: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case sig := <-stop:
			_ = cmd.Process.Signal(sig)
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, err
			}
			if code := cmd.ProcessState.ExitCode(); code >= 0 {
				return code, nil
			}
			return 0, err // killed
		}
	}
}

func isolation() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Check tells why this machine cannot run the cluster, or nil: it tries namespaces, a bridge and
// a pair of connected interfaces, and leaves nothing behind.
func Check() error {
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("the command ip is missing (Debian: iproute2)")
	}
	cmd := exec.Command("sh", "-ec", `ip link add br0 type bridge
ip link add v0 type veth peer name v1
ip route add local 10.96.255.0/24 dev lo 2>/dev/null || { ip link set lo up && ip route add local 10.96.255.0/24 dev lo; }`)
	cmd.SysProcAttr = isolation()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("network namespaces: %w: %s", err, out)
	}
	return nil
}

// openNetwork makes the namespace's network: loopback, the pods' bridge, the gateways' ranges. It
// returns this process's number as it is seen from outside.
func openNetwork() (pid string, err error) {
	if pid, err = os.Readlink("/proc/self"); err != nil { // still the outer /proc
		return "", err
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("mounts: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return "", fmt.Errorf("/proc: %w", err)
	}
	return pid, shell(`ip link set lo up
ip link add br0 type bridge
ip addr add %s/16 dev br0
ip link set br0 up
ip route add local %s dev lo
ip route add local %s/32 dev lo`, nodeAddress, AddressPool, UsableAddress)
}

// podLink connects the network namespace of process pid to the bridge as eth0.
func podLink(number, pid int) error {
	return shell(`ip link add v%[1]d type veth peer name eth0 netns %[2]d
ip link set v%[1]d master br0 up`, number, pid)
}

// PodInit is the first thing that runs in a pod's network namespace: it waits on standard input
// for its address, takes it, and becomes the pod's program, which is os.Args[2:].
func PodInit() error {
	var address string
	if _, err := fmt.Fscan(os.Stdin, &address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	err := shell(`ip link set lo up
ip addr add %s/16 dev eth0
ip link set eth0 up
ip route add default via %s`, address, nodeAddress)
	if err != nil {
		return err
	}
	return syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
}

func shell(format string, args ...any) error {
	script := fmt.Sprintf(format, args...)
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}
