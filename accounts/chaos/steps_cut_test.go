//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// blip cuts everybody off for less than the lease, and stops Redis for as long.
func (r *rig) blip(ctx context.Context) error {
	if err := r.cut(ctx, r.part(0.5), 0); err != nil {
		return err
	}
	r.report.happened("Redis out of reach for less than the lease")
	if err := wait(ctx, r.part(0.5)); err != nil {
		return err
	}
	if err := r.store.master.Stop(); err != nil {
		return err
	}
	err := wait(ctx, r.part(0.5))
	if err := errors.Join(err, r.store.master.Cont()); err != nil {
		return err
	}
	r.report.happened("Redis stopped for less than the lease")
	return nil
}

// outage cuts everybody off until every registration has expired. The reclaimers
// come back first: they must not take a single account, because nobody can have
// renewed.
func (r *rig) outage(ctx context.Context) error {
	if err := r.cut(ctx, r.past(), r.part(0.4)); err != nil {
		return err
	}
	r.report.happened("Redis out of reach for longer than the lease")
	return nil
}

// cut breaks all connections for a time, those of the workers for longer.
func (r *rig) cut(ctx context.Context, d, longer time.Duration) error {
	r.reclaimers.down()
	for _, s := range r.slots {
		s.proxy.down()
		if _, err := probe(s.proxy.listen, 10, patience); err == nil {
			return fmt.Errorf("%s reaches Redis although its proxy is down", s.name)
		}
	}
	if err := wait(ctx, d); err != nil {
		return err
	}
	addr := r.store.master.Addr()
	r.watch.blindUntil(time.Now())
	if err := r.reclaimers.up(addr); err != nil {
		return err
	}
	if err := wait(ctx, longer); err != nil {
		return err
	}
	for _, s := range r.slots {
		if err := s.proxy.up(addr); err != nil {
			return err
		}
	}
	return nil
}

// cutOff cuts one worker off for longer than its lease, while it can reach the
// target: it must fall silent by itself, and in time. Before that its replies are
// slow: trust must not count from when a reply has come.
func (r *rig) cutOff(ctx context.Context, s *slot) error {
	late := r.part(0.09)
	if err := s.proxy.poison(ctx, delay("downstream", late, 1)); err != nil {
		return err
	}
	if err := wait(ctx, r.part(0.5)); err != nil {
		return err
	}
	// Just after the reply to a renewal, and before the next is sent.
	before, err := r.renewed(ctx, s, time.Time{})
	if err != nil {
		return err
	}
	if _, err := r.renewed(ctx, s, before); err != nil {
		return err
	}
	if err := wait(ctx, late+r.part(0.02)); err != nil {
		return err
	}
	s.proxy.down()
	from := now()
	if _, err := probe(s.proxy.listen, 10, patience); err == nil {
		return fmt.Errorf("%s reaches Redis although its proxy is down", s.name)
	}
	if err := wait(ctx, r.past()); err != nil {
		return err
	}
	if err := r.judgeDeadline(s, from); err != nil {
		return err
	}
	r.report.happened("worker cut off from Redis for longer than its lease")
	return s.proxy.up(r.store.master.Addr())
}

// renewed waits until the worker's registration has another expiry than before,
// and returns it.
func (r *rig) renewed(ctx context.Context, s *slot, before time.Time) (time.Time, error) {
	deadline := time.Now().Add(r.past())
	for {
		if e := r.watch.expiry(s.name); !e.Equal(before) || time.Now().After(deadline) {
			return e, nil
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
}

// judgeDeadline checks that a worker that has been cut off let nothing pass
// after its deadline. It was told nothing new since, so its trust must have
// ended the margin before its registration did in Redis.
func (r *rig) judgeDeadline(s *slot, from int64) error {
	// Between the deadline and the margin before the expiry lies what the holder
	// allows for its clock; 2 % of the lease more are for Redis's whole
	// milliseconds.
	margin := r.part(0.1) - r.part(0.02)
	silent := now() - int64(time.Since(r.watch.expiry(s.name).Add(-margin)))
	last := from
	err := readHistory(s.process.history, func(rec record) {
		if rec.Kind != used && rec.Kind != ended {
			return
		}
		last = max(last, rec.From)
		if rec.From > max(from, silent) {
			r.violate("used after the deadline", "%s was cut off, and used account %d %v after it should have fallen silent",
				s.process.name, rec.Account, time.Duration(rec.From-silent))
		}
	})
	if err != nil {
		return err
	}
	r.report.fellSilent(time.Duration(silent-last) + margin)
	return nil
}
