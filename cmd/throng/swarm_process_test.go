//go:build process

package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/redistest"
)

// swarm is a distributed run on a real Redis.
type swarm struct {
	address string // of the target
	redis   string // of the master, and of whoever has none of its own
	master  *process
	workers []*process
	probe   *process
	file    string // the summary
}

// startSwarm creates accounts and starts a master, workers and a probe.
func startSwarm(t *testing.T, address, file string, workers, users int, runTime string) *swarm {
	t.Helper()
	return startSwarmOn(t, redistest.URL(t), nil, address, file, workers, users, runTime)
}

// startSwarmOn is startSwarm on a Redis. Workers for which there is another
// address reach it by that.
func startSwarmOn(t *testing.T, redis string, others []string, address, file string, workers, users int, runTime string) *swarm {
	t.Helper()
	create := start(t, "accounts", "create", "-f", file, "-u", strconv.Itoa(users), "--redis", redis)
	if code := create.wait(30 * time.Second); code != 0 {
		t.Fatalf("accounts create: exit code %d", code)
	}
	s := &swarm{address: address, redis: redis, file: filepath.Join(t.TempDir(), "summary.json")}
	s.master = startMaster(t, s, file, workers, users, runTime)
	for i := range workers {
		way := redis
		if i < len(others) {
			way = others[i]
		}
		s.workers = append(s.workers, start(t, "worker", "--redis", way, "--swarm", name(t)))
	}
	s.probe = start(t, "probe", "--redis", redis, "--swarm", name(t))
	return s
}

func startMaster(t *testing.T, s *swarm, file string, workers, users int, runTime string, more ...string) *process {
	t.Helper()
	return start(t, append([]string{
		"master", "--headless", "-f", file, "--redis", s.redis, "--swarm", name(t), "-u", strconv.Itoa(users),
		"-r", strconv.Itoa(users), "-t", runTime, "--expect-workers", strconv.Itoa(workers), "--expect-workers-max-wait", "30s", "--json", s.file,
	}, more...)...)
}

func TestSwarmOfProcesses(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	s := startSwarm(t, address, spec(t, address), 3, 60, "6s")
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	// Members leave by themselves when the run is over.
	for _, worker := range s.workers {
		if code := worker.wait(10 * time.Second); code != 0 {
			t.Errorf("a worker's exit code is %d", code)
		}
	}
	result := summary(t, s.file)
	if result.Run.Workers != 3 || result.Run.UsersPeak != 60 {
		t.Errorf("%d workers and %d users at peak, want 3 and 60", result.Run.Workers, result.Run.UsersPeak)
	}
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
}

func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	seen := watchTarget(t, address)
	s := startSwarm(t, address, spec(t, seen.address), 4, 60, "20s")
	s.master.says(`users 60 `, 30*time.Second)
	its := usersOf(t, s, s.workers[0])
	killed := time.Now()
	s.workers[0].signal(syscall.SIGKILL)
	s.master.says(`member lost`, 20*time.Second)
	until(t, "the survivors to take the users over", 15*time.Second-time.Since(killed), func() bool { return usersAfter(s.master, "member lost") == 60 })
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	if reclaimed := checkAccountsAreBack(t, result); reclaimed == 0 {
		t.Error("no account of the killed worker was reclaimed")
	}
	c := counters(t, address)
	if c.StaleTokenRequests != 0 {
		t.Errorf("%d requests came under a lease that had run out", c.StaleTokenRequests)
	}
	// What is missing is what the worker had counted last and not sent.
	publishes, logins := seen.by(its, killed.Add(-2*time.Second), killed.Add(time.Second))
	for _, row := range []struct {
		what            string
		missing         int64
		seenFromItsLast int64
	}{
		{"publishes", c.Requests["publish"]["201"] - operations(result, "PUBLISH", "") - operations(result, "PROBE", "publish"), publishes},
		{"log-ins", c.Requests["login"]["200"] - operations(result, "LOGIN", "") - operations(result, "PROBE", "login"), logins},
	} {
		if row.missing < 0 || row.missing > row.seenFromItsLast {
			t.Errorf("%d %s are missing from the summary, want 0 to the %d that the target saw from the worker in its last 2 s", row.missing, row.what, row.seenFromItsLast)
		}
	}
	happened(t, result, "worker_lost")
	v := result.Run.Validity
	if v.State != "partial" || len(v.Excluded) != 1 || !strings.Contains(v.Excluded[0].Reason, "was lost") {
		t.Fatalf("validity %+v, want one window without the worker", v)
	}
	if took := v.Excluded[0].To.Sub(v.Excluded[0].From); took < 3*time.Second || took > 15*time.Second {
		t.Errorf("the window is %v long", took)
	}
	checkUndamaged(t, result)
}

func TestAllWorkersLost(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	s := startSwarm(t, address, spec(t, address), 1, 20, "60s")
	s.master.says(`users 20 `, 30*time.Second)
	s.workers[0].signal(syscall.SIGKILL)
	if code := s.master.wait(30 * time.Second); code != 98 {
		t.Errorf("exit code %d, want 98", code)
	}
	if result := summary(t, s.file); result.Run.Verdict != "invalid" {
		t.Errorf("verdict %q, want invalid", result.Run.Verdict)
	}
}

func TestMasterKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	s := startSwarm(t, address, file, 2, 40, "16s")
	s.master.says(`users 40 `, 30*time.Second)
	before := publishesIn(s.master, "")
	s.master.signal(syscall.SIGKILL)
	s.master.wait(5 * time.Second)
	s.master = startMaster(t, s, file, 2, 40, "16s")
	s.master.says("run taken up", 10*time.Second)
	until(t, "the totals", 5*time.Second, func() bool { return publishesIn(s.master, "run taken up") >= before })
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
	happened(t, result, "master_changed")
	if result.Run.Validity.State != "valid" {
		t.Errorf("validity %+v: nothing is missing of a run whose master changed", result.Run.Validity)
	}
}

