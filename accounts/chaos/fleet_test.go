//go:build linux

package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is one worker process.
type process struct {
	name    string // of its history: the worker's name and which one of that name
	history string
	log     string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	said    *lines
	ended   chan struct{} // closed when it has ended and been waited for
	started int64
	// Of the rig alone: whether it has a wrong clock, and has said that it is ready.
	wrongClock, isReady bool

	mu    sync.Mutex // guards stops
	stops []span     // when it was stopped by a signal
}

// span is a time between two readings of now(); to is 0 while it lasts.
type span struct{ from, to int64 }

// lines are the lines that a process has said and nobody has asked for yet.
type lines struct {
	ch   chan string
	rest []byte // only of Write, which exec calls from one goroutine
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.rest = rest
		select {
		case l.ch <- string(line):
		default: // nobody waits for that many
		}
	}
}

// startProcess starts a worker. As redistest does, it keeps a thread for it, so
// that the kernel kills the worker when this process ends.
func startProcess(binary, folder string, generation int, o order, extra ...string) (*process, error) {
	p := &process{
		name: o.Name + "." + strconv.Itoa(generation), said: &lines{ch: make(chan string, 16)}, ended: make(chan struct{}),
	}
	p.history, p.log = filepath.Join(folder, p.name+".history"), filepath.Join(folder, p.name+".log")
	o.History = p.history
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(binary)
	p.cmd.Env = append(append(os.Environ(), workerVariable+"="+string(text)), extra...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.started = now()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start worker %s: %w", p.name, err)
	}
	return p, nil
}

// tell writes a command.
func (p *process) tell(command string) error {
	if _, err := io.WriteString(p.stdin, command+"\n"); err != nil {
		return fmt.Errorf("tell %s to %s: %w", p.name, command, err)
	}
	return nil
}

// hear waits until the worker says the word.
func (p *process) hear(ctx context.Context, word string) error {
	for {
		select {
		case got := <-p.said.ch:
			if got == word {
				return nil
			}
		case <-p.ended:
			return fmt.Errorf("worker %s has ended: %v", p.name, p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("worker %s does not say %q: %w", p.name, word, context.Cause(ctx))
		}
	}
}

// kill kills the process (kill -9) and returns once the kernel has confirmed
// that this is how it ended.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill worker %s: %w", p.name, err)
	}
	<-p.ended
	p.mu.Lock()
	p.endStop()
	p.mu.Unlock()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("kill worker %s: it ended otherwise: %v", p.name, p.cmd.ProcessState)
	}
	return nil
}

// stop stops the process (SIGSTOP) and returns once it is stopped.
func (p *process) stop(ctx context.Context) error {
	p.mu.Lock()
	p.stops = append(p.stops, span{from: now()})
	p.mu.Unlock()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop worker %s: %w", p.name, err)
	}
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return fmt.Errorf("stop worker %s: %w", p.name, err)
		}
		// "pid (name) state ...", and the name may contain anything.
		if bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
			return nil
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// cont lets the process go on (SIGCONT).
func (p *process) cont() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue worker %s: %w", p.name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endStop()
	return nil
}

// endStop needs mu.
func (p *process) endStop() {
	if n := len(p.stops); n > 0 && p.stops[n-1].to == 0 {
		p.stops[n-1].to = now()
	}
}

// wasStopped says whether the process was stopped at some time in between.
func (p *process) wasStopped(from, to int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.stops {
		if s.from <= to && (s.to == 0 || s.to >= from) {
			return true
		}
	}
	return false
}

// leave ends the process in good order.
func (p *process) leave(ctx context.Context) error {
	if err := p.tell("leave"); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("worker %s does not leave: %w", p.name, context.Cause(ctx))
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("worker %s: %v", p.name, p.cmd.ProcessState)
	}
	return nil
}

// complaints returns what the race detector and panics have left in the log.
func (p *process) complaints() error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	for _, word := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if i := bytes.Index(text, []byte(word)); i >= 0 {
			return errors.New(p.name + ": " + string(text[i:min(len(text), i+4000)]))
		}
	}
	return nil
}
