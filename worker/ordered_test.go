package worker_test

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
	"github.com/throng-load/throng/worker"
	"github.com/throng-load/throng/worker/bridge"
	"github.com/throng-load/throng/worker/rig"
)

// pilot orders what the test says.
type pilot struct {
	mu      sync.Mutex
	orders  bridge.Orders
	changed chan struct{}
	counts  map[string]int64 // by type
	running map[string]int
}

func newPilot() *pilot {
	p := &pilot{changed: make(chan struct{}), counts: make(map[string]int64)}
	p.orders = bridge.Orders{Joined: true, Weights: true, Changed: p.changed}
	return p
}

func (p *pilot) order(f func(*bridge.Orders)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.orders)
	close(p.changed)
	p.changed = make(chan struct{})
	p.orders.Changed = p.changed
}

func (p *pilot) users(n int) {
	p.order(func(o *bridge.Orders) { o.On, o.Users = true, n })
}

func (p *pilot) stop() {
	p.order(func(o *bridge.Orders) { o.On, o.Users = false, 0; o.Stops++ })
}

func (p *pilot) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (p *pilot) Hurry(func())                  {}

func (p *pilot) Orders() bridge.Orders {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.orders
}

func (p *pilot) Report(operations []opstats.Delta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, op := range operations {
		p.counts[op.Type] += op.Count
	}
}

func (p *pilot) Running(byClass map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = byClass
}

// startBridged starts a worker that obeys a pilot. Where the bench's master has
// resigned it stands in for it.
func (b *bench) startBridged() (*pilot, func()) {
	b.Helper()
	spec, err := scenarios.ParseSpec("spec", []byte("scenario: fake\ntarget: fake://127.0.0.1:1\naccounts: { pool: pool, lease_wait: 5s }\nload: {}\n"), scenarios.ParseEnv{
		Scenarios: []scenarios.Scenario{{Name: "fake", New: func() scenarios.Behaviour { return &behaviour{b.users.session} }}}, Schemes: []string{"fake"},
	})
	b.must("spec", err)
	p := newPilot()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	rdb := redistest.Another(b.T, b.rdb)
	go func() {
		ended <- worker.RunBridged(ctx, rig.Config{
			Redis: rdb, Namespace: b.namespace, Swarm: "swarm", Log: zap.NewNop(),
			Scenarios: []scenarios.Scenario{{Name: "fake", New: func() scenarios.Behaviour { return &behaviour{b.users.session} }}},
			Drivers:   rig.Drivers{"fake": func(*url.URL) (pubsub.Driver, error) { return b.target, nil }},
		}, p, spec)
	}()
	leave := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("bridged worker: %v", err)
		}
	})
	b.Cleanup(leave)
	return p, leave
}

func (b *bench) runs(what string, n int) {
	b.Helper()
	b.until(what, 20*time.Second, func() bool { return slices.Equal(b.users.running(), upTo(n)) })
}

func TestOrderedUsers(t *testing.T) {
	on(t, config{size: 60}, func(b *bench) {
		b.must("resign", b.leader.Resign(b.Context()))
		first, _ := b.startBridged()
		second, leave := b.startBridged()
		pass(2 * time.Second)
		first.users(20)
		second.users(20)
		b.runs("the lowest 40 numbers on both", 40)
		first.users(5)
		b.until("25 users", 20*time.Second, func() bool { return len(b.users.running()) == 25 })
		pass(2 * time.Second) // until the numbers are back
		second.users(25)
		b.until("30 users, with numbers that were free", 20*time.Second, func() bool {
			running := b.users.running()
			return len(running) == 30 && slices.Max(running) < 40
		})

		// One that leaves gives its numbers back, and the other gets them.
		leave()
		first.users(12)
		b.until("12 users", 20*time.Second, func() bool { return len(b.users.running()) == 12 })
		if most := slices.Max(b.users.running()); most >= 40 {
			b.Errorf("number %d runs, though lower ones are free", most)
		}
		first.stop()
		b.runs("nobody", 0)
		b.until("accounts that are back", 20*time.Second, func() bool { return b.stats().Leased == 0 })
		if twice := b.users.doubled(); len(twice) > 0 {
			b.Errorf("numbers %v ran twice at once", twice)
		}

		// A test is a run, so the numbers begin anew.
		first.users(3)
		b.runs("the lowest 3 numbers", 3)
		first.order(func(o *bridge.Orders) { o.Joined = false })
		b.runs("nobody without the Locust master", 0)
		first.order(func(o *bridge.Orders) { o.Joined = true })
		b.runs("all when it is back", 3)
	})
}

// What is ordered by classes waits until they are known.
func TestOrdersWaitForTheirClasses(t *testing.T) {
	on(t, config{size: 10}, func(b *bench) {
		b.must("resign", b.leader.Resign(b.Context()))
		p, _ := b.startBridged()
		p.order(func(o *bridge.Orders) { o.Weights, o.Test, o.On, o.Users = false, "test-1", true, 4 })
		pass(3 * time.Second)
		b.runs("nobody yet", 0)
		p.order(func(o *bridge.Orders) { o.Classes = map[string]int{"User": 4} })
		b.runs("4 users", 4)
		if run := b.run(); run != "test-1" {
			b.Errorf("the run is %q, want the id of the test", run)
		}
	})
}

// run is the id of the run in Redis.
func (b *bench) run() string {
	b.Helper()
	run, err := b.rdb.HGet(b.Context(), b.namespace+":{swarm:swarm}:run", "id").Result()
	b.must("run", err)
	return run
}

// A worker that obeys a Locust master takes no part in a run whose master does not.
func TestOrdersAndPlanDoNotMix(t *testing.T) {
	on(t, config{size: 10}, func(b *bench) {
		p, _ := b.startBridged()
		p.users(5)
		b.until("a refusal", 20*time.Second, func() bool {
			b.merge()
			for _, state := range b.roll() {
				if state.Refusal != "" {
					return true
				}
			}
			return false
		})
		if n := b.users.total(); n > 0 {
			b.Errorf("%d sessions began", n)
		}
	})
}
