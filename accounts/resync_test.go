package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/redistest"
)

// outage puts the keys of a pool back to what they were, as a Redis does that
// was restarted and has lost its last writes.
type outage struct {
	pool *Pool
	rdb  redis.UniversalClient
	put  func(tester)
}

// remember notes what Redis has now. The holders must be told: their keys have
// their ids.
func remember(t *testing.T, p *Pool, rdb redis.UniversalClient, holders ...*Holder) *outage {
	t.Helper()
	k := p.store.keys
	keys := []string{
		k.gen(), k.records(), k.index(), k.ids(), k.token(), k.roles(), k.holders(), k.quarantined(), k.reasons(), k.retired(),
		k.uses(),
	}
	keys = append(keys, k.ofRoles([]string{"student"})...)
	for _, h := range holders {
		keys = append(keys, k.holder(h.id), k.held(h.id))
	}
	return &outage{pool: p, rdb: rdb, put: snapshot(t, rdb, false, keys)}
}

func (o *outage) strike(t *testing.T) {
	t.Helper()
	o.put(t)
	if err := o.rdb.HSet(t.Context(), o.pool.store.keys.gen(), "run", "before").Err(); err != nil {
		t.Fatal(err)
	}
}

func poolOf(t *testing.T, rdb redis.UniversalClient, namespace string, settings Settings, n int) *Pool {
	t.Helper()
	p, err := Create(t.Context(), Config{Redis: rdb, Namespace: namespace, Name: "pool"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	var all []Account
	for i := range n {
		all = append(all, Account{Username: fmt.Sprint("student-", i), Password: NewSecret("secret"), Role: "student"})
	}
	if _, err := p.Import(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return p
}

func holderOf(t *testing.T, p *Pool) *Holder {
	t.Helper()
	h, stop, ended := begin(t, p)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return h
}

// begin runs a holder until stop is called, or the test ends; ended brings what
// Run returned.
func begin(t *testing.T, p *Pool) (h *Holder, stop func(), ended <-chan error) {
	t.Helper()
	h, err := p.Register(t.Context(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	end := make(chan error, 1)
	go func() {
		end <- h.Run(ctx)
		close(end)
	}()
	t.Cleanup(func() {
		cancel()
		for range end { // until it is closed
		}
	})
	return h, cancel, end
}

// through opens the pool by a connection of its own, which has the hook.
func through(t *testing.T, rdb redis.UniversalClient, namespace string, hook redis.Hook) *Pool {
	t.Helper()
	other := redistest.Another(t, rdb)
	other.AddHook(hook)
	p, err := Open(t.Context(), Config{Redis: other, Namespace: namespace, Name: "pool"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// students returns the counts of the only role that a test has accounts of.
func students(t *testing.T, p *Pool) RoleStats {
	t.Helper()
	all, err := p.Stats(t.Context())
	if err != nil || len(all) != 1 || all[0].Role != "student" {
		t.Fatalf("stats: %+v, %v; want those of students", all, err)
	}
	return all[0]
}

// readyFor is how many accounts the holder keeps ready.
func readyFor(h *Holder) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.queue("student").spare)
}

func leaseAll(t *testing.T, h *Holder, n int) []*Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all, err := h.LeaseAll(ctx, "student", n)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestLeasesOutliveLostWrites(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		settings := Settings{LeaseTTL: 2 * time.Second, LockDelay: 200 * time.Millisecond}
		p := poolOf(t, rdb, namespace, settings, 30)
		one, other := holderOf(t, p), holderOf(t, p)
		early := leaseAll(t, one, 8)
		before := remember(t, p, rdb, one, other)
		late := leaseAll(t, one, 12)
		for _, l := range early[:3] {
			one.Release(l, OK)
		}
		others := leaseAll(t, other, 5)
		until(t, "releases have arrived", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && stats[0].Leased == 8-3+12+5
		})
		before.strike(t)

		// All that is held goes on, all that was given back goes back.
		until(t, "Redis knows again", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && stats[0].Leased == 8-3+12+5 && stats[0].Available == 30-22
		})
		for i, l := range append(append(late, others...), early[3:]...) {
			if err := l.Check(); err != nil {
				t.Errorf("lease %d after the outage: %v", i, err)
			}
		}
		left, err := p.Frozen(t.Context())
		if err != nil || left <= 0 {
			t.Fatalf("frozen for %v, %v; want a while", left, err)
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var shortage *ShortageError
		if _, err := other.Lease(short, "student"); !errors.As(err, &shortage) || !shortage.Frozen {
			t.Fatalf("lease while frozen: %v; want a shortage that says so", err)
		}
		// The freeze ends, and what is leased then is nobody's.
		held := map[string]bool{}
		for _, l := range append(append(late, others...), early[3:]...) {
			held[l.ID] = true
		}
		for _, l := range leaseAll(t, other, 8) {
			if held[l.ID] {
				t.Errorf("account %s is leased twice", l.ID)
			}
		}
	})
}

func TestAHolderThatComesTooLateLosesWhatRedisLost(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{LeaseTTL: time.Minute, LockDelay: 10 * time.Millisecond}, 10)
		h := holderOf(t, p)
		kept := leaseAll(t, h, 2)
		before := remember(t, p, rdb, h)
		lost := leaseAll(t, h, 3)
		before.strike(t)
		if _, err := p.Frozen(t.Context()); err != nil { // the freeze begins
			t.Fatal(err)
		}
		if err := rdb.HSet(t.Context(), p.store.keys.gen(), "frozen", "1").Err(); err != nil { // and is over
			t.Fatal(err)
		}
		// Its next call shows that Redis lost some.
		h.Release(kept[0], OK)
		until(t, "the lost leases have ended", func() bool {
			return lost[0].Check() != nil && lost[1].Check() != nil && lost[2].Check() != nil
		})
		if err := lost[0].Check(); !errors.Is(err, ErrLost) {
			t.Errorf("a lost lease: %v; want ErrLost", err)
		}
		if err := kept[1].Check(); err != nil {
			t.Errorf("a lease that Redis knows: %v", err)
		}
		until(t, "the release has arrived", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && stats[0].Leased == 1 && stats[0].Available == 9
		})
	})
}

