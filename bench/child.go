package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// child is a process of ours. What it prints to standard error is kept, to say
// why one has died.
type child struct {
	name   string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan struct{}
}

func newChild(name string, cmd *exec.Cmd) *child {
	c := &child{name: name, cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &c.stderr
	return c
}

func (c *child) start() error {
	if err := c.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	return nil
}

// kill ends the process at once and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// died returns an error if the process has ended by itself.
func (c *child) died() error {
	select {
	case <-c.exited:
		return fmt.Errorf("%s has ended: %s", c.name, strings.TrimSpace(c.stderr.String()))
	default:
		return nil
	}
}

// clockTick is the unit of CPU times in /proc, the same on every Linux that Go
// runs on (sysconf(_SC_CLK_TCK), proc_pid_stat(5)).
const clockTick = 10 * time.Millisecond

// cpu returns the processor time that the process has taken, in user mode and
// in the kernel, all threads together.
func (c *child) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name in brackets, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/…/stat is not as in proc_pid_stat(5)")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, err
}

// memory returns the memory that the process has now and has had at most, in
// bytes (VmRSS and VmHWM of proc_pid_status(5)).
func (c *child) memory() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); n == 1 {
			now = kilobytes << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			peak = kilobytes << 10
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("/proc/…/status has no VmRSS or VmHWM")
	}
	return now, peak, nil
}
