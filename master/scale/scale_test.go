//go:build linux

package scale_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master/report"
)

// Environment variables of a run.
const (
	// longVariable asks for the whole proof: for how long the last step lasts.
	longVariable = "THRONG_SCALE"
	// workersVariable names the one step to make.
	workersVariable = "THRONG_SCALE_WORKERS"
	// profileVariable is a folder for CPU profiles of the master and the members.
	profileVariable = "THRONG_SCALE_PROFILE"
)

const (
	role            = "user"
	usersPerWorker  = 10
	memberProcesses = 2

	// warmUp is how long members report before it is measured, stepLasts how
	// long the steps before the last are.
	warmUp    = 5 * time.Second
	stepLasts = 20 * time.Second
	// patience is how long anything may take that should take moments.
	patience = time.Minute

	// What is promised.
	mostCores = 1.0
	mostLag   = 2 * time.Second // most of the time
	lagGrowth = time.Second     // from the first third of the window to the last
)

// step is one number of workers, and for how long it is measured. Unless it is
// judged, by what happened to it and what it cost, its totals alone count.
type step struct {
	workers int
	warmUp  time.Duration
	lasts   time.Duration
	judged  bool
}

// TestOneMasterCarriesAThousandWorkers is the proof of the package: see its comment.
func TestOneMasterCarriesAThousandWorkers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	steps := []step{{workers: 4, lasts: 2 * time.Second}}
	if text := os.Getenv(longVariable); text != "" {
		lasts, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v; give a duration like 5m", longVariable, err)
		}
		steps = []step{{10, warmUp, stepLasts, true}, {100, warmUp, stepLasts, true}, {1000, warmUp, lasts, true}}
	}
	if text := os.Getenv(workersVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s: %q is not a number of workers", workersVariable, text)
		}
		last := steps[len(steps)-1]
		last.workers = n
		steps = []step{last}
	}
	var rows []*costs
	for _, s := range steps {
		t.Run(fmt.Sprintf("workers=%d", s.workers), func(t *testing.T) {
			rows = append(rows, s.run(t))
		})
	}
	t.Log("\n" + table(rows))
}

// costs is what a step cost. Cores and entries are per second of the window.
type costs struct {
	workers                int
	master, redis, members float64 // cores
	entries                float64
	lag                    []time.Duration // age of the newest entry that is merged and saved
	unsaved                []int           // of every member at every sample
	redisMemory            int64           // the most
	masterMemory           int64
}

// run makes the step and judges it.
func (s step) run(t *testing.T) *costs {
	server := redistest.Start(t, redistest.Options{Config: []string{"--save", ""}})
	rdb, err := redisurl.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	spec := fmt.Sprintf("scenario: nothing\ntarget: test://x\nprobe: {routes: []}\n"+
		"load: {users: %d, spawn_rate: 10000, run_time: %ds}\nsafety: {max_users: 100000}\n"+
		"thresholds: [\"failures < 2%%\"]\n",
		s.workers*usersPerWorker, int((s.warmUp + s.lasts + 8*time.Second).Seconds()))
	fill(t, rdb, spec)

	all := newEar(min(memberProcesses, s.workers))
	lead := start(t, order{Redis: server.URL(), Workers: s.workers, Spec: spec, Profile: s.profile("master")}, all.hearMaster)
	var members []*process
	for i := range all.want {
		o := order{Redis: server.URL(), Members: (s.workers + i) / all.want, Profile: s.profile(fmt.Sprint("members", i))}
		members = append(members, start(t, o, func(said said) { all.hearMember(i, said) }))
	}
	select {
	case <-all.reporting:
	case <-lead.ended:
		t.Fatalf("the master ended with %v", lead.err)
	case <-time.After(2 * patience):
		t.Fatal("the run does not begin")
	}

	c := s.measure(t, all, rdb, lead.cmd.Process.Pid, server.PID(), members)
	limit := time.After(patience)
	for _, p := range append(members, lead) {
		select {
		case <-p.ended:
			if p.err != nil {
				t.Fatalf("process %d ended with %v", p.cmd.Process.Pid, p.err)
			}
		case <-limit:
			t.Fatalf("process %d does not end", p.cmd.Process.Pid)
		}
	}
	c.masterMemory = lead.memory()
	judgeTotals(t, all)
	if s.judged {
		s.judgeRun(t, all.summary.Run)
		s.judgeCosts(t, c)
	}
	return c
}

