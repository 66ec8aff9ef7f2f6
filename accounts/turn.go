package accounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bsm/redislock"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The jobs that one process of all does at a time.
const (
	// JobProvision is creating accounts in the target, or deleting them.
	JobProvision = "provision"
	// JobGenerate is watching that no role runs dry.
	JobGenerate = "generate"
	// JobReclaim is reclaiming and sweeping beside the master, which does so
	// without a turn: two that watch are enough for any number of workers.
	JobReclaim = "reclaim"
)

// ErrTurn says that somebody else has the turn, or that this process's turn
// was lost.
var ErrTurn = errors.New("accounts: not this process's turn")

// longestTurn is how long a turn outlives a process that has died, at most.
const longestTurn = 10 * time.Second

// turnTTL is how long a turn lasts unless it is kept alive.
func (s Settings) turnTTL() time.Duration { return min(s.LeaseTTL, longestTurn) }

// TakeTurn waits until no other process does the job, and then does work, whose
// error it returns. The turn is kept alive meanwhile. When it cannot be kept,
// work's context ends with a cause that wraps ErrTurn, before anybody else can
// have the turn; work must return soon then. When ctx ends before the turn has
// come, the error wraps ctx's cause and, if somebody else has the turn, ErrTurn,
// and names who. Turns of one process exclude each other too. A process that dies keeps its turn for the
// lease TTL, or ten seconds if that is less.
//
// A process that is paused for longer than that, in the middle of work, learns
// of it only when it goes on: work must bear another's having begun.
func (p *Pool) TakeTurn(ctx context.Context, job string, work func(ctx context.Context) error) error {
	lock, sent, err := p.awaitTurn(ctx, job)
	if err != nil {
		return p.wrap("take the turn to "+job, err)
	}
	working, lose := context.WithCancelCause(ctx)
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() {
		if err := p.keepTurn(keeping, lock, sent); err != nil {
			p.log.Warn("the turn is lost", zap.String("job", job), zap.Error(err))
			lose(p.wrap("keep the turn to "+job, err))
		}
	})
	// Deferred, so that a panic in work leaves nothing behind either.
	defer func() {
		stop()
		keeper.Wait()
		lose(nil)
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.settings.callTimeout())
		defer cancel()
		// One that cannot be released expires.
		_ = lock.Release(releasing)
	}()
	return work(working)
}

// awaitTurn returns the lock, and the time before which it was asked for.
func (p *Pool) awaitTurn(ctx context.Context, job string) (*redislock.Lock, time.Time, error) {
	token, key, ttl := uuid.NewString(), p.store.keys.turn(job), p.settings.turnTTL()
	name := processName()
	locks := redislock.New(p.store.rdb)
	retry := time.NewTicker(max(ttl/20, 20*time.Millisecond))
	defer retry.Stop()
	answered := time.Now()
	for who := ""; ; {
		sent := time.Now()
		lock, err := p.obtain(ctx, locks, key, &redislock.Options{Token: token, Metadata: name})
		if err == nil {
			return lock, sent, nil
		}
		if errors.Is(err, redislock.ErrNotObtained) {
			var has string
			if has, err = p.store.turnOf(ctx, key, len(token)); has != "" && has != who {
				who = has
				p.log.Info("waiting for somebody else's turn to end", zap.String("job", job), zap.String("who", who))
			}
		}
		switch {
		case err == nil:
			answered = time.Now()
		case ctx.Err() == nil && time.Since(answered) > ttl:
			return nil, sent, err // not just a call that got lost
		}
		select {
		case <-ctx.Done():
			if who == "" {
				return nil, sent, context.Cause(ctx)
			}
			return nil, sent, fmt.Errorf("%w: %s has it: %w", ErrTurn, who, context.Cause(ctx))
		case <-retry.C:
		}
	}
}

// obtain makes one attempt. One whose answer was lost may be repeated: the lock
// is the token's.
func (p *Pool) obtain(ctx context.Context, locks *redislock.Client, key string, opt *redislock.Options) (*redislock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, p.settings.callTimeout())
	defer cancel()
	return locks.Obtain(ctx, key, p.settings.turnTTL(), opt)
}

// turnOf returns the name of who has the turn; "" when nobody has.
func (s store) turnOf(ctx context.Context, key string, token int) (string, error) {
	text, err := s.rdb.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return text[min(token, len(text)):], err
}

// keepTurn keeps the turn alive until ctx ends; then it returns nil. It returns
// an error when the turn must not be trusted any more: as with leases, that is
// counted from before the last call that succeeded, with a margin.
func (p *Pool) keepTurn(ctx context.Context, lock *redislock.Lock, sent time.Time) error {
	ttl := p.settings.turnTTL()
	trust := ttl - ttl/10
	retry := time.NewTimer(ttl / 3)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
		began := time.Now()
		calling, cancel := context.WithDeadline(ctx, sent.Add(trust))
		err := lock.Refresh(calling, ttl, nil)
		cancel()
		next := ttl / 3
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			sent = began
		case errors.Is(err, redislock.ErrNotObtained):
			return fmt.Errorf("%w: somebody else may have it", ErrTurn)
		case time.Since(sent) >= trust:
			return fmt.Errorf("%w: it could not be kept alive: %w", ErrTurn, err)
		default:
			next = ttl / 20
		}
		// Never later than the end of trust, so that the turn ends on time.
		retry.Reset(max(0, min(next, time.Until(sent.Add(trust)))))
	}
}

// processName is who has a turn, for people.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}
