package provision_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// crash ends a process at one event, as far as anybody outside can see:
// nothing that it does afterwards has an effect. Events are calls to the
// target and commands to Redis, each before and after it takes effect.
type crash struct {
	calls, commands int64 // at which of each; 0: never

	seenCalls, seenCommands atomic.Int64
	over                    atomic.Bool
}

// errCrashed is final, so that a run whose process is gone ends at once.
var errCrashed = fmt.Errorf("%w: the process is gone", provision.ErrRefused)

func (c *crash) step(seen *atomic.Int64, at int64) error {
	if seen.Add(1) == at {
		c.over.Store(true)
	}
	if c.over.Load() {
		return errCrashed
	}
	return nil
}

func (c *crash) call(context.Context, string, accounts.Account) error {
	return c.step(&c.seenCalls, c.calls)
}

func (c *crash) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *crash) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *crash) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := c.step(&c.seenCommands, c.commands)
		if err == nil {
			if err = next(ctx, cmd); err == nil {
				err = c.step(&c.seenCommands, c.commands)
			}
		}
		if err != nil {
			cmd.SetErr(err)
		}
		return err
	}
}

const crashes = 50

// students is how many accounts round n is about: two batches now and then.
func students(n int) int {
	if n%10 < 2 {
		return 520
	}
	return 40
}

// plan chooses where round n crashes: in turns at a command and at a call.
func plan(random *rand.Rand, n int, commands, calls int64) *crash {
	if n%2 == 0 {
		return &crash{commands: 1 + random.Int64N(commands)}
	}
	return &crash{calls: 1 + random.Int64N(calls)}
}

// orphans counts the accounts of the target that the pool does not know of, and
// those that the pool would lease although the target does not have them. To
// see the latter it retires them: the pool is good for DeleteAll afterwards.
func orphans(t *testing.T, pool *accounts.Pool, w *town) (lost, ghosts int) {
	t.Helper()
	there := w.population()
	record := map[string]bool{}
	for _, a := range slices.Concat(intents(t, pool), retired(t, pool)) {
		record[a.Username] = true
	}
	for {
		n, err := pool.Retire(t.Context(), "", 500)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	for _, a := range retired(t, pool) {
		if _, ok := there[a.Username]; !ok && !record[a.Username] {
			ghosts++
		}
		record[a.Username] = true
	}
	for name := range there {
		if !record[name] {
			lost++
		}
	}
	return lost, ghosts
}

func TestEnsureAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	// In a bubble nobody waits in earnest for the turn of the dead to end.
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		random := rand.New(rand.NewPCG(1, 2))
		struck := 0
		for n := range crashes {
			want := map[string]int{"student": students(n)}
			namespace := fmt.Sprint(namespace, n)
			pool, w := longPool(t, rdb, namespace), newTown()
			end := plan(random, n, 20, int64(2*students(n)))
			w.before, w.after = end.call, end.call
			if _, err := provision.New(dying(t, rdb, namespace, end), w, provision.Config{Concurrency: 8}).Ensure(t.Context(), want); err == nil && end.over.Load() {
				t.Errorf("the crash went unnoticed")
			}
			recovers(t, pool, w.healed(), want)
			if t.Failed() {
				t.Fatalf("round %d, crash at command %d or call %d", n, end.commands, end.calls)
			}
			if end.over.Load() {
				struck++
			}
		}
		if struck < crashes*3/4 {
			t.Errorf("only %d of %d rounds crashed", struck, crashes)
		}
	})
}

// The same command, until it succeeds, adds what it says once.
func TestEnsureMoreAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		random := rand.New(rand.NewPCG(7, 8))
		more := map[string]int{"student": 30, "proctor": 2}
		resumed := 0
		for n := range crashes {
			namespace := fmt.Sprint(namespace, n)
			pool, w := longPool(t, rdb, namespace), newTown()
			mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 10})
			end := plan(random, n, 24, 64)
			w.before, w.after = end.call, end.call
			_, err := provision.New(dying(t, rdb, namespace, end), w, provision.Config{Concurrency: 8}).EnsureMore(t.Context(), more)
			w = w.healed()
			want := map[string]int{"student": 40, "proctor": 2}
			if err != nil {
				result, err := provision.New(pool, w, provision.Config{}).EnsureMore(t.Context(), more)
				if err != nil {
					t.Fatal(err)
				}
				if result.Resumed {
					resumed++
				}
				// The last command of all ends the goal, and only its answer, or
				// the turn after it, can have been lost: then nothing is begun.
				if goal, err := pool.Goal(t.Context()); err != nil || goal != nil {
					t.Errorf("the goal is %v, %v", goal, err)
				}
				if !result.Resumed && known(t, pool)["student"] == 70 {
					want = map[string]int{"student": 70, "proctor": 4}
				}
			}
			agree(t, pool, w, want)
			if lost, ghosts := orphans(t, pool, w); lost > 0 || ghosts > 0 {
				t.Errorf("%d accounts are only in the target, %d only in the pool", lost, ghosts)
			}
			if t.Failed() {
				t.Fatalf("round %d, crash at command %d or call %d", n, end.commands, end.calls)
			}
		}
		if resumed < crashes/2 {
			t.Errorf("only %d of %d rounds were resumed", resumed, crashes)
		}
	})
}

