package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"github.com/throng-load/throng/accounts"
)

// errPermit says that no permit could be had, because Redis does not answer.
var errPermit = errors.New("provision: no permit to call the target")

// permits hands the permits that all processes share to the calls of this one.
// Only one of its callers at a time asks the pool, so that however many calls
// wait, Redis is asked once for each time that a permit is due. Nil permits are
// without limit.
type permits struct {
	pool      *accounts.Pool
	perSecond float64
	// atOnce is how many are asked for at a time: a hundredth of a second's, so
	// that a high rate is not bound by the way to Redis, and everybody's the
	// same, so that nobody is passed over.
	atOnce  int
	retries failsafe.Executor[any]

	asking chan struct{} // holds one message while somebody asks

	// Owned by who asks.
	spare int       // less than atOnce
	next  time.Time // when the next are due if nobody else takes any
}

func newPermits(pool *accounts.Pool, perSecond float64, retries failsafe.Executor[any]) *permits {
	return &permits{
		pool: pool, perSecond: perSecond, atOnce: max(1, accounts.Burst(perSecond)/10),
		retries: retries, asking: make(chan struct{}, 1),
	}
}

// take waits for n permits. Its error wraps errStopping when ctx has ended, or
// errPermit.
func (p *permits) take(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	select {
	case p.asking <- struct{}{}:
	case <-ctx.Done():
		return errStopping
	}
	defer func() { <-p.asking }()
	for p.spare < n {
		// Asking before they are due would be asking twice.
		if early := time.Until(p.next); early > 0 && !sleep(ctx, early) {
			return errStopping
		}
		var wait time.Duration
		err := p.retries.WithContext(ctx).Run(func() (err error) {
			wait, err = p.pool.Permit(ctx, p.perSecond, p.atOnce)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return errStopping
		case err != nil:
			return fmt.Errorf("%w: %w", errPermit, err)
		case wait == 0:
			p.spare += p.atOnce
			p.granted()
		case !sleep(ctx, wait):
			return errStopping
		}
	}
	p.spare -= n
	return nil
}

// granted notes when the next permits are due. Who was late catches up with a
// burst at most: the pool allows no more.
func (p *permits) granted() {
	interval := float64(p.atOnce) / p.perSecond
	burst := float64(accounts.Burst(p.perSecond)-p.atOnce) / p.perSecond
	earliest := time.Now().Add(-time.Duration(burst * float64(time.Second)))
	if p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(time.Duration(interval * float64(time.Second)))
}

// sleep returns whether ctx has lasted for d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
