package accounts_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// These tests run the real scripts and the real holder on a fake clock, which
// is the server's too: they state to the millisecond what happens when, and an
// hour takes no time.

// defaults are the settings that the tests' times come from: renewals every 5 s,
// trust for 26.7 s, and reclaiming after 35 s.
var defaults = accounts.Settings{LeaseTTL: 30 * time.Second, LockDelay: 5 * time.Second}

const trust = 26700 * time.Millisecond

// pass lets fake time pass, and everything happen that happens until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// bench is a pool on a fake clock, with a holder that reaches it by a
// connection of its own.
type bench struct {
	rdb       redis.UniversalClient
	namespace string
	pool      *accounts.Pool
	holder    *accounts.Holder
	stop      func()
	faults    *redistest.Faults
	since     time.Time // when the holder registered
	move      func(time.Duration)
}

// on runs a test in a bubble, with n students and a holder that runs.
func on(t *testing.T, settings accounts.Settings, n int, test func(t *testing.T, b *bench)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, rdb, namespace := redistest.Piped(t)
		b := &bench{rdb: rdb, namespace: namespace, faults: &redistest.Faults{}}
		b.move = func(by time.Duration) {
			// The server's clock goes on from where it is moved to.
			ctx, cancel := context.WithCancel(context.Background())
			var moving sync.WaitGroup
			t.Cleanup(func() { cancel(); moving.Wait() })
			server.SetTime(time.Now().Add(by))
			moving.Go(func() {
				for ctx.Err() == nil {
					select {
					case <-ctx.Done():
					case <-time.After(10 * time.Millisecond):
						server.SetTime(time.Now().Add(by))
					}
				}
			})
		}
		b.pool = newPool(t, rdb, namespace, settings)
		fill(t, b.pool, "student", n)
		b.since = time.Now()
		b.holder, b.stop = register(t, again(t, rdb, namespace, b.faults))
		test(t, b)
		b.stop()
	})
}

// reclaim runs a reclaimer, with a connection of its own, until the test ends.
func (b *bench) reclaim(t *testing.T) (faults *redistest.Faults, stop func()) {
	t.Helper()
	faults = &redistest.Faults{}
	r := accounts.NewReclaimer(again(t, b.rdb, b.namespace, faults))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Errorf("reclaimer: %v", err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return faults, stop
}

func expectState(t *testing.T, h *accounts.Holder, want accounts.State) {
	t.Helper()
	if got := h.State(); got != want {
		t.Fatalf("state: got %v, want %v", got, want)
	}
}

func expectCheck(t *testing.T, l *accounts.Lease, want error) {
	t.Helper()
	if got := l.Check(); got != want {
		t.Fatalf("check: got %v, want %v", got, want)
	}
}

func TestFencesItselfAtTheDeadline(t *testing.T) {
	for name, cut := range map[string]func(*redistest.Faults) *redistest.Fault{
		"connection refused": func(f *redistest.Faults) *redistest.Fault { return f.Refuse(0, redistest.Any) },
		"no answer":          func(f *redistest.Faults) *redistest.Fault { return f.Hold(0, redistest.Any) },
		"answers lost": func(f *redistest.Faults) *redistest.Fault {
			return f.LoseReplies(0, redistest.Any)
		},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, defaults, 2, func(t *testing.T, b *bench) {
				b.reclaim(t)
				l := lease(t, b.holder, "student")
				ctx, cancel := l.Bind(context.Background())
				defer cancel()
				fault := cut(b.faults) // before the first renewal: trust counts from the registration

				pass(time.Until(b.since.Add(trust - time.Millisecond)))
				expectState(t, b.holder, accounts.Active)
				expectCheck(t, l, nil)
				if ctx.Err() != nil {
					t.Fatalf("bound context ended early: %v", context.Cause(ctx))
				}
				pass(time.Millisecond)
				expectCheck(t, l, accounts.ErrSuspended)
				expectState(t, b.holder, accounts.Suspended)
				if got := context.Cause(ctx); got != accounts.ErrSuspended {
					t.Fatalf("cause: got %v, want ErrSuspended", got)
				}
				if stats(t, b.pool).Reclaimed != 0 {
					t.Fatal("reclaimed before the holder had fenced itself")
				}

				// It comes back. What it held is still its own to give back, but
				// not to use; what it leases now is.
				fault.Lift()
				pass(2 * time.Second)
				expectState(t, b.holder, accounts.Active)
				expectCheck(t, l, accounts.ErrSuspended)
				if b.holder.Held() != 1 {
					t.Fatalf("held: got %d, want 1", b.holder.Held())
				}
				fresh := lease(t, b.holder, "student")
				expectCheck(t, fresh, nil)
				b.holder.Release(l, accounts.OK)
				pass(time.Minute)
				want := accounts.RoleStats{Role: "student", Known: 2, Available: 1, Leased: 1, Leases: 2, Releases: 1, PeakLeased: 2}
				if got := stats(t, b.pool); got != want {
					t.Fatalf("stats: got %+v, want %+v", got, want)
				}
				expectCheck(t, fresh, nil)
			})
		})
	}
}

