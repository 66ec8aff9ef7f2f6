//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// slowest is a delay at which calls time out; slow is one at which they do
	// not.
	slowest = 300 * time.Millisecond
	slow    = 80 * time.Millisecond
	// patience is how long a probe waits for an answer.
	patience = 2 * time.Second
)

func delay(stream string, d time.Duration, toxicity float64) toxic {
	return toxic{Type: "latency", Stream: stream, Toxicity: toxicity, Attributes: map[string]int{"latency": int(d.Milliseconds())}}
}

// slowNetwork makes three workers' connections slow, each in another way, and
// makes Redis forget its scripts.
func (r *rig) slowNetwork(ctx context.Context) error {
	late := r.victim()
	narrow := r.victim(late)
	sliced := r.victim(late, narrow)
	err := errors.Join(
		late.proxy.poison(ctx, delay("upstream", slow, 1)),
		narrow.proxy.poison(ctx, toxic{Type: "bandwidth", Stream: "downstream", Attributes: map[string]int{"rate": 40}}),
		sliced.proxy.poison(ctx, toxic{Type: "slicer", Stream: "downstream",
			Attributes: map[string]int{"average_size": 64, "size_variation": 32, "delay": 100}}))
	if err != nil {
		return err
	}
	r.proven("connections slow", late, 10, slow)
	// 8 KiB at 40 KB/s, and in some 128 slices of 0.1 ms and more each.
	r.proven("connections narrow (bandwidth)", narrow, 8<<10, 100*time.Millisecond)
	r.proven("replies in slices (slicer)", sliced, 8<<10, 5*time.Millisecond)
	if err := r.direct.rdb.ScriptFlush(ctx).Err(); err != nil {
		return err
	}
	r.report.happened("SCRIPT FLUSH")
	if err := wait(ctx, r.part(0.75)); err != nil {
		return err
	}
	return r.heal(ctx, late, narrow, sliced)
}

// proven counts a fault if a probe through the worker's proxy takes that long.
func (r *rig) proven(fault string, s *slot, size int, least time.Duration) {
	if took, err := probe(s.proxy.listen, size, patience); err == nil && took >= least {
		r.report.happened(fault)
	} else {
		r.t.Logf("not seen: %s: %v, %v", fault, took, err)
	}
}

func (r *rig) heal(ctx context.Context, slots ...*slot) error {
	var errs []error
	for _, s := range slots {
		errs = append(errs, s.proxy.heal(ctx))
	}
	return errors.Join(errs...)
}

// lossyNetwork resets the connections of one worker, loses the replies to
// another, and delays what a third sends until it has given up waiting.
func (r *rig) lossyNetwork(ctx context.Context) error {
	reset := r.victim()
	deaf := r.victim(reset)
	late := r.victim(reset, deaf)
	for range 2 {
		err := errors.Join(
			reset.proxy.poison(ctx, toxic{Type: "reset_peer", Stream: "downstream"}),
			deaf.proxy.poison(ctx, toxic{Type: "timeout", Stream: "downstream"}),
			late.proxy.poison(ctx, delay("upstream", slowest, 1)))
		if err != nil {
			return err
		}
		if _, err := probe(reset.proxy.listen, 10, patience); err != nil {
			r.report.happened("connections reset (reset_peer)")
		}
		if _, err := probe(deaf.proxy.listen, 10, r.part(0.15)); err != nil {
			r.report.happened("replies lost (timeout)")
		}
		r.proven("connections slower than a call may be", late, 10, slowest)
		if err := r.heal(ctx, reset, deaf, late); err != nil {
			return err
		}
		if err := wait(ctx, r.part(0.2)); err != nil {
			return err
		}
	}
	return nil
}

// lateCopies holds up half of the connections, so that a call is repeated on
// another one, and goes on, before its first copy arrives.
func (r *rig) lateCopies(ctx context.Context) error {
	for range 3 {
		var errs []error
		for _, s := range r.slots {
			errs = append(errs, s.proxy.poison(ctx, delay("upstream", 2*slowest, 0.5)))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if r.someHeldUp(2 * slowest) {
			r.report.happened("calls overtaken by their repetition")
		}
		if err := r.heal(ctx, r.slots...); err != nil {
			return err
		}
		if err := wait(ctx, r.part(0.2)); err != nil {
			return err
		}
	}
	return nil
}

// someHeldUp says whether of a few probes some took that long, and some did not.
// It takes as long as the longest.
func (r *rig) someHeldUp(least time.Duration) bool {
	held := make([]bool, 9)
	var probes sync.WaitGroup
	for i := range held {
		addr := r.slots[i%len(r.slots)].proxy.listen
		probes.Go(func() {
			took, err := probe(addr, 10, patience)
			held[i] = err == nil && took >= least
		})
	}
	probes.Wait()
	return slices.Contains(held, true) && slices.Contains(held, false)
}
