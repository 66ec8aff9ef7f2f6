package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Main runs a package's tests with one real redis-server beside them, and
// returns their exit code:
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
//
// The server listens on a free port of 127.0.0.1, keeps nothing on disk, and
// ends with the test binary, however that ends. Without an installed
// redis-server the tests run all the same: see URL.
func Main(m *testing.M) int {
	stop, err := start()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return m.Run()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	defer shared.stop()
	return m.Run()
}

// start starts the server and publishes its URL. The returned function kills
// it, waits for its end, and removes its folder.
func start() (stop func(), err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, fmt.Errorf("redistest: make the server's folder: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	// Between finding a free port and the server's bind somebody else may take
	// it: then the server ends at once and the next port is tried.
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		var kill func()
		if kill, err = launch(path, dir, port); err == nil {
			err = os.Setenv(urlVariable, "redis://127.0.0.1:"+strconv.Itoa(port))
			return func() { kill(); remove() }, err
		}
	}
	remove()
	return nil, fmt.Errorf("redistest: start redis-server: %w", err)
}

// launch starts one server process, with more arguments than every server gets,
// and returns once it answers. The goroutine that starts it keeps its OS thread
// until the end: the kernel is asked to kill the child when that thread dies,
// and a thread that Go retires early would take the server along.
func launch(path, dir string, port int, more ...string) (kill func(), err error) {
	cmd := exec.Command(path, append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--daemonize", "no",
		"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"}, more...)...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	dieWithParent(cmd)

	started, stop, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			close(ended)
			return
		}
		go func() {
			defer close(ended)
			_ = cmd.Wait()
		}()
		started <- nil
		select {
		case <-stop:
			_ = cmd.Process.Kill()
			<-ended
		case <-ended:
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	kill = func() { close(stop); <-ended }
	if err := await(port, cmd.Process.Pid, ended); err != nil {
		kill()
		return nil, err
	}
	return kill, nil
}

// await returns when the server with this process id answers on the port, or
// when it has ended. The process id matters: another package's server may have
// taken the port.
func await(port, pid int, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := "127.0.0.1:" + strconv.Itoa(port)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		// Not by way of go-redis, which logs every refusal.
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-poll.C:
		case <-ended:
			return fmt.Errorf("it ended at once, with port %d", port)
		case <-ctx.Done():
			return fmt.Errorf("no answer on port %d: %w", port, err)
		}
	}
	rdb := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1, ContextTimeoutEnabled: true})
	defer rdb.Close()
	got, err := rdb.InfoMap(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("no answer on port %d: %w", port, err)
	}
	if have := got["Server"]["process_id"]; have != strconv.Itoa(pid) {
		return fmt.Errorf("port %d is taken", port)
	}
	return nil
}

func freePort() (int, error) {
	port, _, err := freePorts()
	return port, err
}

// freePorts returns two ports that were free a moment ago, and differ.
func freePorts() (one, other int, err error) {
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}
