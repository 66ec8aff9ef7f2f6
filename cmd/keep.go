package cmd

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/scenarios"
)

// keep returns what looks after a pool while a run lasts: it has more accounts
// created when a role runs low, and retired ones deleted from the target. Every
// process of a swarm runs it, and one at a time works.
func keep(e env) func(context.Context, *accounts.Pool, *scenarios.Spec, *zap.Logger) {
	return func(ctx context.Context, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger) {
		if !creates(spec) {
			return
		}
		provisioner, done, err := newProvisioner(ctx, e, pool, spec, log, nil)
		if err != nil {
			// Another process may have what this one lacks, a variable for instance.
			log.Warn("this process cannot create accounts when a role runs low", zap.Error(err))
			return
		}
		defer done()
		err = provision.NewKeeper(provisioner, provision.KeeperConfig{
			LowWater: spec.Accounts.LowWater, Max: spec.Accounts.Max, Want: spec.WantedAccounts(),
		}).Run(ctx)
		if err != nil && !errors.Is(err, accounts.ErrNoPool) { // which others say
			log.Warn("accounts are no longer created when a role runs low", zap.Error(err))
		}
	}
}

// reclaimPause is how long a process waits that lost its turn to reclaim.
const reclaimPause = time.Second

// keepWorker is keep for the processes that are not masters: one of them also
// reclaims the accounts of dead holders, in case that the master is away.
func keepWorker(e env) func(context.Context, *accounts.Pool, *scenarios.Spec, *zap.Logger) {
	generate := keep(e)
	return func(ctx context.Context, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger) {
		var group errgroup.Group
		group.Go(func() error {
			generate(ctx, pool, spec, log)
			return nil
		})
		group.Go(func() error {
			for ctx.Err() == nil {
				err := pool.TakeTurn(ctx, accounts.JobReclaim, func(ctx context.Context) error {
					return accounts.NewReclaimer(pool).Run(ctx)
				})
				if errors.Is(err, accounts.ErrNoPool) {
					return nil
				}
				select {
				case <-ctx.Done():
				case <-time.After(reclaimPause):
				}
			}
			return nil
		})
		_ = group.Wait() // neither has anything to say
	}
}
