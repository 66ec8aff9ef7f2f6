package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

// Ensure makes the pool have at least as many usable accounts of each role as
// wanted; retired and quarantined ones do not count. It first finishes what a
// crashed run intended, whatever the role, then creates generated accounts in
// batches. Run again, it finishes what is missing and repeats nothing. It waits
// until no other process creates or deletes the pool's accounts.
//
// It stops at the first account that the target refuses or that could not be
// created however often it was tried, and soon after ctx ends; calls under way
// may finish, and what was created then is known to the pool. Accounts that were
// refused stay intended: the next Ensure tries them again, and those that are
// refused once more it drops if the target does not have them; others stay, and
// are Result.Doubtful. DeleteAll gives them up. An account whose username is taken is dropped; the next Ensure generates
// another. The error wraps ErrRefused, ErrTaken, ErrDown, ErrLimit (then nothing
// new was begun), the Source's last error, the cause of the context's end, or an
// error of the pool.
func (p *Provisioner) Ensure(ctx context.Context, want map[string]int) (Result, error) {
	if err := checkRoles(want); err != nil {
		return Result{}, fmt.Errorf("provision accounts: %w", err)
	}
	return p.inTurn(ctx, func(ctx context.Context) (Result, error) {
		c, err := p.begin(ctx)
		if err != nil {
			return Result{}, err
		}
		c.wants(want)
		if err := c.finishIntended(ctx); err != nil {
			return c.result, err
		}
		if err := c.fill(ctx); err != nil {
			return c.result, err
		}
		return c.result, c.endGoal(ctx)
	})
}

// EnsureMore makes the pool have that many more usable accounts of each role
// than it has. What that comes to is written down before the first call, so
// that, after a crash or a failure, EnsureMore finishes what the last one began
// and does not add to it again; Result.Resumed says so. An Ensure that reaches
// what was begun, and DeleteAll, end it as well. Everything else is as with
// Ensure.
func (p *Provisioner) EnsureMore(ctx context.Context, more map[string]int) (Result, error) {
	if err := checkRoles(more); err != nil {
		return Result{}, fmt.Errorf("provision accounts: %w", err)
	}
	return p.inTurn(ctx, func(ctx context.Context) (Result, error) {
		c, err := p.begin(ctx)
		if err != nil {
			return Result{}, err
		}
		goal, err := p.pool.Goal(ctx)
		if err != nil {
			return c.result, fmt.Errorf("provision accounts: %w", err)
		}
		if len(goal) > 0 {
			c.result.Resumed = true
			c.wants(goal)
		}
		// What an Ensure intended is not part of the more.
		if err := c.finishIntended(ctx); err != nil {
			return c.result, err
		}
		if len(goal) == 0 {
			goal = maps.Clone(more)
			for role, n := range goal {
				goal[role] = max(0, n) + c.stock.usable[role]
			}
			c.wants(goal)
			if err := c.stock.fits(p.cfg.Max); err != nil {
				return c.result, fmt.Errorf("provision accounts: %w", err)
			}
			if err := p.pool.SetGoal(ctx, goal); err != nil {
				return c.result, fmt.Errorf("provision accounts: %w", err)
			}
		}
		if err := c.fill(ctx); err != nil {
			return c.result, err
		}
		return c.result, c.endGoal(ctx)
	})
}

// creation is one Ensure or EnsureMore. It belongs to one goroutine.
type creation struct {
	p      *Provisioner
	run    *run
	stock  *stock
	result Result
	// doubtful has the usernames of intents that are left, and why.
	doubtful map[string]error
}

func (p *Provisioner) begin(ctx context.Context) (*creation, error) {
	s, err := p.takeStock(ctx)
	if err != nil {
		return nil, fmt.Errorf("provision accounts: %w", err)
	}
	return &creation{p: p, run: p.newRun(0), stock: s, doubtful: map[string]error{}}, nil
}

// wants sets what is wanted, and tells progress for the first time.
func (c *creation) wants(want map[string]int) {
	c.stock.wants(want)
	c.result.Existed = c.stock.existed()
	c.run.done, c.run.total = c.stock.progress()
	c.run.tell()
}

// finishIntended creates what was intended before. What the target refuses, a
// username that is not right or a field that it does not know, must not be in the
// way for ever: it is dropped if the target does not have it, and left otherwise.
func (c *creation) finishIntended(ctx context.Context) error {
	err := c.finish(ctx, func(err error) bool { return errors.Is(err, ErrRefused) })
	c.result.Doubtful = len(c.doubtful)
	if err == nil && len(c.doubtful) >= trialBatch && c.result.Created == 0 {
		// The target seems to refuse everything: new intents would join them.
		return fmt.Errorf("provision accounts: %w", inDoubt(c.doubtful))
	}
	if doubt := inDoubt(c.doubtful); doubt != nil {
		c.p.cfg.Log.Warn("intended accounts are left", zap.String("pool", c.p.pool.Name()), zap.Error(doubt))
	}
	return err
}