func TestARevokedHolderRegistersAnew(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{LeaseTTL: time.Second, LockDelay: 100 * time.Millisecond}, 3)
		h := holderOf(t, p)
		l := leaseAll(t, h, 2)
		holders, err := p.Holders(t.Context())
		if err != nil || len(holders) != 1 || holders[0].Accounts != 2 || holders[0].State != "live" {
			t.Fatalf("holders: %+v, %v; want one that holds two", holders, err)
		}
		if err := p.Revoke(t.Context(), holders[0].ID); err != nil {
			t.Fatal(err)
		}
		until(t, "its leases are lost", func() bool { return errors.Is(l[0].Check(), ErrLost) })
		reclaiming, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- NewReclaimer(p).Run(reclaiming) }()
		defer func() { stop(); <-ended }()
		leaseAll(t, h, 3)
	})
}

func TestReadyAccountsNeedNoRedis(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{Rest: time.Hour, MaxUses: 1}, 40)
		h := holderOf(t, p)
		h.Prefetch("student", 10)
		until(t, "ten are ready", func() bool { return readyFor(h) == 10 })
		h.mu.Lock()
		got, low := h.takeReady(h.queue("student"), 6) // what Lease does, without anybody to refill
		h.mu.Unlock()
		if len(got) != 6 || !low {
			t.Fatalf("got %d, low %v; want 6 at once, and to refill", len(got), low)
		}
		// What is not wanted goes back unused: it neither rests nor wears out.
		h.Prefetch("student", 0)
		until(t, "the rest has gone back", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && stats[0].Leased == 6 && stats[0].Available == 34
		})
		h.Release(got[0], OK)
		until(t, "a used one retires", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && stats[0].Retired == 1 && stats[0].Leased == 5
		})
	})
}

func TestReadyAccountsAreTakenFromPlenty(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 5)
		greedy, modest := holderOf(t, p), holderOf(t, p)
		leaseAll(t, modest, 1)
		greedy.Prefetch("student", 100)
		until(t, "it has taken what there is plenty of", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && stats[0].Leased == 3
		})
		leaseAll(t, modest, 2)
	})
}

func TestOldAccountsRetire(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{MaxAge: time.Hour}, 6)
		h := holderOf(t, p)
		leaseAll(t, h, 1)
		// They become two hours old.
		born, err := rdb.ZRangeWithScores(t.Context(), p.store.keys.born(), 0, -1).Result()
		if err != nil || len(born) != 6 {
			t.Fatalf("born: %v, %v; want six", born, err)
		}
		for i := range born {
			born[i].Score -= 2 * 3600_000
		}
		if err := rdb.ZAdd(t.Context(), p.store.keys.born(), born[:4]...).Err(); err != nil {
			t.Fatal(err)
		}
		swept, err := p.Sweep(t.Context())
		if err != nil || swept.Retired < 3 || swept.Retired > 4 {
			t.Fatalf("swept %+v, %v; want the old ones that are free retired", swept, err)
		}
		if err := rdb.ZAdd(t.Context(), p.store.keys.born(), born[4:]...).Err(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if l, err := h.Lease(ctx, "student"); err == nil {
			t.Fatalf("leased account %s, which is too old", l.ID)
		}
	})
}