func TestAShortOutageGoesUnnoticed(t *testing.T) {
	on(t, defaults, 2, func(t *testing.T, b *bench) {
		b.reclaim(t)
		l := lease(t, b.holder, "student")
		fault := b.faults.Refuse(0, redistest.Any)
		waiting := make(chan *accounts.Lease, 1)
		go func() { waiting <- lease(t, b.holder, "student") }()
		pass(15 * time.Second)
		fault.Lift()
		pass(2 * time.Second)
		expectCheck(t, <-waiting, nil)
		pass(10 * time.Minute)
		expectState(t, b.holder, accounts.Active)
		expectCheck(t, l, nil)
	})
}

// Trust counts from when a renewal was sent, not from when its answer came.
func TestTrustCountsFromSending(t *testing.T) {
	on(t, defaults, 1, func(t *testing.T, b *bench) {
		l := lease(t, b.holder, "student")
		fault := b.faults.Hold(1, redistest.Runs(accounts.RenewScript()))
		<-fault.Struck() // at 5 s
		sent := time.Now()
		pass(900 * time.Millisecond)
		fault.Lift() // only now it reaches Redis
		synctest.Wait()
		b.faults.Refuse(0, redistest.Any)
		pass(time.Until(sent.Add(trust - time.Millisecond)))
		expectCheck(t, l, nil)
		pass(time.Millisecond)
		expectCheck(t, l, accounts.ErrSuspended)
	})
}

func TestReclaimsFromTheDeadInTime(t *testing.T) {
	on(t, defaults, 600, func(t *testing.T, b *bench) {
		b.reclaim(t)
		b.reclaim(t) // a second one does no harm
		var leases []*accounts.Lease
		for range 600 {
			leases = append(leases, lease(t, b.holder, "student"))
		}
		ctx, cancel := leases[0].Bind(context.Background())
		defer cancel()
		fault := b.faults.Refuse(0, redistest.Any)

		pass(time.Until(b.since.Add(35 * time.Second)))
		if got := stats(t, b.pool); got.Leased != 600 {
			t.Fatalf("before TTL and lock-delay have passed: %+v", got)
		}
		pass(time.Second)
		want := accounts.RoleStats{Role: "student", Known: 600, Available: 600, Leases: 600, Reclaimed: 600, PeakLeased: 600}
		if got := stats(t, b.pool); got != want {
			t.Fatalf("one second later: got %+v, want %+v", got, want)
		}
		if n, err := b.pool.Registrations(context.Background()); err != nil || n != 0 {
			t.Fatalf("registrations left: %d, %v", n, err)
		}
		other, _ := register(t, b.pool)
		taken := lease(t, other, "student")
		if taken.ID != leases[0].ID || taken.Token <= leases[0].Token {
			t.Fatalf("leased %s with token %d after %s with %d", taken.ID, taken.Token, leases[0].ID, leases[0].Token)
		}

		// The dead comes back: it has lost everything, and starts anew.
		fault.Lift()
		pass(2 * time.Second)
		expectState(t, b.holder, accounts.Active)
		expectCheck(t, leases[0], accounts.ErrLost)
		if got := context.Cause(ctx); got != accounts.ErrSuspended {
			t.Fatalf("cause: got %v, want ErrSuspended, which came first", got)
		}
		if b.holder.Held() != 0 {
			t.Fatalf("held: got %d, want none", b.holder.Held())
		}
		b.holder.Release(leases[0], accounts.Refused("too late"))
		expectCheck(t, lease(t, b.holder, "student"), nil)
		pass(time.Second)
		if got := stats(t, b.pool); got.Leased != 2 || got.Quarantined != 0 || got.Releases != 0 {
			t.Fatalf("after the dead came back: %+v", got)
		}
		audit(t, b.pool)
	})
}

