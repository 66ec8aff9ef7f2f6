//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// run starts everything, makes the steps, and judges.
func (r *rig) run(ctx context.Context) (err error) {
	inner, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	r.clocks = buildClock(inner, r.folder)
	defer func() { stop(); <-r.clocks.done }()
	defer func() { err = errors.Join(err, r.finish(context.WithoutCancel(ctx))) }()
	if err := r.start(inner, &running); err != nil {
		return err
	}
	if err := r.settle(inner); err != nil {
		return err
	}
	round := steps()
	for since := time.Now(); ; {
		for _, s := range round {
			if err := r.step(inner, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		if time.Since(since) >= r.lasts {
			return errors.Join(r.quiet(inner), r.disband(inner))
		}
		r.random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
	}
}

func (r *rig) step(ctx context.Context, s step) error {
	began := time.Now()
	defer func() {
		r.t.Logf("%6.1f s: %s took %.1f s", time.Since(r.report.from).Seconds(), s.name, time.Since(began).Seconds())
	}()
	if err := s.do(r, ctx); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if s.quiet {
		return r.quiet(ctx)
	}
	return nil
}

// disband lets all workers leave in good order, with accounts in use: everything
// comes back, and at once.
func (r *rig) disband(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	r.watch.end()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("within a minute"))
	defer cancel()
	var group errgroup.Group
	for _, s := range r.slots {
		group.Go(func() error { return s.process.leave(ctx) })
	}
	return errors.Join(group.Wait(), r.judgeRest(ctx))
}

// finish ends all workers, and judges what there is, also after a run that broke
// off.
func (r *rig) finish(ctx context.Context) error {
	var errs []error
	for _, p := range r.all {
		select {
		case <-p.ended:
		default:
			errs = append(errs, p.kill())
		}
		if err := p.complaints(); err != nil {
			r.violate("a worker complains", "%v", err)
		}
	}
	if r.watch != nil {
		errs = append(errs, r.judgeStale(), r.judgeHistories())
		s := r.watch.figures()
		r.report.Judged, r.report.ShareMin = s.judged, s.judgedMin
		r.report.ShareMean = s.judgedSum / float64(max(s.judged, 1))
		r.report.ShareAll = s.sum / float64(max(s.samples, 1))
		r.report.AboveFloor = float64(s.aboveFloor) / float64(max(s.samples, 1))
		errs = append(errs, r.countJumps())
	}
	r.report.Seconds = time.Since(r.report.from).Seconds()
	return errors.Join(errs...)
}
