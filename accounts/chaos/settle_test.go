//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settle waits until the pool has recovered from a fault, and then for a while
// in which the floor is judged. It is also where a worker that has ended by
// itself is noticed.
func (r *rig) settle(ctx context.Context) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	began := time.Now()
	deadline := 30*time.Second + 10*r.settings.LeaseTTL
	for since := began; ; {
		s := r.watch.now()
		// A wall clock that jumps is a fault too, with a recovery of its own.
		ago, in := r.jump()
		switch {
		case s.at.IsZero(), s.frozen, float64(s.leased) < floor*float64(r.accounts), !r.registered(), ago < noticed:
			since = time.Now()
		case s.at.Sub(since) >= r.steady && in > r.calm:
			r.report.Regained = max(r.report.Regained, since.Sub(began).Seconds())
			return r.enjoy(ctx)
		}
		if time.Since(began) > deadline {
			r.violate("never recovered", "%d of %d accounts are leased after %v", s.leased, r.accounts, deadline)
			return nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// registered says whether every worker has a registration that lives, and nobody
// else has one: one that a killed worker left is a fault that is not over.
func (r *rig) registered() bool {
	for _, s := range r.slots {
		if len(r.watch.live(s.name)) != 1 {
			return false
		}
	}
	return true
}

// enjoy is the time between faults.
func (r *rig) enjoy(ctx context.Context) error {
	ago, in := r.jump()
	r.watch.judge(fmt.Sprintf("a wall clock jumped %v before the time between faults, and the next will %v after its beginning", ago, in))
	errs := []error{wait(ctx, r.calm)}
	r.watch.judge("")
	for _, s := range r.slots {
		select {
		case <-s.process.ended:
			errs = append(errs, fmt.Errorf("worker %s has ended by itself: %v", s.process.name, s.process.cmd.ProcessState))
		default:
		}
	}
	return errors.Join(append(errs, r.judgeStale())...)
}
