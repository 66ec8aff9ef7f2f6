package provision

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

var (
	// ErrTaken says that the target has another account of the username. A
	// Source returns it only when it is certain: the account is left alone.
	ErrTaken = errors.New("provision: the username is somebody else's")
	// ErrRefused says that the target will not do what was asked, however
	// often it is asked.
	ErrRefused = errors.New("provision: refused")
	// ErrDown says that the target's account service is down: so many calls
	// failed in a row that the rest was not tried.
	ErrDown = errors.New("provision: the target's account service is down")
)

// Source creates and deletes accounts in one kind of target. It is safe for
// concurrent use. An error that wraps ErrTaken or ErrRefused is final; any
// other one is taken for a passing failure, and the call is repeated. No error
// may contain a password. Both methods return soon after their context ends.
type Source interface {
	// Create makes sure that the account is there, with its username,
	// password and role; that it is there already is fine. It returns
	// ErrTaken if another account has the username.
	Create(ctx context.Context, a accounts.Account) error
	// Delete makes sure that the account is not there; that it is gone
	// already is fine.
	Delete(ctx context.Context, a accounts.Account) error
}

// Config says how fast a Provisioner goes. The zero value is usable.
type Config struct {
	// Rate is the most calls a second, repetitions included; 0 is no limit.
	Rate float64
	// Concurrency is the most calls under way at a time; 50 when zero.
	Concurrency int
	// Log may be nil.
	Log *zap.Logger
	// Progress is told how many accounts are done, and of how many, at the
	// start, after every batch and at most every 100 ms in between. It is
	// called by the goroutine that runs Ensure or DeleteAll, which waits for
	// it. It may be nil.
	Progress func(done, total int)
}

func (c Config) withDefaults() Config {
	if c.Concurrency < 1 {
		c.Concurrency = 50
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Progress == nil {
		c.Progress = func(int, int) {}
	}
	return c
}

// Result is what came of an Ensure or a DeleteAll, also of one that failed.
type Result struct {
	// Created counts accounts that became known to the pool.
	Created int
	// Existed counts accounts of the wanted roles that the pool knew before and
	// that can be used.
	Existed int
	// Deleted counts accounts that are no longer in the target.
	Deleted int
	// Left counts accounts that DeleteAll had to leave, because they were
	// leased. It is counted only when DeleteAll succeeds.
	Left int
}

// Provisioner fills and empties one pool. Only one Ensure or DeleteAll may run
// for a pool at a time, in all processes: two that run together would create
// more accounts than wanted, or use what the other one deletes.
type Provisioner struct {
	pool   *accounts.Pool
	source Source
	cfg    Config
}

// New returns a Provisioner for the pool's accounts in the target that the
// source speaks to.
func New(pool *accounts.Pool, source Source, cfg Config) *Provisioner {
	return &Provisioner{pool: pool, source: source, cfg: cfg.withDefaults()}
}

// Ensure makes the pool know at least as many accounts of each role as wanted;
// retired ones do not count. It first finishes what a crashed run intended,
// whatever the role, then creates generated accounts in batches. Run again, it
// finishes what is missing and repeats nothing.
//
// It stops at the first account that the target refuses or that five attempts
// could not create, and soon after ctx ends; calls under way may finish, and
// what was created then is known to the pool. Accounts that were refused stay
// intended: the next Ensure tries them again, DeleteAll gives them up. An
// account whose username is taken is dropped; the next Ensure generates
// another. The error wraps ErrRefused, ErrTaken, ErrDown, the Source's last
// error, the cause of the context's end, or an error of the pool.
func (p *Provisioner) Ensure(ctx context.Context, want map[string]int) (Result, error) {
	var result Result
	target, err := p.takeStock(ctx, want)
	if err != nil {
		return result, fmt.Errorf("provision accounts: %w", err)
	}
	result.Existed = target.existed
	r := newRun(p.cfg, target.wanted)
	r.advance(target.done)
	for {
		intents, err := p.pool.Intents(ctx, r.batchSize)
		if err != nil {
			return result, fmt.Errorf("provision accounts: %w", err)
		}
		if len(intents) == 0 {
			missing := target.missing(r.batchSize)
			if len(missing) == 0 {
				break
			}
			if _, err := p.pool.Intend(ctx, missing); err != nil {
				return result, fmt.Errorf("provision accounts: %w", err)
			}
			continue
		}
		b := r.batch(ctx, "create", intents, p.source.Create, func(a accounts.Account) {
			r.advance(target.add(a.Role))
		})
		confirmed, err := p.settleCreated(ctx, b)
		result.Created += confirmed
		if err = joined(b.err, err); err != nil {
			return result, err
		}
	}
	p.cfg.Log.Info("accounts provisioned", zap.String("pool", p.pool.Name()),
		zap.Int("created", result.Created), zap.Int("existed", result.Existed))
	return result, nil
}

// settleCreated tells the pool what a batch of creations came to, also when
// ctx has ended: the target has changed already.
func (p *Provisioner) settleCreated(ctx context.Context, b batch) (confirmed int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if len(b.done) > 0 {
		if err := p.pool.Confirm(ctx, usernames(b.done)); err != nil {
			return 0, fmt.Errorf("provision accounts: %w", err)
		}
	}
	if len(b.taken) > 0 {
		if err := p.pool.Drop(ctx, usernames(b.taken)); err != nil {
			return len(b.done), fmt.Errorf("provision accounts: %w", err)
		}
	}
	return len(b.done), nil
}

func usernames(list []accounts.Account) []string {
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.Username
	}
	return names
}

// joined puts two failures of one step in one line.
func joined(first, second error) error {
	if first == nil || second == nil {
		return errors.Join(first, second)
	}
	return fmt.Errorf("%w; and %w", first, second)
}
