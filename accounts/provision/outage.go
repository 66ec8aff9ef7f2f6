package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"go.uber.org/zap"
)

const (
	// outageDelay is the time between calls to a target that is down.
	outageDelay = 5 * time.Second
	// outagePoll is how often those who wait look whether it still is.
	outagePoll = 250 * time.Millisecond
)

// outage watches whether the target is down: when so many calls in a row have
// failed, nobody calls any more, but for one call after each delay, until one
// succeeds.
type outage struct {
	threshold int // calls in a row
	patience  time.Duration
	log       *zap.Logger
	breaker   circuitbreaker.CircuitBreaker[any]
	guarded   failsafe.Executor[any]
	// trial is held by the only one who may call, or wait for a permit to, while
	// the target is down.
	trial sync.Mutex

	mu    sync.Mutex
	since time.Time // guarded by mu: when it went down; zero when it is up
	last  error     // guarded by mu: the last failure that was not final
}

// newOutage takes how many calls may be under way at a time.
func newOutage(cfg Config, calls int) *outage {
	// One outage fails every call under way at once. Counting no more failures
	// than that, the breaker would open before anything could be repeated;
	// counting as many as there are attempts, it might open after the last.
	o := &outage{threshold: max(5, 3*calls), patience: cfg.Patience, log: cfg.Log}
	o.breaker = circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(uint(o.threshold)).
		WithSuccessThreshold(1).
		WithDelay(outageDelay).
		HandleIf(func(_ any, err error) bool {
			return err != nil && !errors.Is(err, errPartly) && !errors.Is(err, errStopping)
		}).
		OnOpen(func(circuitbreaker.StateChangedEvent) { o.began() }).
		OnClose(func(circuitbreaker.StateChangedEvent) { o.ended() }).
		Build()
	o.guarded = failsafe.With(o.breaker)
	return o
}

// began is told that calls fail, and again whenever another one has.
func (o *outage) began() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		return
	}
	o.since = time.Now()
	o.log.Warn("the target's account service is down: it is asked again now and then",
		zap.Int("failed", o.threshold), zap.Duration("patience", max(0, o.patience)), zap.NamedError("last", o.last))
}

func (o *outage) ended() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		o.log.Info("the target's account service is back", zap.Duration("after", time.Since(o.since).Round(time.Millisecond)))
	}
	o.since = time.Time{}
}

// failed remembers what the account service answered last.
func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = err
}

// enter says whether a call may be made, as far as is known; who is let in calls
// leave in the end. While the target is down only one is let in at a time.
func (o *outage) enter() (leave func(), ok bool) {
	if o.breaker.IsClosed() {
		return func() {}, true
	}
	if !o.trial.TryLock() {
		return nil, false
	}
	if o.breaker.RemainingDelay() > 0 {
		o.trial.Unlock()
		return nil, false
	}
	return o.trial.Unlock, true
}

// await waits until it makes sense to try again. Its error wraps ErrDown, when
// the target was down for too long, or errStopping when ctx has ended.
func (o *outage) await(ctx context.Context) error {
	o.mu.Lock()
	since, last := o.since, o.last
	o.mu.Unlock()
	if since.IsZero() {
		return nil
	}
	left := o.patience - time.Since(since)
	if left <= 0 {
		waited := ""
		if o.patience > 0 {
			waited = fmt.Sprintf(" and none succeeded in %v", o.patience)
		}
		return fmt.Errorf("%w: %d calls in a row failed%s, the last with: %w", ErrDown, o.threshold, waited, last)
	}
	if !sleep(ctx, min(left, max(outagePoll, o.breaker.RemainingDelay()))) {
		return errStopping
	}
	return nil
}
