package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/conformance/cluster"
)

// suiteTimeout is the suite's own limit: it then says where it is.
const suiteTimeout = "20m"

// runSuite runs the suite to its end and prints what came of it. The code is the suite's.
func runSuite(ctx context.Context, c *cluster.Cluster, o options, logf func(string, ...any)) (int, error) {
	log, err := os.Create(filepath.Join(o.out, "suite.log"))
	if err != nil {
		return 1, err
	}
	defer func() { _ = log.Close() }()
	report := filepath.Join(o.out, "report.yaml")
	args := []string{
		"-test.v", "-test.timeout=" + suiteTimeout,
		"-conformance-options-file=" + o.suiteOptions, "-report-output=" + report,
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.tools, "conformance.test"), append(args, o.suite...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it then says where it is
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	var outcome outcome
	parsed := make(chan struct{})
	go func() {
		defer close(parsed)
		lines := bufio.NewReader(io.TeeReader(read, log))
		for {
			line, err := lines.ReadString('\n')
			if failed := outcome.add(line); failed != "" {
				logf("FAIL %s", failed)
			}
			if err != nil {
				return
			}
		}
	}()
	logf("the suite is started; its output is %s", log.Name())
	err = cmd.Run()
	_ = write.Close()
	<-parsed
	logf("the suite has ended")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	outcome.print(os.Stdout)
	return cmd.ProcessState.ExitCode(), printReport(os.Stdout, report)
}
