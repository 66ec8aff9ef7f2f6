package provision

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
)

const (
	// maxAttempts is how often one account is asked for, with pauses from the
	// first to the second delay, doubling, each with up to a quarter more or
	// less so that calls which failed together do not come back together.
	maxAttempts   = 5
	retryDelay    = 200 * time.Millisecond
	maxRetryDelay = 5 * time.Second
	retryJitter   = 0.25

	// callTimeout bounds one call to the source.
	callTimeout = 10 * time.Second
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

// run is one Ensure or DeleteAll. The policies are its own, so that what
// failed before, or waits for a permit no more, does not count against it.
type run struct {
	concurrency int
	batchSize   int
	executor    failsafe.Executor[any]
	breaker     circuitbreaker.CircuitBreaker[any]
	threshold   int // failures in a row that open the breaker

	mu   sync.Mutex
	last error // guarded by mu: the last failure that was not final

	// Owned by the goroutine that runs Ensure or DeleteAll.
	progress    func(done, total int)
	done, total int
	told        time.Time
}

func newRun(cfg Config, total int) *run {
	r := &run{concurrency: cfg.Concurrency, batchSize: maxBatch, progress: cfg.Progress, total: total}
	// One outage fails every call under way at once. Counting fewer failures
	// than that, the breaker would open before anything could be repeated.
	r.threshold = max(20, 4*cfg.Concurrency)
	r.breaker = circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(uint(r.threshold)).
		HandleIf(func(_ any, err error) bool { return err != nil && !final(err) }).
		Build()
	retries := retrypolicy.NewBuilder[any]().
		WithMaxAttempts(maxAttempts).
		WithBackoff(retryDelay, maxRetryDelay).
		WithJitterFactor(retryJitter).
		ReturnLastFailure().
		// Asked of every failure after the breaker has counted it.
		AbortIf(func(_ any, err error) bool { return final(err) || r.breaker.IsOpen() }).
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[any]) {
			cfg.Log.Debug("call to the account service is repeated", zap.Error(e.LastError()), zap.Duration("after", e.Delay))
		}).
		Build()
	policies := []failsafe.Policy[any]{retries}
	if cfg.Rate > 0 {
		r.batchSize = int(min(max(minBatch, cfg.Rate*batchTime.Seconds()), maxBatch))
		// Every attempt takes a permit, and waits for it as long as it takes.
		limiter := ratelimiter.NewSmoothBuilderWithMaxRate[any](interval(cfg.Rate)).WithMaxWaitTime(math.MaxInt64).Build()
		policies = append(policies, limiter)
	}
	r.executor = failsafe.With(append(policies, r.breaker)...)
	return r
}

// interval is the time between calls at a rate a second, kept to what a
// duration can hold.
func interval(rate float64) time.Duration {
	return time.Duration(min(max(1, float64(time.Second)/rate), float64(time.Hour)))
}

// errStopping says that an account was not asked for, because the run ends.
var errStopping = errors.New("provision: stopping")

// final says whether repeating a call that failed so is pointless.
func final(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, ErrTaken) || errors.Is(err, errStopping)
}

// failed remembers what the account service answered last.
func (r *run) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = err
}

// describe words what finally became of a call.
func (r *run) describe(verb string, a accounts.Account, err error) error {
	switch {
	case final(err):
		return fmt.Errorf("%s account %q: %w", verb, a.Username, err)
	case errors.Is(err, circuitbreaker.ErrOpen), r.breaker.IsOpen():
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Errorf("%s accounts: %w: %d calls in a row failed, the last with: %w", verb, ErrDown, r.threshold, r.last)
	default:
		return fmt.Errorf("%s account %q: gave up after %d attempts: %w", verb, a.Username, maxAttempts, err)
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
	r.progress(r.done, r.total)
}
