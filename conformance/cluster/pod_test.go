package cluster

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodLog(t *testing.T) {
	l := podLog{file: io.Discard}
	write := func(text string) {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	write("one\ntw")
	before := time.Now()
	write("o\nthree")
	if got := string(l.since(time.Time{})); got != "one\ntwo\n" {
		t.Errorf("all of it: %q", got)
	}
	if got := string(l.since(before)); got != "two\n" {
		t.Errorf("a line counts from when it has ended: %q", got)
	}
	write(strings.Repeat("\n", 2*maxLogLines))
	if len(l.lines) > maxLogLines {
		t.Errorf("%d lines are kept", len(l.lines))
	}
}

func TestEnvironment(t *testing.T) {
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	p := &pod{number: 250, spec: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}}}
	got := environment(p, corev1.Container{
		Env: []corev1.EnvVar{
			{Name: "POD", ValueFrom: field("metadata.name")},
			{Name: "NS", ValueFrom: field("metadata.namespace")},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "CERT", Value: "/etc/secret/crt"},
			{Name: "PORT", Value: "3000"},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/etc/secret"}},
	}, map[string]string{"v": "/tmp/v"})
	want := []string{"POD=web", "NS=ns", "IP=10.244.2.1", "CERT=/tmp/v/crt", "PORT=3000"}
	if !slices.Equal(got[1:], want) {
		t.Errorf("got  %q\nwant %q", got[1:], want)
	}
}

func TestAddressesAreUnique(t *testing.T) {
	seen := map[string]bool{nodeAddress: true}
	for number := 1; number <= 5000; number++ {
		address := (&pod{number: number}).address()
		if seen[address] || strings.HasPrefix(address, "10.244.0.") {
			t.Fatalf("pod %d: %s is taken", number, address)
		}
		seen[address] = true
	}
}
