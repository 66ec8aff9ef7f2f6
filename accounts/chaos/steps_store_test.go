//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// restarts kills Redis, and takes the last second from its file before it starts
// again; and while the pool is frozen, kills it and starts it once more, with the
// file as it is.
func (r *rig) restarts(ctx context.Context) error {
	master := r.store.master
	size, err := master.AOFSize()
	if err != nil {
		return err
	}
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	had, err := r.direct.done(ctx)
	if err != nil {
		return err
	}
	var removed int64
	err = r.again(ctx, func() error { removed, err = master.CutAOF(size); return err })
	if err != nil {
		return err
	}
	left, err := r.direct.done(ctx)
	if err != nil {
		return err
	}
	if removed > 0 && left < had {
		r.report.happened("Redis killed (-9) and started without the last second")
		r.report.lost(had - left)
	} else {
		r.t.Logf("not seen: %d bytes removed, %d of %d leases and releases left", removed, left, had)
	}
	if err := wait(ctx, r.part(0.6)); err != nil {
		return err
	}
	if err := r.again(ctx, func() error { return nil }); err != nil {
		return err
	}
	r.report.happened("Redis killed (-9) and started again")
	return nil
}

// again kills Redis, does something, and starts it again.
func (r *rig) again(ctx context.Context, meanwhile func() error) error {
	master := r.store.master
	run, err := r.runID(ctx)
	if err != nil {
		return err
	}
	if err := master.Kill(); err != nil {
		return err
	}
	r.frozen(time.Now(), 0)
	r.watch.turn(r.direct.pool)
	if err := errors.Join(meanwhile(), master.Restart()); err != nil {
		return err
	}
	r.watch.turn(r.direct.pool)
	switch other, err := r.runID(ctx); {
	case err != nil:
		return err
	case other == run:
		return errors.New("Redis was not started again: it has the same run_id")
	}
	return nil
}

// runID is the run_id of Redis.
func (r *rig) runID(ctx context.Context) (string, error) {
	info, err := r.store.master.Info(ctx, "server")
	return info["run_id"], err
}

// failover promotes the replica, which is behind, while the old master lives on
// and one worker knows of no other. The old master refuses to write, because its
// replica has left it.
func (r *rig) failover(ctx context.Context) error {
	if err := r.store.follow(ctx); err != nil {
		return err
	}
	late := r.victim()
	had, err := r.busy(ctx)
	if err != nil {
		return err
	}
	promoted, err := r.store.promote(ctx)
	if err != nil {
		return err
	}
	// The old master may not notice for as long as a replica may be behind.
	r.frozen(time.Now(), r.settings.ReplicaLag)
	if err := r.turn(ctx, late); err != nil {
		return err
	}
	left, err := r.direct.done(ctx)
	if err != nil {
		return err
	}
	if err := wait(ctx, r.settings.ReplicaLag); err != nil {
		return err
	}
	old := dialRedis(promoted.old.Addr())
	defer old.Close()
	if err := old.Set(ctx, "chaos:split", "", time.Second).Err(); redis.HasErrorPrefix(err, "NOREPLICAS") {
		r.report.happened("old master served on and refused to write")
	} else {
		r.t.Logf("not seen: the old master refuses to write: %v", err)
	}
	if err := promoted.old.Kill(); err != nil {
		return err
	}
	if err := late.proxy.up(r.store.master.Addr()); err != nil {
		return err
	}
	r.promoted(promoted, had-left)
	return r.store.attach(ctx)
}

// busy waits until accounts have been handed over for as long as the replica is
// behind, so that there is something to lose, and returns how many leases and
// releases there have been.
func (r *rig) busy(ctx context.Context) (int64, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		before, err := r.direct.done(ctx)
		if err != nil {
			return 0, err
		}
		if err := wait(ctx, replicaDelay); err != nil {
			return 0, err
		}
		had, err := r.direct.done(ctx)
		if err != nil || had-before >= int64(r.accounts)/200 || time.Now().After(deadline) {
			return had, err
		}
	}
}

// promoted counts a promotion of a replica that was behind.
func (r *rig) promoted(p promotion, lost int64) {
	if p.behind > 0 && lost > 0 {
		r.report.happened(fmt.Sprintf("replica promoted that was %v behind", replicaDelay))
		r.report.lost(lost)
	} else {
		r.t.Logf("not seen: the replica was %d bytes behind, %d leases and releases were lost", p.behind, lost)
	}
}

// blackout kills the master, all workers with it, and promotes the replica,
// which is behind: nobody is left who knows of the last leases. Then others
// start.
func (r *rig) blackout(ctx context.Context) error {
	if err := r.store.follow(ctx); err != nil {
		return err
	}
	had, err := r.busy(ctx)
	if err != nil {
		return err
	}
	offset, err := r.store.offset(ctx, r.store.master)
	if err != nil {
		return err
	}
	if err := r.store.master.Kill(); err != nil {
		return err
	}
	killed := time.Now()
	promoted, err := r.store.promote(ctx)
	if err != nil {
		return err
	}
	r.frozen(killed, 0)
	if got, err := r.store.offset(ctx, r.store.master); err == nil {
		promoted.behind = offset - got
	}
	// The leases that were lost are used before their users die.
	if err := wait(ctx, 50*time.Millisecond); err != nil {
		return err
	}
	var errs []error
	for _, s := range r.slots {
		errs = append(errs, s.process.kill())
	}
	errs = append(errs, r.turn(ctx))
	left, err := r.direct.done(ctx)
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	r.promoted(promoted, had-left)
	r.report.happened("all workers killed with the master")
	for _, s := range r.slots {
		if err := r.staff(s, s.wrongClock); err != nil {
			return err
		}
	}
	return r.store.attach(ctx)
}
