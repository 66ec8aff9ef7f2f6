//go:build linux

package scale_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redisurl"
)

const (
	// What a report holds, and how many different ones there are.
	operations = 10
	samples    = 300
	different  = 64

	reportEvery = time.Second
)

// deck is the reports that are sent in turn, and how often each was sent.
type deck struct {
	reports [different]coord.Report
	sent    [different]atomic.Int64
}

// newDeck draws reports, with histograms packed: a real worker packs its own. Each operation has a median of its own, from half a
// millisecond to a quarter of a second; one in a hundred fails.
func newDeck() (*deck, error) {
	d, random, drawn := new(deck), rand.New(rand.NewPCG(1, 2)), new(hist.Histogram)
	for i := range d.reports {
		r := &d.reports[i]
		r.CPU, r.SchedLag = 0.2+0.3*random.Float64(), 0.001
		for op := range operations {
			median := 500e-6 * math.Pow(2, float64(op))
			drawn.Reset()
			for range samples {
				drawn.Record(time.Duration(median * math.Exp(0.5*random.NormFloat64()) * 1e9))
			}
			bytes, err := drawn.MarshalBinary()
			took := new(hist.Histogram)
			if err := errors.Join(err, took.UnmarshalBinary(bytes)); err != nil {
				return nil, err
			}
			r.Operations = append(r.Operations, opstats.Delta{
				Type: "PUBLISH", Name: fmt.Sprintf("channel/event %d", op), Count: samples, Failures: samples / 100,
				Bytes: 256*samples + random.Int64N(1000), Took: took,
				Errors: map[string]int64{"http 503: the service is over its limits": samples / 100},
			})
		}
	}
	return d, nil
}

// total is what was sent.
func (d *deck) total() []*opstats.Delta {
	all := make([]*opstats.Delta, operations)
	for op := range all {
		first := &d.reports[0].Operations[op]
		all[op] = &opstats.Delta{Type: first.Type, Name: first.Name}
		for i := range d.reports {
			all[op].Merge(repeat(d.reports[i].Operations[op], d.sent[i].Load()))
		}
	}
	return all
}

// repeat returns what d counted, n times.
func repeat(d opstats.Delta, n int64) opstats.Delta {
	var all opstats.Delta
	if n == 0 {
		return all
	}
	half := repeat(d, n/2)
	all.Merge(half)
	all.Merge(half)
	if n%2 == 1 {
		all.Merge(d)
	}
	return all
}

// member is a worker without users.
type member struct {
	*coord.Member
	deck     *deck
	next     int         // of the deck
	finished atomic.Bool // the last report was sent
}

// runMembers is many members in one process.
func runMembers(ctx context.Context, o order, out *json.Encoder) error {
	cards, err := newDeck()
	if err != nil {
		return err
	}
	members := make([]*member, o.Members)
	for i := range members {
		rdb, err := redisurl.Connect(ctx, o.Redis)
		if err != nil {
			return err
		}
		defer rdb.Close()
		members[i] = newMember(rdb, cards, i)
	}
	group, ctx := errgroup.WithContext(ctx)
	saying, hush := context.WithCancel(ctx)
	last := make(chan error, 1)
	go func() { last <- sayUnsaved(saying, members, out) }()
	for _, m := range members {
		group.Go(func() error { return m.run(ctx) })
	}
	err = group.Wait()
	hush()
	if err := errors.Join(err, <-last); err != nil {
		return err
	}
	return out.Encode(said{Operations: cards.total()})
}

// sayUnsaved says once a second how many reports each member keeps, from when all
// are in the run until ctx ends.
func sayUnsaved(ctx context.Context, members []*member, out *json.Encoder) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		unsaved := make([]int, 0, len(members))
		for _, m := range members {
			if m.View().Plan.Phase == coord.PhaseRunning {
				unsaved = append(unsaved, m.Unsaved())
			}
		}
		if len(unsaved) < len(members) {
			continue
		}
		if err := out.Encode(said{Unsaved: unsaved}); err != nil {
			return err
		}
	}
}

func newMember(rdb redis.UniversalClient, cards *deck, i int) *member {
	return &member{
		Member: coord.NewMember(coord.MemberConfig{Redis: rdb, Namespace: namespace, Swarm: swarm}),
		deck:   cards, next: i % different,
	}
}

// run takes part until the run has ended.
func (m *member) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, leave := context.WithCancel(ctx)
	group.Go(func() error { return m.Run(ctx, m.state) })
	group.Go(func() error {
		defer leave()
		m.report(ctx)
		return nil
	})
	return group.Wait()
}

// state is what a worker says whose users are as the plan wants them.
func (m *member) state() coord.State {
	view := m.View()
	return coord.State{
		Kind: coord.KindWorker, Name: "worker.example:1", PID: 1, Run: view.Run.ID, Ready: true,
		Users: view.Slots.Count(view.Plan.Users(m.Clock().Now())), CPU: 0.3, Memory: 100 << 20,
		Done: m.finished.Load() && m.Unsaved() == 0,
	}
}

// report sends a report every second until the run has ended, the last one when
// it stops.
func (m *member) report(ctx context.Context) {
	// Workers do not report in step.
	timer := time.NewTimer(rand.N(reportEvery))
	defer timer.Stop()
	from := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			timer.Reset(reportEvery - time.Since(now))
		}
		view, now := m.View(), time.Now()
		switch view.Plan.Phase {
		case coord.PhaseRunning, coord.PhaseDraining:
			m.send(view.Run.ID, from, now)
		case coord.PhaseStopping:
			if !m.finished.Load() {
				m.send(view.Run.ID, from, now)
				m.finished.Store(true)
			}
		case coord.PhaseEnded:
			return
		}
		from = now
	}
}

func (m *member) send(run string, from, to time.Time) {
	r := m.deck.reports[m.next]
	r.From, r.To = m.Clock().At(from).UnixMicro(), m.Clock().At(to).UnixMicro()
	m.Send(run, r)
	m.deck.sent[m.next].Add(1)
	m.next = (m.next + 1) % different
}
