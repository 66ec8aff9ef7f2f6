package probe

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/throng-load/throng/internal/coord"
)

// stopGrace is how long the operations under way may take when the probe is
// told to stop, before its connections are closed.
const stopGrace = 5 * time.Second

var errAborted = errors.New("probe: operations did not end in time")

// conduct follows the run through its phases. It returns when ctx or the run
// has ended, or the run is stopping, and the accounts are given back.
//
//	waiting    connect; ready once every route stands
//	running    send
//	draining   send nothing more; drained once nothing is open
//	stopping   disconnect
func (p *probe) conduct(ctx context.Context) {
	hard, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	connected, disconnect := context.WithCancel(hard)
	var lines sync.WaitGroup
	defer lines.Wait()
	defer disconnect()
	for _, l := range p.lines() {
		lines.Go(func() { l.run(connected, hard) })
	}

	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	var senders sync.WaitGroup
	if p.ready(ctx) {
		p.await(ctx, coord.PhaseRunning, nil)
		p.send(sending, hard, &senders)
	}
	p.await(ctx, coord.PhaseDraining, nil)
	stopSending()
	sent := make(chan struct{}) // closed when no publish is under way any more
	go func() {
		defer close(sent)
		senders.Wait()
	}()
	p.drain(ctx, sent)

	p.await(ctx, coord.PhaseStopping, nil)
	grace := time.AfterFunc(stopGrace, func() { abort(errAborted) })
	defer grace.Stop()
	<-sent
	disconnect()
	lines.Wait()
}

func (p *probe) lines() []*line {
	var all []*line
	for _, r := range p.routes {
		all = append(all, r.lines()...)
	}
	return all
}

// ready waits until every route has stood once and says so to the master. It
// returns false if it is too late for that.
func (p *probe) ready(ctx context.Context) bool {
	for _, l := range p.lines() {
		p.await(ctx, coord.PhaseDraining, l.up)
		select {
		case <-l.up:
		default:
			return false
		}
	}
	p.stood.Store(true)
	p.SetState(func(s *coord.State) { s.Ready, s.Refusal = true, "" })
	p.Member.Hurry()
	return true
}

// send starts the senders, unless the run is past sending.
func (p *probe) send(soft, hard context.Context, senders *sync.WaitGroup) {
	if soft.Err() != nil || p.reached(coord.PhaseDraining) {
		return
	}
	start := p.start()
	for k, r := range p.routes {
		s := newSchedule(r.since(start), r.rate, k, len(p.routes))
		s.end = p.end(r.origin)
		senders.Go(func() { r.send(soft, hard, s) })
	}
}

// drain waits until no publish is under way and nothing is open, which is soon
// after the timeout of the last message at the latest, or until the run does
// not wait any more.
func (p *probe) drain(ctx context.Context, sent <-chan struct{}) {
	p.await(ctx, coord.PhaseStopping, sent)
	waiting, stop := context.WithCancel(ctx)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		p.settle(waiting)
	}()
	p.await(ctx, coord.PhaseStopping, settled)
	stop()
	<-settled
	p.SetState(func(s *coord.State) { s.Drained = true })
	p.Member.Hurry()
}

// settle returns when nothing is open on any route, or when ctx has ended.
func (p *probe) settle(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for slices.ContainsFunc(p.routes, func(r *route) bool { return !r.settled() }) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// start is the instant of this process at which the plan begins.
func (p *probe) start() time.Time {
	now := time.Now()
	points := p.Member.View().Plan.Points
	if len(points) == 0 {
		return now
	}
	return now.Add(time.UnixMicro(points[0].At).Sub(p.Member.Clock().At(now)))
}

// end is when the plan's users are gone even if no master ends the run, since an
// instant of this process; 0 if they never are. Nobody would stop the probe then.
func (p *probe) end(since time.Time) time.Duration {
	if until := p.Member.View().Plan.Until; until != 0 {
		now := time.Now()
		return now.Add(time.UnixMicro(until).Sub(p.Member.Clock().At(now))).Sub(since)
	}
	return 0
}

// await returns when the run has reached the phase, when event happens, or when
// ctx has ended.
func (p *probe) await(ctx context.Context, phase coord.Phase, event <-chan struct{}) {
	for ctx.Err() == nil && !p.reached(phase) {
		select {
		case <-event:
			return
		case <-ctx.Done():
		case <-p.Member.Changed():
		}
	}
}

// reached says whether the run is in the phase or past it. A run that another
// has replaced is past everything.
func (p *probe) reached(phase coord.Phase) bool {
	order := []coord.Phase{
		coord.PhaseWaiting, coord.PhaseRunning, coord.PhaseDraining, coord.PhaseStopping, coord.PhaseEnded,
	}
	view := p.Member.View()
	return view.Run.ID != p.Run || slices.Index(order, view.Plan.Phase) >= slices.Index(order, phase)
}
