package web_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/master/web"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// fakeSwarm is a swarm without users: it counts as if there were some.
type fakeSwarm struct {
	server *web.Server

	mu      sync.Mutex // guards what follows
	spec    *scenarios.Spec
	run     int
	state   string
	users   int
	target  int
	rate    float64
	began   time.Time
	ops     map[string]*opstats.Delta
	members []web.Member
	trust   string
	refusal error
	edits   []web.Load
	sent    int64
	// stopping keeps a stopped run in stopping until it is closed; nil ends at once.
	stopping chan struct{}
	events   []report.Event
}

func (f *fakeSwarm) Start(_ context.Context, spec *scenarios.Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusal != nil {
		return f.refusal
	}
	if f.state == "running" || f.state == "stopping" {
		return errors.New("a run is going on")
	}
	f.run++
	f.spec, f.state, f.users, f.target, f.rate = spec, "running", 0, spec.Load.Users, spec.Load.SpawnRate
	f.began, f.ops, f.sent, f.events = time.Now(), make(map[string]*opstats.Delta), 0, nil
	return nil
}

func (f *fakeSwarm) Edit(_ context.Context, load web.Load) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != "running" {
		return errors.New("no run is going on")
	}
	f.target, f.rate = load.Users, load.SpawnRate
	f.edits = append(f.edits, load)
	f.events = append(f.events, report.Event{Kind: "plan_changed", From: time.Now(), To: time.Now(), Detail: fmt.Sprintf("to %d users", load.Users)})
	return nil
}

func (f *fakeSwarm) Stop(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == "running" {
		f.state = "stopping"
	}
	return nil
}

// operations are what the fake counts: type, name and mean time in ms.
var operations = []struct {
	kind, name string
	ms         float64
}{
	{"CONNECT", "session", 14}, {"PUBLISH", "class/progress", 9}, {"DELIVER", "class/progress", 31}, {"DELIVER", "class/control", 24},
}

// step lets time pass: as much as half a second's worth of everything.
func (f *fakeSwarm) step() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.state {
	case "running":
		if by := max(1, int(f.rate/2)); f.users < f.target {
			f.users = min(f.target, f.users+by)
		} else {
			f.users = max(f.target, f.users-by)
		}
		for _, op := range operations {
			d := opstats.Delta{Type: op.kind, Name: op.name, Took: new(hist.Histogram), Errors: make(map[string]int64)}
			for range f.users {
				d.Count++
				d.Bytes += 180
				d.Took.Record(time.Duration(op.ms * (0.5 + rand.ExpFloat64()) * float64(time.Millisecond)))
				if op.kind == "PUBLISH" && (f.sent == 0 && d.Failures == 0 || rand.IntN(40) == 0) {
					d.Failures++
					d.Errors[`503, "service" <b>unavailable</b>`]++
				}
			}
			f.count(d)
		}
		f.sent += 20
	case "stopping":
		if f.stopping != nil {
			select {
			case <-f.stopping:
			default:
				return
			}
		}
		f.users, f.state = 0, "ended"
	}
}

// count adds to an operation.
func (f *fakeSwarm) count(d opstats.Delta) {
	k := d.Type + " " + d.Name
	next := &opstats.Delta{Type: d.Type, Name: d.Name}
	if old := f.ops[k]; old != nil {
		next.Merge(*old) // a view before keeps what it has
	}
	next.Merge(d)
	f.ops[k] = next
}

// show hands the state to the server.
func (f *fakeSwarm) show() { f.server.Observe(f.view()) }

