package worker_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/scenarios"
)

// These tests run whole workers with the real pool and the real protocol on a
// fake clock, which is the server's too. The test plays the master.

const (
	runID = "run-1"
	role  = "user"
)

var room = scenarios.Channel{Name: "room", Pattern: "room"}

// pass lets fake time pass, and everything happen that happens until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// behaviour is a scenario whose users do what the test says.
type behaviour struct {
	session func(context.Context, *scenarios.User) error
}

func (*behaviour) Validate() error          { return nil }
func (*behaviour) ClassOf(int) int          { return 0 }
func (*behaviour) Crowd() scenarios.Channel { return room }
func (b *behaviour) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "User", Role: role, Weight: 1, Session: b.session}}
}

// bench is a swarm without a master: Redis, a pool, a target and users.
type bench struct {
	*testing.T
	rdb       redis.UniversalClient
	namespace string
	leader    *coord.Leader
	pool      *accounts.Pool
	plan      coord.Plan
	target    *target
	users     *users

	// What has been merged of the workers' reports.
	position   string
	numbers    map[string]int64
	operations map[string]*opstats.Delta
	waits      map[string]int64
}

// config says what a bench is made of.
type config struct {
	size    int    // accounts in the pool
	spec    string // more lines of the spec
	rate    float64
	session func(ctx context.Context, u *scenarios.User) error // nil: until stopped
	// login and publishing are what the target makes of it.
	login      func(ctx context.Context, account accounts.Leased) error
	publishing time.Duration // 10 ms when 0
}

// on runs a test in a bubble, with a run that waits for workers.
func on(t *testing.T, c config, test func(b *bench)) {
	t.Helper()
	t.Parallel()
	// Dialling needs somebody who listens, outside of the bubble: connections
	// wait in the backlog and nothing is ever sent.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{
			T: t, target: &target{address: listener.Addr().String(), login: c.login, publishing: cmp.Or(c.publishing, 10*time.Millisecond)}, users: newUsers(c.session),
			numbers: make(map[string]int64), operations: make(map[string]*opstats.Delta), waits: make(map[string]int64),
		}
		_, b.rdb, b.namespace = redistest.Piped(t)
		var err error
		b.pool, err = accounts.Create(t.Context(), accounts.Config{Redis: b.rdb, Namespace: b.namespace, Name: "pool"}, accounts.Settings{
			LeaseTTL: 5 * time.Second, LockDelay: time.Second,
		})
		b.must("create pool", err)
		b.addAccounts(c.size)
		b.leader, err = coord.Campaign(t.Context(), coord.LeaderConfig{Redis: b.rdb, Namespace: b.namespace, Swarm: "swarm"})
		b.must("campaign", err)
		spec := "scenario: fake\ntarget: fake://127.0.0.1:1\naccounts: { pool: pool, lease_wait: 5s }\n" + c.spec
		b.plan = coord.Plan{Run: runID, Phase: coord.PhaseWaiting, SpawnRate: c.rate}
		_, err = b.leader.Begin(t.Context(), coord.Run{ID: runID, Spec: []byte(spec)}, b.plan)
		b.must("begin", err)
		test(b)
	})
}

func (b *bench) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// addAccounts adds accounts to those that the pool has.
func (b *bench) addAccounts(n int) {
	b.Helper()
	known := int(b.stats().Known)
	var all []accounts.Account
	for i := known; i < known+n; i++ {
		all = append(all, accounts.Account{Username: fmt.Sprintf("user-%03d", i), Password: accounts.NewSecret("x"), Role: role})
	}
	_, err := b.pool.Intend(b.Context(), all)
	b.must("intend accounts", err)
	_, err = b.pool.Confirm(b.Context(), all)
	b.must("confirm accounts", err)
}

// stats returns the counts of the only role.
func (b *bench) stats() accounts.RoleStats {
	b.Helper()
	all, err := b.pool.Stats(b.Context())
	b.must("pool stats", err)
	if len(all) == 0 {
		return accounts.RoleStats{}
	}
	return all[0]
}

func (b *bench) roll() map[string]coord.State {
	b.Helper()
	roll, err := b.leader.Roll(b.Context())
	b.must("roll", err)
	states := make(map[string]coord.State)
	for _, m := range roll.Members {
		states[m.ID] = m.State
	}
	return states
}

// until waits for a condition, looking every 10 ms.
func (b *bench) until(what string, limit time.Duration, condition func() bool) {
	b.Helper()
	for deadline := time.Now().Add(limit); !condition(); pass(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited %v in vain for %s", limit, what)
		}
	}
}

// assign gives slots to workers: slot i to the worker that owner names.
func (b *bench) assign(version int64, owner func(slot int) *process) {
	b.Helper()
	sets := make(map[string]*coord.SlotSet)
	for slot := range coord.Slots {
		if p := owner(slot); p != nil {
			if sets[p.id] == nil {
				sets[p.id] = &coord.SlotSet{Version: version}
			}
			sets[p.id].Add(slot)
		}
	}
	b.must("assign", b.leader.Assign(b.Context(), version, sets))
	synctest.Wait()
}

// publish changes the plan.
func (b *bench) publish(change func(*coord.Plan)) {
	b.Helper()
	change(&b.plan)
	_, err := b.leader.Publish(b.Context(), b.plan)
	b.must("publish", err)
	synctest.Wait()
}

// ramp begins to raise the users to n at the spawn rate, and returns when the
// first is due: somewhat later, so that workers know in time.
func (b *bench) ramp(n int) (start time.Time) {
	b.Helper()
	start = time.Now().Add(1500 * time.Millisecond)
	b.publish(func(p *coord.Plan) {
		p.Phase, p.Points = coord.PhaseRunning, coord.Ramp(start, n, p.SpawnRate)
	})
	return start
}

func (b *bench) enter(phase coord.Phase) {
	b.Helper()
	b.publish(func(p *coord.Plan) {
		p.Phase = phase
		p.Leave = phase == coord.PhaseEnded
	})
}

// merge does a master's work: it merges what has come in and saves it.
func (b *bench) merge() {
	b.Helper()
	b.must("renew the lease", b.leader.Renew(b.Context()))
	entries, err := b.leader.Read(b.Context(), b.position, 1000)
	b.must("read statistics", err)
	for _, e := range entries {
		b.position = e.ID
		if e.Number != b.numbers[e.Member]+1 {
			continue
		}
		b.numbers[e.Member] = e.Number
		for _, d := range e.Report.Operations {
			key := d.Type + " " + d.Name
			if b.operations[key] == nil {
				b.operations[key] = new(opstats.Delta)
			}
			b.operations[key].Merge(d)
		}
		for role, wait := range e.Report.Waits {
			b.waits[role] += wait.Count()
		}
	}
	b.must("save", b.leader.Save(b.Context(), coord.Saved{Run: runID, Body: []byte("{}"), Position: b.position, Numbers: b.numbers}))
}

// goOn lets time pass like pass, while the master does its work.
func (b *bench) goOn(d time.Duration) {
	b.Helper()
	for ; d > 0; d -= time.Second {
		pass(min(d, time.Second))
		b.merge()
	}
}

// count returns what was merged of an operation.
func (b *bench) count(operation string) opstats.Delta {
	if d := b.operations[operation]; d != nil {
		return *d
	}
	return opstats.Delta{}
}
