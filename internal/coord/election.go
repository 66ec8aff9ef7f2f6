package coord

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// LeaderTTL is how long a leader's lease lives without being renewed.
const LeaderTTL = 3 * time.Second

// watchEvery is how often a candidate looks whether the leader is alive.
const watchEvery = 300 * time.Millisecond

// comeback is how long a standby that has not reached Redis leaves an expired lease
// alone: the leader was probably cut off as well, and renews it when it is back. Its
// calls end within this time.
const comeback = LeaderTTL

// nobody is an epoch that no leader has reached: who knows of it takes no lease.
const nobody = 1 << 53

// Campaign takes the leader's lease. While another leader's lease is alive it
// watches: ErrLed as soon as that lease was renewed, since then somebody is
// alive (a standby watches on); leadership as soon as it has run out. A Redis
// that does not answer ends a campaign, but not a standby's once it has answered;
// when it answers again, the standby leaves an expired lease alone for comeback. It
// is ErrEmptied if Redis no longer knows of the leader that was watched: there is
// nothing to take over.
func Campaign(ctx context.Context, cfg LeaderConfig) (*Leader, error) {
	l := &Leader{cfg: cfg, id: uuid.NewString(), keys: newKeys(cfg.Namespace, cfg.Swarm)}
	seen := int64(-1) // until when the other's lease lasted when first looked at
	newest := int64(0)
	var looking time.Time // until when it only looks; zero when it would take the lease
	for {
		ask := newest
		if time.Now().Before(looking) {
			ask = nobody
		}
		term, err := l.campaign(ctx, 0, ask)
		switch {
		case err != nil && (!cfg.Standby || seen < 0):
			return nil, fmt.Errorf("lead swarm %s: %w", cfg.Swarm, err)
		case err != nil:
			looking = time.Now().Add(comeback)
		case term.led:
			l.epoch = term.epoch
			return l, nil
		case term.epoch < newest:
			return nil, fmt.Errorf("lead swarm %s: %w", cfg.Swarm, ErrEmptied)
		case seen >= 0 && term.until != seen && !cfg.Standby:
			return nil, ErrLed
		default:
			seen, newest = term.until, term.epoch
			if cfg.Watch != nil {
				cfg.Watch()
			}
		}
		if time.Now().Before(looking) {
			term.remaining = watchEvery
		}
		timer := time.NewTimer(min(term.remaining+10*time.Millisecond, watchEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// term is who leads, as a campaign finds it.
type term struct {
	led   bool  // by the caller
	epoch int64 // the newest; 0 if Redis knows of none
	// Of another's lease: until when, in ms of Redis's clock, and what remains.
	until     int64
	remaining time.Duration
}

// campaign takes the lease, or renews that of an epoch. It takes none in a Redis
// that knows of no leader as new as the newest.
func (l *Leader) campaign(ctx context.Context, epoch, newest int64) (term, error) {
	reply, err := campaignScript.Run(ctx, l.cfg.Redis, []string{l.keys.leader()}, l.id, epoch, LeaderTTL.Milliseconds(), newest).Int64Slice()
	if err != nil {
		return term{}, err
	}
	switch {
	case len(reply) == 2 && reply[0] == 1:
		return term{led: true, epoch: reply[1]}, nil
	case len(reply) == 4:
		return term{epoch: reply[1], until: reply[2], remaining: time.Duration(reply[3]) * time.Millisecond}, nil
	}
	return term{}, fmt.Errorf("%w: %v", errReply, reply)
}

// Renew keeps the lease for another LeaderTTL.
func (l *Leader) Renew(ctx context.Context) error {
	term, err := l.campaign(ctx, l.epoch, l.epoch)
	switch {
	case err != nil:
		return fmt.Errorf("renew the master's lease: %w", err)
	case term.led:
		return nil
	case term.epoch < l.epoch:
		return ErrEmptied
	}
	return ErrDeposed
}

// Resign gives the lease back, so that the next master need not wait.
func (l *Leader) Resign(ctx context.Context) error {
	if err := resignScript.Run(ctx, l.cfg.Redis, []string{l.keys.leader()}, l.id).Err(); err != nil {
		return fmt.Errorf("give the master's lease back: %w", err)
	}
	return nil
}