func TestWorkerStopsCleanly(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	s := startSwarm(t, address, spec(t, address), 2, 40, "10s")
	s.master.says(`users 40 `, 30*time.Second)
	s.workers[0].signal(os.Interrupt)
	if code := s.workers[0].wait(15 * time.Second); code != 0 {
		t.Errorf("the stopped worker's exit code is %d, want 0", code)
	}
	if code := s.master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, s.file)
	checkAgainstTarget(t, result, counters(t, address))
	if reclaimed := checkAccountsAreBack(t, result); reclaimed != 0 {
		t.Errorf("%d accounts were reclaimed from a worker that gave all back", reclaimed)
	}
	happened(t, result, "worker_left")
	if result.Run.Validity.State != "valid" {
		t.Errorf("validity %+v: nothing is missing of a worker that left", result.Run.Validity)
	}
}

func TestLossIsMeasuredExactly(t *testing.T) {
	t.Parallel()
	address := startTarget(t, "--seed", "7", "--fault", "loss=0.05")
	file := spec(t, address, "thresholds: [ delivery.lost == 0 ]")
	p := start(t, "run", "-f", file, "-u", "40", "-r", "40", "-t", "8s", "--workers", "2", "--json", "summary.json")
	if code := p.wait(60 * time.Second); code != 99 {
		t.Errorf("exit code %d, want 99: a threshold was crossed", code)
	}
	result := summary(t, filepath.Join(p.cmd.Dir, "summary.json"))
	c := counters(t, address)
	lost := int64(0)
	for _, route := range result.Delivery.Probe {
		lost += route.Lost
	}
	if dropped := c.ByRole["probe"].Dropped; lost != dropped || lost == 0 {
		t.Errorf("the probe lost %d messages, the target dropped %d of them", lost, dropped)
	}
	if c.ByRole["student"].Dropped == 0 {
		t.Error("no message of the load was dropped, so the crowd route had no crowd")
	}
	checkAgainstTarget(t, result, c)
	if c.Accounts != 0 {
		t.Errorf("%d accounts are left in the target", c.Accounts)
	}
}

func TestDuplicatesAreMeasuredExactly(t *testing.T) {
	t.Parallel()
	address := startTarget(t, "--fault", "duplicate=0.05", "--fault", "delay=uniform:1ms,20ms")
	file := spec(t, address)
	p := start(t, "run", "-f", file, "-u", "20", "-r", "40", "-t", "5s", "--workers", "1", "--json", "summary.json")
	if code := p.wait(60 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	result := summary(t, filepath.Join(p.cmd.Dir, "summary.json"))
	duplicated := int64(0)
	for _, route := range result.Delivery.Probe {
		duplicated += route.Duplicated
	}
	if want := counters(t, address).ByRole["probe"].Duplicated; duplicated != want || want == 0 {
		t.Errorf("the probe saw %d duplicates, the target made %d", duplicated, want)
	}
}

func TestRefusedOperationsFailTheRun(t *testing.T) {
	t.Parallel()
	address := startTarget(t, "--fault", "refuse=0.1")
	file := spec(t, address)
	p := start(t, "run", "-f", file, "-u", "20", "-r", "40", "-t", "4s", "--workers", "1", "--json", "summary.json")
	if code := p.wait(60 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1: operations failed and no threshold names failures", code)
	}
	result := summary(t, filepath.Join(p.cmd.Dir, "summary.json"))
	if len(result.Errors) == 0 || result.Errors[0].Error != "503 Service Unavailable" {
		t.Errorf("errors %+v", result.Errors)
	}
	checkAgainstTarget(t, result, counters(t, address))
}

// usersAfter is the number of users in the newest table printed after a mark;
// 0 if there is none.
func usersAfter(p *process, mark string) int {
	_, text, _ := strings.Cut(p.out.String(), mark)
	all := usersNow.FindAllStringSubmatch(text, -1)
	if all == nil {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1][1])
	return n
}

var usersNow = regexp.MustCompile(`users (\d+) `)

// The example that the docs show, against a target of the test's own.
func TestExample(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	text, err := os.ReadFile("../../examples/classroom.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "throng.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "127.0.0.1:9090 #", address+" #")), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "run", "-f", file, "-u", "31", "-r", "31", "-t", "7s", "--json", "summary.json")
	if code := p.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, filepath.Join(p.cmd.Dir, "summary.json"))
	checkAgainstTarget(t, result, counters(t, address))
	checkAccountsAreBack(t, result)
	if c := counters(t, address); c.Accounts != 0 {
		t.Errorf("%d accounts are left in the target", c.Accounts)
	}
}

// A run whose probe has died does not pass as if delivery had been measured.
func TestProbeKilled(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address, "thresholds: [ delivery.lost == 0 ]")
	p := start(t, "run", "-f", file, "-u", "20", "-r", "40", "-t", "9s", "--workers", "1", "--json", "summary.json")
	p.says(`users 20 `, 30*time.Second)
	probes := children(t, p.cmd.Process.Pid)["throng probe"]
	if len(probes) != 1 {
		t.Fatalf("probes %v", probes)
	}
	if err := syscall.Kill(probes[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(60 * time.Second); code != 98 {
		t.Errorf("exit code %d, want 98", code)
	}
	validity := summary(t, filepath.Join(p.cmd.Dir, "summary.json")).Run.Validity
	if validity.State != "invalid" || len(validity.Excluded) != 1 {
		t.Errorf("validity %+v, want one window without a probe", validity)
	}
}
