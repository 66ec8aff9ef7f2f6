//go:build process

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/target"
)

// python is where Debian's python3-locust lives.
const python = "/usr/bin/python3"

// locust is a real Locust master, driven through its REST API.
type locust struct {
	*process
	t    *testing.T
	file string
	port string // for workers
	web  string
}

// startLocust starts a Locust master with a locustfile, and waits for its page.
func startLocust(t *testing.T, file string, more ...string) *locust {
	t.Helper()
	l := &locust{t: t, file: file, port: freePort(t), web: freePort(t)}
	l.restart(more...)
	return l
}

// restart starts it anew at the same ports.
func (l *locust) restart(more ...string) {
	l.t.Helper()
	args := append([]string{"-m", "locust", "-f", l.file, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", l.port,
		"--web-host", "127.0.0.1", "--web-port", l.web}, more...)
	l.process = startCommand(l.t, exec.Command(python, args...))
	until(l.t, "Locust's page", 30*time.Second, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+l.web)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (l *locust) call(method, path, body string) []byte {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:"+l.web+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		l.t.Fatalf("%s %s: %s %v\n%s", method, path, res.Status, err, text)
	}
	return text
}

func (l *locust) swarm(users, rate int) {
	l.t.Helper()
	form := url.Values{"user_count": {strconv.Itoa(users)}, "spawn_rate": {strconv.Itoa(rate)}}
	l.call(http.MethodPost, "/swarm", form.Encode())
}

func (l *locust) stop() { l.t.Helper(); l.call(http.MethodGet, "/stop", "") }

// page is what Locust's page shows.
type page struct {
	State   string `json:"state"`
	Users   int    `json:"user_count"`
	Workers []struct {
		State string `json:"state"`
	} `json:"workers"`
	Stats []struct {
		Method   string  `json:"method"`
		Name     string  `json:"name"`
		Requests int64   `json:"num_requests"`
		Failures int64   `json:"num_failures"`
		Average  float64 `json:"avg_response_time"`
	} `json:"stats"`
}

func (l *locust) page() page {
	l.t.Helper()
	var p page
	if err := json.Unmarshal(l.call(http.MethodGet, "/stats/requests", ""), &p); err != nil {
		l.t.Fatal(err)
	}
	return p
}

// workers is how many workers are there and in touch.
func (p page) workers() (n int) {
	for _, w := range p.Workers {
		if w.State != "missing" {
			n++
		}
	}
	return n
}

// requests adds up the rows of a type whose name has a prefix.
func (p page) requests(kind, prefix string) (n int64) {
	for _, row := range p.Stats {
		if row.Method == kind && strings.HasPrefix(row.Name, prefix) {
			n += row.Requests
		}
	}
	return n
}

// quiet waits until the page's statistics have stood still for a while and
// returns them.
func (l *locust) quiet(d time.Duration) page {
	l.t.Helper()
	last, since := page{}, time.Now()
	until(l.t, "statistics that stand still", 60*time.Second, func() bool {
		p := l.page()
		if fmt.Sprint(p.Stats) != fmt.Sprint(last.Stats) {
			last, since = p, time.Now()
		}
		return time.Since(since) > d
	})
	return last
}

// bridgedSwarm is workers that obey a Locust master.
type bridgedSwarm struct {
	t       *testing.T
	address string // of the target
	file    string
	common  []string // --redis, --swarm
	locust  *locust
	workers []*process
	probe   *process
}

// startBridged creates accounts for so many users and starts a Locust master, so
// many workers, and a probe.
func startBridged(t *testing.T, spec func(*testing.T, string, ...string) string, accounts, workers int, locustfile string) *bridgedSwarm {
	t.Helper()
	s := &bridgedSwarm{t: t, address: startTarget(t)}
	s.file = spec(t, s.address)
	s.common = []string{"--redis", redistest.URL(t), "--swarm", name(t)}
	if code := start(t, append([]string{"accounts", "create", "-f", s.file, "-u", strconv.Itoa(accounts)}, s.common[:2]...)...).wait(60 * time.Second); code != 0 {
		t.Fatalf("accounts create: exit code %d", code)
	}
	if locustfile == "" {
		printed := start(t, "locustfile", "-f", s.file)
		if code := printed.wait(10 * time.Second); code != 0 {
			t.Fatalf("locustfile: exit code %d", code)
		}
		locustfile = printed.out.String()
	}
	path := filepath.Join(t.TempDir(), "locustfile.py")
	if err := os.WriteFile(path, []byte(locustfile), 0o600); err != nil {
		t.Fatal(err)
	}
	s.locust = startLocust(t, path)
	for range workers {
		s.addWorker()
	}
	s.probe = start(t, append([]string{"probe"}, s.common...)...)
	s.joined(workers)
	return s
}

