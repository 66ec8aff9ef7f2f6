package coord_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
)

// The tests on a bench run the real scripts on a fake clock, which is the
// server's too: they state to the millisecond what happens when.

// bench is a swarm on a fake clock.
type bench struct {
	*testing.T
	rdb       redis.UniversalClient
	namespace string
}

// on runs a test in a bubble.
func on(t *testing.T, test func(b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		test(&bench{T: t, rdb: rdb, namespace: namespace})
	})
}

// pass lets fake time pass, and everything happen that happens until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (b *bench) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// another returns a connection of somebody's own, with the faults that break it.
func (b *bench) another() (redis.UniversalClient, *redistest.Faults) {
	faults := new(redistest.Faults)
	rdb := redistest.Another(b.T, b.rdb)
	rdb.AddHook(faults)
	return rdb, faults
}

// key is the full name of a key of the swarm.
func (b *bench) key(name string) string { return b.namespace + ":{swarm:" + swarm + "}:" + name }

// empty takes everything from Redis.
func (b *bench) empty() {
	b.Helper()
	b.must("empty Redis", b.rdb.FlushAll(b.Context()).Err())
}

// candidacy is a campaign that goes on in the background.
type candidacy struct {
	stop   context.CancelFunc
	done   chan struct{}
	at     time.Time // when it was over
	leader *coord.Leader
	err    error
}

// stand begins a campaign of somebody with a connection of his own.
func (b *bench) stand(rdb redis.UniversalClient, standby bool) *candidacy {
	ctx, stop := context.WithCancel(context.Background())
	c := &candidacy{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.leader, c.err = coord.Campaign(ctx, coord.LeaderConfig{Redis: rdb, Namespace: b.namespace, Swarm: swarm, Standby: standby})
		c.at = time.Now()
	}()
	b.Cleanup(func() { stop(); <-c.done })
	synctest.Wait()
	return c
}

// over says that the campaign is.
func (c *candidacy) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// elect is a campaign that is to be won at once.
func (b *bench) elect() *coord.Leader {
	b.Helper()
	leader, err := coord.Campaign(b.Context(), coord.LeaderConfig{Redis: b.rdb, Namespace: b.namespace, Swarm: swarm})
	b.must("campaign", err)
	return leader
}

// renewFor renews twice a second, as a master does, for so long.
func (b *bench) renewFor(leader *coord.Leader, d time.Duration) {
	b.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); pass(500 * time.Millisecond) {
		b.must("renew", leader.Renew(b.Context()))
	}
}

// begin begins a run with a plan in which users run.
func (b *bench) begin(leader *coord.Leader, id string) coord.Plan {
	b.Helper()
	plan := coord.Plan{Run: id, Phase: coord.PhaseRunning, SpawnRate: 1}
	version, err := leader.Begin(b.Context(), coord.Run{ID: id, Protocol: coord.Protocol, Spec: []byte("spec of " + id)}, plan)
	b.must("begin", err)
	plan.Version = version
	return plan
}
