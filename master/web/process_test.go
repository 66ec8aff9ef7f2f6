//go:build process

package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine is a swarm of real processes.
type machine struct {
	t        *testing.T
	binary   string
	folder   string
	redis    string
	file     string // throng.yaml
	counters string // the target's
}

// newMachine starts Redis and a target, whose port stands for PORT in the spec, and
// makes the accounts.
func newMachine(t *testing.T, spec string) *machine {
	t.Helper()
	folder := t.TempDir()
	m := &machine{t: t, folder: folder, binary: filepath.Join(folder, "throng"), file: filepath.Join(folder, "throng.yaml")}
	if out, err := exec.Command("go", "build", "-o", m.binary, "../../cmd/throng").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	redisPort, targetPort := freePort(t), freePort(t)
	m.redis = "redis://127.0.0.1:" + redisPort
	m.start("redis-server", "--port", redisPort, "--bind", "127.0.0.1", "--save", "", "--dir", folder)
	m.start(m.binary, "target", "--listen", "127.0.0.1:"+targetPort)
	m.counters = "http://127.0.0.1:" + targetPort + "/admin/counters"
	m.answers(m.counters)
	if err := os.WriteFile(m.file, []byte(strings.ReplaceAll(spec, "PORT", targetPort)), 0o600); err != nil {
		t.Fatal(err)
	}
	create := exec.Command(m.binary, "accounts", "create", "-f", m.file, "--lease-ttl", "5s", "--lock-delay", "1s")
	create.Env = append(os.Environ(), "THRONG_REDIS="+m.redis)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("accounts create: %v\n%s", err, out)
	}
	return m
}

// start starts a process, which ends with the test, and returns what kills it.
func (m *machine) start(name string, args ...string) (kill func()) {
	m.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = m.folder
	cmd.Env = append(os.Environ(), "THRONG_REDIS="+m.redis)
	said := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	kill = func() { stop(); <-done }
	m.t.Cleanup(func() {
		kill()
		if m.t.Failed() {
			m.t.Logf("%s %v said:\n%s", filepath.Base(name), args, said)
		}
	})
	return kill
}

// answers waits until something answers at an address.
func (m *machine) answers(address string) {
	m.t.Helper()
	eventually(m.t, address+" answers", func() bool {
		answer, err := http.Get(address)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return true
	})
}

