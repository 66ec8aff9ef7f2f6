package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// VerifyOptions says which accounts to verify, and what becomes of bad ones.
// The zero value verifies the free accounts of every role.
type VerifyOptions struct {
	// Role is the only role verified; every role when "".
	Role string
	// Quarantined verifies quarantined accounts as well, and makes those
	// available again that the target accepts.
	Quarantined bool
	// DeleteBad retires accounts that the target does not accept and deletes
	// them there, in place of leaving them in quarantine. Imported ones are only
	// forgotten by the pool.
	DeleteBad bool
}

// VerifyResult is what came of a Verify, also of one that failed.
type VerifyResult struct {
	// Checked counts accounts that the target was asked for: Good, Bad and
	// Missing are its parts. Bad ones are in the target and not accepted.
	Checked, Good, Bad, Missing int
	// Restored counts good ones that were in quarantine.
	Restored int
	// Deleted counts bad and missing ones that neither the target nor the pool
	// has any more, Forgotten imported ones that the pool no longer knows.
	Deleted, Forgotten int
	// Worst names bad and missing accounts, the first 100.
	Worst []BadAccount
}

// BadAccount is an account that the target does not accept.
type BadAccount struct{ Username, Role, Reason string }

// maxWorst is how many bad accounts a result names.
const maxWorst = 100

// Verify asks the target whether it accepts the accounts that nobody holds, each
// once, under the same policies as all else. A free account is leased while it is
// asked for, so that nobody else uses it meanwhile, which counts as a use. One
// that is not accepted goes into quarantine with the reason, and one that is
// resting is passed over. Accounts that others hold all the time are not
// verified. The error wraps accounts.ErrUnknownRole, ErrDown, the Source's last
// error, the cause of ctx's end, or an error of the pool; whatever was found by
// then holds.
func (p *Provisioner) Verify(ctx context.Context, options VerifyOptions) (VerifyResult, error) {
	v := &verification{p: p, options: options, seen: map[string]bool{}}
	err := v.all(ctx)
	if err != nil {
		err = fmt.Errorf("verify accounts: %w", err)
	}
	p.cfg.Log.Info("accounts verified", zap.String("pool", p.pool.Name()), zap.Int("good", v.result.Good),
		zap.Int("bad", v.result.Bad), zap.Int("missing", v.result.Missing), zap.Error(err))
	return v.result, err
}

// verification is one Verify. It belongs to one goroutine.
type verification struct {
	p       *Provisioner
	run     *run
	options VerifyOptions
	result  VerifyResult
	// seen has the ids of accounts that are verified.
	seen map[string]bool
	bad  []string // usernames, for DeleteBad
}

func (v *verification) all(ctx context.Context) error {
	roles, total, err := v.roles(ctx)
	if err != nil {
		return err
	}
	v.run = v.p.newRun(total)
	v.run.advance(0)
	// First those in quarantine: the bad among the others join them.
	if v.options.Quarantined {
		err = v.quarantined(ctx)
	}
	if err == nil {
		err = v.free(ctx, roles)
	}
	if v.options.DeleteBad {
		err = joined(err, v.deleteBad(ctx))
	}
	return err
}

