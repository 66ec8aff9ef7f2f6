package provision

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// DeleteAll deletes the pool's accounts from the target and then from the
// pool: those that nobody holds, quarantined ones included, those that are
// retired already, and those that a crashed run intended and may have created
// (see the package comment for how). Accounts that are leased are left and
// counted.
//
// At most one batch of accounts is retired ahead of its deletion, so that a
// target that is down costs the pool no more than that. DeleteAll stops as
// Ensure does, and run again it finishes the work.
func (p *Provisioner) DeleteAll(ctx context.Context) (Result, error) {
	var result Result
	stats, err := p.pool.Stats(ctx)
	if err != nil {
		return result, fmt.Errorf("delete accounts: %w", err)
	}
	free := 0
	for _, role := range stats {
		free += int(role.Known - role.Leased)
	}
	r := newRun(p.cfg, free)
	r.advance(0)
	if err := p.finishIntents(ctx, r); err != nil {
		return result, err
	}
	for {
		retired, err := p.pool.Retired(ctx, r.batchSize)
		if err != nil {
			return result, fmt.Errorf("delete accounts: %w", err)
		}
		if len(retired) == 0 {
			n, err := p.pool.Retire(ctx, "", r.batchSize)
			if n == 0 && err == nil {
				n, err = p.pool.RetireQuarantined(ctx, r.batchSize)
			}
			if err != nil {
				return result, fmt.Errorf("delete accounts: %w", err)
			}
			if n == 0 {
				break
			}
			continue
		}
		b := r.batch(ctx, "delete", retired, p.source.Delete, func(accounts.Account) { r.advance(1) })
		result.Deleted += len(b.done)
		if err := joined(b.err, p.forget(ctx, b.done)); err != nil {
			return result, err
		}
	}
	if stats, err = p.pool.Stats(ctx); err != nil {
		return result, fmt.Errorf("delete accounts: %w", err)
	}
	for _, role := range stats {
		result.Left += int(role.Known)
	}
	p.cfg.Log.Info("accounts deleted", zap.String("pool", p.pool.Name()),
		zap.Int("deleted", result.Deleted), zap.Int("left", result.Left))
	return result, nil
}

// finishIntents turns every intended account into a known one or none: the
// rest of DeleteAll deletes the known.
func (p *Provisioner) finishIntents(ctx context.Context, r *run) error {
	for {
		intents, err := p.pool.Intents(ctx, r.batchSize)
		if err != nil {
			return fmt.Errorf("delete accounts: %w", err)
		}
		if len(intents) == 0 {
			return nil
		}
		b := r.tolerantBatch(ctx, "create", intents, p.source.Create)
		confirmed, err := p.settleCreated(ctx, b)
		r.total += confirmed
		if err = joined(b.err, err); err != nil {
			return err
		}
		if err := p.giveUp(ctx, r, b.refused); err != nil {
			return err
		}
	}
}

// giveUp drops accounts that the target would not create. It may have created
// them all the same when it was asked before and no answer came back, so they
// are deleted first.
func (p *Provisioner) giveUp(ctx context.Context, r *run, refused []accounts.Account) error {
	if len(refused) == 0 {
		return nil
	}
	b := r.batch(ctx, "delete", refused, p.source.Delete, func(accounts.Account) {})
	if len(b.done) == 0 {
		return b.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := p.pool.Drop(ctx, usernames(b.done)); err != nil {
		return joined(b.err, fmt.Errorf("delete accounts: %w", err))
	}
	return b.err
}

// forget tells the pool that accounts are deleted, also when ctx has ended.
func (p *Provisioner) forget(ctx context.Context, deleted []accounts.Account) error {
	if len(deleted) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	ids := make([]string, len(deleted))
	for i, a := range deleted {
		ids[i] = a.ID
	}
	if err := p.pool.Forget(ctx, ids); err != nil {
		return fmt.Errorf("delete accounts: %w", err)
	}
	return nil
}