func (f *fakeSwarm) view() *web.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := &web.View{Now: time.Now(), Target: f.target}
	for _, m := range f.members {
		if f.state == "running" && m.Worker {
			m.State, m.Users = web.MemberRunning, f.users/2
		}
		v.Members = append(v.Members, m)
	}
	if f.run == 0 {
		return v
	}
	v.Spec = f.spec
	wait, p95 := 12.5, 0.031
	v.Summary = &report.Summary{
		Run: report.Run{ID: fmt.Sprintf("run-%d", f.run), Scenario: "classroom", Target: f.spec.Target, StartedAt: f.began,
			DurationS: time.Since(f.began).Seconds(), Users: f.users, UsersPeak: f.target, Workers: 2, State: f.state, Verdict: report.VerdictPass,
			Validity: report.Validity{State: report.Valid, Excluded: []report.Window{}}, Events: append([]report.Event{}, f.events...)},
		Delivery: report.Delivery{Probe: []report.Route{
			{Route: "crowd", Sent: f.sent, Received: f.sent, OnTime: f.sent - 2, Late: 2, Times: &report.Times{MinMS: 4, MeanMS: 30, P50MS: 28, P95MS: 60, P99MS: 110, MaxMS: 2300}},
			{Route: "quiet", Sent: f.sent, Received: f.sent, OnTime: f.sent, Times: &report.Times{MinMS: 3, MeanMS: 11, P50MS: 10, P95MS: 21, P99MS: 36, MaxMS: 81}},
		}},
		Accounts: []report.Account{
			{Pool: "classroom", Role: "proctor", Known: 20, Available: 12, Leased: 7, Resting: 1, Leases: f.sent / 9, Releases: f.sent / 10, PeakLeased: 8, WaitP99MS: &wait},
			{Pool: "classroom", Role: "student", Known: 400, Available: 180, Leased: 210, Resting: 6, Quarantined: 4, Leases: f.sent / 2, Releases: f.sent / 3, Reclaimed: 3, PeakLeased: 220, WaitP99MS: &wait,
				Waits: []report.Wait{{BelowMS: 16, Count: 40}}, Reasons: []report.Reason{{Reason: "401 wrong password", Accounts: 4}}},
		},
		Thresholds: []report.Threshold{{Expr: "delivery.p95 <= 2s", Value: &p95, OK: true}, {Expr: "failures < 1%", OK: f.trust != report.TrustInvalid}},
		Generator:  report.Generator{Trust: f.trust, Reasons: []string{}},
	}
	if f.trust != report.TrustOK {
		v.Summary.Generator.Reasons = []string{"worker host-a:41 used 97% of its cores for 8 s"}
	}
	for _, op := range f.ops {
		v.Operations = append(v.Operations, op)
		o := report.Operation{Type: op.Type, Name: op.Name, Count: op.Count, Failures: op.Failures}
		if op.Took != nil {
			o.Times = &report.Times{P50MS: 20, P95MS: float64(op.Took.Quantile(0.95)) / 1e6, P99MS: float64(op.Took.Quantile(0.99)) / 1e6, MaxMS: float64(op.Took.Max()) / 1e6}
		}
		v.Summary.Operations = append(v.Summary.Operations, o)
	}
	return v
}

const specText = `
scenario: classroom
target: http+poll://127.0.0.1:9090
params: { questions: 3, think: { uniform: [300ms, 1s500ms] } }
load: { users: 10, spawn_rate: 5 }
thresholds: [ "delivery.p95 <= 2s" ]
`

func parseSpec(t testing.TB, text string) *scenarios.Spec {
	t.Helper()
	spec, err := scenarios.ParseSpec("throng.yaml", []byte(text), scenarios.ParseEnv{
		Scenarios: []scenarios.Scenario{classroom.Scenario}, Schemes: []string{"http+poll"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// serve serves a fake swarm with two workers and a probe, whose time passes
// twice a second.
func serve(t testing.TB, change func(*web.Config)) (*fakeSwarm, string) {
	t.Helper()
	swarm := &fakeSwarm{trust: report.TrustOK, ops: make(map[string]*opstats.Delta), members: []web.Member{
		{ID: "a", Name: "host-a:41", Worker: true, State: web.MemberReady, CPU: 0.31, Memory: 48 << 20},
		{ID: "b", Name: "host-b:42", Worker: true, State: web.MemberReady, CPU: 0.29, Memory: 51 << 20},
		{ID: "p", Name: "host-a:43", State: web.MemberReady, CPU: 0.02, Memory: 20 << 20},
	}}
	logs := web.NewLogs()
	cfg := web.Config{Swarm: swarm, Spec: parseSpec(t, specText), Scenarios: []scenarios.Scenario{classroom.Scenario},
		File: "throng.yaml", Version: "test", Logs: logs, Log: zap.New(logs.Core(zap.InfoLevel))}
	if change != nil {
		change(&cfg)
	}
	cfg.Log.Info("the master is ready", zap.String("swarm", "test"))
	server, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	swarm.server = server
	swarm.show()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	running.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond) // a fifth of the time that a master takes
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if n%5 == 0 {
					swarm.step()
				}
				swarm.show()
			}
		}
	})
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		listener.Close()
		stop()
		running.Wait()
	})
	return swarm, listener.URL
}

func workerLost(at time.Time) report.Event {
	return report.Event{Kind: report.EventWorkerLost, From: at.Add(time.Second), To: at.Add(4 * time.Second), Detail: "host-c:44 was not heard of for 3 s; its users went to others"}
}