// unwanted drops intents that the target refuses and does not have.
func (c *creation) unwanted(ctx context.Context, refused []accounts.Account) error {
	if len(refused) == 0 {
		return nil
	}
	b := c.run.batch(ctx, errand{verb: "verify", do: verifying(c.p.source), tolerates: final}, refused)
	for _, a := range b.done {
		c.doubtful[a.Username] = fmt.Errorf("%w: the target has the username", ErrRefused)
	}
	for _, f := range b.failed {
		if !errors.Is(f.err, ErrMissing) {
			c.doubtful[f.account.Username] = f.err
		}
	}
	var err error
	if gone := b.with(ErrMissing); len(gone) > 0 {
		settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		err = c.p.pool.Drop(settling, usernames(gone))
	}
	if err = joined(b.err, err); err != nil {
		return fmt.Errorf("provision accounts: %w", err)
	}
	return nil
}

// finish creates what is intended, and goes on after failures that it tolerates.
func (c *creation) finish(ctx context.Context, tolerates func(error) bool) error {
	for {
		intents, err := c.p.pool.Intents(ctx, c.run.batchSize+len(c.doubtful))
		if err != nil {
			return fmt.Errorf("provision accounts: %w", err)
		}
		intents = slices.DeleteFunc(intents, func(a accounts.Account) bool { return c.doubtful[a.Username] != nil })
		if len(intents) == 0 {
			return nil
		}
		b := c.run.batch(ctx, errand{
			verb: "create", do: creating(c.p.source), creates: true, tolerates: tolerates,
			each: func(a accounts.Account) { c.run.advance(c.stock.add(a.Role)) },
		}, intents)
		err = c.p.settle(ctx, c.run, b)
		if err == nil {
			c.result.Created += len(b.done)
		}
		if err = joined(b.err, err); err != nil {
			return err
		}
		if err := c.unwanted(ctx, b.with(ErrRefused)); err != nil {
			return err
		}
	}
}

// fill creates what is missing.
func (c *creation) fill(ctx context.Context) error {
	if err := c.stock.fits(c.p.cfg.Max); err != nil {
		return fmt.Errorf("provision accounts: %w", err)
	}
	for first := true; ; first = false {
		missing := c.stock.missing(c.run.batchSize, c.p.cfg.Username)
		if len(missing) == 0 {
			break
		}
		if first && !c.stock.created && c.result.Created == 0 {
			if err := c.p.noteBaseline(ctx); err != nil {
				return fmt.Errorf("provision accounts: %w", err)
			}
		}
		n, err := c.p.pool.Intend(ctx, missing)
		if err != nil {
			return fmt.Errorf("provision accounts: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("provision accounts: the pool knows all of %d new usernames already, %q among them: use a pattern with more randomness",
				len(missing), missing[0].Username)
		}
		if err := c.finish(ctx, nil); err != nil {
			return err
		}
	}
	c.p.cfg.Log.Info("accounts provisioned", zap.String("pool", c.p.pool.Name()),
		zap.Int("created", c.result.Created), zap.Int("existed", c.result.Existed))
	return nil
}

// endGoal ends the goal, if the pool has what it names.
func (c *creation) endGoal(ctx context.Context) error {
	goal, err := c.p.pool.Goal(ctx)
	if err == nil && len(goal) > 0 && c.stock.met(goal) {
		err = c.p.pool.ClearGoal(ctx)
	}
	if err != nil {
		return fmt.Errorf("provision accounts: %w", err)
	}
	return nil
}

// noteBaseline keeps how many accounts the target has before the pool creates
// any. Where nobody can count, Reap looks for each account that it deletes.
func (p *Provisioner) noteBaseline(ctx context.Context) error {
	counter, ok := p.source.(Counter)
	if !ok {
		return nil
	}
	n, err := p.count(ctx, counter)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Once there are accounts it is too late to count.
		return fmt.Errorf("%w: without that reap could prove nothing; nothing was created", err)
	}
	_, err = p.pool.SetBaseline(ctx, n)
	return err
}

// count asks how many accounts the target has. It is one call, and takes no
// permit.
func (p *Provisioner) count(ctx context.Context, counter Counter) (n int, err error) {
	var last error
	err = p.newRun(0).retries.WithContext(ctx).Run(func() error {
		call, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
		defer cancel()
		if n, last = counter.Count(call); final(last) {
			return nil
		}
		return last
	})
	if err == nil {
		err = last
	}
	if err != nil {
		return 0, fmt.Errorf("count the target's accounts: %w", err)
	}
	return n, nil
}