// roles returns the roles to verify, and of how many accounts.
func (v *verification) roles(ctx context.Context) (roles []string, total int, err error) {
	stats, err := v.p.pool.Stats(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range stats {
		if s.Known == 0 || v.options.Role != "" && v.options.Role != s.Role {
			continue
		}
		roles = append(roles, s.Role)
		total += int(s.Available)
		if v.options.Quarantined {
			total += int(s.Quarantined)
		}
	}
	if v.options.Role != "" && len(roles) == 0 {
		return nil, 0, fmt.Errorf("pool %q, role %q: %w", v.p.pool.Name(), v.options.Role, accounts.ErrUnknownRole)
	}
	return roles, total, nil
}

// ask verifies a batch and counts what came of it.
func (v *verification) ask(ctx context.Context, do call, list []accounts.Account) batch {
	b := v.run.batch(ctx, errand{
		verb: "verify", do: do, tolerates: final, each: func(accounts.Account) { v.run.advance(1) },
	}, list)
	v.result.Good += len(b.done)
	v.result.Checked += len(b.done)
	for _, f := range b.failed {
		missing := errors.Is(f.err, ErrMissing)
		switch {
		case errors.Is(f.err, errUnleased):
			continue
		case missing:
			v.result.Missing++
		default:
			v.result.Bad++
		}
		v.result.Checked++
		v.run.advance(1)
		if v.options.DeleteBad {
			v.bad = append(v.bad, f.account.Username)
		}
		if len(v.result.Worst) < maxWorst {
			v.result.Worst = append(v.result.Worst, BadAccount{f.account.Username, f.account.Role, reasonOf(f.err)})
		}
	}
	return b
}

// reasonOf is why the target does not accept an account.
func reasonOf(err error) string {
	return strings.TrimPrefix(err.Error(), "provision: ")
}

// quarantined verifies what is in quarantine, batch by batch. Nobody can lease
// that meanwhile, unless its time there is over.
func (v *verification) quarantined(ctx context.Context) error {
	var list []accounts.Account
	check := func() error {
		b := v.ask(ctx, verifying(v.p.source), list)
		list = list[:0]
		moved, err := v.p.restore(ctx, b.done)
		v.result.Restored += moved
		return joined(b.err, err)
	}
	filter := accounts.Filter{Role: v.options.Role, States: []accounts.AccountState{accounts.StateQuarantined}}
	err := v.p.pool.List(ctx, filter, func(l accounts.Listed) error {
		v.seen[l.ID] = true
		if list = append(list, l.Account); len(list) < v.run.batchSize {
			return nil
		}
		return check()
	})
	if err == nil && len(list) > 0 {
		err = check()
	}
	return err
}

// restore makes accounts available again, also when ctx has ended.
func (p *Provisioner) restore(ctx context.Context, good []accounts.Account) (restored int, err error) {
	for len(good) > 0 {
		settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		moved, err := p.pool.Restore(settling, usernames(good))
		cancel()
		restored += moved.Done
		if !errors.Is(err, accounts.ErrFrozen) {
			return restored, err
		}
		if err := p.thaw(ctx); err != nil {
			return restored, err
		}
	}
	return restored, nil
}

// deleteBad retires what was found to be bad and deletes it. What somebody has
// leased again meanwhile, who may have restored it, stays.
func (v *verification) deleteBad(ctx context.Context) error {
	if len(v.bad) == 0 || ctx.Err() != nil {
		return nil
	}
	slices.Sort(v.bad)
	if err := v.p.thaw(ctx); err != nil {
		return err
	}
	if _, err := v.p.pool.RetireAccounts(ctx, v.bad); err != nil {
		return err
	}
	d := &deletion{p: v.p, run: v.p.newRun(len(v.bad)), deleted: func([]accounts.Account) {}}
	bad := make(map[string]bool, len(v.bad))
	for _, name := range v.bad {
		bad[name] = true
	}
	var list []accounts.Account
	filter := accounts.Filter{Role: v.options.Role, States: []accounts.AccountState{accounts.StateRetired}}
	err := v.p.pool.List(ctx, filter, func(l accounts.Listed) error {
		if bad[l.Username] {
			list = append(list, l.Account)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(list, d.run.batchSize) {
		if err = d.these(ctx, batch); err != nil {
			break
		}
	}
	v.result.Deleted, v.result.Forgotten = d.result.Deleted, d.result.Forgotten
	return joined(err, d.undeleted())
}

// verifierName is what the holder of accounts that are verified is called.
func verifierName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	return fmt.Sprintf("verify %s:%d", host, os.Getpid())
}
