package worker_test

import (
	"context"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
	"github.com/throng-load/throng/worker"
	"github.com/throng-load/throng/worker/rig"
)

// process is a worker that runs until its stop function is called.
type process struct {
	b      *bench
	id     string
	faults *redistest.Faults // of its connection to Redis
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// startWorker starts a worker and waits until it is ready for the run.
func (b *bench) startWorker() *process {
	b.Helper()
	before := b.roll()
	p := &process{b: b, faults: new(redistest.Faults), ended: make(chan struct{})}
	rdb := redistest.Another(b.T, b.rdb)
	rdb.AddHook(p.faults)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		p.err = worker.Run(ctx, rig.Config{
			Redis: rdb, Namespace: b.namespace, Swarm: "swarm", Log: zap.NewNop(),
			Scenarios: []scenarios.Scenario{{Name: "fake", New: func() scenarios.Behaviour { return &behaviour{b.users.session} }}},
			Drivers:   rig.Drivers{"fake": func(*url.URL) (pubsub.Driver, error) { return b.target, nil }},
		})
	}()
	b.Cleanup(func() { cancel(); <-p.ended })
	b.until("a worker that is ready", time.Minute, func() bool {
		for id, state := range b.roll() {
			if _, old := before[id]; !old && state.Ready {
				p.id = id
			}
		}
		return p.id != ""
	})
	return p
}

// leave stops a worker as a signal does, and returns how long it took. The
// master goes on merging meanwhile.
func (p *process) leave() time.Duration {
	p.b.Helper()
	start := time.Now()
	p.cancel()
	p.wait()
	return time.Since(start)
}

// wait waits until a worker has left.
func (p *process) wait() {
	p.b.Helper()
	p.b.until("the worker's end", 5*time.Minute, func() bool {
		p.b.merge()
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	if p.err != nil {
		p.b.Errorf("worker: %v", p.err)
	}
}

// state is what the worker said of itself last.
func (p *process) state() coord.State { return p.b.roll()[p.id] }