func (s *bridgedSwarm) addWorker(more ...string) *process {
	w := start(s.t, append(append([]string{"worker", "-f", s.file, "--master-host", "127.0.0.1", "--master-port", s.locust.port}, s.common...), more...)...)
	s.workers = append(s.workers, w)
	return w
}

func (s *bridgedSwarm) joined(workers int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%d workers at the Locust master", workers), 30*time.Second, func() bool { return s.locust.page().workers() == workers })
}

// acting waits until so many accounts are leased, besides the probe's, and messages
// arrive.
func (s *bridgedSwarm) acting(users int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%d users with an account", users), 40*time.Second, func() bool {
		leased := 0
		for role, n := range s.leased() {
			if role != "probe" {
				leased += n
			}
		}
		// A user has none for a moment between two sessions.
		return leased <= users && leased >= users-max(1, users/5)
	})
	until(s.t, "messages in Locust's statistics", 40*time.Second, func() bool {
		// The page's are two seconds old, perhaps those before this start.
		rows := string(s.locust.call(http.MethodGet, "/stats/requests/csv", ""))
		return strings.Contains(rows, "\nPUBLISH,") && strings.Contains(rows, "\nDELIVER,")
	})
}

func (s *bridgedSwarm) leased() map[string]int {
	s.t.Helper()
	// Not with start: what it prints is of no interest when the test fails.
	out, err := exec.Command(binary, append([]string{"accounts", "stats", "-f", s.file, "--json"}, s.common[:2]...)...).Output()
	if err != nil {
		s.t.Fatalf("accounts stats: %v", err)
	}
	var stats struct {
		Roles []struct {
			Role   string `json:"role"`
			Leased int    `json:"leased"`
		} `json:"roles"`
	}
	if err := json.Unmarshal(out, &stats); err != nil {
		s.t.Fatalf("%v in %s", err, out)
	}
	leased := make(map[string]int)
	for _, role := range stats.Roles {
		leased[role.Role] = role.Leased
	}
	return leased
}

// nothingLeased waits until every account is back.
func (s *bridgedSwarm) nothingLeased() {
	s.t.Helper()
	until(s.t, "the run to be over everywhere", 40*time.Second, func() bool {
		for _, p := range append([]*process{s.probe}, s.workers...) {
			out := p.out.String()
			if strings.Count(out, "\ttaking part\t") != strings.Count(out, "the run is over here") && !p.ended() {
				return false
			}
		}
		return true
	})
	until(s.t, "all accounts to be back", 40*time.Second, func() bool {
		for _, n := range s.leased() {
			if n > 0 {
				return false
			}
		}
		return true
	})
}

// ended says that a process has ended, perhaps without a word.
func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

var byType = regexp.MustCompile(`operations of the run\s.*"by_type": (\{[^}]*\})`)

// counted adds up what the workers say that they have done in all their runs.
func (s *bridgedSwarm) counted() map[string]int64 {
	s.t.Helper()
	total := make(map[string]int64)
	for _, w := range s.workers {
		for _, match := range byType.FindAllStringSubmatch(w.out.String(), -1) {
			var one map[string]int64
			if err := json.Unmarshal([]byte(match[1]), &one); err != nil {
				s.t.Fatal(err)
			}
			for kind, n := range one {
				total[kind] += n
			}
		}
	}
	return total
}

