package cmd

import (
	"context"
	"sync"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/master/report"
)

// outcomes keeps the outcome of each run as it ends: the page can show only the
// last one.
type outcomes struct {
	e      env
	output outputFlags
	log    *zap.Logger
	wake   chan struct{} // holds one: a run has ended

	mu       sync.Mutex // guards what follows
	going    string     // the run that was seen to go on
	last     *report.Summary
	unsaved  []*report.Summary
	finished chan struct{} // closed when a run has ended
}

// observe is called with each snapshot.
func (o *outcomes) observe(s *master.Snapshot) {
	if s.Summary == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !s.Idle && s.Plan.Phase != coord.PhaseEnded {
		o.going = s.Summary.Run.ID
		return
	}
	if o.going != s.Summary.Run.ID {
		return // another process's, or kept already
	}
	o.going, o.last = "", s.Summary
	o.unsaved = append(o.unsaved, s.Summary)
	if o.finished != nil {
		close(o.finished)
		o.finished = nil
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// ended returns what is closed when the run that goes on, or the next one, has
// ended.
func (o *outcomes) ended() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last != nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	if o.finished == nil {
		o.finished = make(chan struct{})
	}
	return o.finished
}

// run shows and saves what has ended, until ctx ends and then what is left.
func (o *outcomes) run(ctx context.Context) error {
	for {
		select {
		case <-o.wake:
			o.keep()
		case <-ctx.Done():
			o.keep()
			return nil
		}
	}
}

func (o *outcomes) keep() {
	o.mu.Lock()
	unsaved := o.unsaved
	o.unsaved = nil
	o.mu.Unlock()
	for _, summary := range unsaved {
		kept := *summary // the page goes on showing the other
		if kept.Run.ExitCode == master.ExitFailed {
			kept.Run.ExitCode = o.output.exitCodeOnError
		}
		if err := o.output.show(o.e.stdout, &kept); err != nil {
			o.log.Error("the outcome could not be kept", zap.Error(err))
		}
	}
}

// decisive is the run that the process's exit code follows from: the last one if
// the process ends because that has ended, or one that was interrupted.
func (o *outcomes) decisive(quits bool) *report.Summary {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last != nil && (quits || o.last.Run.ExitCode == master.ExitInterrupted) {
		kept := *o.last
		if kept.Run.ExitCode == master.ExitFailed {
			kept.Run.ExitCode = o.output.exitCodeOnError
		}
		return &kept
	}
	return nil
}
