package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/worker/rig"
)

const reportEvery = time.Second

// Run joins the swarm and runs users in one run after another, until ctx ends
// or the plan says to leave. When ctx ends it stops its users, gives their
// accounts back and sends its last statistics before it returns. It returns an
// error if Redis does not answer at the start.
func Run(ctx context.Context, cfg rig.Config) error {
	return rig.Run(ctx, cfg, coord.KindWorker, func(ctx context.Context, r *rig.Rig) error { return play(ctx, r, nil) })
}

// run is one run at one worker.
type run struct {
	*rig.Rig
	acting   scenarios.Behaviour
	classes  []scenarios.Class
	recorder *opstats.Recorder
	waits    map[string]*hist.Recorder // by role; fixed before users start
	// complained is when it was last said what accounts are short, in Unix ns.
	complained atomic.Int64
	// pilot orders the users; nil if the plan does.
	pilot Pilot
	// waiting is how many users wait for an account now.
	waiting atomic.Int64

	// reporting guards taking and sending a report, and done, how many operations
	// of each type there were.
	reporting sync.Mutex
	done      map[string]int64
	reported  time.Time // until when the last report goes
}

func play(ctx context.Context, r *rig.Rig, pilot Pilot) error {
	acting := r.Spec.Acting()
	w := &run{
		Rig: r, acting: acting, classes: acting.Classes(), recorder: opstats.NewRecorder(), waits: make(map[string]*hist.Recorder),
		pilot: pilot, done: make(map[string]int64), reported: time.Now(),
	}
	if refusal := w.misled(); refusal != "" {
		r.SetState(func(s *coord.State) { s.Refusal = refusal })
		r.Member.Hurry()
		w.Log.Error("cannot take part in the run: "+refusal, zap.String("run", w.Run))
		w.await(ctx)
		return nil
	}
	for _, class := range w.classes {
		if w.waits[class.Role] == nil {
			w.waits[class.Role] = hist.NewRecorder()
		}
	}
	r.SetState(func(s *coord.State) { s.Ready = true })
	r.Member.Hurry()

	if pilot != nil {
		pilot.Hurry(w.sendReport)
		defer pilot.Hurry(nil)
	}
	group := new(errgroup.Group)
	usersGone := make(chan struct{})
	group.Go(func() error {
		defer close(usersGone)
		w.conduct(ctx)
		return nil
	})
	group.Go(func() error {
		w.report(ctx, usersGone)
		return nil
	})
	err := group.Wait()
	if pilot != nil {
		w.Log.Info("operations of the run", zap.Any("by_type", w.done))
	}
	return err
}

// misled says what is wrong if the worker obeys the one, the plan or a Locust
// master, and the run wants the other.
func (w *run) misled() string {
	follow := w.Member.View().Plan.Follow
	switch {
	case follow && w.pilot == nil:
		return "a Locust master orders the users of this swarm: start the worker with --master-host"
	case !follow && w.pilot != nil:
		return "this worker obeys a Locust master, and the swarm's master does not: start the master with --follow, or the worker without --master-host"
	}
	return ""
}

// await returns when the run or ctx has ended.
func (w *run) await(ctx context.Context) {
	for ctx.Err() == nil && !w.over() {
		select {
		case <-ctx.Done():
		case <-w.Member.Changed():
		}
	}
}

// report sends what was recorded, once a second while users run and once more
// after the last has gone. Then it waits, telling the master when all is
// saved, until the run has ended.
func (w *run) report(ctx context.Context, usersGone <-chan struct{}) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-usersGone:
			running = false
		case <-ticker.C:
		}
		w.sendReport()
	}
	ticker.Reset(20 * time.Millisecond)
	w.Member.Hurry()
	for done := false; !w.over(); {
		if !done && w.Member.Unsaved() == 0 && w.Holder.Held() == 0 {
			done = true
			w.SetState(func(s *coord.State) { s.Done = true })
			w.Member.Hurry()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// sendReport takes what has been counted since the last report and gives it to
// whoever wants it. It is safe for concurrent use.
func (w *run) sendReport() {
	w.reporting.Lock()
	defer w.reporting.Unlock()
	report := w.take()
	for _, op := range report.Operations {
		w.done[op.Type] += op.Count
	}
	if w.pilot != nil {
		w.pilot.Report(report.Operations)
	}
	w.Member.Send(w.Run, report)
}

// take gathers the report of the time since the last one.
func (w *run) take() coord.Report {
	report := w.NewReport(&w.reported)
	report.Operations = w.recorder.Take()
	for role, recorder := range w.waits {
		wait := new(hist.Histogram)
		recorder.Take(wait)
		if wait.Count() > 0 {
			if report.Waits == nil {
				report.Waits = make(map[string]*hist.Histogram)
			}
			report.Waits[role] = wait
		}
	}
	return report
}

// over says that the run has ended or another has begun.
func (w *run) over() bool {
	view := w.Member.View()
	return view.Run.ID != w.Run || view.Plan.Phase == coord.PhaseEnded
}
