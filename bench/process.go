package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process that we started, with everything it started: they share a process group.
type child struct {
	cmd  *exec.Cmd
	log  string        // file of its standard output and error
	done chan struct{} // closed when it has ended
}

// spawn starts argv in its own process group, its output in a file of its own name below dir.
func (b *bench) spawn(name string, argv ...string) (*child, error) {
	c := &child{cmd: exec.Command(argv[0], argv[1:]...), log: filepath.Join(b.dir, name+".out"), done: make(chan struct{})}
	out, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = ownGroup()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	b.children = append(b.children, c)
	go c.wait()
	return c, nil
}

// ownGroup lets a child be signalled with all it started, and ends it even if we are killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func (c *child) wait() {
	_ = c.cmd.Wait() // how it ended is of no interest: its output is in the log
	close(c.done)
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// lastWords is the end of what a child wrote, for an error message.
func (c *child) lastWords() string {
	out, _ := os.ReadFile(c.log)
	return strings.TrimSpace(string(out[max(0, len(out)-600):]))
}

// stopChild asks the group to end, and kills after 3 s what has not. A nil child is no error.
func (b *bench) stopChild(c *child) {
	if c == nil {
		return
	}
	b.children = slices.DeleteFunc(b.children, func(other *child) bool { return other == c })
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM) // it may have ended already
	select {
	case <-c.done:
	case <-time.After(3 * time.Second):
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // workers whose master went first, too
	<-c.done
}

func (b *bench) stopAll() {
	for _, c := range slices.Clone(b.children) {
		b.stopChild(c)
	}
}

// pids are the living processes of the child's group.
func (c *child) pids() []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil {
			continue // ended meanwhile
		}
		fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:])) // state ppid pgrp ...
		if len(fields) > 2 && fields[2] == strconv.Itoa(c.cmd.Process.Pid) && fields[0] != "Z" {
			out = append(out, filepath.Base(filepath.Dir(f)))
		}
	}
	return out
}

// resident is the resident memory of the child's group in bytes. smaps_rollup counts pages;
// the counters of status are allowed to be off by some hundred kilobytes.
func (c *child) resident() (int64, error) {
	var total int64
	for _, pid := range c.pids() {
		text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			return 0, err
		}
		_, rest, found := strings.Cut(string(text), "\nRss:")
		var kib int64
		if _, err := fmt.Sscan(rest, &kib); !found || err != nil {
			return 0, fmt.Errorf("smaps_rollup of %s: no Rss", pid)
		}
		total += kib << 10
	}
	return total, nil
}
