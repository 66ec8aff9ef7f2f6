package master_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// nothing is a scenario whose users the tests only count.
type nothing struct{}

func (nothing) Validate() error          { return nil }
func (nothing) ClassOf(int) int          { return 0 }
func (nothing) Crowd() scenarios.Channel { return scenarios.Channel{Name: "c", Pattern: "c"} }
func (nothing) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "User", Role: "user", Weight: 1}}
}

func parse(t *testing.T, text string) *scenarios.Spec {
	t.Helper()
	spec, err := scenarios.ParseSpec("test", []byte("scenario: nothing\ntarget: test://x\n"+text), scenarios.ParseEnv{
		Scenarios: []scenarios.Scenario{{Name: "nothing", New: func() scenarios.Behaviour { return &nothing{} }}},
		Schemes:   []string{"test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// fill makes the spec's pool with n accounts.
func fill(t *testing.T, rdb redis.UniversalClient, namespace string, spec *scenarios.Spec, n int) {
	t.Helper()
	pool, err := accounts.Create(t.Context(), accounts.Config{Redis: rdb, Namespace: namespace, Name: spec.Accounts.Pool},
		accounts.Settings{LeaseTTL: time.Second, LockDelay: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var all []accounts.Account
	for i := range n {
		name := "u" + string(rune('a'+i))
		all = append(all, accounts.Account{Username: name, Password: accounts.NewSecret("x"), Role: "user"})
	}
	if _, err := pool.Import(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// fakeWorker is a member that has users as the plan says, without running any,
// and reports what it is told to.
type fakeWorker struct{ *coord.Member }

func startWorker(t *testing.T, rdb redis.UniversalClient, namespace string) fakeWorker {
	t.Helper()
	w := fakeWorker{coord.NewMember(coord.MemberConfig{Redis: rdb, Namespace: namespace, Swarm: "s"})}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, w.state) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	return w
}

func (w fakeWorker) state() coord.State {
	view := w.View()
	users := view.Slots.Count(view.Plan.Users(w.Clock().Now()))
	stopping := view.Plan.Phase == coord.PhaseStopping
	return coord.State{
		Kind: coord.KindWorker, Name: "fake", PID: 1, Run: view.Run.ID, Ready: true, Users: users,
		Done: stopping && users == 0 && w.Unsaved() == 0,
	}
}

// publish reports n operations of 1 ms, and 1 ms more each.
func (w fakeWorker) publish(n int) {
	h := new(hist.Histogram)
	for i := range n {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	w.Send(w.View().Run.ID, coord.Report{Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: int64(n), Took: h}}})
}

type outcome struct {
	summary *report.Summary
	err     error
}

// lead runs a master. Each summary that it observes goes to the channel.
func lead(ctx context.Context, rdb redis.UniversalClient, namespace string, spec *scenarios.Spec, workers int) (<-chan *report.Summary, <-chan outcome) {
	observed := make(chan *report.Summary, 1000)
	ended := make(chan outcome, 1)
	go func() {
		summary, err := master.Run(ctx, master.Config{
			Redis: rdb, Namespace: namespace, Swarm: "s", Spec: spec, Workers: workers, Log: zap.NewNop(),
			Observe: func(s *master.Snapshot) { observed <- s.Summary },
		})
		ended <- outcome{summary, err}
	}()
	return observed, ended
}

// await returns the first observed summary that meets a condition.
func await(t *testing.T, what string, observed <-chan *report.Summary, condition func(*report.Summary) bool) *report.Summary {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case s := <-observed:
			if condition(s) {
				return s
			}
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func counted(n int64) func(*report.Summary) bool {
	return func(s *report.Summary) bool { return len(s.Operations) == 1 && s.Operations[0].Count == n }
}

func end(t *testing.T, ended <-chan outcome) *report.Summary {
	t.Helper()
	select {
	case o := <-ended:
		if o.err != nil {
			t.Fatalf("the master ended with %v", o.err)
		}
		return o.summary
	case <-time.After(60 * time.Second):
		t.Fatal("the master does not end")
		return nil
	}
}

// The master stops in mid-run, old stream entries are sent again, the master
// is started again: totals unchanged.
func TestTotalsSurviveTheMaster(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		spec := parse(t, "load: {users: 4, spawn_rate: 100, run_time: 8s}\nprobe: {routes: []}")
		fill(t, rdb, namespace, spec, 4)
		worker := startWorker(t, rdb, namespace)

		// The first master's connection to Redis is cut: to everybody else it
		// is dead.
		first := redistest.Another(t, rdb)
		firstCtx, stopFirst := context.WithCancel(t.Context())
		observed, firstEnded := lead(firstCtx, first, namespace, spec, 1)
		await(t, "users", observed, func(s *report.Summary) bool { return s.Run.Users == 4 })
		worker.publish(10)
		worker.publish(20)
		before := await(t, "30 operations", observed, counted(30))
		stream := namespace + ":{swarm:s}:stats"
		old := entries(t, rdb, stream, worker, 2)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		stopFirst()
		if o := <-firstEnded; o.err == nil {
			t.Error("the first master ended well without Redis")
		}

		// While nobody leads, the worker's next report waits in the stream, with
		// both old entries behind it.
		worker.publish(5)
		for _, entry := range old {
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: entry}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		observed, ended := lead(t.Context(), rdb, namespace, spec, 1)
		await(t, "35 operations", observed, counted(35))
		for _, entry := range old {
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: entry}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		s := end(t, ended)
		if !counted(35)(s) {
			t.Errorf("operations %+v, want 35 of one kind", s.Operations)
		}
		if s.Run.ID != before.Run.ID || !s.Run.StartedAt.Equal(before.Run.StartedAt) {
			t.Errorf("run %s started at %v, want %s of %v", s.Run.ID, s.Run.StartedAt, before.Run.ID, before.Run.StartedAt)
		}
		if got := s.Operations[0].MaxMS; got != 20 {
			t.Errorf("the longest took %v ms, want 20", got)
		}
		if s.Run.Workers != 1 || s.Run.UsersPeak != 4 || s.Run.ExitCode != 0 {
			t.Errorf("run %+v", s.Run)
		}
	})
}

// entries returns copies of a worker's first reports as the stream had them.
func entries(t *testing.T, rdb redis.UniversalClient, stream string, worker fakeWorker, n int) [][]any {
	t.Helper()
	var all [][]any
	for i := range n {
		all = append(all, []any{"run", worker.View().Run.ID, "member", worker.ID(), "number", i + 1, "oldest", 1, "body", body(t, 10*(i+1))})
	}
	return all
}

// body is a report of n operations as it travels.
func body(t *testing.T, n int) []byte {
	t.Helper()
	b, err := cbor.Marshal(coord.Report{Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: int64(n)}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A gap stops the merging of a member until the missing entry has come.
func TestGapIsNotMerged(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		spec := parse(t, "load: {users: 1, spawn_rate: 100, run_time: 5s}\nprobe: {routes: []}")
		fill(t, rdb, namespace, spec, 1)
		worker := startWorker(t, rdb, namespace)
		observed, ended := lead(t.Context(), rdb, namespace, spec, 1)
		await(t, "users", observed, func(s *report.Summary) bool { return s.Run.Users == 1 })
		stranger := func(number, count int) {
			err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: namespace + ":{swarm:s}:stats", Values: []any{
				"run", worker.View().Run.ID, "member", "stranger", "number", number, "oldest", 1,
				"body", body(t, count),
			}}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
		stranger(1, 1)
		stranger(3, 4) // 2 is missing
		await(t, "one operation", observed, counted(1))
		stranger(2, 2)
		stranger(3, 4)
		await(t, "all operations", observed, counted(7))
		if s := end(t, ended); !counted(7)(s) {
			t.Errorf("operations %+v, want 7", s.Operations)
		}
	})
}

// A run that its workers have left is over, though its plan lies in Redis and
// somebody new has found it there.
func TestLeftoverRunIsNotTakenUp(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		spec := parse(t, "load: {users: 1, spawn_rate: 100, run_time: 2s}\nprobe: {routes: []}")
		fill(t, rdb, namespace, spec, 1)

		// The first master and its worker are cut off in mid-run.
		cut := redistest.Another(t, rdb)
		firstCtx, stopFirst := context.WithCancel(t.Context())
		worker := coord.NewMember(coord.MemberConfig{Redis: cut, Namespace: namespace, Swarm: "s"})
		workerCtx, stopWorker := context.WithCancel(t.Context())
		workerEnded := make(chan error, 1)
		go func() { workerEnded <- worker.Run(workerCtx, fakeWorker{worker}.state) }()
		observed, firstEnded := lead(firstCtx, cut, namespace, spec, 1)
		before := await(t, "users", observed, func(s *report.Summary) bool { return s.Run.Users == 1 })
		if err := cut.Close(); err != nil {
			t.Fatal(err)
		}
		stopFirst()
		stopWorker()
		<-firstEnded
		<-workerEnded

		startWorker(t, rdb, namespace)
		_, ended := lead(t.Context(), rdb, namespace, spec, 1)
		if s := end(t, ended); s.Run.ID == before.Run.ID || s.Run.DurationS > 4 || s.Run.Workers != 1 {
			t.Errorf("the new run is %+v, after run %s", s.Run, before.Run.ID)
		}
	})
}

// While Redis is away everybody is silent; when it is back, nobody is judged
// lost before they could have been heard of.
func TestOutageOfRedisLosesNobody(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		spec := parse(t, "load: {users: 2, spawn_rate: 100, run_time: 9s}\nprobe: {routes: []}\ntrust: {excluded: 100%}")
		fill(t, rdb, namespace, spec, 2)
		faults := new(redistest.Faults)
		shared := redistest.Another(t, rdb)
		shared.AddHook(faults)
		worker := startWorker(t, shared, namespace)
		observed, ended := lead(t.Context(), shared, namespace, spec, 1)
		await(t, "users", observed, func(s *report.Summary) bool { return s.Run.Users == 2 })
		worker.publish(10)

		away := faults.Refuse(-1, redistest.Any)
		for range 9 { // rounds, two a second: longer than a worker may be silent
			await(t, "a round", observed, func(*report.Summary) bool { return true })
		}
		away.Lift()
		worker.publish(10)
		s := end(t, ended)
		if s.Run.ExitCode != 0 || s.Run.Workers != 1 {
			t.Errorf("run %+v", s.Run)
		}
		if len(s.Run.Events) != 1 || s.Run.Events[0].Kind != report.EventRedisAway {
			t.Errorf("events %+v, want that Redis was away and nothing else", s.Run.Events)
		}
		if !counted(20)(s) {
			t.Errorf("operations %+v, want 20", s.Operations)
		}
	})
}
