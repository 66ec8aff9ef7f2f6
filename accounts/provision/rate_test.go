package provision_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

const perMinute = 1.0 / 60

// log notes when each call is made.
type callLog struct {
	mu sync.Mutex
	at []time.Time
}

func (l *callLog) note(context.Context, string, accounts.Account) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, time.Now())
	return nil
}

// most returns the most calls in any window of that length.
func (l *callLog) most(window time.Duration) (most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.at, time.Time.Compare)
	first := 0
	for i, at := range l.at {
		for at.Sub(l.at[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// Ten thousand accounts under 1000 a minute, while somebody else deletes
// accounts of the same pool under the same rate.
func TestThousandsAtAThousandAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		pool, w := longPool(t, rdb, namespace), newTown()
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"guest": 1000})
		if _, err := pool.Retire(t.Context(), "guest", 1000); err != nil {
			t.Fatal(err)
		}
		students, minutes := 10_000, 11*time.Minute
		if raceEnabled {
			students, minutes = 2000, 3*time.Minute // the detector makes it ten times slower
		}
		var calls callLog
		w.before = calls.note
		start := time.Now()
		var both sync.WaitGroup
		both.Go(func() {
			mustEnsure(t, provision.New(pool, w, provision.Config{Rate: 1000 * perMinute}), map[string]int{"student": students})
		})
		both.Go(func() {
			other := longPool(t, redistest.Another(t, rdb), namespace)
			result, err := provision.New(other, w, provision.Config{Rate: 1000 * perMinute}).DeleteRetired(t.Context())
			if err != nil || result.Deleted != 1000 {
				t.Errorf("%+v, %v", result, err)
			}
		})
		both.Wait()
		if took := time.Since(start); took < minutes-time.Second || took > minutes+20*time.Second {
			t.Errorf("%d calls at 1000 a minute took %v", students+1000, took)
		}
		if len(calls.at) != students+1000 {
			t.Errorf("%d calls, want %d", len(calls.at), students+1000)
		}
		if n := calls.most(time.Minute); n > 1000 {
			t.Errorf("%d calls in one minute", n)
		}
		agree(t, pool, w, map[string]int{"student": students})
	})
}

// High rates are not bound by the way to Redis, and hold all the same.
func TestHighRates(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate float64
		bulk bool
	}{{"one at a time", 2000, false}, {"in bulk", 2000, true}, {"in bulk, slowly", 40, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, rdb, namespace := redistest.Piped(t)
				pool, w := longPool(t, rdb, namespace), newTown()
				var calls callLog
				w.before = calls.note
				var source provision.Source = w
				b := &wholesale{town: w}
				if tt.bulk {
					source = b
				}
				n := int(tt.rate) * 2
				start := time.Now()
				mustEnsure(t, provision.New(pool, source, provision.Config{Rate: tt.rate}), map[string]int{"student": n})
				if took := time.Since(start); took < 1700*time.Millisecond || took > 2600*time.Millisecond {
					t.Errorf("%d at %g/s took %v", n, tt.rate, took)
				}
				burst := accounts.Burst(tt.rate)
				// Calls of many wait for their permits, so twice the burst.
				if got := calls.most(time.Second); got > int(tt.rate)+2*burst {
					t.Errorf("%d calls in one second, want at most %g and twice %d", got, tt.rate, burst)
				}
				if tt.bulk && slices.Max(b.sizes) != burst {
					t.Errorf("calls of %v, want up to %d", b.sizes, burst)
				}
			})
		})
	}
}

// Redis is away for a while: permits are waited for, and the target is not asked
// without one.
func TestPermitsSurviveAShortOutageOfRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		faults := new(redistest.Faults)
		other := redistest.Another(t, rdb)
		other.AddHook(faults)
		pool, w := longPool(t, other, namespace), newTown()
		var calls callLog
		var fault *redistest.Fault
		var cut time.Time
		w.before = func(ctx context.Context, verb string, a accounts.Account) error {
			calls.mu.Lock()
			n := len(calls.at)
			calls.mu.Unlock()
			if n == 5 {
				cut = time.Now()
				fault = faults.Refuse(0, redistest.Any)
				time.AfterFunc(time.Second, fault.Lift)
			}
			return calls.note(ctx, verb, a)
		}
		mustEnsure(t, provision.New(pool, w, provision.Config{Rate: 10, Concurrency: 4}), map[string]int{"student": 10})
		if fault.Hits() == 0 || calls.at[6].Sub(cut) < time.Second {
			t.Errorf("%d commands failed, and the next call came %v later", fault.Hits(), calls.at[6].Sub(cut))
		}
		agree(t, pool, w, map[string]int{"student": 10})
	})
}
