package accounts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Swept is what a sweep did.
type Swept struct {
	// Freed counts accounts whose quarantine was over, Retired those that had
	// become too old.
	Freed, Retired int
}

// sweepEvery is the time between sweeps.
const sweepEvery = time.Second

// sweepOn sweeps until ctx ends.
func (p *Pool) sweepOn(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for failing := false; ; {
		_, err := p.Sweep(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			p.log.Warn("the pool is not swept: what is due stays as it is", zap.Error(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Sweep does what is due without anybody's asking: it frees accounts whose
// quarantine is over, and retires free ones that are older than the pool's
// greatest age. Any number of processes may sweep; a Reclaimer does. While the
// pool is frozen it does nothing.
func (p *Pool) Sweep(ctx context.Context) (Swept, error) {
	var done Swept
	now, err := p.store.now(ctx)
	if err == nil {
		done.Freed, err = p.sweep(ctx, p.store.keys.quarantined(), now, 0)
	}
	if err == nil && p.settings.MaxAge > 0 {
		done.Retired, err = p.sweep(ctx, p.store.keys.born(), now.Add(-p.settings.MaxAge), p.settings.MaxAge)
	}
	if errors.Is(err, ErrFrozen) {
		err = nil
	}
	return done, p.wrap("sweep", err)
}

// sweep sweeps what is due at a time, by one of the two sorted sets. Accounts
// that are due and cannot be moved, because they are leased, are stepped over.
func (p *Pool) sweep(ctx context.Context, key string, until time.Time, maxAge time.Duration) (moved int, err error) {
	from, offset := 0.0, 0 // the next page begins at this score, after so many that stay
	for {
		page, err := p.store.due(ctx, key, from, until, offset, moveBatch)
		if err != nil || len(page) == 0 {
			return moved, err
		}
		gone, err := p.sweepPage(ctx, page, maxAge)
		moved += len(gone)
		if err != nil {
			return moved, err
		}
		for _, z := range page {
			if z.Score != from {
				from, offset = z.Score, 0
			}
			if !gone[z.Member.(string)] {
				offset++
			}
		}
	}
}

// sweepPage moves what can be moved of a page, and returns that.
func (p *Pool) sweepPage(ctx context.Context, page []redis.Z, maxAge time.Duration) (gone map[string]bool, err error) {
	ids := make([]string, len(page))
	for i, z := range page {
		ids[i] = z.Member.(string)
	}
	byRole, err := p.store.rolesOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	gone = map[string]bool{}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		moved, err := p.store.sweep(ctx, role, maxAge, byRole[role])
		for _, id := range moved {
			gone[id] = true
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}
