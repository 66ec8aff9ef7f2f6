package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

const (
	// The pauses before a call is repeated go from the first to the second
	// delay, doubling, each with up to a quarter more or less so that calls
	// which failed together do not come back together.
	retryDelay    = 200 * time.Millisecond
	maxRetryDelay = 5 * time.Second
	retryJitter   = 0.25

	// stopGrace is how long calls under way may go on once a run is to end.
	// What a call that is cut off has done is not known until the next run.
	stopGrace = 2 * time.Second
	// settleTimeout bounds what the pool is told at the end of a batch.
	settleTimeout = 5 * time.Second

	// A crash costs at most one batch of calls that are made again. With a
	// rate limit a batch is what is called in batchTime.
	maxBatch  = 500
	minBatch  = 10
	batchTime = 2 * time.Second

	progressEvery = 100 * time.Millisecond
)

// run is one call of a Provisioner's method. The policies are its own, so that
// what failed before does not count against it; only the permits are shared,
// through the pool.
type run struct {
	cfg       Config
	batchSize int // accounts between two words to the pool
	portion   int // accounts of one call to the source
	retries   failsafe.Executor[any]
	outage    *outage
	permits   *permits

	mu       sync.Mutex
	failures map[string]int // guarded by mu: creations that failed, by role

	// Owned by the goroutine that runs the method.
	done, total int
	told        time.Time
}

func (p *Provisioner) newRun(total int) *run {
	r := &run{cfg: p.cfg, batchSize: maxBatch, portion: 1, total: total, failures: map[string]int{}}
	if p.cfg.Rate > 0 {
		r.batchSize = int(min(max(minBatch, p.cfg.Rate*batchTime.Seconds()), maxBatch))
		r.permits = newPermits(p.pool, p.cfg.Rate, failsafe.With(r.backoff().Build()))
	}
	if _, bulk := p.source.(Bulk); bulk {
		r.portion = r.batchSize
		if p.cfg.Rate > 0 {
			// A larger call would be more at once than the rate allows.
			r.portion = min(r.portion, accounts.Burst(p.cfg.Rate))
		}
	}
	r.outage = newOutage(p.cfg, min(p.cfg.Concurrency, (r.batchSize+r.portion-1)/r.portion))
	r.retries = failsafe.With(r.backoff().
		// Asked of every failure after the breaker has counted it.
		AbortIf(func(_ any, err error) bool {
			return errors.Is(err, errStopping) || errors.Is(err, errPermit) || errors.Is(err, circuitbreaker.ErrOpen) ||
				!r.outage.breaker.IsClosed()
		}).
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[any]) {
			r.cfg.Log.Debug("call to the account service is repeated", zap.Error(e.LastError()), zap.Duration("after", e.Delay))
		}).
		Build())
	return r
}

// backoff is how everything is repeated that may pass.
func (r *run) backoff() retrypolicy.Builder[any] {
	return retrypolicy.NewBuilder[any]().
		WithMaxAttempts(r.attempts()).
		WithBackoff(retryDelay, maxRetryDelay).
		WithJitterFactor(retryJitter).
		WithDelayFunc(func(e failsafe.ExecutionAttempt[any]) time.Duration {
			var busy *BusyError
			if errors.As(e.LastError(), &busy) {
				// What jitter takes off must not be missing.
				return time.Duration(float64(busy.After) / (1 - retryJitter))
			}
			return -1 // as above
		}).
		ReturnLastFailure()
}

// attempts is how often a call is made at most.
func (r *run) attempts() int { return 1 + max(0, r.cfg.Retries) }

var (
	// errStopping says that an account was not asked for, because the run ends.
	errStopping = errors.New("provision: stopping")
	// errPartly says that a call succeeded for some of its accounts.
	errPartly = errors.New("provision: not all accounts of the call")
)

// final says whether repeating a call that failed so is pointless.
func final(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, ErrTaken) || errors.Is(err, ErrMissing) || errors.Is(err, errUnleased)
}

// describe words what finally became of a call.
func (r *run) describe(verb string, a accounts.Account, err error) error {
	switch {
	case final(err):
		return fmt.Errorf("%s account %q: %w", verb, a.Username, err)
	case errors.Is(err, ErrDown), errors.Is(err, errPermit):
		return fmt.Errorf("%s accounts: %w", verb, err)
	default:
		return fmt.Errorf("%s account %q: gave up after %d attempts: %w", verb, a.Username, r.attempts(), err)
	}
}

// count notes creations that failed.
func (r *run) count(failed []accounts.Account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range failed {
		r.failures[a.Role]++
	}
}

// tellFailures tells the pool how many creations failed since the last time. It
// is a figure only: that it cannot be told fails nothing.
func (r *run) tellFailures(ctx context.Context, pool *accounts.Pool) {
	r.mu.Lock()
	failures := maps.Clone(r.failures)
	clear(r.failures)
	r.mu.Unlock()
	if err := pool.CountFailed(ctx, failures); err != nil {
		r.cfg.Log.Debug("failed creations are not counted", zap.Error(err))
	}
}

// advance counts n more accounts done. It tells progress of them now, or, when
// it has just done so, the next time.
func (r *run) advance(n int) {
	r.done += n
	if time.Since(r.told) >= progressEvery {
		r.tell()
	}
}

func (r *run) tell() {
	r.told = time.Now()
	r.cfg.Progress(r.done, r.total)
}
