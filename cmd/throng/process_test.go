//go:build process

// These tests run the real binary as its users do: processes, signals, a real
// Redis, and figures held against the target's own counters.
package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/master/report"
)

var binary string // built once by TestMain

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "throng")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(folder, "throng")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := redistest.Main(m)
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// process is one run of the binary.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *output
	exited chan struct{}
}

// output collects what a process prints; both streams, in order.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start starts the binary in a folder of the test's own and makes sure that it
// is gone when the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith adds variables to the environment.
func startWith(t *testing.T, variables []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), variables...)
	return startCommand(t, cmd)
}

// startCommand starts any command the same way.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: new(output), exited: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the exit code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(cmd.Args, " "), p.out)
		}
	})
	return p
}

// wait returns the exit code.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("still running after %v: throng %s", limit, strings.Join(p.cmd.Args[1:], " "))
		return 0
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, limit time.Duration, condition func() bool) {
	t.Helper()
	deadline := time.After(limit)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited %v in vain for %s", limit, what)
		case <-ticker.C:
		}
	}
}

// says waits until the process has printed something that matches.
func (p *process) says(pattern string, limit time.Duration) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var match []string
	until(p.t, "output "+pattern, limit, func() bool {
		match = re.FindStringSubmatch(p.out.String())
		return match != nil
	})
	return match
}

// startTarget starts a target and returns its address.
func startTarget(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, append([]string{"target", "--listen", "127.0.0.1:0"}, args...)...)
	return p.says(`target at http://(\S+)`, 10*time.Second)[1]
}

func counters(t *testing.T, address string) target.Counters {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/admin/counters", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var c target.Counters
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return c
}

// spec writes a throng.yaml for a test's own pool and returns its path. Leases
// and sessions are short. Whether the machine of the tests, which run beside each
// other, could be trusted with a measurement is not what they ask.
func spec(t *testing.T, address string, more ...string) string {
	t.Helper()
	text := fmt.Sprintf(`
scenario: classroom
target: http+poll://%s
params:
  students_per_proctor: 9
  questions: 2
  think: { uniform: [50ms, 300ms] }
  period: { uniform: [1s, 2s] }
  intervene: { uniform: [500ms, 1s] }
  pause: { constant: 50ms }
lease_ttl: 3s
lock_delay: 500ms
accounts: { pool: %s, provision: { http: { rate: 5000/s } } }
probe: { rate: 50/s, on_time: 1s, timeout: 3s }
trust: { late_sends: 100%%, unwatched: 20%% }
%s
`, address, name(t), strings.Join(more, "\n"))
	path := filepath.Join(t.TempDir(), "throng.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// name is the swarm and the pool of this run of the test alone.
func name(t *testing.T) string {
	return strings.ReplaceAll(fmt.Sprintf("%s-%p", t.Name(), t), "/", ".")
}

func summary(t *testing.T, path string) *report.Summary {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := new(report.Summary)
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// operations adds up the succeeded operations of a type whose name has a prefix.
func operations(s *report.Summary, kind, prefix string) int64 {
	n := int64(0)
	for _, op := range s.Operations {
		if op.Type == kind && strings.HasPrefix(op.Name, prefix) {
			n += op.Count - op.Failures
		}
	}
	return n
}

// checkAgainstTarget holds the summary against the target's own counters.
func checkAgainstTarget(t *testing.T, s *report.Summary, c target.Counters) {
	t.Helper()
	if got, want := operations(s, "PUBLISH", "")+operations(s, "PROBE", "publish"), c.Requests["publish"]["201"]; got != want {
		t.Errorf("the summary has %d publishes, the target counted %d", got, want)
	}
	if got, want := operations(s, "LOGIN", "")+operations(s, "PROBE", "login"), c.Requests["login"]["200"]; got != want {
		t.Errorf("the summary has %d log-ins, the target counted %d", got, want)
	}
	if c.StaleTokenRequests != 0 {
		t.Errorf("%d requests came under a lease that had run out", c.StaleTokenRequests)
	}
}

// checkAccountsAreBack makes sure that nothing is leased and nothing missing.
func checkAccountsAreBack(t *testing.T, s *report.Summary) (reclaimed int64) {
	t.Helper()
	if len(s.Accounts) == 0 {
		t.Error("the summary has no accounts")
	}
	for _, a := range s.Accounts {
		if a.Leased != 0 || a.Available+a.Resting != a.Known {
			t.Errorf("accounts of role %s are not all back: %+v", a.Role, a)
		}
		reclaimed += a.Reclaimed
	}
	return reclaimed
}

// gone waits until no process with this id is left.
func gone(t *testing.T, pid int) {
	t.Helper()
	until(t, fmt.Sprintf("the end of process %d", pid), 20*time.Second, func() bool {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}

// children lists the child processes of a process, by what they run.
func children(t *testing.T, parent int) map[string][]int {
	t.Helper()
	found := make(map[string][]int)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil {
				continue // a process that has ended
			}
			what := strings.Join(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), " ")
			found[what] = append(found[what], pid)
		}
	}
	return found
}
