package provision

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// settle tells the pool what a batch of creations came to, also when ctx has
// ended: the target has changed already.
func (p *Provisioner) settle(ctx context.Context, r *run, b batch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	r.tellFailures(ctx, p.pool)
	if err := p.confirm(ctx, b.done); err != nil {
		return fmt.Errorf("provision accounts: %w", err)
	}
	if taken := b.with(ErrTaken); len(taken) > 0 {
		if err := p.pool.Drop(ctx, usernames(taken)); err != nil {
			return fmt.Errorf("provision accounts: %w", err)
		}
	}
	return nil
}

// confirm makes created accounts known. If Redis has lost what was intended,
// because it was restarted meanwhile, they are intended again: the target has
// them, and nobody else knows of it.
func (p *Provisioner) confirm(ctx context.Context, created []accounts.Account) error {
	for range 3 {
		n, err := p.pool.Confirm(ctx, created)
		if err != nil || n >= len(created) {
			return err
		}
		// Those that are known already are passed over, here and there.
		lost, err := p.pool.Intend(ctx, created)
		if err != nil || lost == 0 {
			return err
		}
		p.cfg.Log.Warn("Redis has lost what was intended: it is written down again", zap.Int("accounts", lost))
	}
	return errors.New("what is written to Redis is lost")
}

// joined puts two failures of one step in one line.
func joined(first, second error) error {
	if first == nil || second == nil {
		return errors.Join(first, second)
	}
	return fmt.Errorf("%w; and %w", first, second)
}