// A process that is asked to leave does so in order.
func TestEnsureAfterACancellationAnywhere(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		random := rand.New(rand.NewPCG(5, 6))
		want := map[string]int{"student": 60}
		for n := range crashes {
			pool, w := newPool(t, rdb, fmt.Sprint(namespace, n)), newTown()
			ctx, cancel := context.WithCancel(t.Context())
			var calls atomic.Int64
			at := 1 + random.Int64N(120)
			step := func(context.Context, string, accounts.Account) error {
				if calls.Add(1) == at {
					cancel()
				}
				return nil
			}
			w.before, w.after = step, step
			result, err := provision.New(pool, w, provision.Config{Concurrency: 8}).Ensure(ctx, want)
			cancel()
			if have := known(t, pool)["student"]; have != result.Created || have != len(w.population()) {
				t.Errorf("%d reported (%v), %d known, %d in the target", result.Created, err, have, len(w.population()))
			}
			recovers(t, pool, w.healed(), want)
			if t.Failed() {
				t.Fatalf("round %d, cancelled at call %d", n, at)
			}
		}
	})
}

// dying opens the pool as a process that is going to crash sees it.
func dying(t *testing.T, rdb redis.UniversalClient, namespace string, end *crash) *accounts.Pool {
	t.Helper()
	other := redistest.Another(t, rdb)
	pool, err := accounts.Open(t.Context(), accounts.Config{Redis: other, Namespace: namespace, Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	other.AddHook(end)
	return pool
}

// recovers checks that another Ensure finishes the work, exactly.
func recovers(t *testing.T, pool *accounts.Pool, w *town, want map[string]int) {
	t.Helper()
	mustEnsure(t, provision.New(pool, w, provision.Config{}), want)
	agree(t, pool, w, want)
	if lost, ghosts := orphans(t, pool, w); lost > 0 || ghosts > 0 {
		t.Errorf("%d accounts are only in the target, %d only in the pool", lost, ghosts)
	}
}

// What was intended is deleted in the target, and before the pool is told the
// process dies. The target remembers that it has created the account once, so
// whoever asks it to create that again is told that it is there.
func TestNoGhostsOfIntendedAccounts(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		a := accounts.Account{Username: "student-a", Password: accounts.NewSecret("x"), Role: "student"}
		if _, err := pool.Intend(t.Context(), []accounts.Account{a}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Create(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		end := new(crash)
		w.after = func(_ context.Context, verb string, _ accounts.Account) error {
			if verb != "delete" {
				return nil
			}
			end.over.Store(true)
			return errCrashed
		}
		if _, err := provision.New(dying(t, rdb, namespace, end), w, provision.Config{}).DeleteAll(t.Context()); err == nil {
			t.Fatal("the crash went unnoticed")
		}
		w = w.healed()
		if n := len(w.population()); n != 0 {
			t.Fatalf("the target has %d accounts, want none", n)
		}
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 1})
		if lost, ghosts := orphans(t, pool, w); lost > 0 || ghosts > 0 {
			t.Errorf("%d accounts are only in the target, %d only in the pool", lost, ghosts)
		}
	})
}

func TestDeleteAllAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, deleteAllAfterACrash)
}

func deleteAllAfterACrash(t *testing.T) {
	_, rdb, namespace := redistest.Piped(t)
	random := rand.New(rand.NewPCG(3, 4))
	for n := range crashes / 2 {
		namespace := fmt.Sprint(namespace, n)
		pool, w := longPool(t, rdb, namespace), newTown()
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": students(n)})
		intended := make([]accounts.Account, 50)
		for i := range intended {
			intended[i] = accounts.Account{Username: fmt.Sprint("student-", i), Password: accounts.NewSecret("x"), Role: "student"}
			if i%2 == 0 { // created, but not confirmed
				if _, err := w.Create(t.Context(), intended[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := pool.Intend(t.Context(), intended); err != nil {
			t.Fatal(err)
		}

		end := plan(random, n, 30, int64(2*(students(n)+2*50)))
		w.before, w.after = end.call, end.call
		if _, err := provision.New(dying(t, rdb, namespace, end), w, provision.Config{Concurrency: 8}).DeleteAll(t.Context()); err == nil && end.over.Load() {
			t.Errorf("round %d: the crash went unnoticed", n)
		}
		w = w.healed()
		p := provision.New(pool, w, provision.Config{})
		if n%3 == 0 {
			// Somebody wants them back in between.
			mustEnsure(t, p, map[string]int{"student": 100})
			if have := known(t, pool)["student"]; have < 100 {
				t.Errorf("round %d: the pool knows %d, want 100", n, have)
			}
		}
		if n%2 == 0 {
			if lost, ghosts := orphans(t, pool, w); lost > 0 || ghosts > 0 {
				t.Errorf("round %d: %d accounts are only in the target, %d only in the pool", n, lost, ghosts)
			}
		}
		if _, err := p.DeleteAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		agree(t, pool, w, map[string]int{})
		if t.Failed() {
			t.Fatalf("round %d, crash at command %d or call %d", n, end.commands, end.calls)
		}
	}
}
