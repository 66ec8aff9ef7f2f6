//go:build compose

// Package deploy holds tests alone: what docker-compose.yml promises, tried with
// a real Docker. `make compose-test` runs them.
package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/master/report"
)

const (
	// project keeps the tests' containers and volumes apart from a trial's.
	project = "throng-test"
	// commandTime bounds one command; the first one builds the image.
	commandTime = 10 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	for _, needed := range [][]string{{"docker", "version"}, {"docker", "compose", "version"}} {
		if out, err := exec.Command(needed[0], needed[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "these tests need Docker, running, with compose: %s: %v\n%s", strings.Join(needed, " "), err, out)
			return 1
		}
	}
	folder := os.Getenv("THRONG_STAND_INS")
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		folder = filepath.Join(cache, "throng-stand-ins")
	}
	stand := func(args ...string) error {
		cmd := exec.Command("sh", append([]string{"stand-ins.sh"}, args...)...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	}
	if err := stand("make", folder); err != nil {
		fmt.Fprintln(os.Stderr, "stand-ins.sh:", err)
		return 1
	}
	code := m.Run()
	if err := stand("remove"); err != nil {
		fmt.Fprintln(os.Stderr, "stand-ins.sh:", err)
		return 1
	}
	return code
}

// swarm is the compose file with more files, profiles and variables.
type swarm struct {
	t         *testing.T
	options   []string
	variables []string
}

// newSwarm makes sure that nothing is left of the swarm when the test ends.
func newSwarm(t *testing.T, options ...string) *swarm {
	t.Helper()
	s := &swarm{t: t, options: options, variables: []string{"THRONG_PORT=18089", "LOCUST_PORT=18090"}}
	s.run(0, "down", "--volumes", "--remove-orphans") // of a test that was killed
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.command(context.Background(), "logs", "--no-color", "--tail", "100").CombinedOutput()
			t.Logf("%s", out)
		}
		s.run(0, "--profile", "*", "down", "--volumes", "--remove-orphans")
		for _, kind := range []string{"container", "volume", "network"} {
			list := []string{kind, "ls", "-q", "--filter", "label=com.docker.compose.project=" + project}
			if kind == "container" {
				list = append(list, "--all")
			}
			if left := docker(t, list...); left != "" {
				t.Errorf("a %s is left: %s", kind, left)
			}
		}
	})
	return s
}

func (s *swarm) command(ctx context.Context, args ...string) *exec.Cmd {
	all := append([]string{"compose", "--ansi", "never", "--progress", "quiet", "-p", project, "-f", "../docker-compose.yml"}, s.options...)
	cmd := exec.CommandContext(ctx, "docker", append(all, args...)...)
	cmd.Env = append(os.Environ(), s.variables...)
	return cmd
}

// run runs `docker compose ARGS...`, which must exit with the code, and returns
// what it printed.
func (s *swarm) run(code int, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), commandTime)
	defer cancel()
	began := time.Now()
	out, err := s.command(ctx, args...).CombinedOutput()
	if got := exitCode(err); got != code {
		s.t.Errorf("docker compose %s: exit code %d, want %d: %v\n%s", strings.Join(args, " "), got, code, err, out)
	}
	s.t.Logf("docker compose %s: %.1fs", strings.Join(args, " "), time.Since(began).Seconds())
	return string(out)
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// docker runs a command that must succeed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// says waits until the newest lines of a service's log have a text.
func (s *swarm) says(service, text string, limit time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		out, _ := s.command(ctx, "logs", "--no-log-prefix", "--tail", "200", service).CombinedOutput()
		if strings.Contains(string(out), text) {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s did not say %q within %v, but\n%s", service, text, limit, out)
		case <-ticker.C:
		}
	}
}

// containers are the ids of a service's containers, in order of their numbers.
func (s *swarm) containers(service string) []string {
	s.t.Helper()
	return strings.Fields(s.run(0, "ps", "--all", "--quiet", service))
}

