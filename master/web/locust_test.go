package web_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// python is Debian's, which has Debian's Locust.
const python = "/usr/bin/python3"

// start runs Locust. Debian's package does not know its own version, and a master
// turns away a worker without one.
const start = `
import sys, locust, locust.runners
locust.__version__ = locust.runners.__version__ = "2.12.1"
from locust.main import main
sys.exit(main())
`

const locustfile = `
from locust import HttpUser, constant, task

class Reader(HttpUser):
    wait_time = constant(0.05)

    @task
    def good(self):
        self.client.get("/good")

    @task
    def bad(self):
        self.client.get("/bad")
`

// The contract is what a real Locust does, where that is old enough to tell.
func TestLocustKeepsTheContract(t *testing.T) {
	t.Parallel()
	if err := exec.Command(python, "-c", "import locust").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("python3-locust is missing: .ci/setup installs it (%v)", err)
		}
		t.Skip("python3-locust is not installed")
	}
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(target.Close)
	file := filepath.Join(t.TempDir(), "locustfile.py")
	if err := os.WriteFile(file, []byte(locustfile), 0o600); err != nil {
		t.Fatal(err)
	}
	port, bind := freePort(t), freePort(t)
	locust(t, "-f", file, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", bind,
		"--web-host", "127.0.0.1", "--web-port", port, "-H", target.URL)
	locust(t, "-f", file, "--worker", "--master-host", "127.0.0.1", "--master-port", bind)
	a := api{"http://127.0.0.1:" + port, locust2121}
	eventually(t, "Locust's master has a worker", func() bool {
		answer, err := http.Get(a.base + "/stats/requests")
		if err != nil {
			return false
		}
		answer.Body.Close()
		report := a.json(t, "/stats/requests")
		return len(report["workers"].([]any)) == 1
	})
	checkContract(t, a)
}

// freePort is a port of loopback that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

// locust starts a process of Locust, which ends with the test.
func locust(t *testing.T, args ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, python, append([]string{"-c", start}, args...)...)
	cmd.Env = append(os.Environ(), "LOCUST_LOGLEVEL=WARNING")
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("locust %v said:\n%s", args, said.String())
		}
	})
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits until something outside of this process is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not so within 30 s: %s", what)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}
