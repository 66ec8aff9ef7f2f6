package provision_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// bubble runs a test in time that passes only when everybody waits.
func bubble(t *testing.T, test func(t *testing.T, pool *accounts.Pool, w *town)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		test(t, newPool(t, rdb, namespace), newTown())
	})
}

// always answers every call the same way.
func always(err error) func(context.Context, string, accounts.Account) error {
	return func(context.Context, string, accounts.Account) error { return err }
}

func TestRepeatsWithBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		calls := 0 // one call at a time
		w.before = func(context.Context, string, accounts.Account) error {
			if calls++; calls < 5 {
				return errBusy
			}
			return nil
		}
		start := time.Now()
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 1})
		// Pauses of 0.2, 0.4, 0.8 and 1.6 s, each a quarter more or less.
		if took := time.Since(start); calls != 5 || took < 2250*time.Millisecond || took > 3750*time.Millisecond {
			t.Errorf("%d calls in %v, want 5 in about 3s", calls, took)
		}
		agree(t, pool, w, map[string]int{"student": 1})
	})
}

func TestGivesUpAfterFiveAttempts(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		var calls atomic.Int64
		w.after = func(_ context.Context, _ string, a accounts.Account) error {
			if a.Role == "proctor" {
				calls.Add(1)
				return errBusy
			}
			return nil
		}
		result, err := provision.New(pool, w, provision.Config{}).Ensure(t.Context(), map[string]int{"student": 100, "proctor": 1})
		if !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "gave up after 5 attempts") || errors.Is(err, provision.ErrDown) {
			t.Errorf("got %v", err)
		}
		if calls.Load() != 5 || result.Created != 100 || known(t, pool)["student"] != 100 {
			t.Errorf("%d attempts, %+v, %v known", calls.Load(), result, known(t, pool))
		}
		if left := intents(t, pool); len(left) != 1 || left[0].Role != "proctor" {
			t.Errorf("%d intents are left, want that of the proctor", len(left))
		}
		// The target had it all the same.
		mustEnsure(t, provision.New(pool, w.healed(), provision.Config{}), map[string]int{"student": 100, "proctor": 1})
		agree(t, pool, w, map[string]int{"student": 100, "proctor": 1})
	})
}

func TestBreakerOpensWhenTheServiceIsDown(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		concurrency, from, to int
	}{
		{"few at a time", 5, 20, 25},
		{"many at a time", 50, 200, 250},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
				var calls atomic.Int64
				w.before = func(context.Context, string, accounts.Account) error { calls.Add(1); return errBusy }
				p := provision.New(pool, w, provision.Config{Concurrency: tt.concurrency})
				start := time.Now()
				_, err := p.Ensure(t.Context(), map[string]int{"student": 1000})
				if !errors.Is(err, provision.ErrDown) || !errors.Is(err, errBusy) ||
					!strings.Contains(err.Error(), "account service is down") || !strings.Contains(err.Error(), "503") {
					t.Errorf("got %v, want ErrDown with what was answered last", err)
				}
				if n := int(calls.Load()); n < tt.from || n > tt.to {
					t.Errorf("%d calls, want %d to %d", n, tt.from, tt.to)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				// The next run asks afresh.
				w.before = nil
				mustEnsure(t, p, map[string]int{"student": 1000})
				agree(t, pool, w, map[string]int{"student": 1000})
			})
		})
	}
}

func TestSurvivesAShortOutage(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		start := time.Now()
		w.before = func(context.Context, string, accounts.Account) error {
			if time.Since(start) < 400*time.Millisecond {
				return errBusy
			}
			return nil
		}
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 300})
		agree(t, pool, w, map[string]int{"student": 300})
	})
}

func TestRateCountsEveryAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		var calls atomic.Int64
		w.before = func(context.Context, string, accounts.Account) error {
			if calls.Add(1)%10 == 0 {
				return errBusy
			}
			return nil
		}
		start := time.Now()
		mustEnsure(t, provision.New(pool, w, provision.Config{Rate: 20}), map[string]int{"student": 100})
		took := time.Since(start)
		least := time.Duration(calls.Load()-1) * 50 * time.Millisecond
		if took < least || took > least+4*time.Second {
			t.Errorf("%d calls at 20/s in %v", calls.Load(), took)
		}
	})
}

func TestConcurrencyIsALimit(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error { return pause(ctx, 10*time.Millisecond) }
		mustEnsure(t, provision.New(pool, w, provision.Config{Concurrency: 7}), map[string]int{"student": 70})
		if w.top != 7 {
			t.Errorf("%d calls at a time, want 7", w.top)
		}
	})
}

func TestCallsUnderWayMayFinish(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error { return pause(ctx, time.Second) }
		cause := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer time.AfterFunc(500*time.Millisecond, func() { cancel(cause) }).Stop()
		start := time.Now()
		result, err := provision.New(pool, w, provision.Config{Concurrency: 8}).Ensure(ctx, map[string]int{"student": 100})
		if !errors.Is(err, cause) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want the cause after 1s", err, time.Since(start))
		}
		if result.Created != 8 || known(t, pool)["student"] != 8 || w.creates != 8 {
			t.Errorf("%+v, %v known, %d calls; want the 8 that were under way", result, known(t, pool), w.creates)
		}
	})
}

func TestCallsThatHangAreCutOff(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error { <-ctx.Done(); return ctx.Err() }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := provision.New(pool, w, provision.Config{}).Ensure(ctx, map[string]int{"student": 3})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v, want it 2s after the end of the context", err, time.Since(start))
		}
		if n := len(intents(t, pool)); n != 3 {
			t.Errorf("%d intents are left, want 3", n)
		}
	})
}

func TestCallsTimeOut(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		calls := 0
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error {
			if calls++; calls == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		start := time.Now()
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 1})
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("it took %v, want 10s and a pause", took)
		}
	})
}

func TestProgress(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error { return pause(ctx, 9*time.Millisecond) }
		var seen []int
		var total int
		cfg := provision.Config{Concurrency: 5, Progress: func(done, of int) { seen, total = append(seen, done), of }}
		p := provision.New(pool, w, cfg)
		check := func(what string, first, last int) {
			t.Helper()
			// 800 accounts in two batches, 5 at a time: 1.44 s.
			if len(seen) < 10 || len(seen) > 18 || !slices.IsSorted(seen) || seen[0] != first || seen[len(seen)-1] != last || total != last {
				t.Errorf("%s: progress %v of %d, want %d to %d in about 15 steps", what, seen, total, first, last)
			}
			seen = nil
		}
		mustEnsure(t, p, map[string]int{"student": 500, "proctor": 300})
		check("create", 0, 800)
		if _, err := p.DeleteAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("delete", 0, 800)
	})
}

func TestDeleteAllStopsWhenTheServiceIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 1200})
		w.before = always(errBusy)
		p := provision.New(pool, w, provision.Config{})
		if result, err := p.DeleteAll(t.Context()); !errors.Is(err, provision.ErrDown) || result.Deleted != 0 {
			t.Errorf("%+v, %v; want ErrDown", result, err)
		}
		if n := len(retired(t, pool)); n > 500 {
			t.Errorf("%d accounts are out of use for nothing", n)
		}
		w.before = nil
		if result, err := p.DeleteAll(t.Context()); err != nil || result.Deleted != 1200 {
			t.Errorf("afterwards %+v, %v", result, err)
		}
		agree(t, pool, w, map[string]int{})
	})
}