// copies is a go-redis hook that keeps the calls of a script as they were sent.
type copies struct {
	script *redis.Script

	mu   sync.Mutex
	sent [][]any
}

func (c *copies) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *copies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (c *copies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if redistest.Runs(c.script)(cmd) {
			c.mu.Lock()
			c.sent = append(c.sent, slices.Clone(cmd.Args()))
			c.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (c *copies) last() []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sent) == 0 {
		return nil
	}
	return c.sent[len(c.sent)-1]
}

// What the network delivers late must not undo what has happened since: neither
// the number of the last call, nor whose an account is.
func TestALateCopyOfAResyncChangesNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := poolOf(t, rdb, namespace, Settings{}, 10)
		resyncs := &copies{script: resyncScript}
		h := holderOf(t, through(t, rdb, namespace, resyncs))
		kept := leaseAll(t, h, 2)
		before := remember(t, p, rdb, h)
		leaseAll(t, h, 3)
		before.strike(t)
		h.Release(kept[0], OK) // shows that Redis has lost the call before
		until(t, "all is settled and released", func() bool { return students(t, p).Leased == 2-1+3 })
		if resyncs.last() == nil {
			t.Fatal("there was no resync")
		}

		state := func() string {
			t.Helper()
			k := p.store.keys
			call, err1 := rdb.HMGet(ctx, k.holder(h.ID()), "seq", "token", "ids").Result()
			held, err2 := rdb.HGetAll(ctx, k.held(h.ID())).Result()
			free, err3 := rdb.ZRange(ctx, k.available("student"), 0, -1).Result()
			token, err4 := rdb.Get(ctx, k.token()).Result()
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("last call %v, held %v, free %v, token %s", call, held, free, token)
		}
		deliver := func(when string) {
			t.Helper()
			before := state()
			if err := rdb.Do(ctx, resyncs.last()...).Err(); err != nil {
				t.Fatal(err)
			}
			if after := state(); after != before {
				t.Errorf("a copy %s:\n got %s\nwant %s", when, after, before)
			}
		}
		// While the pool is frozen, what is free seems to be the holder's.
		deliver("after a release")
		if err := rdb.HSet(ctx, p.store.keys.gen(), "frozen", "1").Err(); err != nil {
			t.Fatal(err)
		}
		leaseAll(t, h, 3)
		deliver("after a lease")
	})
}

func TestAHolderThatEndsBeforeItsResyncTellsItsRefusals(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 4)
		faults := &redistest.Faults{}
		h, stop, ended := begin(t, through(t, rdb, namespace, faults))
		leaseAll(t, h, 1)
		before := remember(t, p, rdb, h)
		late := leaseAll(t, h, 2)
		before.strike(t)
		cut := faults.Refuse(0, redistest.Runs(resyncScript))
		h.Release(late[0], Refused("locked"))
		<-cut.Struck()
		h.Release(late[1], Refused("banned"))
		stop()
		until(t, "it ends", func() bool { return h.State() == Closed })
		cut.Lift()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := students(t, p); s.Quarantined != 2 || s.Available != 2 || s.Leased != 0 {
			t.Errorf("got %+v; want the two refused in quarantine, the others free", s)
		}
	})
}

// That Redis has lost writes may show only with the holder's last calls.
func TestAHolderThatLearnsAtItsEndOfLostWritesTellsItsRefusals(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 4)
		faults := &redistest.Faults{}
		h, stop, ended := begin(t, through(t, rdb, namespace, faults))
		leaseAll(t, h, 1)
		before := remember(t, p, rdb, h)
		late := leaseAll(t, h, 2)
		before.strike(t)
		held := faults.Hold(1, redistest.Runs(releaseScript))
		h.Release(late[0], Refused("locked"))
		<-held.Struck()
		h.Release(late[1], Refused("banned"))
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := students(t, p); s.Quarantined != 2 || s.Available != 2 || s.Leased != 0 {
			t.Errorf("got %+v; want the two refused in quarantine, the others free", s)
		}
	})
}

