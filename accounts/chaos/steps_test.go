//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// step is one fault, or a few at a time, from its beginning until it is over. It
// counts what was seen to have happened. The rig settles after each.
type step struct {
	name string
	do   func(*rig, context.Context) error
	// quiet asks for a quiet point afterwards, because what the fault can do wrong
	// shows there.
	quiet bool
}

// steps are all of them, in the order in which a short run makes them. Those
// that break the network come first, while a worker with a wrong clock is built.
func steps() []step {
	return []step{
		{"slow network", (*rig).slowNetwork, false},
		{"lossy network", (*rig).lossyNetwork, false},
		{"late copies", (*rig).lateCopies, true},
		{"isolation", (*rig).isolation, false},
		{"losses", (*rig).losses, true},
		{"blip", (*rig).blip, false},
		{"outage", (*rig).outage, false},
		{"restarts", (*rig).restarts, false},
		{"failover", (*rig).failover, true},
		{"blackout", (*rig).blackout, true},
	}
}

// part is a part of the lease TTL.
func (r *rig) part(of float64) time.Duration {
	return time.Duration(of * float64(r.settings.LeaseTTL))
}

// past is how long it takes until a dead holder's accounts are surely back.
func (r *rig) past() time.Duration { return r.settings.LeaseTTL + r.settings.LockDelay + r.part(0.3) }

// losses kills one worker, stops another for longer than its lease, and a third
// for less. In place of the killed one another starts: one with a wrong clock, if
// none has it.
func (r *rig) losses(ctx context.Context) error {
	killed := r.victim()
	long := r.victim(killed)
	short := r.victim(killed, long)
	registered := r.watch.live(long.name)
	if err := long.process.stop(ctx); err != nil {
		return err
	}
	if err := killed.process.kill(); err != nil {
		return err
	}
	r.report.happened("worker killed (-9)")
	wrong := true
	for _, s := range r.slots {
		wrong = wrong && (s == killed || !s.wrongClock)
	}
	if wrong {
		if err := r.clocks.wait(ctx); err != nil {
			return err
		}
	}
	if err := r.staff(killed, wrong); err != nil {
		return err
	}
	if err := r.pause(ctx, short, r.part(0.4)); err != nil {
		return err
	}
	r.report.happened("worker stopped for less than its lease")
	if err := r.takenOver(ctx, registered); err != nil {
		return err
	}
	if err := long.process.cont(); err != nil {
		return err
	}
	r.report.happened("worker stopped for longer than its lease")
	return wait(ctx, r.part(0.25))
}

func (r *rig) pause(ctx context.Context, s *slot, d time.Duration) error {
	if err := s.process.stop(ctx); err != nil {
		return err
	}
	if err := wait(ctx, d); err != nil {
		return err
	}
	return s.process.cont()
}

// isolation makes a zombie of one worker and cuts another off, at the same time.
func (r *rig) isolation(ctx context.Context) error {
	zombie := r.victim()
	silent := r.victim(zombie)
	var group errgroup.Group
	group.Go(func() error { return r.zombie(ctx, zombie) })
	group.Go(func() error { return r.cutOff(ctx, silent) })
	return group.Wait()
}

// takenOver waits until a stopped worker has lost its registrations, and others
// have had time to use its accounts.
func (r *rig) takenOver(ctx context.Context, registered map[string]registration) error {
	if len(registered) == 0 {
		return errors.New("the worker had no registration to lose")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("within a minute"))
	defer cancel()
	if err := r.watch.taken(ctx, registered); err != nil {
		return err
	}
	return wait(ctx, r.part(0.5))
}

// zombie stops a worker until another of the same name has replaced it and uses
// accounts, and wakes it up: both go on. While it wakes up, its replacement is
// stopped for less than its lease: if one could act in the name of the other, that
// one would not learn of it in time.
func (r *rig) zombie(ctx context.Context, s *slot) error {
	old, registered := s.process, r.watch.live(s.name)
	if err := old.stop(ctx); err != nil {
		return err
	}
	if err := r.staff(s, false); err != nil {
		return err
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	if err := r.takenOver(ctx, registered); err != nil {
		return err
	}
	if err := s.process.stop(ctx); err != nil {
		return err
	}
	err := errors.Join(old.cont(), wait(ctx, r.part(0.4)))
	if err := errors.Join(err, s.process.cont()); err != nil {
		return err
	}
	if err := wait(ctx, r.part(0.5)); err != nil {
		return err
	}
	r.report.happened("worker woken up beside its replacement")
	return old.kill()
}