// A registration that vanishes under a holder in good trust ends its leases as
// lost, and those who wait are served by the next registration.
func TestLostRegistration(t *testing.T) {
	on(t, defaults, 1, func(t *testing.T, b *bench) {
		l := lease(t, b.holder, "student")
		ctx, cancel := l.Bind(context.Background())
		defer cancel()
		waiting := make(chan *accounts.Lease, 1)
		go func() { waiting <- lease(t, b.holder, "student") }()
		synctest.Wait()
		b.pool.CloseHolders(t)
		pass(6 * time.Second) // the next renewal
		if got := context.Cause(ctx); got != accounts.ErrLost {
			t.Fatalf("cause: got %v, want ErrLost", got)
		}
		expectCheck(t, l, accounts.ErrLost)
		fresh := <-waiting
		expectCheck(t, fresh, nil)
		if fresh.ID != l.ID || fresh.Token <= l.Token {
			t.Fatalf("leased %s with token %d after %s with %d", fresh.ID, fresh.Token, l.ID, l.Token)
		}
	})
}

// Redis's clock alone kills nobody.
func TestAJumpOfTheServersClockReclaimsNothing(t *testing.T) {
	for name, by := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			on(t, defaults, 2, func(t *testing.T, b *bench) {
				b.reclaim(t)
				l := lease(t, b.holder, "student")
				pass(42 * time.Second) // the reclaimer has watched for longer than the TTL
				b.move(by)
				if by > 0 { // it has expired, and finds out
					since := time.Now()
					b.holder.Release(lease(t, b.holder, "student"), accounts.OK)
					if took := time.Since(since); took > 100*time.Millisecond {
						t.Fatalf("after the jump, a lease took %v", took)
					}
				}
				pass(time.Minute)
				expectState(t, b.holder, accounts.Active)
				expectCheck(t, l, nil)
				if got := stats(t, b.pool); got.Reclaimed != 0 || got.Leased != 1 {
					t.Fatalf("stats: got %+v, want nothing reclaimed", got)
				}
				if by > 0 { // set back, what was ready before is ready when the clock says so again
					expectCheck(t, lease(t, b.holder, "student"), nil)
				}
			})
		})
	}
}

// A holder that was live when the clock jumped and died then is found dead.
func TestReclaimsAfterAJumpOfTheServersClock(t *testing.T) {
	on(t, defaults, 1, func(t *testing.T, b *bench) {
		b.reclaim(t)
		lease(t, b.holder, "student")
		b.faults.Refuse(0, redistest.Any)
		b.move(time.Hour)
		pass(time.Until(b.since.Add(29 * time.Second)))
		if got := stats(t, b.pool); got.Leased != 1 {
			t.Fatalf("reclaimed on the strength of one clock: %+v", got)
		}
		pass(2 * time.Second)
		if got := stats(t, b.pool); got.Reclaimed != 1 {
			t.Fatalf("not reclaimed: %+v", got)
		}
	})
}