// summary is that of the only run in the volume that the master shares.
func (s *swarm) summary() *report.Summary {
	s.t.Helper()
	folder := s.t.TempDir()
	s.run(0, "cp", "master:/var/lib/throng/throng-runs", folder)
	files, err := filepath.Glob(filepath.Join(folder, "throng-runs", "*", "summary.json"))
	if err != nil || len(files) != 1 {
		s.t.Fatalf("summaries %v, want one (%v)", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		s.t.Fatal(err)
	}
	summary := new(report.Summary)
	if err := json.Unmarshal(text, summary); err != nil {
		s.t.Fatal(err)
	}
	return summary
}

// absolute is the path of a file beside the tests, as Docker mounts it.
func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// text is the content of a file beside the tests.
func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// counters are the target's own. It publishes no port, so it is asked in its
// network: that takes a Docker on this machine, and Linux.
func (s *swarm) counters() target.Counters {
	s.t.Helper()
	ids := s.containers("target")
	address := docker(s.t, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", ids[0])
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+":9090/admin/counters", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var c target.Counters
	if err := json.NewDecoder(res.Body).Decode(&c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// published adds up the publishes that succeeded, of load and probe.
func published(s *report.Summary) (n int64) {
	for _, op := range s.Operations {
		if op.Type == "PUBLISH" || op.Type == "PROBE" && strings.HasPrefix(op.Name, "publish") {
			n += op.Count - op.Failures
		}
	}
	return n
}

func happened(s *report.Summary, kind string) (n int) {
	for _, e := range s.Run.Events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// A run goes through what may happen to a swarm of containers: workers are
// added, one is killed, Redis is restarted.
func TestRunOutlivesItsContainers(t *testing.T) {
	s := newSwarm(t, "-f", "compose.headless.yml")
	began := time.Now()
	s.run(0, "up", "--detach", "--build")
	s.says("master", "| workers 2 |", 30*time.Second)
	t.Logf("users ran %.1fs after `up`", time.Since(began).Seconds())

	s.run(0, "up", "--detach", "--no-recreate", "--scale", "worker=4", "worker")
	s.says("master", "| workers 4 |", 20*time.Second)

	docker(t, "kill", s.containers("worker")[0])
	s.says("master", "member lost", 20*time.Second)

	s.run(0, "restart", "redis")

	master := s.containers("master")[0]
	if code := docker(t, "wait", master); code != "0" {
		t.Errorf("the master's exit code is %s, want 0", code)
	}
	summary := s.summary()
	c := s.counters()
	if summary.Run.ExitCode != 0 || summary.Run.Verdict != report.VerdictPass || summary.Run.Workers != 4 {
		t.Errorf("exit code %d, verdict %s, %d workers; want 0, pass, 4\n%+v\n%+v",
			summary.Run.ExitCode, summary.Run.Verdict, summary.Run.Workers, summary.Run.Validity, summary.Run.Events)
	}
	if joined, lost := happened(summary, report.EventWorkerJoined), happened(summary, report.EventWorkerLost); joined != 2 || lost != 1 {
		t.Errorf("%d workers joined late and %d were lost, want 2 and 1: %+v", joined, lost, summary.Run.Events)
	}
	for _, route := range summary.Delivery.Probe {
		if route.Sent < 500 || route.Lost != 0 || route.Duplicated != 0 {
			t.Errorf("delivery: %+v", route)
		}
	}
	known := int64(0)
	for _, a := range summary.Accounts {
		known += a.Known
		if a.Leased != 0 || a.Available+a.Resting != a.Known {
			t.Errorf("accounts of role %s are not all back: %+v", a.Role, a)
		}
	}
	// The killed worker takes its last figures along: about two seconds' worth.
	missing := c.Requests["publish"]["201"] - published(summary)
	t.Logf("%d publishes by the summary, %d more by the target's counters", published(summary), missing)
	if missing < 0 || missing > published(summary)/10 {
		t.Errorf("the target counted %d publishes more than the summary has (%d)", missing, published(summary))
	}
	if c.StaleTokenRequests != 0 || c.Accounts != known {
		t.Errorf("%d requests under leases that had run out; %d accounts in the target and %d in the pool", c.StaleTokenRequests, c.Accounts, known)
	}

	// Everything ends and begins anew, but for the volumes.
	s.run(0, "down")
	s.run(0, "up", "--detach", "accounts")
	accounts := s.containers("accounts")[0]
	docker(t, "wait", accounts)
	if text := docker(t, "logs", accounts); !strings.Contains(text, "Accounts: 0 created in the target") {
		t.Errorf("accounts after the restart: %s", text)
	}
	if got := s.counters().Accounts; got != known {
		t.Errorf("%d accounts in the target after the restart, want %d", got, known)
	}
	s.run(0, "run", "--rm", "accounts", "accounts", "verify", "-f", "/etc/throng/throng.yaml", "--rate", "5000/s")
	s.run(0, "run", "--rm", "accounts", "accounts", "stats", "-f", "/etc/throng/throng.yaml", "--audit")
}

func TestTrialHasThrongsExitCode(t *testing.T) {
	s := newSwarm(t)
	out := s.run(0, "run", "--build", "--rm", "trial", "-u", "60", "-r", "30", "-t", "10s")
	if !strings.Contains(out, "PASSED") {
		t.Errorf("the summary is missing in\n%s", out)
	}
	s.run(2, "run", "--rm", "trial", "-u", "0")
	s.run(2, "run", "--rm", "trial", "-u", "3000") // safety.max_users

	s.variables = append(s.variables, "THRONG_FAULT=loss=0.2")
	s.run(0, "up", "--detach", "target")
	out = s.run(99, "run", "--rm", "trial", "-u", "60", "-r", "30", "-t", "10s")
	if !strings.Contains(out, "delivery.lost == 0") {
		t.Errorf("the threshold is missing in\n%s", out)
	}
	s.run(0, "kill", "redis")
	s.run(0, "up", "--detach", "--no-deps", "target")
	s.run(3, "run", "--no-deps", "--rm", "trial", "-u", "60")
}

// Nothing is in the image but the executable and what TLS needs, and nobody in
// it is root.
func TestImageHoldsTheExecutableAlone(t *testing.T) {
	s := newSwarm(t)
	s.run(0, "build")
	id := docker(t, "create", "throng:local")
	defer docker(t, "rm", id)
	var files []string
	list := exec.Command("sh", "-c", `docker export "$1" | tar -tf -`, "sh", id)
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	// What Docker itself puts into every container.
	engine := []string{".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "dev/console"}
	for _, file := range strings.Fields(string(out)) {
		if !strings.HasSuffix(file, "/") && !slices.Contains(engine, file) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	if want := []string{"etc/ssl/certs/ca-certificates.crt", "throng"}; !slices.Equal(files, want) {
		t.Errorf("the image has %v, want %v", files, want)
	}
	if user := docker(t, "inspect", "-f", "{{.Config.User}}", "throng:local"); user != "65532:65532" {
		t.Errorf("the image's user is %q", user)
	}
	if check := docker(t, "inspect", "-f", "{{.Config.Healthcheck.Test}}", "throng:local"); check != "[CMD /throng health]" {
		t.Errorf("the image's health check is %s", check)
	}
}
