package cmd

import (
	"context"
	"fmt"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

// importWithin imports accounts, all or none, unless the pool would then have
// more than most; 0 is no limit. Under a limit no other process creates or
// imports meanwhile: it waits for its turn.
func importWithin(ctx context.Context, e env, pool *accounts.Pool, list []accounts.Account, most int) (result accounts.ImportResult, err error) {
	if most <= 0 {
		result, err = pool.Import(ctx, list)
		return result, importError(err)
	}
	announceWait(ctx, e, pool)
	err = pool.TakeTurn(ctx, accounts.JobProvision, func(ctx context.Context) error {
		if err := fits(ctx, pool, list, most); err != nil {
			return err
		}
		result, err = pool.Import(ctx, list)
		return importError(err)
	})
	return result, err
}

// fits returns an error that wraps provision.ErrLimit if the accounts that the
// pool does not know would bring it over most.
func fits(ctx context.Context, pool *accounts.Pool, list []accounts.Account, most int) error {
	stats, err := pool.Stats(ctx)
	if err != nil {
		return err
	}
	total := 0
	for _, s := range stats {
		total += int(s.Known)
	}
	fresh := make(map[string]bool, len(list))
	for _, a := range list {
		fresh[a.Username] = true
	}
	if total > 0 {
		err := pool.List(ctx, accounts.Filter{}, func(l accounts.Listed) error {
			delete(fresh, l.Username)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(fresh) == 0 {
		return nil // also when the pool is over the limit already
	}
	// What a create that broke off has begun will be in the pool too.
	room := most - total
	if room >= len(fresh) {
		intents, err := pool.Intents(ctx, room-len(fresh)+1)
		if err != nil {
			return err
		}
		room -= len(intents)
	}
	if room >= len(fresh) {
		return nil
	}
	return startError("%w", &wordedError{
		fmt.Sprintf("import accounts: pool %q has %d accounts and may have %d, and %d more are in the file; nothing was imported",
			pool.Name(), total, most, len(fresh)), provision.ErrLimit,
	})
}
