package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// lasts is a session that ends by itself after a time.
func lasts(d time.Duration) func(context.Context, *scenarios.User) error {
	return func(ctx context.Context, _ *scenarios.User) error { return scenarios.Sleep(ctx, d) }
}

// one runs a test with one worker that has all slots, and users that run.
func one(t *testing.T, c config, users int, test func(b *bench, p *process)) {
	t.Helper()
	if c.rate == 0 {
		c.rate = 100
	}
	on(t, c, func(b *bench) {
		p := b.startWorker()
		b.assign(1, func(int) *process { return p })
		pass(time.Until(b.ramp(users).Add(time.Duration(float64(users) / c.rate * float64(time.Second)))))
		test(b, p)
		p.leave()
		if held := b.stats().Leased; held != 0 {
			b.Errorf("%d accounts are still leased after the worker has left", held)
		}
		if open := b.target.open(); open != 0 {
			b.Errorf("%d connections are still open", open)
		}
	})
}

// Accounts change hands: each session leases anew, and gives back when its
// connections are closed.
func TestEachSessionHasItsOwnLease(t *testing.T) {
	one(t, config{size: 10, session: lasts(time.Second)}, 10, func(b *bench, p *process) {
		b.goOn(30 * time.Second)
		seen := make(map[string]int64)
		for _, login := range b.target.attempts() {
			if before, again := seen[login.username]; again && login.token <= before {
				b.Errorf("%s: token %d after %d", login.username, login.token, before)
			}
			seen[login.username] = login.token
		}
		if got := b.users.total(); got < 250 || len(b.target.attempts()) != got {
			b.Errorf("%d sessions and %d log-ins in 30 s", got, len(b.target.attempts()))
		}
		if open := b.target.open(); open > 10 {
			b.Errorf("%d connections are open for 10 users", open)
		}
		b.goOn(1500 * time.Millisecond)
		if login := b.count("LOGIN user"); login.Count < 250 || login.Failures != 0 || b.waits["user"] < login.Count {
			b.Errorf("log-ins %+v, %d waits for accounts", login, b.waits["user"])
		}
	})
}

// The same number draws the same numbers in every run, whatever worker it is.
func TestUsersAreSeededByTheirNumber(t *testing.T) {
	draws := make(chan map[int][]uint64, 2)
	for range 2 {
		t.Run("", func(t *testing.T) {
			one(t, config{size: 5, session: lasts(time.Second)}, 5, func(b *bench, p *process) {
				b.goOn(10 * time.Second)
				b.users.mu.Lock()
				defer b.users.mu.Unlock()
				got := make(map[int][]uint64)
				for number, all := range b.users.draws {
					got[number] = slices.Clone(all[:5])
				}
				draws <- got
			})
		})
	}
	t.Cleanup(func() { // when both, which are parallel, have ended
		if len(draws) != 2 {
			return
		}
		first, second := <-draws, <-draws
		seen := make(map[uint64]int)
		for number := range 5 {
			if !slices.Equal(first[number], second[number]) {
				t.Errorf("user %d drew %v and %v", number, first[number], second[number])
			}
			for _, v := range first[number] {
				seen[v]++
			}
		}
		if len(seen) != 25 {
			t.Errorf("users draw the same numbers: %d of 25 are different", len(seen))
		}
	})
}

func TestFailedLoginBacksOff(t *testing.T) {
	var works atomic.Bool
	login := func(context.Context, accounts.Leased) error {
		if !works.Load() {
			return errors.New("503 busy")
		}
		return nil
	}
	one(t, config{size: 1, session: lasts(100 * time.Millisecond), login: login}, 1, func(b *bench, p *process) {
		b.goOn(2 * time.Minute)
		attempts := b.target.attempts()
		nominal := 250 * time.Millisecond
		for i := 1; i < len(attempts); i++ {
			// Up to a half less by jitter, and 60 ms for what a lease takes.
			if gap := attempts[i].at.Sub(attempts[i-1].at); gap < nominal/2 || gap > nominal+60*time.Millisecond {
				b.Errorf("pause %d was %v, want %v to %v", i, gap, nominal/2, nominal)
			}
			nominal = min(2*nominal, 10*time.Second)
		}
		if nominal < 10*time.Second || len(attempts) > 40 {
			b.Errorf("%d attempts in two minutes", len(attempts))
		}
		b.merge()
		if got := b.count("LOGIN user"); got.Failures < int64(len(attempts))-1 || got.Errors["503 busy"] != got.Failures || got.Cancelled != 0 {
			b.Errorf("recorded %+v of %d attempts", got, len(attempts))
		}
		if got := b.stats(); got.Quarantined != 0 {
			b.Errorf("a busy target cost accounts: %+v", got)
		}

		// One success, and the next failure begins with a short pause again.
		works.Store(true)
		b.until("a session", 15*time.Second, func() bool { return b.users.total() > 2 })
		works.Store(false)
		failed := len(b.target.attempts())
		b.until("two more failures", 2*time.Second, func() bool { return len(b.target.attempts()) >= failed+2 })
	})
}