// checkStatistics holds the page against the workers' own counts and the target's,
// given what both had before the test.
func (s *bridgedSwarm) checkStatistics(p page, before target.Counters, counted map[string]int64) {
	s.t.Helper()
	own := s.counted()
	for _, kind := range []string{"LOGIN", "PUBLISH", "SUBSCRIBE", "POLL", "DELIVER"} {
		if got, want := p.requests(kind, ""), own[kind]-counted[kind]; got != want || got == 0 {
			s.t.Errorf("%s: Locust's page has %d, the workers counted %d", kind, got, want)
		}
	}
	c := counters(s.t, s.address)
	if got, want := p.requests("PUBLISH", "")+p.requests("PROBE", "publish"), c.Requests["publish"]["201"]-before.Requests["publish"]["201"]; got != want {
		s.t.Errorf("Locust's page has %d publishes, the target counted %d", got, want)
	}
	if c.StaleTokenRequests != 0 {
		s.t.Errorf("%d requests came under a lease that had run out", c.StaleTokenRequests)
	}
}

func TestLocustDrivesTheSwarm(t *testing.T) {
	t.Parallel()
	s := startBridged(t, spec, 60, 2, "")
	before := counters(t, s.address)
	s.locust.swarm(20, 10)
	s.acting(20)
	s.locust.swarm(40, 20)
	s.acting(40)
	s.locust.swarm(10, 20)
	s.acting(10)
	until(t, "10 users on the page", 10*time.Second, func() bool { return s.locust.page().Users == 10 })
	s.locust.stop()
	s.nothingLeased()
	p := s.locust.quiet(4 * time.Second)
	s.checkStatistics(p, before, nil)
	if p.State != "stopped" || p.Users != 0 {
		t.Errorf("state %q with %d users", p.State, p.Users)
	}
	for _, route := range []string{"quiet", "crowd"} {
		if p.requests("PROBE", route) == 0 {
			t.Errorf("no delivery of the probe on route %s", route)
		}
	}
	if proctors, students := p.requests("LOGIN", "proctor"), p.requests("LOGIN", "student"); proctors == 0 || students == 0 {
		t.Errorf("%d proctors and %d students logged in", proctors, students)
	}

	// And again: a new test has statistics of its own.
	before, counted := counters(t, s.address), s.counted()
	s.locust.swarm(30, 30)
	s.acting(30)
	s.locust.stop()
	s.nothingLeased()
	s.checkStatistics(s.locust.quiet(4*time.Second), before, counted)
	for _, w := range s.workers {
		w.signal(os.Interrupt)
		if code := w.wait(20 * time.Second); code != 0 {
			t.Errorf("a worker's exit code is %d", code)
		}
	}
}

func TestLocustMasterKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	s := startBridged(t, spec, 60, 2, "")
	s.locust.swarm(20, 20)
	s.acting(20)
	s.locust.signal(syscall.SIGKILL)
	s.nothingLeased() // users stop meanwhile
	s.locust.restart()
	s.joined(2)
	for _, w := range s.workers {
		if n := strings.Count(w.out.String(), "the Locust master is gone"); n != 1 {
			t.Errorf("a worker has said %d times that the Locust master is gone", n)
		}
	}
	before, counted := counters(t, s.address), s.counted()
	s.locust.swarm(20, 20)
	s.acting(20)
	s.locust.stop()
	s.nothingLeased()
	s.checkStatistics(s.locust.quiet(4*time.Second), before, counted)
}

func TestWorkerOfLocustKilled(t *testing.T) {
	t.Parallel()
	s := startBridged(t, spec, 60, 2, "")
	s.locust.swarm(20, 20)
	s.acting(20)
	// The lowest-numbered one also stands in for a master: the other takes over.
	s.workers[0].signal(syscall.SIGKILL)
	until(t, "the Locust master to miss it", 20*time.Second, func() bool { return s.locust.page().workers() == 1 })
	s.locust.swarm(21, 20) // Locust shares out anew with an edit
	s.acting(21)
	s.locust.stop()
	s.nothingLeased()
	if c := counters(t, s.address); c.StaleTokenRequests != 0 {
		t.Errorf("%d requests came under a lease that had run out", c.StaleTokenRequests)
	}
	p := s.locust.quiet(4 * time.Second)
	if p.requests("PROBE", "quiet") == 0 {
		t.Error("no delivery of the probe")
	}
}

