//go:build linux

package chaos_test

import (
	"context"
	"time"

	"github.com/throng-load/throng/accounts"
)

// sample is what was seen of the pool last.
type sample struct {
	at             time.Time // zero when Redis did not answer
	leased, leases int64
	frozen         bool
}

// shares is how many of the accounts were leased, over time.
type shares struct {
	samples, aboveFloor int
	sum                 float64
	judged              int
	judgedMin           float64
	judgedSum           float64
}

// floor is the share of the accounts that shall be leased at any time.
const floor = 0.9

// count counts the accounts.
func (w *watch) count(ctx context.Context) {
	w.mu.Lock()
	pool, changes := w.pool, w.changes
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := count(ctx, pool)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || changes != w.changes {
		s = sample{}
	}
	w.last = s
	if s.at.IsZero() || s.frozen {
		return
	}
	share := float64(s.leased) / float64(w.accounts)
	w.shares.samples++
	w.shares.sum += share
	if share >= floor {
		w.shares.aboveFloor++
	}
	if w.judged == "" {
		return
	}
	if w.shares.judged++; w.shares.judged == 1 || share < w.shares.judgedMin {
		w.shares.judgedMin = share
	}
	w.shares.judgedSum += share
	if share < floor && w.enforced {
		w.violate("too few leased", "%d of %d accounts are leased; %s", s.leased, w.accounts, w.judged)
	}
}

func count(ctx context.Context, pool *accounts.Pool) (sample, error) {
	frozen, err := pool.Frozen(ctx)
	if err != nil {
		return sample{}, err
	}
	all, err := pool.Stats(ctx)
	if err != nil {
		return sample{}, err
	}
	s := sample{at: time.Now(), frozen: frozen > 0}
	for _, role := range all {
		s.leased += role.Leased
		s.leases += role.Leases
	}
	return s, nil
}

func (w *watch) figures() shares {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shares
}