// After Redis was away, every holder has time to say that it lives.
func TestAnOutageCountsAsNobodysDeath(t *testing.T) {
	on(t, defaults, 1, func(t *testing.T, b *bench) {
		faults, _ := b.reclaim(t)
		l := lease(t, b.holder, "student")
		pass(40 * time.Second)
		mine, theirs := b.faults.Refuse(0, redistest.Any), faults.Refuse(0, redistest.Any)
		pass(5 * time.Minute)
		expectCheck(t, l, accounts.ErrSuspended)
		theirs.Lift() // the reclaimer is first to reach Redis again
		pass(20 * time.Second)
		mine.Lift()
		pass(2 * time.Second)
		expectState(t, b.holder, accounts.Active)
		pass(5 * time.Minute)
		if got := stats(t, b.pool); got.Reclaimed != 0 || got.Leased != 1 {
			t.Fatalf("stats: got %+v, want nothing reclaimed", got)
		}
	})
}

// The same when it was the reclaimer that stood still.
func TestAPausedReclaimerStartsAfresh(t *testing.T) {
	on(t, defaults, 1, func(t *testing.T, b *bench) {
		ctx := context.Background()
		r := accounts.NewReclaimer(b.pool)
		lease(t, b.holder, "student")
		b.faults.Refuse(0, redistest.Any)
		for range 3 { // minutes apart: never long enough in one go
			pass(2 * time.Minute)
			if n, err := r.Pass(ctx); n != 0 || err != nil {
				t.Fatalf("a pass after a pause: got %d, %v; want none", n, err)
			}
		}
		for range 59 {
			pass(500 * time.Millisecond)
			if n, err := r.Pass(ctx); n != 0 || err != nil {
				t.Fatalf("a pass too soon: got %d, %v; want none", n, err)
			}
		}
		pass(500 * time.Millisecond)
		if n, err := r.Pass(ctx); n != 1 || err != nil {
			t.Fatalf("after watching for the TTL: got %d, %v; want 1", n, err)
		}
	})
}

// What a holder could not give back at its end is given back by any reclaimer,
// at once and as releases: the holder has ended its leases itself.
func TestReclaimerFinishesAnInterruptedEnd(t *testing.T) {
	on(t, defaults, 600, func(t *testing.T, b *bench) {
		for range 600 {
			lease(t, b.holder, "student")
		}
		calls := 0
		b.faults.Refuse(0, func(cmd redis.Cmder) bool {
			if redistest.Runs(accounts.CloseScript())(cmd) {
				calls++
			}
			return calls > 2 // the first is EVALSHA, answered NOSCRIPT
		})
		b.stop()
		if got := stats(t, b.pool); got.Leased != 600-256 {
			t.Fatalf("the end was not interrupted: %+v", got)
		}
		b.reclaim(t)
		synctest.Wait()
		want := accounts.RoleStats{Role: "student", Known: 600, Available: 600, Leases: 600, Releases: 600, PeakLeased: 600}
		if got := stats(t, b.pool); got != want {
			t.Fatalf("stats: got %+v, want %+v", got, want)
		}
	})
}

func TestTheEndIsBounded(t *testing.T) {
	for name, cut := range map[string]func(*redistest.Faults) *redistest.Fault{
		"connection refused": func(f *redistest.Faults) *redistest.Fault { return f.Refuse(0, redistest.Any) },
		"no answer":          func(f *redistest.Faults) *redistest.Fault { return f.Hold(0, redistest.Any) },
	} {
		t.Run(name, func(t *testing.T) {
			on(t, defaults, 2, func(t *testing.T, b *bench) {
				l := lease(t, b.holder, "student")
				fault := cut(b.faults)
				b.holder.Release(l, accounts.Refused("locked"))
				<-fault.Struck() // a call is under way
				began := time.Now()
				b.stop()
				if took := time.Since(began); took > 2*time.Second {
					t.Fatalf("it took %v", took)
				}
			})
		})
	}
}