// With a locustfile of somebody's own the scenario's weights decide.
func TestLocustfileOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := startBridged(t, spec, 60, 1, `
from locust import User, task

class Anybody(User):
    @task
    def nothing(self):
        pass
`)
	before := counters(t, s.address)
	s.locust.swarm(20, 20)
	s.acting(20)
	// A few are leased ahead for a moment.
	until(t, "2 proctors and 18 students at most", 10*time.Second, func() bool {
		leased := s.leased()
		return leased["proctor"] <= 2 && leased["student"] <= 18
	})
	s.locust.stop()
	s.nothingLeased()
	s.checkStatistics(s.locust.quiet(4*time.Second), before, nil)
}

// calm is a spec whose users are paced like people, so that one machine carries
// many of them.
func calm(t *testing.T, address string, _ ...string) string {
	t.Helper()
	path := spec(t, address)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	calmed := strings.NewReplacer("uniform: [50ms, 300ms]", "uniform: [2s, 8s]", "uniform: [1s, 2s]", "constant: 30s",
		"uniform: [500ms, 1s]", "constant: 10s", "lease_ttl: 3s", "lease_ttl: 10s").Replace(string(text))
	if err := os.WriteFile(path, []byte(calmed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// `make locust` runs it with 5,000 users.
func TestManyUsersOfLocust(t *testing.T) {
	t.Parallel()
	users := 300
	if text := os.Getenv("THRONG_LOCUST_USERS"); text != "" {
		var err error
		if users, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := startBridged(t, calm, users, 2, "")
	before := counters(t, s.address)
	s.locust.swarm(users, users/10)
	until(t, fmt.Sprintf("%d users on the page", users), 60*time.Second, func() bool { return s.locust.page().Users == users })
	until(t, "nearly all users with an account", 60*time.Second, func() bool {
		leased := s.leased()
		return leased["proctor"]+leased["student"] >= users*98/100
	})
	s.locust.stop()
	s.nothingLeased()
	p := s.locust.quiet(4 * time.Second)
	s.checkStatistics(p, before, nil)
	t.Logf("%d users: %d log-ins, %d publishes", users, p.requests("LOGIN", ""), p.requests("PUBLISH", ""))
}

// With a master that follows, thresholds and a report come out of a Locust
// master's test.
func TestMasterFollowsLocust(t *testing.T) {
	t.Parallel()
	s := startBridged(t, spec, 60, 2, "")
	file := filepath.Join(t.TempDir(), "summary.json")
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	judged := filepath.Join(t.TempDir(), "throng.yaml")
	if err := os.WriteFile(judged, append(text, "thresholds: [ delivery.lost == 0, failures < 1% ]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	master := start(t, append([]string{"master", "--headless", "--follow", "-f", judged, "--json", file, "--expect-workers", "2"}, s.common...)...)
	master.says("waiting for the Locust master to start a test", 20*time.Second)
	before := counters(t, s.address)
	s.locust.swarm(20, 20)
	s.acting(20)
	s.locust.swarm(30, 20)
	s.acting(30)
	master.says("users 30 ", 20*time.Second)
	s.locust.stop()
	if code := master.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	result := summary(t, file)
	if result.Run.Workers != 2 || result.Run.UsersPeak != 30 || len(result.Thresholds) != 2 || result.Run.Validity.State != "valid" {
		t.Errorf("run %+v, thresholds %+v", result.Run, result.Thresholds)
	}
	checkAccountsAreBack(t, result)
	after := counters(t, s.address)
	if got, want := operations(result, "PUBLISH", "")+operations(result, "PROBE", "publish"), after.Requests["publish"]["201"]-before.Requests["publish"]["201"]; got != want {
		t.Errorf("the summary has %d publishes, the target counted %d", got, want)
	}
	p := s.locust.quiet(4 * time.Second)
	s.checkStatistics(p, before, nil)
	for _, route := range result.Delivery.Probe {
		if got := p.requests("PROBE", route.Route); got != route.Received+route.Lost {
			t.Errorf("route %s: Locust's page has %d messages, the summary %d", route.Route, got, route.Received+route.Lost)
		}
	}

	// The next test does without it.
	s.locust.swarm(10, 20)
	s.acting(10)
	s.locust.stop()
	s.nothingLeased()
}
