package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// ReapResult is what came of a Reap, also of one that failed.
type ReapResult struct {
	// Deleted counts accounts that are no longer in the target, Forgotten
	// imported ones that the pool no longer knows.
	Deleted, Forgotten int
	// Left counts accounts that somebody who is alive holds.
	Left int
	// Counted tells that the target was counted, and that it is known how many
	// accounts it had before the pool created any: Before and After.
	Counted       bool
	Before, After int
	// Proven tells that nothing of the pool's is left in the target: it has as
	// many accounts as before, or, where that is not known, it was asked for each
	// account that Reap has deleted and has none of them.
	Proven bool
	// Untouched tells that there is nothing to prove: the target is never told of
	// the accounts, because they are Generated.
	Untouched bool
	// Doubt says in one line why it is not proven; "" when it is.
	Doubt string
}

// Reap removes what a campaign left that has crashed: it takes accounts back from
// holders that have died, finishes what was intended, deletes every account from
// the target that the pool created there, and looks whether the target has what
// it had before. It waits until each holder has either renewed its registration,
// and is alive, or was taken for dead, which takes lease TTL + lock-delay + 1 s.
// Accounts of holders that live are left. Everything else is as with DeleteAll.
func (p *Provisioner) Reap(ctx context.Context) (ReapResult, error) {
	var result ReapResult
	if err := p.reclaim(ctx); err != nil {
		return result, fmt.Errorf("reap accounts: %w", err)
	}
	counter, counts := p.source.(Counter)
	var deleted []accounts.Account
	done, err := p.deleteAll(ctx, func(list []accounts.Account) { deleted = append(deleted, list...) })
	result.Deleted, result.Forgotten, result.Left = done.Deleted, done.Forgotten, done.Left
	if err != nil {
		return result, fmt.Errorf("reap accounts: %w", err)
	}
	if counts {
		if result.Before, result.Counted, err = p.pool.Baseline(ctx); err != nil {
			return result, fmt.Errorf("reap accounts: %w", err)
		}
	}
	if result.Counted {
		if result.After, err = p.count(ctx, counter); err != nil {
			return result, fmt.Errorf("reap accounts: %w", err)
		}
		if result.After != result.Before {
			result.Doubt = fmt.Sprintf("the target had %d accounts before, and has %d now", result.Before, result.After)
		}
	} else if _, result.Untouched = p.source.(Generated); result.Untouched {
		result.Doubt = ""
	} else if len(deleted) == 0 {
		result.Doubt = "nothing was deleted, and it is not known how many accounts the target had before"
	} else if result.Doubt, err = p.anyLeft(ctx, deleted); err != nil {
		return result, fmt.Errorf("reap accounts: %w", err)
	}
	if result.Left > 0 {
		result.Doubt = fmt.Sprintf("%d accounts are held by somebody who is alive", result.Left)
	}
	result.Proven = result.Doubt == ""
	p.cfg.Log.Info("accounts reaped", zap.String("pool", p.pool.Name()), zap.Int("deleted", result.Deleted),
		zap.Bool("proven", result.Proven), zap.String("doubt", result.Doubt))
	return result, nil
}

// reclaim takes accounts back from holders that have died. It returns when every
// holder that has accounts has shown that it is alive.
func (p *Provisioner) reclaim(ctx context.Context) error {
	settings := p.pool.Settings()
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	var failed error
	watch.Go(func() { failed = accounts.NewReclaimer(p.pool).Run(watching) })
	// A busy machine or a restart of Redis makes it start afresh, but not for ever.
	err := p.awaitLiving(ctx, time.Now().Add(3*(settings.LeaseTTL+settings.LockDelay+time.Second)))
	stop()
	watch.Wait()
	return errors.Join(err, failed)
}

func (p *Provisioner) awaitLiving(ctx context.Context, deadline time.Time) error {
	first := map[string]time.Time{} // when each holder was to expire at first
	for {
		holders, err := p.pool.Holders(ctx)
		if err != nil {
			return err
		}
		unsure := false
		for _, h := range holders {
			if _, seen := first[h.ID]; !seen {
				first[h.ID] = h.Expires
			}
			renewed := h.Expires.After(first[h.ID])
			unsure = unsure || h.Accounts > 0 && !renewed
		}
		if !unsure || time.Now().After(deadline) {
			return nil
		}
		if !sleep(ctx, p.pool.Settings().LeaseTTL/20) {
			return context.Cause(ctx)
		}
	}
}

// anyLeft asks the target for accounts that are deleted, and says which of them
// it still has; "" if none.
func (p *Provisioner) anyLeft(ctx context.Context, deleted []accounts.Account) (doubt string, err error) {
	r := p.newRun(len(deleted))
	b := r.batch(ctx, errand{verb: "verify", do: verifying(p.source), tolerates: final}, deleted)
	if b.err != nil {
		return "", b.err
	}
	there := len(deleted) - len(b.with(ErrMissing))
	if there == 0 {
		return "", nil
	}
	name := ""
	for _, f := range b.failed {
		if !errors.Is(f.err, ErrMissing) {
			name = f.account.Username
		}
	}
	if len(b.done) > 0 {
		name = b.done[0].Username
	}
	return fmt.Sprintf("the target still has %d accounts that were deleted, %q among them", there, name), nil
}
