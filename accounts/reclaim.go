package accounts

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Reclaimer takes accounts back from holders that have died. One goroutine may
// use it at a time; any number of reclaimers may work on a pool.
type Reclaimer struct {
	pool *Pool
	// seen is what is known of each holder, by its own clock: the score it had,
	// and since when.
	seen map[string]sighting
	// ended is when the last pass ended well; zero before the first, and after
	// a pass that failed.
	ended time.Time
}

type sighting struct {
	score float64
	since time.Time
}

// NewReclaimer returns a reclaimer that has seen nothing yet: it reclaims
// nothing before it has watched for the lease TTL.
func NewReclaimer(p *Pool) *Reclaimer {
	return &Reclaimer{pool: p, seen: map[string]sighting{}}
}

// Run makes a pass every 500 ms, or every tenth of the lease TTL if that is
// less, and sweeps the pool beside that, until ctx ends; then it returns nil. A
// pass that fails is logged, not
// fatal, unless the pool is gone: then the error wraps ErrNoPool.
func (r *Reclaimer) Run(ctx context.Context) error {
	// Beside the passes: a long sweep must not keep them apart.
	sweeping, stop := context.WithCancel(ctx)
	var sweeper sync.WaitGroup
	sweeper.Go(func() { r.pool.sweepOn(sweeping) })
	defer sweeper.Wait()
	defer stop()
	ticker := time.NewTicker(r.pool.settings.pass())
	defer ticker.Stop()
	failing := false
	for {
		_, err := r.Pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNoPool):
			return err
		case err != nil && !failing:
			r.pool.log.Warn("accounts of dead holders are not reclaimed", zap.Error(err))
		case err == nil && failing:
			r.pool.log.Info("accounts of dead holders are reclaimed again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Pass looks at every holder once, gives back what the dead ones held and
// returns how many accounts that were. Passes belong as close together as Run
// makes them: after a longer gap, or a failure, the reclaimer forgets what it
// has seen, because Redis may have been away and every holder silent through no
// fault of its own.
func (r *Reclaimer) Pass(ctx context.Context) (reclaimed int, err error) {
	began := time.Now()
	if r.ended.IsZero() || began.Sub(r.ended) > 3*r.pool.settings.pass() {
		clear(r.seen)
	}
	r.ended = time.Time{}
	dead, err := r.look(ctx, began)
	for _, d := range dead {
		if err != nil {
			break
		}
		var n int
		n, err = r.empty(ctx, d.id, d.score)
		reclaimed += n
		if n > 0 {
			r.pool.log.Info("reclaimed accounts of a dead holder", zap.String("id", d.id), zap.Int("accounts", n))
		}
	}
	if err != nil {
		return reclaimed, r.pool.wrap("reclaim accounts", err)
	}
	r.ended = time.Now()
	return reclaimed, nil
}

type suspect struct {
	id    string
	score float64
}

// look notes every holder's score and returns those that seem dead: being
// closed already, or without a change for the lease TTL. Whether their expiry
// and the lock-delay have passed is for Redis to judge.
func (r *Reclaimer) look(ctx context.Context, began time.Time) (dead []suspect, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.pool.settings.callTimeout())
	defer cancel()
	// A pool that is gone must be told from one without holders.
	g, err := r.pool.store.generation(ctx)
	if err == nil && g.id != r.pool.store.id {
		err = ErrNoPool
	}
	if err != nil {
		return nil, err
	}
	zs, err := r.pool.store.holders(ctx)
	if err != nil {
		return nil, err
	}
	// A change has happened before the answer; nothing is known of when.
	now := time.Now()
	seen := make(map[string]sighting, len(zs))
	for _, z := range zs {
		id := z.Member.(string)
		s, known := r.seen[id]
		if !known || s.score != z.Score {
			s = sighting{score: z.Score, since: now}
		}
		seen[id] = s
		if z.Score == 0 || began.Sub(s.since) >= r.pool.settings.LeaseTTL {
			dead = append(dead, suspect{id, z.Score})
		}
	}
	r.seen = seen
	return dead, nil
}

// empty gives back everything that a dead holder held, batch by batch, and
// closes it. That it lives after all, or is closed already, is no error.
func (r *Reclaimer) empty(ctx context.Context, id string, score float64) (moved int, err error) {
	for left := 1; left > 0; {
		var n int
		if n, left, err = r.batch(ctx, id, score); err != nil {
			break
		}
		moved += n
		score = 0
	}
	if errors.Is(err, errLive) || errors.Is(err, errGone) {
		err = nil
	}
	return moved, err
}

func (r *Reclaimer) batch(ctx context.Context, id string, score float64) (moved, left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.pool.settings.callTimeout())
	defer cancel()
	roles, err := r.pool.store.roles(ctx)
	if err != nil {
		return 0, 0, err
	}
	seen := strconv.FormatFloat(score, 'f', -1, 64)
	return r.pool.store.close(ctx, id, seen, r.pool.settings, moveBatch, roles)
}
