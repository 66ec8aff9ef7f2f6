package provision

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// KeeperConfig says when a Keeper creates accounts. The zero value keeps nothing
// but the target clean of retired ones.
type KeeperConfig struct {
	// LowWater is the share of a role's accounts, from 0 to 1, that is to be
	// available: when fewer are, more are created.
	LowWater float64
	// Max is the most accounts that the pool may have, of all roles, retired
	// ones included; 0 is no limit.
	Max int
	// Want is how many accounts of each role the run is to have. LowWater is a
	// share of that when fewer are usable: accounts that are used up must not
	// lower the mark.
	Want map[string]int
	// Every is the time between two looks; 2 s when zero.
	Every time.Duration
}

const (
	keeperEvery = 2 * time.Second
	// keeperPause bounds the time between two looks while they fail.
	keeperPause = time.Minute
	// keeperBatch is the most accounts that one look creates, so that the next
	// one sees what has changed meanwhile.
	keeperBatch = 1000
)

// Keeper keeps a pool from running dry: it creates accounts of roles that are
// short, and deletes retired ones from the target. Of all the processes that run
// one for a pool, one works; the others stand by and take over when it has died.
type Keeper struct {
	p   *Provisioner
	cfg KeeperConfig

	// Owned by the goroutine that runs Run.
	atLimit, undeleted bool
	deleteAgain        time.Time // not before
}

// NewKeeper returns a keeper of the Provisioner's pool. One goroutine may run it.
func NewKeeper(p *Provisioner, cfg KeeperConfig) *Keeper {
	if cfg.Every <= 0 {
		cfg.Every = keeperEvery
	}
	return &Keeper{p: p, cfg: cfg}
}

// Run keeps the pool until ctx ends; then it returns nil. A look that fails is
// logged, not fatal, and the next one comes later, unless the pool is gone: then
// the error wraps accounts.ErrNoPool.
func (k *Keeper) Run(ctx context.Context) error {
	pause, failing := k.cfg.Every, false
	for {
		err := k.p.pool.TakeTurn(ctx, accounts.JobGenerate, func(ctx context.Context) error {
			for {
				if err := k.look(ctx); err != nil {
					return err
				}
				if failing {
					k.p.cfg.Log.Info("accounts are created again", zap.String("pool", k.p.pool.Name()))
				}
				pause, failing = k.cfg.Every, false
				if !sleep(ctx, k.cfg.Every) {
					return context.Cause(ctx)
				}
			}
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, accounts.ErrNoPool):
			return fmt.Errorf("keep accounts: %w", err)
		case !failing:
			k.p.cfg.Log.Warn("accounts are not created when a role runs low", zap.String("pool", k.p.pool.Name()), zap.Error(err))
		}
		failing = true
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, max(keeperPause, k.cfg.Every))
	}
}

// look does once what there is to do.
func (k *Keeper) look(ctx context.Context) error {
	k.deleteRetired(ctx)
	want, err := k.short(ctx)
	if err == nil && len(want) > 0 {
		_, err = k.p.Ensure(ctx, want)
	}
	return err
}

// deleteRetired deletes retired accounts. What cannot be deleted now is left for
// later, and keeps nobody from creating.
func (k *Keeper) deleteRetired(ctx context.Context) {
	if time.Now().Before(k.deleteAgain) {
		return
	}
	_, err := k.p.DeleteRetired(ctx)
	if err == nil || ctx.Err() != nil {
		k.undeleted = false
		return
	}
	k.deleteAgain = time.Now().Add(keeperPause)
	if !k.undeleted {
		k.undeleted = true
		k.p.cfg.Log.Warn("retired accounts cannot be deleted from the target", zap.String("pool", k.p.pool.Name()), zap.Error(err))
	}
}

// short returns how many usable accounts each role that is short should have.
func (k *Keeper) short(ctx context.Context) (map[string]int, error) {
	stats, err := k.p.pool.Stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("keep accounts: %w", err)
	}
	room := math.MaxInt
	if k.cfg.Max > 0 {
		room = k.cfg.Max
		for _, s := range stats {
			room -= int(s.Known)
		}
	}
	want, limited, left := map[string]int{}, false, keeperBatch
	for _, s := range stats {
		usable, more := int(s.Known-s.Retired-s.Quarantined), k.more(s)
		if more > room {
			more, limited = max(0, room), true
			k.limited(s.Role)
		}
		if more = min(more, left); more > 0 {
			want[s.Role] = usable + more
			room, left = room-more, left-more
		}
	}
	k.atLimit = limited
	return want, nil
}

// more is how many accounts the role is short of. One that the pool knows no
// account of, and that nobody waits for, is nobody's.
func (k *Keeper) more(s accounts.RoleStats) int {
	// Rounded down: the few accounts of a small role are often all in use, and
	// nobody is short for it.
	usable := max(int(s.Known-s.Retired-s.Quarantined), k.cfg.Want[s.Role])
	low := int(k.cfg.LowWater * float64(usable))
	if s.Known == 0 && s.Waiting == 0 || k.cfg.LowWater <= 0 {
		return 0
	}
	if int(s.Available) >= low && s.Waiting <= s.Available {
		return 0
	}
	return max(0, low+int(s.Waiting-s.Available))
}

// limited says that the limit is reached, when it was not before.
func (k *Keeper) limited(role string) {
	if !k.atLimit {
		k.p.cfg.Log.Warn("a role is short, and the pool may have no more accounts: leases wait",
			zap.String("pool", k.p.pool.Name()), zap.String("role", role), zap.Int("limit", k.cfg.Max))
	}
}