func TestRefusedAccountIsQuarantined(t *testing.T) {
	login := func(_ context.Context, a accounts.Leased) error {
		if a.Username == "user-001" || a.Username == "user-003" {
			return fmt.Errorf("%w: 401 unknown", pubsub.ErrAccountRefused)
		}
		return nil
	}
	one(t, config{size: 5, session: lasts(time.Second), login: login}, 3, func(b *bench, p *process) {
		b.goOn(time.Minute)
		got := b.stats()
		if got.Quarantined != 2 || got.Available+got.Leased != 3 || got.Known != 5 {
			b.Errorf("the pool: %+v, want 2 in quarantine", got)
		}
		refused := make(map[string]int)
		for _, login := range b.target.attempts() {
			refused[login.username]++
		}
		if refused["user-001"] != 1 || refused["user-003"] != 1 {
			b.Errorf("refused accounts were tried %d and %d times", refused["user-001"], refused["user-003"])
		}
		if running := b.users.running(); !slices.Equal(running, upTo(3)) {
			b.Errorf("users go on with others: %v run", running)
		}
		b.merge()
		if login := b.count("LOGIN user"); login.Failures != 2 {
			b.Errorf("log-ins %+v, want 2 failures", login)
		}
	})
}

// With fewer accounts than users, users take turns and nobody starves.
func TestUsersWaitWhenAccountsAreShort(t *testing.T) {
	one(t, config{size: 2, session: lasts(time.Second)}, 6, func(b *bench, p *process) {
		most := 0
		for range 600 {
			pass(100 * time.Millisecond)
			most = max(most, len(b.users.running()))
		}
		if most != 2 {
			b.Errorf("%d users ran at once on 2 accounts", most)
		}
		for number := range 6 {
			if got := len(b.users.sessions(number)); got < 10 {
				b.Errorf("user %d had %d sessions in a minute of 120", number, got)
			}
		}
		b.merge()
		if got := b.count("LEASE user"); got.Count != 0 {
			b.Errorf("waits within the limit were counted as failures: %+v", got)
		}
		if p.state().Users != 6 {
			b.Errorf("the worker says that it runs %d users; one that waits runs", p.state().Users)
		}
	})
}

// Who waits longer than the limit is a failure that the summary shows, and
// tries again.
func TestUsersGoOnWhenAccountsComeBack(t *testing.T) {
	one(t, config{size: 1}, 3, func(b *bench, p *process) {
		b.goOn(30 * time.Second)
		b.merge()
		got := b.count("LEASE user")
		if got.Failures < 4 || got.Failures > 12 || got.Errors["no free account within 5s"] != got.Failures {
			b.Errorf("in 30 s two users waited in vain for 5 s at a time: %+v", got)
		}
		if d := got.Took.Max() - 5*time.Second; d.Abs() > 10*time.Millisecond {
			b.Errorf("the longest wait was %v", got.Took.Max())
		}
		b.addAccounts(2)
		b.until("all users to run", 12*time.Second, func() bool { return len(b.users.running()) == 3 })
	})
}

// At the holder's local deadline the session's context ends with the reason,
// its connections are closed, and what was under way says nothing about the
// target. Back in touch, the user goes on.
func TestLeaseLost(t *testing.T) {
	// A session that heeds nothing but its operations.
	session := func(ctx context.Context, u *scenarios.User) error {
		for {
			if err := u.Publish(ctx, room, struct{}{}); err != nil {
				return err
			}
		}
	}
	one(t, config{size: 8, session: session, publishing: 5 * time.Second}, 4, func(b *bench, p *process) {
		pass(3 * time.Second)
		cut := p.faults.Refuse(0, redistest.Any)
		since := time.Now()
		b.until("the end of all sessions", 10*time.Second, func() bool { return len(b.users.running()) == 0 })
		// The last renewal was at most a sixth of the TTL ago, and trust ends
		// 11 % before it; answers are awaited for half the lock-delay more.
		if after := time.Since(since); after < 4000*time.Millisecond || after > 5000*time.Millisecond {
			b.Errorf("the sessions ended %v after Redis was gone, with a lease of 5s", after)
		}
		ends := b.users.ended()
		for _, e := range ends[len(ends)-4:] {
			if !errors.Is(e.cause, accounts.ErrSuspended) {
				b.Errorf("the session of user %d ended with %v", e.number, e.cause)
			}
		}
		if open := b.target.open(); open != 0 {
			b.Errorf("%d connections are open after the deadline", open)
		}
		before := b.users.total()
		b.goOn(10 * time.Second)
		if b.users.total() != before || b.target.open() != 0 {
			b.Error("sessions began without a lease")
		}
		if got := b.stats(); got.Leased != int64(before) { // some were leased ahead, and have gone back
			b.Errorf("the pool: %+v after %d sessions", got, before)
		}
		cut.Lift()
		b.until("all users to run again", 30*time.Second, func() bool { return len(b.users.running()) == 4 })
		pass(7 * time.Second)
		b.merge()
		published := b.count("PUBLISH room")
		if published.Failures != 0 || published.Cancelled != 4 {
			b.Errorf("publishes: %d failures, %d cancelled; want the 4 under way cancelled", published.Failures, published.Cancelled)
		}
		if b.users.doubled() != nil {
			b.Errorf("ran twice at once: %v", b.users.doubled())
		}
	})
}
