package probe

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/worker/rig"
)

const (
	reportEvery = time.Second
	// lookEvery is how often the probe looks for what nobody tells it.
	lookEvery = 20 * time.Millisecond
	// maxRate is the most messages a second on one route that a process can
	// be trusted to send in time.
	maxRate = 10_000
)

// opProbe is the type of the probe's own operations in the statistics; they are
// apart from the load's.
const opProbe = "PROBE"

// Run joins the swarm and measures delivery in one run after another, until ctx
// ends or the plan says to leave. When ctx ends it gives its accounts back and
// sends its last statistics before it returns. It returns an error if Redis
// does not answer at the start.
func Run(ctx context.Context, cfg rig.Config) error {
	return rig.Run(ctx, cfg, coord.KindProbe, play)
}

// probe is one run at one probe.
type probe struct {
	*rig.Rig
	recorder *opstats.Recorder
	routes   []*route
	stood    atomic.Bool // every route has stood once
	reported time.Time   // until when; of the goroutine of report
}

func play(ctx context.Context, r *rig.Rig) error {
	p := &probe{Rig: r, recorder: opstats.NewRecorder(), reported: time.Now()}
	if rate := r.Spec.Probe.Rate; rate > maxRate {
		p.refuse(fmt.Errorf("probe.rate %v is above %v, the most that one probe can send in time", rate, scenarios.Rate(maxRate)))
		p.await(ctx, coord.PhaseEnded, nil)
		return nil
	}
	for _, name := range r.Spec.Probe.Routes {
		p.routes = append(p.routes, newRoute(p.routeConfig(name)))
	}
	group := new(errgroup.Group)
	gone := make(chan struct{})
	group.Go(func() error {
		defer close(gone)
		p.conduct(ctx)
		return nil
	})
	group.Go(func() error {
		p.report(ctx, gone)
		return nil
	})
	return group.Wait()
}

// routeConfig says what the route of that name is in this run.
func (p *probe) routeConfig(name string) routeConfig {
	spec := p.Spec.Probe
	c := routeConfig{
		name: name, run: p.Run, publisher: name + "/" + p.Member.ID(), rate: float64(spec.Rate),
		limits: limits{
			onTime: time.Duration(spec.OnTime), timeout: time.Duration(spec.Timeout), lateSend: lateSend(p.Spec),
		},
		swarmTime: p.Member.Clock().At,
		record: func(took time.Duration, bytes int, err error) {
			p.recorder.Record(opProbe, "publish "+name, took, bytes, err)
		},
		join: p.join, muted: func() bool { return !p.Controlled() }, log: p.Log,
	}
	switch name {
	case scenarios.RouteCrowd:
		c.channel = p.Spec.Behaviour.Crowd().Name
	default:
		c.channel = "throng/probe/" + p.Run + "/" + p.Member.ID()
		c.own = true
	}
	return c
}

// lateSend is how long after its intended moment a message may leave before the
// probe's own delay spoils what it measures: a tenth of the tightest upper
// bound for delivery, by default of what is on time.
func lateSend(spec *scenarios.Spec) time.Duration {
	tightest := time.Duration(spec.Probe.OnTime)
	found := false
	for _, t := range spec.Thresholds {
		if t.Metric != scenarios.DeliveryP95 || t.Op != scenarios.Less && t.Op != scenarios.LessEqual {
			continue
		}
		bound := time.Duration(t.Value * float64(time.Second))
		if !found || bound < tightest {
			tightest, found = bound, true
		}
	}
	return tightest / 10
}

// report sends what was counted, once a second while the probe is connected and
// once more after that. Then it waits, telling the master when all is saved,
// until the run has ended.
func (p *probe) report(ctx context.Context, gone <-chan struct{}) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for connected := true; connected; {
		select {
		case <-gone:
			connected = false
		case <-ticker.C:
		}
		p.Member.Send(p.Run, p.take())
	}
	ticker.Reset(lookEvery)
	p.Member.Hurry()
	for done := false; !p.reached(coord.PhaseEnded); {
		if !done && p.Member.Unsaved() == 0 && p.Holder.Held() == 0 {
			done = true
			p.SetState(func(s *coord.State) { s.Done = true })
			p.Member.Hurry()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// take gathers the report of the time since the last one.
func (p *probe) take() coord.Report {
	measuring := p.stood.Load() && p.Controlled() && !slices.ContainsFunc(p.routes, (*route).suspended)
	report := p.NewReport(&p.reported)
	p.SetState(func(s *coord.State) { s.Ready = measuring })
	report.Operations = p.recorder.Take()
	for _, r := range p.routes {
		report.Routes = append(report.Routes, r.take()...)
	}
	return report
}
