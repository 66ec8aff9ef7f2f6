//go:build unix

package redistest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options says what a server of a test's own is like.
type Options struct {
	// AppendOnly keeps an append-only file, which is written to with every
	// command and to the disk every second.
	AppendOnly bool
	// ReplicaOf is the host:port of the server to follow; "" for none.
	ReplicaOf string
	// Config is further configuration, as redis-server takes it on its command
	// line: "--name", "value", ...
	Config []string
}

// Server is a redis-server of a test's own, to be killed, stopped, damaged and
// promoted. It is safe for concurrent use, but one method at a time makes sense.
type Server struct {
	path, dir string
	port      int

	mu      sync.Mutex // guards what follows
	options Options
	process *process // the last one; nil before the first
}

// Start starts a server on a free port of 127.0.0.1, with a folder of its own.
// It is killed and its folder removed when the test ends, or when the test
// binary ends in any way. Where no redis-server is installed the test is
// skipped, or fails when the environment variable CI is set.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("redistest: no real Redis: %v", err)
		}
		t.Skipf("redistest: no real Redis: %v", err)
	}
	s := &Server{path: path, dir: t.TempDir(), options: options}
	// Between finding a free port and the server's bind somebody else may take
	// it: then the server ends at once and the next port is tried.
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Restart(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("redistest: start redis-server: %v", err)
	}
	t.Cleanup(func() { s.end() })
	return s
}

// Addr returns host:port. It stays the same when the server is restarted.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// URL returns the address as redis://host:port.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// PID returns the process id of the last process.
func (s *Server) PID() int { return s.last().cmd.Process.Pid }

// Kill kills the process (kill -9) and returns once the kernel has confirmed
// that this is how it ended.
func (s *Server) Kill() error {
	p := s.last()
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("redistest: kill redis-server: %w", err)
	}
	<-p.ended
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("redistest: kill redis-server: it ended otherwise: %v", p.cmd.ProcessState)
	}
	return nil
}

// Restart starts a new process in place of one that has ended, with the same
// port, folder and options, and returns once it has loaded its data.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.process; p != nil && !p.hasEnded() {
		return errors.New("redistest: restart redis-server: it runs")
	}
	p, err := s.options.launch(s.path, s.dir, s.port)
	if err != nil {
		return fmt.Errorf("redistest: start redis-server: %w", err)
	}
	s.process = p
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		info, err := s.Info(ctx, "persistence")
		if err != nil {
			return fmt.Errorf("redistest: load data: %w", err)
		}
		if info["loading"] == "0" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redistest: load data: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop stops the process (SIGSTOP) and returns once it is stopped.
func (s *Server) Stop() error { return s.signal(syscall.SIGSTOP, true) }

// Cont lets a stopped process go on (SIGCONT).
func (s *Server) Cont() error { return s.signal(syscall.SIGCONT, false) }

// Promote makes a master of a replica, by what it has received so far. It is one
// after a Restart too.
func (s *Server) Promote(ctx context.Context) error {
	err := s.do(ctx, func(rdb *redis.Client) error { return rdb.Do(ctx, "REPLICAOF", "NO", "ONE").Err() })
	if err != nil {
		return fmt.Errorf("redistest: promote: %w", err)
	}
	info, err := s.Info(ctx, "replication")
	if err == nil && info["role"] != "master" {
		err = fmt.Errorf("its role is %q", info["role"])
	}
	if err != nil {
		return fmt.Errorf("redistest: promote: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.ReplicaOf = ""
	return nil
}

// Info returns the fields of one section of INFO.
func (s *Server) Info(ctx context.Context, section string) (map[string]string, error) {
	fields := map[string]string{}
	err := s.do(ctx, func(rdb *redis.Client) error {
		sections, err := rdb.InfoMap(ctx, section).Result()
		for _, of := range sections {
			maps.Copy(fields, of)
		}
		return err
	})
	return fields, err
}

// Configure sets one item of the configuration, until the next restart.
func (s *Server) Configure(ctx context.Context, name, value string) error {
	err := s.do(ctx, func(rdb *redis.Client) error { return rdb.ConfigSet(ctx, name, value).Err() })
	if err != nil {
		return fmt.Errorf("redistest: set %s: %w", name, err)
	}
	return nil
}

// do runs commands on a connection of their own.
func (s *Server) do(ctx context.Context, commands func(*redis.Client) error) error {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 30*time.Second {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil && !redis.HasErrorPrefix(err, "LOADING") {
		return err
	}
	return commands(rdb)
}

func (s *Server) last() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

func (s *Server) end() {
	p := s.last()
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// signal sends a signal and, if asked to, waits until the process is stopped.
func (s *Server) signal(sig syscall.Signal, stops bool) error {
	p := s.last()
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("redistest: send %v to redis-server: %w", sig, err)
	}
	for stops && !stopped(p.cmd.Process.Pid) {
		select {
		case <-p.ended:
			return fmt.Errorf("redistest: send %v to redis-server: it has ended", sig)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