// A process that lacks the key that the records got meanwhile cannot go on. It
// leaves nothing behind, and what it refused is told.
func TestAHolderWithoutTheKeyCloses(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 4)
		faults := &redistest.Faults{}
		h, _, ended := begin(t, through(t, rdb, namespace, faults))
		l := leaseAll(t, h, 2)
		keys, err := ParseKeyring(GenerateKey())
		if err != nil {
			t.Fatal(err)
		}
		keyed, err := Open(t.Context(), Config{Redis: rdb, Namespace: namespace, Name: "pool", Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keyed.Rekey(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A lease is under way, and a refusal waits behind it.
		held := faults.Hold(1, redistest.Runs(leaseScript))
		waiting := make(chan error, 1)
		go func() { _, err := h.Lease(t.Context(), "student"); waiting <- err }()
		<-held.Struck()
		h.Release(l[0], Refused("locked"))
		held.Lift()
		if err := <-ended; !errors.Is(err, ErrKey) {
			t.Errorf("Run: got %v, want ErrKey", err)
		}
		if err := <-waiting; !errors.Is(err, ErrClosed) || !errors.Is(err, ErrKey) {
			t.Errorf("Lease: got %v, want ErrClosed and ErrKey", err)
		}
		if left, err := p.Holders(t.Context()); len(left) > 0 || err != nil {
			t.Errorf("registrations left: %+v, %v", left, err)
		}
		if s := students(t, p); s.Quarantined != 1 || s.Available != 3 {
			t.Errorf("got %+v; want the refused one in quarantine, the others free", s)
		}
	})
}

// Nothing is known any more of a release that Redis has lost, but that the
// account was used.
func TestALostReleaseCountsAsAUse(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{MaxUses: 1}, 3)
		h := holderOf(t, p)
		l := leaseAll(t, h, 2)
		before := remember(t, p, rdb, h)
		h.Release(l[0], OK)
		until(t, "it is worn out", func() bool { return students(t, p).Retired == 1 })
		before.strike(t)
		if s := students(t, p); s.Retired != 0 || s.Leased != 2 {
			t.Fatalf("Redis has lost nothing: %+v", s)
		}
		h.Release(l[1], OK) // shows that Redis has lost the call before
		until(t, "both are given back", func() bool { return students(t, p).Leased == 0 })
		if s := students(t, p); s.Retired != 2 || s.Available != 1 {
			t.Errorf("got %+v; want both retired, as used", s)
		}
	})
}

// latency is a go-redis hook: every command takes that much longer.
type latency struct{ atomic.Int64 }

func (l *latency) DialHook(next redis.DialHook) redis.DialHook { return next }
func (l *latency) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (l *latency) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		select {
		case <-time.After(time.Duration(l.Load())):
			return next(ctx, cmd)
		case <-ctx.Done():
			cmd.SetErr(ctx.Err())
			return ctx.Err()
		}
	}
}

// To read what Redis has a holder of thousands hold takes longer than one call
// may. An embedded server has it all on one page.
func TestALargeHolderIsResyncedOverASlowConnection(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	const n = 2000
	p := poolOf(t, rdb, namespace, Settings{LeaseTTL: 5 * time.Second}, n)
	slow := &latency{}
	h := holderOf(t, through(t, rdb, namespace, slow))
	id, all := h.ID(), leaseAll(t, h, n)
	// Some eight pages, of which five take what one call may.
	slow.Store(int64(p.settings.callTimeout() / 5))
	if err := rdb.HIncrBy(t.Context(), p.store.keys.holder(id), "seq", -1).Err(); err != nil {
		t.Fatal(err) // the last call is lost, but for what it leased
	}
	h.Release(all[0], OK)
	until(t, "it is resynced", func() bool { return students(t, p).Leased == n-1 || h.State() != Active || h.ID() != id })
	slow.Store(0)
	if h.State() != Active || h.ID() != id {
		t.Fatalf("state %v, registration %s after %s; want that it goes on", h.State(), h.ID(), id)
	}
	for i, l := range all[1:] {
		if err := l.Check(); err != nil {
			t.Fatalf("lease %d of %d: %v", i+1, n, err)
		}
	}
}

func TestReadyAccountsAreForThoseWhoBeganToWaitWhileSuspended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		p := poolOf(t, rdb, namespace, Settings{LeaseTTL: 5 * time.Second}, 4)
		faults := &redistest.Faults{}
		h := holderOf(t, through(t, rdb, namespace, faults))
		h.Prefetch("student", 2)
		until(t, "two are ready", func() bool { return readyFor(h) == 2 })
		leaseAll(t, holderOf(t, p), 2) // all that are left
		away := faults.Refuse(0, redistest.Any)
		until(t, "it is suspended", func() bool { return h.State() == Suspended })

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got := make(chan error, 1)
		go func() { _, err := h.LeaseAll(ctx, "student", 2); got <- err }()
		until(t, "they wait", func() bool { return h.Waiting("student") == 2 })
		away.Lift()
		if err := <-got; err != nil {
			t.Fatalf("with two ready: %v", err)
		}
		if h.Held() != 2 || readyFor(h) != 0 {
			t.Errorf("%d held, %d ready; want 2 and none", h.Held(), readyFor(h))
		}
	})
}

