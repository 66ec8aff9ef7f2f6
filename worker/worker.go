package worker

import (
	"context"
	"sync/atomic"
	"time"

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
	return rig.Run(ctx, cfg, coord.KindWorker, play)
}

// run is one run at one worker.
type run struct {
	*rig.Rig
	classes  []scenarios.Class
	recorder *opstats.Recorder
	waits    map[string]*hist.Recorder // by role; fixed before users start
	// complained is when it was last said what accounts are short, in Unix ns.
	complained atomic.Int64
	reported   time.Time // until when; of the goroutine of report
}

func play(ctx context.Context, r *rig.Rig) error {
	w := &run{Rig: r, classes: r.Spec.Behaviour.Classes(), recorder: opstats.NewRecorder(), waits: make(map[string]*hist.Recorder), reported: time.Now()}
	for _, class := range w.classes {
		if w.waits[class.Role] == nil {
			w.waits[class.Role] = hist.NewRecorder()
		}
	}
	r.SetState(func(s *coord.State) { s.Ready = true })
	r.Member.Hurry()

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
	return group.Wait()
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
		w.Member.Send(w.Run, w.take())
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
