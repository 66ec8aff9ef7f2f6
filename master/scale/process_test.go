//go:build linux

package scale_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is a part of the swarm.
type process struct {
	cmd   *exec.Cmd
	log   strings.Builder
	ended chan struct{} // closed when everything that it said was heard
	err   error         // how it ended, once ended is closed
}

// start starts a process. Each thing that it says goes to hear, from one
// goroutine. It is told to end, and waited for, when the test ends.
func start(t *testing.T, o order, hear func(said)) *process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	p.cmd.Stderr = &p.log
	stdin, err1 := p.cmd.StdinPipe() // its end, whatever ends this process, ends that one
	stdout, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = errors.Join(listen(stdout, hear), p.cmd.Wait())
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // it may have ended
		select {
		case <-p.ended:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		if t.Failed() {
			t.Logf("process %d: %v\n%s", p.cmd.Process.Pid, p.err, tail(p.log.String()))
		}
	})
	return p
}

func listen(from io.Reader, hear func(said)) error {
	for decoder := json.NewDecoder(from); ; {
		var s said
		switch err := decoder.Decode(&s); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		hear(s)
	}
}

// tail returns the end of a log.
func tail(log string) string { return log[max(0, len(log)-4000):] }

// memory is the most that a process that has ended had resident, in bytes.
func (p *process) memory() int64 {
	return p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// cpu is the processor time that a living process has used, by the clock that
// clock_getcpuclockid(3) returns for it.
func cpu(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
