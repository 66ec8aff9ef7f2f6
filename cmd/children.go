package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// parentPipe names the variable that tells a child which descriptor is the
// pipe from its parent.
const parentPipe = "THRONG_PARENT_PIPE"

// obeyParent returns a context that also ends when the parent does. The pipe
// carries nothing: its end of file means that the parent has closed it or has
// died, whatever way it died.
func obeyParent(ctx context.Context, lookup func(string) (string, bool)) (context.Context, func()) {
	text, ok := lookup(parentPipe)
	fd, err := strconv.Atoi(text)
	if !ok || err != nil {
		return ctx, func() {}
	}
	// Without this, closing the pipe would not unblock its reader.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	pipe := os.NewFile(uintptr(fd), "parent")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, pipe) // until the end, however it comes
		cancel()
	}()
	return ctx, func() {
		_ = pipe.Close() // unblocks the reader
		cancel()
		<-done
	}
}

// How long children may take to end by themselves, then after their pipe was
// closed.
const (
	leaveTime = 10 * time.Second
	closeTime = 15 * time.Second
)

// children are the processes that this one has started. They are this
// executable again, in process groups of their own, so that a terminal's
// Ctrl-C reaches only the parent, which then stops them in order.
type children struct {
	e   env
	log *zap.Logger
	// ended is told of a child that has ended badly, from its own goroutine.
	ended func(error)

	mu      sync.Mutex // guards what follows
	running []*child
}

type child struct {
	name   string
	cmd    *exec.Cmd
	pipe   *os.File // this end; closing it tells the child to stop
	exited chan struct{}
}

// childError says how a child has ended.
type childError struct {
	name string
	pid  int
	err  error
}

func (e *childError) Error() string {
	return fmt.Sprintf("throng %s (pid %d) ended: %v", e.name, e.pid, e.err)
}

func (e *childError) Unwrap() error { return e.err }

// start starts `throng ARGS...` with these variables added to the environment.
func (c *children) start(variables []string, args ...string) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own executable: %w", err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	cmd := exec.Command(executable)
	cmd.Args = append([]string{"throng"}, args...)
	cmd.Env = append(os.Environ(), parentPipe+"=3") // the first of ExtraFiles
	cmd.Env = append(cmd.Env, variables...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = c.e.stderr, c.e.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return fmt.Errorf("start throng %s: %w", args[0], err)
	}
	ch := &child{name: args[0], cmd: cmd, pipe: ours, exited: make(chan struct{})}
	go func() {
		defer close(ch.exited)
		if err := cmd.Wait(); err != nil {
			c.log.Warn("a child process ended badly", zap.String("process", ch.name), zap.Int("pid", cmd.Process.Pid), zap.Error(err))
			c.ended(&childError{ch.name, cmd.Process.Pid, err})
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = append(c.running, ch)
	return nil
}

// end makes sure that no child is left: it waits for those that leave by
// themselves, then tells them to, then kills them.
func (c *children) end(leave time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var problems []error
	deadline := time.After(leave)
	for _, ch := range c.running {
		select {
		case <-ch.exited:
			continue
		case <-deadline:
			deadline = closed()
		}
	}
	for _, ch := range c.running {
		_ = ch.pipe.Close() // the child sees it, or is gone already
	}
	deadline = time.After(closeTime)
	for _, ch := range c.running {
		select {
		case <-ch.exited:
			continue
		case <-deadline:
			deadline = closed()
		}
		problems = append(problems, fmt.Errorf("throng %s (pid %d) did not stop and was killed", ch.name, ch.cmd.Process.Pid))
		_ = ch.cmd.Process.Kill()
		<-ch.exited
	}
	c.running = nil
	return errors.Join(problems...)
}

// closed is a deadline that has passed.
func closed() <-chan time.Time {
	ch := make(chan time.Time)
	close(ch)
	return ch
}
