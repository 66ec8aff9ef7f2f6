package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// DeleteAll deletes the pool's accounts from the target and then from the
// pool: those that nobody holds, quarantined ones included, those that are
// retired already, and those that a crashed run intended and may have created
// (see the package comment for how). Only what this pool created in the target,
// and has on record, is deleted there; imported accounts are merely forgotten.
// Accounts that are leased are left and counted. DeleteAll waits until no other
// process creates or deletes the pool's accounts, and, after a restart of Redis,
// until the pool is no longer frozen.
//
// At most one batch of accounts is retired ahead of its deletion, so that a
// target that is down costs the pool no more than that. Accounts that the target
// will not delete stay retired, and the others are deleted all the same: the
// error is then an *UndeletedError. A source that cannot delete is told of before
// anything is retired. Otherwise DeleteAll stops as Ensure does, and run again it
// finishes the work.
func (p *Provisioner) DeleteAll(ctx context.Context) (Result, error) {
	return p.deleteAll(ctx, func([]accounts.Account) {})
}

// deleteAll is DeleteAll, and tells of every batch that is deleted.
func (p *Provisioner) deleteAll(ctx context.Context, deleted func([]accounts.Account)) (Result, error) {
	return p.inTurn(ctx, func(ctx context.Context) (Result, error) {
		d := &deletion{p: p, deleted: deleted}
		if err := d.all(ctx); err != nil {
			return d.result, fmt.Errorf("delete accounts: %w", err)
		}
		p.cfg.Log.Info("accounts deleted", zap.String("pool", p.pool.Name()),
			zap.Int("deleted", d.result.Deleted), zap.Int("forgotten", d.result.Forgotten), zap.Int("left", d.result.Left))
		return d.result, nil
	})
}

// DeleteRetired deletes from the target, and then from the pool, those accounts
// that are retired already. As with DeleteAll, imported ones are only forgotten.
// It waits for nobody: any number of processes may do it at a time, and some
// accounts then count for more than one.
func (p *Provisioner) DeleteRetired(ctx context.Context) (Result, error) {
	d := &deletion{p: p, deleted: func([]accounts.Account) {}}
	stats, err := p.pool.Stats(ctx)
	if err == nil {
		total := 0
		for _, role := range stats {
			total += int(role.Retired)
		}
		d.run = p.newRun(total)
		d.run.advance(0)
		err = joined(d.retired(ctx), d.undeleted())
	}
	if err != nil {
		return d.result, fmt.Errorf("delete retired accounts: %w", err)
	}
	return d.result, nil
}

// deletion is one DeleteAll or DeleteRetired. It belongs to one goroutine.
type deletion struct {
	p       *Provisioner
	run     *run
	deleted func([]accounts.Account)
	result  Result
	kept    UndeletedError
	keptIDs map[string]bool
}

func (d *deletion) all(ctx context.Context) error {
	pool := d.p.pool
	// Who deletes everything does not want more.
	if err := pool.ClearGoal(ctx); err != nil {
		return err
	}
	stats, err := pool.Stats(ctx)
	if err != nil {
		return err
	}
	free := 0
	for _, role := range stats {
		free += int(role.Known - role.Leased)
	}
	d.run = d.p.newRun(free)
	d.run.advance(0)
	if err := d.possible(ctx, stats); err != nil {
		return err
	}
	doubt, err := d.finishIntents(ctx)
	if err != nil {
		return err
	}
	for tried := 0; ; {
		if err := d.retired(ctx); err != nil {
			return err
		}
		if len(d.keptIDs) >= maxUndeleted {
			return d.undeleted()
		}
		most := d.run.batchSize
		if d.result.Deleted == 0 && len(d.keptIDs) > 0 {
			// Perhaps it deletes none at all: a few will tell.
			if len(d.keptIDs) > tried && tried > 0 {
				return d.undeleted()
			}
			tried, most = len(d.keptIDs), trialBatch
		}
		n, err := d.retireMore(ctx, most)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if stats, err = pool.Stats(ctx); err != nil {
		return err
	}
	for _, role := range stats {
		d.result.Left += int(role.Known)
	}
	d.result.Left = max(0, d.result.Left-len(d.keptIDs))
	return joined(d.undeleted(), doubt())
}

// retired deletes what is retired.
func (d *deletion) retired(ctx context.Context) error {
	for {
		list, err := d.p.pool.Retired(ctx, d.run.batchSize+len(d.keptIDs))
		list = slices.DeleteFunc(list, func(a accounts.Account) bool { return d.keptIDs[a.ID] })
		if err != nil || len(list) == 0 {
			return err
		}
		if len(d.keptIDs) >= maxUndeleted {
			return nil // nor is there an end to it: enough is known to say so
		}
		if err := d.these(ctx, list); err != nil {
			return err
		}
	}
}

// these deletes retired accounts: those with a receipt from the target first,
// then all from the pool, also when ctx has ended.
func (d *deletion) these(ctx context.Context, list []accounts.Account) error {
	var ours, theirs []accounts.Account
	for _, a := range list {
		if a.Created {
			ours = append(ours, a)
		} else {
			theirs = append(theirs, a)
		}
	}
	b := d.run.batch(ctx, errand{
		verb: "delete", do: deleting(d.p.source), tolerates: final, each: func(accounts.Account) { d.run.advance(1) },
	}, ours)
	d.keep(b.failed)
	d.deleted(b.done)
	d.result.Deleted += len(b.done)
	err := d.forget(ctx, b.done)
	if err == nil && b.err == nil {
		if err = d.forget(ctx, theirs); err == nil {
			d.result.Forgotten += len(theirs)
			d.run.advance(len(theirs))
		}
	}
	return joined(b.err, err)
}

func (d *deletion) forget(ctx context.Context, list []accounts.Account) error {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	ids := make([]string, len(list))
	for i, a := range list {
		ids[i] = a.ID
	}
	return d.p.pool.Forget(ctx, ids)
}

// retireMore takes up to that many accounts out of use, and returns how many.
func (d *deletion) retireMore(ctx context.Context, most int) (n int, err error) {
	for {
		n, err = d.p.pool.Retire(ctx, "", most)
		if n == 0 && err == nil {
			n, err = d.p.pool.RetireQuarantined(ctx, most)
		}
		if n > 0 || !errors.Is(err, accounts.ErrFrozen) {
			return n, err
		}
		if err := d.p.thaw(ctx); err != nil {
			return 0, err
		}
	}
}

// thaw waits until the pool is not frozen.
func (p *Provisioner) thaw(ctx context.Context) error {
	for told := false; ; told = true {
		left, err := p.pool.Frozen(ctx)
		if err != nil || left <= 0 {
			return err
		}
		if !told {
			p.cfg.Log.Info("waiting: Redis was restarted, and nothing may be taken from the pool yet", zap.Duration("left", left))
		}
		if !sleep(ctx, left+time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