func TestProcessPageDrivesRealWorkers(t *testing.T) {
	chromium(t)
	m := newMachine(t, `
scenario: classroom
target: http+poll://127.0.0.1:PORT
params: { questions: 3, think: { uniform: [300ms, 1s500ms] }, period: { uniform: [4s, 6s] } }
accounts: { provision: { http: { rate: 1000/s, concurrency: 20 } } }
load: { users: 60, spawn_rate: 30 }
thresholds: [ "delivery.p95 <= 2s", "delivery.lost == 0" ]
`)
	port := freePort(t)
	master := func() func() {
		return m.start(m.binary, "master", "-f", m.file, "-P", port, "--expect-workers", "2")
	}
	killMaster := master()
	m.start(m.binary, "worker")
	killWorker := m.start(m.binary, "worker")
	m.start(m.binary, "probe")
	base := "http://127.0.0.1:" + port
	m.answers(base)
	a := api{base, throng}
	eventually(t, "two workers", func() bool { return number(t, a.json(t, "/worker-count"), "worker_count") == 2 })

	b := open(t, base, 1300)
	b.shows("Start new load test")
	b.fill("userCount", "30")
	b.fill("spawnRate", "15")
	b.press("Start")
	b.users(30)
	other := open(t, base, 400)
	other.until("the other browser's tabs", `document.querySelectorAll("[role=tab]").length > 5`)
	for _, title := range tabTitles {
		b.tab(title)
	}
	b.tab("Statistics")
	b.press("Edit")
	b.fill("userCount", "20")
	b.press("Update")
	b.users(20)
	b.stop()

	// What the page shows, what the API says and what the target has counted.
	report := a.json(t, "/stats/requests")
	total := number(t, aggregated(t, report), "num_requests")
	b.until("the page shows the API's total", fmt.Sprintf(`[...document.querySelectorAll("tr")].at(-1)?.innerText.includes("%d")`, int64(total)))
	published := 0.
	for _, item := range report["stats"].([]any) {
		row := item.(map[string]any)
		if row["method"] == "PUBLISH" || row["method"] == "PROBE" && strings.HasPrefix(row["name"].(string), "publish") {
			published += number(t, row, "num_requests") - number(t, row, "num_failures")
		}
	}
	if accepted := m.accepted(); accepted != published || published == 0 {
		t.Errorf("the page has %v messages published, the target %v accepted", published, accepted)
	}

	// Again, and parts of it die.
	b.press("New")
	b.fill("userCount", "30")
	b.fill("spawnRate", "30")
	b.press("Start")
	b.users(30)
	b.tab("Workers")
	began := time.Now()
	killWorker()
	b.shows("missing")
	if took := time.Since(began); took > 5500*time.Millisecond {
		t.Errorf("a dead worker showed after %v, want 5 s", took)
	}
	b.tab("Delivery")
	b.shows("worker lost")
	b.tab("Accounts")
	b.until("the dead worker's accounts are reclaimed", `[...document.querySelectorAll('[aria-label="leases by role"] tbody tr')].some(r => +r.cells[4].innerText > 0)`)

	killMaster()
	b.shows("The master does not answer")
	master()
	m.answers(base)
	b.until("the page follows the next master", `!document.body.innerText.includes("does not answer") && /status\s+(running|spawning)/i.test(document.body.innerText)`)
	b.tab("Delivery")
	b.shoot("real-delivery-1300-light")
	b.tab("Accounts")
	b.shoot("real-accounts-1300-light")
	b.stop()
	other.until("the other browser follows", `document.querySelectorAll("[role=tab]").length > 5`)
}

func TestProcessPagePicksClassesAndAShape(t *testing.T) {
	chromium(t)
	m := newMachine(t, `
scenario: classroom
target: http+poll://127.0.0.1:PORT
params: { students_per_proctor: 2, questions: 3, think: { uniform: [100ms, 500ms] }, period: { constant: 3s } }
accounts: { provision: { http: { rate: 1000/s, concurrency: 20 } } }
load: { stages: [ { for: 1s, users: 6 }, { for: 3s, users: 6 }, { for: 1s, users: 2 }, { for: 1m, users: 2 } ] }
probe: { routes: [] }
`)
	port := freePort(t)
	m.start(m.binary, "master", "-f", m.file, "-P", port, "--expect-workers", "1", "--class-picker")
	m.start(m.binary, "worker")
	base := "http://127.0.0.1:" + port
	m.answers(base)
	a := api{base, throng}
	eventually(t, "a worker", func() bool { return number(t, a.json(t, "/worker-count"), "worker_count") == 1 })

	b := open(t, base, 1300)
	b.toggle("Proctor")
	b.choose("Stages")
	b.press("Start")
	eventually(t, "the peak of the stages", func() bool { return number(t, a.json(t, "/stats/requests"), "user_count") == 6 })
	b.tab("Current Ratio")
	b.shows("100.0% Student")
	b.editable(false)
	b.users(2)
	if students, proctors := m.leases(a, "student"), m.leases(a, "proctor"); students < 6 || proctors != 0 {
		t.Errorf("%v students and %v proctors had accounts, want 6 or more, and none", students, proctors)
	}
	if m.accepted() == 0 {
		t.Error("the target has had no message")
	}
}

// leases is how many accounts of a role the users of the last run were given.
func (m *machine) leases(a api, role string) float64 {
	m.t.Helper()
	for _, item := range a.json(m.t, "/throng/status")["accounts"].([]any) {
		if account := item.(map[string]any); account["role"] == role {
			return number(m.t, account, "leases")
		}
	}
	return 0
}

// accepted is how many messages the target has taken.
func (m *machine) accepted() float64 {
	m.t.Helper()
	answer, err := http.Get(m.counters)
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	var v struct {
		Accepted float64 `json:"accepted"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&v); err != nil {
		m.t.Fatal(err)
	}
	return v.Accepted
}
