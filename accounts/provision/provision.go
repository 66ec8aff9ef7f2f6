package provision

import (
	"context"
	"errors"
	"time"

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
	// ErrMissing says that the target does not have the account.
	ErrMissing = errors.New("provision: the target has no such account")
	// ErrDown says that the target's account service is down: many calls failed
	// in a row, and it was waited for in vain.
	ErrDown = errors.New("provision: the target's account service is down")
	// ErrLimit says that the pool would have more accounts than it may.
	ErrLimit = errors.New("provision: the pool's limit of accounts is reached")
)

// Receipt is what the target said of an account that it has created.
type Receipt struct {
	// TargetID is what the target calls the account; "" when it is known by its
	// username.
	TargetID string
}

// Source creates, verifies and deletes accounts in one kind of target. It is
// safe for concurrent use. An error that wraps ErrTaken, ErrRefused or
// ErrMissing is final; any other one is taken for a passing failure, and the
// call is repeated. No error may contain a password. All methods return soon
// after their context ends.
type Source interface {
	// Create makes sure that the account is there, with its username, password
	// and role; that it is there already is fine. It returns ErrTaken if
	// another account has the username.
	Create(ctx context.Context, a accounts.Account) (Receipt, error)
	// Verify returns nil if the target accepts the account: its user can log
	// in. It returns ErrMissing if the account is not there, and ErrRefused if
	// it is and is not accepted: it has another password, is locked or banned.
	Verify(ctx context.Context, a accounts.Account) error
	// Delete makes sure that the account is not there; that it is gone already
	// is fine.
	Delete(ctx context.Context, a accounts.Account) error
}

// Bulk is a Source that does many accounts with one call. Its error is of the
// call as a whole, and then nothing is known of any account.
type Bulk interface {
	Source
	// CreateAll is Create for each account; outcomes are in the same order.
	CreateAll(ctx context.Context, all []accounts.Account) ([]Outcome, error)
	// VerifyAll is Verify for each account; errors are in the same order.
	VerifyAll(ctx context.Context, all []accounts.Account) ([]error, error)
	// DeleteAll is Delete for each account; errors are in the same order.
	DeleteAll(ctx context.Context, all []accounts.Account) ([]error, error)
}

// Outcome is what came of creating one account of many.
type Outcome struct {
	Receipt
	Err error // nil: it is there
}

// Limited is a Source that may not be able to do what others can.
type Limited interface {
	// Proves tells whether nil from Verify proves that the account is ours:
	// that the target was shown its password. Otherwise it says only that the
	// username is there.
	Proves() bool
	// Deletes tells whether accounts can be deleted at all.
	Deletes() bool
}

// Counter is a Source that knows how many accounts the target has in all.
type Counter interface {
	Count(ctx context.Context) (int, error)
}

// Config says how fast a Provisioner goes, and how far. The zero value is
// usable.
type Config struct {
	// Rate is the most accounts a second that the target is asked for,
	// repetitions included, by all processes that provision the pool together; 0
	// is no limit. It holds in every window, but for what accounts.Burst allows
	// at once. Asking the same target for the accounts of two pools is two rates.
	Rate float64
	// Concurrency is the most calls under way at a time; 50 when zero.
	Concurrency int
	// Retries is how often a call that failed, and was not refused, is repeated;
	// 4 when zero, never when below.
	Retries int
	// Timeout bounds one call; 10 s when zero.
	Timeout time.Duration
	// Patience is how long a target is waited for that is down. Meanwhile it is
	// called once every few seconds. 30 s when zero, not at all when below.
	Patience time.Duration
	// Max is the most accounts that the pool may have, of all roles, retired
	// ones included; 0 is no limit.
	Max int
	// Username is the pattern of the usernames of accounts that are created;
	// "{role}-{random}" when empty.
	Username string
	// Log may be nil.
	Log *zap.Logger
	// Progress is told how many accounts are done, and of how many, at the
	// start, after every batch and at most every 100 ms in between. It is
	// called by the goroutine that runs the Provisioner's method, which waits
	// for it. It may be nil.
	Progress func(done, total int)
}

func (c Config) withDefaults() Config {
	if c.Concurrency < 1 {
		c.Concurrency = 50
	}
	if c.Retries == 0 {
		c.Retries = 4
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Progress == nil {
		c.Progress = func(int, int) {}
	}
	return c
}

// Result is what came of creating or deleting accounts, also of an attempt that
// failed.
type Result struct {
	// Created counts accounts that became known to the pool.
	Created int
	// Existed counts accounts of the wanted roles that the pool knew before and
	// that can be used.
	Existed int
	// Resumed tells that EnsureMore has finished what an earlier one had begun,
	// in place of adding to it.
	Resumed bool
	// Deleted counts accounts that are no longer in the target.
	Deleted int
	// Forgotten counts imported accounts that the pool no longer knows. The
	// target still has them: they are not the pool's to delete.
	Forgotten int
	// Left counts accounts that DeleteAll had to leave, because they were
	// leased. It is counted only when DeleteAll gets to the end.
	Left int
	// Undeleted counts accounts that the target would not delete. They stay
	// retired, and the error, an *UndeletedError, names some.
	Undeleted int
	// Doubtful counts accounts that an earlier call intended, that the target
	// refuses to create, and that are not known to be missing there. They stay
	// intended, and the log names one.
	Doubtful int
}

// Provisioner fills, verifies and empties one pool. Any number of processes may
// have one for a pool: what must not happen in two of them at a time, they do
// in turns. Its methods may be called concurrently, but for Progress, which is
// then told of all that goes on.
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

// inTurn does work while no other process creates or deletes the pool's
// accounts.
func (p *Provisioner) inTurn(ctx context.Context, work func(context.Context) (Result, error)) (result Result, err error) {
	err = p.pool.TakeTurn(ctx, accounts.JobProvision, func(ctx context.Context) error {
		result, err = work(ctx)
		return err
	})
	return result, err
}

func usernames(list []accounts.Account) []string {
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.Username
	}
	return names
}
