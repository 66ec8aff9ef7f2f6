package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/throng-load/throng/accounts"
)

// errUnleased says that the lease of an account ended before it was verified.
var errUnleased = errors.New("provision: the leases ended before the accounts were verified")

const (
	// leaseWait is how long accounts are waited for that were free just now.
	leaseWait = 2 * time.Second
	// leaseAttempts is how often in a row others may be faster, or leases end.
	leaseAttempts = 5
)

// free verifies free accounts: it leases a batch, asks the target, and gives it
// back. What was ready longest comes first and what is given back comes last, so
// a batch with nothing new in it is the end of the role.
func (v *verification) free(ctx context.Context, roles []string) (err error) {
	holder, err := v.p.pool.Register(ctx, verifierName())
	if err != nil {
		return err
	}
	// The holder outlives ctx, so that everything goes back with its outcome.
	holding, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	var ended error
	running.Go(func() { ended = holder.Run(holding) })
	defer func() {
		stop()
		running.Wait()
		err = joined(err, ended)
	}()
	for _, role := range roles {
		if err := v.role(ctx, holder, role); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) role(ctx context.Context, holder *accounts.Holder, role string) error {
	var vain error
	for attempts := 0; attempts < leaseAttempts; {
		more, err := v.round(ctx, holder, role)
		switch {
		case errors.Is(err, errUnleased), errors.Is(err, accounts.ErrNoAccount) && ctx.Err() == nil:
			attempts, vain = attempts+1, err
		case err == nil && !more && attempts > 0 && errors.Is(vain, errUnleased):
			return vain // what was to be verified is not free any more
		case err != nil || !more:
			return err
		default:
			attempts = 0
		}
	}
	var short *accounts.ShortageError
	if errors.As(vain, &short) && short.Answered && !short.Frozen {
		return nil // others were faster, and have what there was
	}
	return vain
}

// round verifies a batch of the role's accounts and tells whether there may be
// more.
func (v *verification) round(ctx context.Context, holder *accounts.Holder, role string) (more bool, err error) {
	if err := v.p.thaw(ctx); err != nil {
		return false, err
	}
	n, err := v.available(ctx, role)
	if err != nil || n == 0 {
		return false, err
	}
	waiting, cancel := context.WithTimeout(ctx, leaseWait)
	leases, err := holder.LeaseAll(waiting, role, n)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("role %s: %w", role, context.Cause(ctx))
		}
		return false, err
	}
	return v.leased(ctx, holder, leases)
}

// available is how many accounts of the role to lease.
func (v *verification) available(ctx context.Context, role string) (int, error) {
	stats, err := v.p.pool.Stats(ctx)
	if err != nil {
		return 0, err
	}
	for _, s := range stats {
		if s.Role == role {
			return min(int(s.Available), v.run.batchSize), nil
		}
	}
	return 0, nil
}

// leased verifies those of leased accounts that were not yet, gives all back, and
// tells whether there were any. Its error wraps errUnleased when some could not be,
// because their leases had ended.
func (v *verification) leased(ctx context.Context, holder *accounts.Holder, leases []*accounts.Lease) (fresh bool, err error) {
	byID := make(map[string]*accounts.Lease, len(leases))
	var list []accounts.Account
	for _, l := range leases {
		byID[l.ID] = l
		if !v.seen[l.ID] {
			list = append(list, l.Account)
		}
	}
	b := v.ask(ctx, underLease(byID, verifying(v.p.source)), list)
	for _, a := range b.done {
		v.seen[a.ID] = true
	}
	unleased := 0
	for _, f := range b.failed {
		if errors.Is(f.err, errUnleased) {
			unleased++
			continue
		}
		v.seen[f.account.ID] = true
		holder.Release(byID[f.account.ID], accounts.Refused(reasonOf(f.err)))
		delete(byID, f.account.ID)
	}
	for _, l := range byID {
		holder.Return(l) // to look at an account is not to use it
	}
	if b.err == nil && unleased > 0 {
		return true, fmt.Errorf("%w: Redis does not answer in time, or this machine is too busy", errUnleased)
	}
	return len(list) > 0, b.err
}

// underLease asks only for accounts whose leases last, and no longer than they
// do.
func underLease(leases map[string]*accounts.Lease, do call) call {
	return func(ctx context.Context, list []accounts.Account) ([]Outcome, error) {
		outcomes := make([]Outcome, len(list))
		var asked []accounts.Account
		var places []int
		for i, a := range list {
			lease := leases[a.ID]
			if lease.Check() != nil {
				outcomes[i].Err = errUnleased
				continue
			}
			var done context.CancelFunc
			ctx, done = lease.Bind(ctx)
			defer done()
			asked, places = append(asked, a), append(places, i)
		}
		if len(asked) == 0 {
			return outcomes, nil
		}
		got, err := do.checked(ctx, asked)
		if err != nil {
			return nil, err
		}
		for j, i := range places {
			outcomes[i] = got[j]
		}
		return outcomes, nil
	}
}