// More are fetched than one call brings, and than make it more than half.
func TestReadyAccountsAreFetchedUntilAllAreThere(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		const n = 3 * leaseBatch
		p := poolOf(t, rdb, namespace, Settings{}, n+leaseBatch)
		h := holderOf(t, p)
		h.Prefetch("student", n)
		until(t, "all are ready", func() bool { return readyFor(h) == n })
	})
}

func TestWhoHasGivenUpIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 10)
		h, other := holderOf(t, p), holderOf(t, p)
		all := leaseAll(t, other, 10)
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		ended := make(chan error, 1)
		go func() { _, err := h.LeaseAll(ctx, "student", 5); ended <- err }()
		until(t, "five are waited for", func() bool { return students(t, p).Waiting == 5 })
		giveUp()
		if err := <-ended; !errors.Is(err, ErrNoAccount) {
			t.Errorf("gave up: got %v, want ErrNoAccount", err)
		}
		until(t, "none is waited for", func() bool { return students(t, p).Waiting == 0 })
		// So others may keep ready what comes back.
		for _, l := range all {
			other.Release(l, OK)
		}
		other.Prefetch("student", 4)
		until(t, "four are ready", func() bool { return readyFor(other) == 4 })
	})
}

// askInVain runs a holder until the pool has said that it is short of the role,
// and it has told how long that was waited for.
func askInVain(t *testing.T, p *Pool, role string) {
	t.Helper()
	h, stop, ended := begin(t, p)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	waited := make(chan error, 1)
	go func() { _, err := h.LeaseAll(ctx, role, 5); waited <- err }()
	until(t, "the pool is short of "+role, func() bool { return h.Short(role) })
	giveUp()
	if err := <-waited; !errors.Is(err, ErrUnknownRole) {
		t.Errorf("gave up: got %v, want ErrUnknownRole", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestAskingForAnUnknownRoleLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 1)
		askInVain(t, p, "typo")
		if err := p.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		var node redis.Cmdable = rdb
		if cluster, ok := rdb.(*redis.ClusterClient); ok { // a pool is on one node
			master, err := cluster.MasterForKey(t.Context(), p.store.keys.gen())
			if err != nil {
				t.Fatal(err)
			}
			node = master
		}
		if left, err := node.Keys(t.Context(), "*"+namespace+"*").Result(); len(left) > 0 || err != nil {
			t.Errorf("after Destroy there is %v, %v; want nothing", left, err)
		}
	})
}

func TestNobodyWaitsForARoleFromBeforeItWasThere(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{}, 0)
		askInVain(t, p, "student")
		var all []Account
		for i := range 8 {
			all = append(all, Account{Username: fmt.Sprint("student-", i), Role: "student"})
		}
		if _, err := p.Import(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if s := students(t, p); s.Waiting != 0 || s.Available != 8 {
			t.Errorf("got %+v; want that nobody waits", s)
		}
	})
}

// A wait may have been told, and the answer lost, when the registration is
// lost: with the next one it is not told again.
func TestAWaitIsNotToldToTwoRegistrations(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := poolOf(t, rdb, namespace, Settings{LeaseTTL: 2 * time.Second}, 2)
		faults := &redistest.Faults{}
		h := holderOf(t, through(t, rdb, namespace, faults))
		revoked := h.ID()
		faults.LoseReplies(1, redistest.Runs(tellScript))
		cut := faults.Refuse(0, redistest.Runs(tellScript))
		leaseAll(t, h, 1)
		<-cut.Struck() // told, and about to be told again
		if got := students(t, p).Waits.Count(); got != 1 {
			t.Fatalf("%d waits were told, want 1", got)
		}
		if err := p.Revoke(t.Context(), revoked); err != nil {
			t.Fatal(err)
		}
		until(t, "it is registered anew", func() bool { id := h.ID(); return id != revoked && id != "" })
		cut.Lift()
		leaseAll(t, h, 1)
		until(t, "all is told", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.waits) == 0 && h.telling == nil
		})
		if got := students(t, p).Waits.Count(); got != 2 {
			t.Errorf("two waited; %d waits are counted", got)
		}
	})
}