func TestRestIsExact(t *testing.T) {
	settings := defaults
	settings.Rest = 10 * time.Second
	on(t, settings, 1, func(t *testing.T, b *bench) {
		l := lease(t, b.holder, "student")
		pass(1234 * time.Millisecond)
		b.holder.Release(l, accounts.OK)
		since := time.Now()
		lease(t, b.holder, "student")
		if rested := time.Since(since); rested < 10*time.Second || rested > 10*time.Second+2*time.Millisecond {
			t.Fatalf("rested %v, want 10s", rested)
		}
	})
}

// A crash counts as a use: what is reclaimed rests as well.
func TestReclaimedAccountsRest(t *testing.T) {
	settings := defaults
	settings.Rest = time.Minute
	on(t, settings, 1, func(t *testing.T, b *bench) {
		b.reclaim(t)
		lease(t, b.holder, "student")
		b.faults.Refuse(0, redistest.Any)
		pass(36 * time.Second)
		if got := stats(t, b.pool); got.Resting != 1 || got.Available != 0 || got.Known != 1 {
			t.Fatalf("stats: got %+v, want one resting", got)
		}
		pass(time.Minute)
		if got := stats(t, b.pool); got.Resting != 0 || got.Available != 1 {
			t.Fatalf("stats: got %+v, want one available", got)
		}
	})
}

// Twenty minutes of holders that come and go, lose Redis for a while or for long.
// Nobody ever uses an account that somebody else may use.
func TestTwentyMinutesOfTrouble(t *testing.T) {
	on(t, defaults, 12, func(t *testing.T, b *bench) {
		b.reclaim(t)
		random := rand.New(rand.NewPCG(1, 2))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
		defer cancel()
		var mu sync.Mutex
		last := map[string]int64{}
		use := func(l *accounts.Lease) {
			mu.Lock()
			defer mu.Unlock()
			if l.Check() != nil {
				return
			}
			if l.Token < last[l.ID] {
				t.Errorf("account %s is used with token %d after %d", l.ID, l.Token, last[l.ID])
			}
			last[l.ID] = l.Token
		}
		draw := func(least, most time.Duration) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return least + time.Duration(random.Int64N(int64(most-least)))
		}
		wait := func(ctx context.Context, d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(d):
			}
		}
		var running sync.WaitGroup
		for range 3 {
			faults := &redistest.Faults{}
			h, stop := register(t, again(t, b.rdb, b.namespace, faults))
			running.Go(func() {
				for ctx.Err() == nil {
					wait(ctx, draw(time.Second, 2*time.Minute))
					fault := faults.Refuse(0, redistest.Any)
					wait(ctx, draw(time.Second, time.Minute))
					fault.Lift()
				}
			})
			var users sync.WaitGroup
			for range 5 {
				users.Go(func() {
					for ctx.Err() == nil {
						l, err := h.Lease(ctx, "student")
						if err != nil {
							continue
						}
						bound, done := l.Bind(ctx)
						for range 5 {
							use(l)
							wait(bound, draw(time.Millisecond, 10*time.Second))
						}
						done()
						h.Release(l, accounts.OK)
					}
				})
			}
			running.Go(func() { users.Wait(); stop() })
		}
		running.Wait()
		pass(40 * time.Second)
		got := stats(t, b.pool)
		if got.Leased != 0 || got.Known != 12 || got.Leases != got.Releases+got.Reclaimed || got.Reclaimed == 0 || got.Leases < 150 {
			t.Errorf("stats: %+v", got)
		}
		audit(t, b.pool)
	})
}

func TestReclaimerEndsWithThePool(t *testing.T) {
	on(t, defaults, 1, func(t *testing.T, b *bench) {
		b.stop()
		ended := make(chan error, 1)
		go func() { ended <- accounts.NewReclaimer(b.pool).Run(context.Background()) }()
		pass(10 * time.Second)
		if err := b.pool.Destroy(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, accounts.ErrNoPool) {
			t.Fatalf("got %v, want ErrNoPool", err)
		}
	})
}
