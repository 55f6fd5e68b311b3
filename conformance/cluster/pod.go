package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A pod is one process in a network namespace of its own.
type pod struct {
	spec   *corev1.Pod // constant, as it was when it was seen first
	number int
	cancel context.CancelFunc // ends the process
	log    podLog
}

// address is unique while the cluster lives; 10.244.0.x is the node's.
func (p *pod) address() string {
	return fmt.Sprintf("%s.%d.%d", podPrefix, 1+p.number/250, 1+p.number%250)
}

// run binds a pod to this node, starts its process, reports it ready and waits for its end.
func (n *node) run(ctx context.Context, p *pod) error {
	if err := n.bind(ctx, p); err != nil {
		return err
	}
	if len(p.spec.Spec.Containers) != 1 {
		return errors.New("only pods with one container can run here")
	}
	container := p.spec.Spec.Containers[0]
	program, err := n.program(container.Image)
	if err != nil {
		return err
	}
	dir := filepath.Join(n.opts.Dir, "pods", p.spec.Namespace, p.spec.Name)
	volumes, err := n.mount(ctx, p.spec, dir)
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	p.log.file = file

	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"pod"}, program...)...)
	cmd.Env = environment(p, container, volumes)
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	start, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ready := n.serve(ctx, p, cmd.Process.Pid, func() error {
		_, err := fmt.Fprintln(start, p.address())
		return errors.Join(err, start.Close())
	})
	if ready != nil {
		p.cancel()
	}
	return errors.Join(ready, cmd.Wait())
}

// serve connects a started pod, lets it run, and reports it once it listens.
func (n *node) serve(ctx context.Context, p *pod, pid int, run func() error) error {
	if err := podLink(p.number, pid); err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	if err := awaitListening(ctx, pid); err != nil {
		return err
	}
	return n.report(ctx, p)
}

func (n *node) bind(ctx context.Context, p *pod) error {
	if p.spec.Spec.NodeName != "" {
		return nil
	}
	return n.client.CoreV1().Pods(p.spec.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: p.spec.Name, Namespace: p.spec.Namespace, UID: p.spec.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
	}, metav1.CreateOptions{})
}

// program is what runs for an image: the suite has two.
func (n *node) program(image string) ([]string, error) {
	switch {
	case strings.Contains(image, "/echo-basic:"):
		return []string{n.opts.Echo}, nil
	case strings.Contains(image, "/coredns:"):
		return []string{"/proc/self/exe", "dns"}, nil
	}
	return nil, fmt.Errorf("no program for image %q", image)
}

// environment is the container's, with paths of volumes as they are on this machine.
func environment(p *pod, c corev1.Container, volumes map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, v := range c.Env {
		value := v.Value
		for _, m := range c.VolumeMounts {
			if rest, ok := strings.CutPrefix(value, m.MountPath); ok {
				value = volumes[m.Name] + rest
				break
			}
		}
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			switch v.ValueFrom.FieldRef.FieldPath {
			case "metadata.name":
				value = p.spec.Name
			case "metadata.namespace":
				value = p.spec.Namespace
			case "status.podIP":
				value = p.address()
			}
		}
		env = append(env, v.Name+"="+value)
	}
	return env
}

// awaitListening returns once a socket listens in the network namespace of process pid.
func awaitListening(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !listening(pid) {
		select {
		case <-ctx.Done():
			return errors.New("it does not listen")
		case <-tick.C:
		}
	}
	return nil
}

// listening reads the kernel's tables: a TCP socket in state 0A (LISTEN), or any UDP socket.
func listening(pid int) bool {
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		for _, line := range lines[1:] {
			fields := strings.Fields(line)
			if len(fields) > 3 && (strings.HasPrefix(table, "udp") || fields[3] == "0A") {
				return true
			}
		}
	}
	return false
}

// report writes the status of a pod that is ready.
func (n *node) report(ctx context.Context, p *pod) error {
	pods := n.client.CoreV1().Pods(p.spec.Namespace)
	current, err := pods.Get(ctx, p.spec.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now, yes := metav1.Now(), true
	container := p.spec.Spec.Containers[0]
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, HostIP: nodeAddress, PodIP: p.address(), PodIPs: []corev1.PodIP{{IP: p.address()}},
		StartTime: &now, QOSClass: current.Status.QOSClass,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: container.Name, Image: container.Image, Ready: true, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		}},
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now}
		status.Conditions = append(status.Conditions, condition)
	}
	current.Status = status
	_, err = pods.UpdateStatus(ctx, current, metav1.UpdateOptions{})
	return err
}