// profile returns where a process's CPU profile goes.
func (s step) profile(name string) string {
	folder := os.Getenv(profileVariable)
	if folder == "" {
		return ""
	}
	return filepath.Join(folder, fmt.Sprintf("%d-%s.pprof", s.workers, name))
}

// fill makes the pool of the spec with a few accounts: nobody leases any.
func fill(t *testing.T, rdb redis.UniversalClient, text string) {
	t.Helper()
	spec, err := parseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := accounts.Create(t.Context(), accounts.Config{Redis: rdb, Namespace: namespace, Name: spec.Accounts.Pool}, accounts.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = pool.Import(t.Context(), []accounts.Account{
		{Username: "a", Password: accounts.NewSecret("x"), Role: role},
		{Username: "b", Password: accounts.NewSecret("x"), Role: role},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// measure measures for as long as the step lasts.
func (s step) measure(t *testing.T, all *ear, rdb redis.UniversalClient, lead, store int, members []*process) *costs {
	t.Helper()
	pids := []int{lead, store}
	for _, p := range members {
		pids = append(pids, p.cmd.Process.Pid)
	}
	awaitMerging(t, rdb)
	<-time.After(s.warmUp)
	began := time.Now()
	before, used := entriesAdded(t, rdb), cpus(t, pids)
	c := &costs{workers: s.workers}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for time.Since(began) < s.lasts {
		<-ticker.C
		c.lag = append(c.lag, lag(t, rdb))
		c.unsaved = append(c.unsaved, all.unsavedNow()...)
		c.redisMemory = max(c.redisMemory, usedMemory(t, rdb))
	}
	seconds := time.Since(began).Seconds()
	c.entries = float64(entriesAdded(t, rdb)-before) / seconds
	cores := cpus(t, pids)
	for i := range cores {
		cores[i] = (cores[i] - used[i]) / seconds
	}
	c.master, c.redis = cores[0], cores[1]
	for _, n := range cores[2:] {
		c.members += n
	}
	return c
}

// cpus is the processor time that processes have used, in seconds.
func cpus(t *testing.T, pids []int) []float64 {
	t.Helper()
	all := make([]float64, len(pids))
	for i, pid := range pids {
		used, err := cpu(pid)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = used.Seconds()
	}
	return all
}

// The keys that the master keeps its stream and its position in.
const streamKey, savedKey = namespace + ":{swarm:" + swarm + "}:stats", namespace + ":{swarm:" + swarm + "}:saved"

func entriesAdded(t *testing.T, rdb redis.UniversalClient) int64 {
	t.Helper()
	info, err := rdb.XInfoStream(t.Context(), streamKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	return info.EntriesAdded
}

// awaitMerging waits until the master has merged and saved something.
func awaitMerging(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	limit := time.After(patience)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for rdb.HGet(t.Context(), savedKey, "pos").Val() == "" {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("the master merges nothing")
		}
	}
}

// lag is the age of the newest entry that is merged and saved.
func lag(t *testing.T, rdb redis.UniversalClient) time.Duration {
	t.Helper()
	pipe := rdb.Pipeline()
	position, now := pipe.HGet(t.Context(), savedKey, "pos"), pipe.Time(t.Context())
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	ms, _, _ := strings.Cut(position.Val(), "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		t.Fatalf("the master's position is %q: %v", position.Val(), err)
	}
	return now.Val().Sub(time.UnixMilli(n))
}

func usedMemory(t *testing.T, rdb redis.UniversalClient) int64 {
	t.Helper()
	info, err := rdb.InfoMap(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// judgeTotals holds what the members have sent against what the master has merged.
func judgeTotals(t *testing.T, all *ear) {
	t.Helper()
	var sent tally
	for _, part := range all.sent {
		sent.add(part)
	}
	merged, summary := all.merged, all.summary
	if want, got := sent.encode(t), (tally{merged}).encode(t); want != got {
		t.Errorf("the members sent\n%s\nand the master merged\n%s", want, got)
	}
	if len(summary.Operations) != operations {
		t.Fatalf("the summary has %d operations, want %d", len(summary.Operations), operations)
	}
	for _, row := range summary.Operations {
		want := sent.operation(row.Type, row.Name)
		if row.Count != want.Count || row.Failures != want.Failures || row.Bytes != want.Bytes || want.Count == 0 {
			t.Errorf("the summary says %+v, the members sent %d operations, %d failures, %d bytes", row, want.Count, want.Failures, want.Bytes)
		}
	}
}

// judgeRun holds the run against one to which nothing happened.
func (s step) judgeRun(t *testing.T, run report.Run) {
	t.Helper()
	users := s.workers * usersPerWorker
	if run.Verdict != report.VerdictPass || run.Workers != s.workers || run.UsersPeak != users || len(run.Events) > 0 {
		t.Errorf("the run %q had %d workers, %d users at peak and the events %+v; want %d workers, %d users and nothing else",
			run.Verdict, run.Workers, run.UsersPeak, run.Events, s.workers, users)
	}
}

// judgeCosts holds what the step cost against what is promised.
func (s step) judgeCosts(t *testing.T, c *costs) {
	t.Helper()
	if c.master >= mostCores {
		t.Errorf("the master used %.2f cores, want less than %v", c.master, mostCores)
	}
	third := len(c.lag) / 3
	first, last := middle(c.lag[:third]), middle(c.lag[len(c.lag)-third:])
	if median := middle(c.lag); median > mostLag || last > first+lagGrowth {
		t.Errorf("the newest merged entry was %v old in the median, %v in the first third of the time and %v in the last: the master does not keep up",
			median, first, last)
	}
	// Each member reports once a second; the rest is that samples and reports
	// are not in step, and a machine that had something else to do.
	if want := 0.98 * float64(s.workers); c.entries < want {
		t.Errorf("%.1f entries a second, want %.1f at least: the machine is too busy to prove anything", c.entries, want)
	}
}

// middle returns the median.
func middle[T int | time.Duration](of []T) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// table shows the steps side by side.
func table(rows []*costs) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "workers\tentries/s\tmaster cores\tRedis cores\tmembers cores\tlag median\tmax\tunsaved median\tmax\tRedis MB\tmaster MB\t")
	for _, c := range rows {
		fmt.Fprintf(w, "%d\t%.1f\t%.3f\t%.3f\t%.3f\t%.1fs\t%.1fs\t%d\t%d\t%.1f\t%.0f\t\n", c.workers, c.entries, c.master, c.redis, c.members,
			middle(c.lag).Seconds(), slices.Max(c.lag).Seconds(), middle(c.unsaved), slices.Max(c.unsaved),
			float64(c.redisMemory)/1e6, float64(c.masterMemory)/1e6)
	}
	_ = w.Flush() // to memory
	return b.String()
}

// ear is what the processes have said. It is safe for concurrent use.
type ear struct {
	want      int           // processes of members
	reporting chan struct{} // closed when all of them are in the run

	mu      sync.Mutex    // guards what follows
	unsaved map[int][]int // by process
	sent    [][]*opstats.Delta
	merged  []*opstats.Delta
	summary *report.Summary
}

// newEar returns an ear for so many processes of members.
func newEar(members int) *ear {
	return &ear{want: members, reporting: make(chan struct{}), unsaved: map[int][]int{}}
}

func (e *ear) hearMaster(s said) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.merged, e.summary = s.Operations, s.Summary
}

func (e *ear) hearMember(process int, s said) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.Operations != nil {
		e.sent = append(e.sent, s.Operations)
		return
	}
	before := len(e.unsaved)
	e.unsaved[process] = s.Unsaved
	if len(e.unsaved) > before && len(e.unsaved) == e.want {
		close(e.reporting)
	}
}

// unsavedNow is how many reports each member kept when it was last heard of.
func (e *ear) unsavedNow() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []int
	for _, of := range e.unsaved {
		all = append(all, of...)
	}
	return all
}

// tally is operations, by type and name.
type tally struct{ rows []*opstats.Delta }

func (t *tally) operation(kind, name string) *opstats.Delta {
	for _, row := range t.rows {
		if row.Type == kind && row.Name == name {
			return row
		}
	}
	t.rows = append(t.rows, &opstats.Delta{Type: kind, Name: name})
	return t.rows[len(t.rows)-1]
}

func (t *tally) add(rows []*opstats.Delta) {
	for _, row := range rows {
		t.operation(row.Type, row.Name).Merge(*row)
	}
}

// encode is the same text for the same figures.
func (t tally) encode(test *testing.T) string {
	test.Helper()
	slices.SortFunc(t.rows, func(a, b *opstats.Delta) int { return strings.Compare(a.Type+" "+a.Name, b.Type+" "+b.Name) })
	var b strings.Builder
	for _, row := range t.rows {
		text, err := json.Marshal(row)
		if err != nil {
			test.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	return b.String()
}
