package provision_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// bubble runs a test in time that passes only when everybody waits.
func bubble(t *testing.T, test func(t *testing.T, pool *accounts.Pool, w *town)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		test(t, longPool(t, rdb, namespace), newTown())
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
		patience              time.Duration
		least, most           time.Duration
	}{
		// After that many failures one call every 5 s.
		{"few at a time", 5, 15 + 5, 20 + 6, 0, 30 * time.Second, 35 * time.Second},
		{"many at a time", 50, 150 + 5, 200 + 6, 0, 30 * time.Second, 35 * time.Second},
		{"without patience", 50, 150, 200, -1, 0, 5 * time.Second},
		{"with little patience", 50, 150, 200, 3 * time.Second, 3 * time.Second, 6 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
				var calls atomic.Int64
				w.before = func(context.Context, string, accounts.Account) error { calls.Add(1); return errBusy }
				log, lines := observer.New(zap.InfoLevel)
				p := provision.New(pool, w, provision.Config{Concurrency: tt.concurrency, Patience: tt.patience, Log: zap.New(log)})
				start := time.Now()
				_, err := p.Ensure(t.Context(), map[string]int{"student": 1000})
				if !errors.Is(err, provision.ErrDown) || !errors.Is(err, errBusy) ||
					!strings.Contains(err.Error(), "account service is down") || !strings.Contains(err.Error(), "503") {
					t.Errorf("got %v, want ErrDown with what was answered last", err)
				}
				if n := int(calls.Load()); n < tt.from || n > tt.to {
					t.Errorf("%d calls, want %d to %d", n, tt.from, tt.to)
				}
				if took := time.Since(start); took < tt.least || took > tt.most {
					t.Errorf("it took %v, want %v to %v", took, tt.least, tt.most)
				}
				if n := lines.FilterMessageSnippet("is down").Len(); n != 1 {
					t.Errorf("%d lines say that the service is down, want one: %v", n, lines.All())
				}
				// The next run asks afresh.
				w.before = nil
				mustEnsure(t, p, map[string]int{"student": 1000})
				agree(t, pool, w, map[string]int{"student": 1000})
				if n := failed(t, pool); n != calls.Load() {
					t.Errorf("the pool counts %d failed creations, want %d", n, calls.Load())
				}
			})
		})
	}
}

// failed returns how many creations the pool says have failed.
func failed(t *testing.T, pool *accounts.Pool) (n int64) {
	t.Helper()
	stats, err := pool.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stats {
		n += s.Failed
	}
	return n
}

func TestWaitsForAServiceThatIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		start := time.Now()
		var during atomic.Int64
		w.before = func(context.Context, string, accounts.Account) error {
			if since := time.Since(start); since < 18*time.Second {
				if since > 4*time.Second {
					during.Add(1)
				}
				return errBusy
			}
			return nil
		}
		log, lines := observer.New(zap.InfoLevel)
		mustEnsure(t, provision.New(pool, w, provision.Config{Log: zap.New(log)}), map[string]int{"student": 600})
		agree(t, pool, w, map[string]int{"student": 600})
		if took := time.Since(start); took < 18*time.Second || took > 26*time.Second {
			t.Errorf("it took %v, want it soon after the outage of 18s", took)
		}
		if n := during.Load(); n < 2 || n > 4 {
			t.Errorf("%d calls while the service was down, want one every 5s", n)
		}
		if lines.FilterMessageSnippet("is down").Len() != 1 || lines.FilterMessageSnippet("is back").Len() != 1 {
			t.Errorf("want one line for each end of the outage: %v", lines.All())
		}
	})
}

func TestTheEndOfTheContextEndsAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		w.before = always(errBusy)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		_, err := provision.New(pool, w, provision.Config{}).Ensure(ctx, map[string]int{"student": 1000})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, provision.ErrDown) || time.Since(start) > 9*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// A target that says when to come back is not asked before.
func TestHeedsWhenToComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		var first time.Time
		w.before = func(context.Context, string, accounts.Account) error {
			if first.IsZero() {
				first = time.Now()
				return &provision.BusyError{After: 20 * time.Second}
			}
			if since := time.Since(first); since < 20*time.Second {
				t.Errorf("asked again after %v", since)
			}
			return nil
		}
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 1})
	})
}

func TestRetriesAndTimeoutAreConfigured(t *testing.T) {
	for retries, want := range map[int]int{-1: 1, 0: 5, 1: 2, 6: 7} {
		t.Run(fmt.Sprint(retries), func(t *testing.T) {
			bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
				calls := 0
				w.before = func(ctx context.Context, _ string, _ accounts.Account) error {
					calls++
					<-ctx.Done()
					return ctx.Err()
				}
				start := time.Now()
				_, err := provision.New(pool, w, provision.Config{Retries: retries, Timeout: time.Second}).Ensure(t.Context(), map[string]int{"student": 1})
				if calls != want || err == nil || time.Since(start) < time.Duration(want)*time.Second {
					t.Errorf("%d calls, want %d; %v after %v", calls, want, err, time.Since(start))
				}
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
