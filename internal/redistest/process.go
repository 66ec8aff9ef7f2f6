//go:build unix

package redistest

import (
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// process is one process of a server.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and been waited for
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// launch starts a process and returns once it answers. As in the package's
// launch, the goroutine that starts it keeps its thread until the end.
func (o Options) launch(path, dir string, port int) (*process, error) {
	args := []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--daemonize", "no",
		"--save", "", "--maxmemory-policy", "noeviction",
	}
	if o.AppendOnly {
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec",
			"--auto-aof-rewrite-percentage", "0")
	}
	if o.ReplicaOf != "" {
		host, port, _ := strings.Cut(o.ReplicaOf, ":")
		args = append(args, "--replicaof", host, port)
	}
	cmd := exec.Command(path, append(args, o.Config...)...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	dieWithParent(cmd)
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		<-p.ended
		return nil, err
	}
	if err := await(port, cmd.Process.Pid, p.ended); err != nil {
		_ = cmd.Process.Kill()
		<-p.ended
		return nil, err
	}
	return p, nil
}
