package accounts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// shortestWait and longestWait bound how long a holder waits before it
	// asks again: Redis after a failure, and the pool after a shortage.
	shortestWait = 50 * time.Millisecond
	longestWait  = time.Second
)

// call is one call that changes something: a lease, or the release of what is
// in releases. It keeps its number until Redis has answered.
type call struct {
	seq      int64
	role     string
	n        int
	releases []release
}

// runner is the state of one Run. One goroutine owns it.
type runner struct {
	h       *Holder
	seq     int64
	pending *call // sent, or about to be, and not yet answered
	// renewAt is when the next renewal is due.
	renewAt time.Time
	// Until retryAt nothing is sent, because Redis has not answered; backoff
	// is what the next such wait is derived from, zero while Redis answers.
	retryAt time.Time
	backoff time.Duration
}

// Run renews the registration, leases and releases in batches, and fences the
// leases when renewals fail; Lease only makes progress while it runs. It never
// gives up on Redis. When ctx ends, waiting calls of Lease fail, all leases end,
// everything held is given back and the registration is closed, within two
// seconds; then Run returns nil. What could not be given back in that time
// comes back as after a crash. Run returns an error that wraps ErrNoPool when
// the pool is not there any more. It can be called once.
func (h *Holder) Run(ctx context.Context) error {
	if h.started.Swap(true) {
		return h.pool.wrap("run holder", errors.New("it runs already, or has ended"))
	}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { h.watch(stop) })
	r := &runner{h: h}
	if t := h.fence.term.Load(); t != nil {
		r.renewAt = t.sent.Add(h.pool.settings.renewal())
	}
	err := r.loop(ctx)
	close(stop)
	watch.Wait()
	r.close(context.WithoutCancel(ctx), err)
	return h.pool.wrap("run holder", err)
}

func (r *runner) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait, err := r.step(ctx)
		if errors.Is(err, ErrNoPool) {
			return err
		}
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-r.h.wake:
		case <-timer.C:
		}
	}
	return nil
}

// step does what is most urgent, or says how long nothing is.
func (r *runner) step(ctx context.Context) (wait time.Duration, err error) {
	now := time.Now()
	if wait := r.retryAt.Sub(now); wait > 0 {
		return wait, nil
	}
	switch state := r.h.State(); {
	case state == Lost:
		return 0, r.answered(r.register(ctx))
	case state == Suspended, !now.Before(r.renewAt):
		return 0, r.answered(r.renew(ctx))
	}
	if r.pending == nil {
		if r.pending, wait = r.h.nextCall(now); r.pending == nil {
			return min(wait, r.renewAt.Sub(now)), nil
		}
		r.seq++
		r.pending.seq = r.seq
	}
	return 0, r.answered(r.send(ctx))
}

// answered keeps account of whether Redis answers, and returns err.
func (r *runner) answered(err error) error {
	settings := r.h.pool.settings
	switch {
	case err == nil:
		if r.backoff > 0 {
			r.h.log.Info("the pool answers again")
		}
		r.backoff, r.retryAt = 0, time.Time{}
	case !errors.Is(err, ErrNoPool):
		if r.backoff == 0 && !errors.Is(err, context.Canceled) {
			r.h.log.Warn("the pool does not answer", zap.Error(err))
		}
		// The next wait, with jitter: all workers lose Redis at the same time.
		r.backoff = min(max(2*r.backoff, shortestWait), longestWait, settings.LeaseTTL/10)
		r.retryAt = time.Now().Add(r.backoff/2 + rand.N(r.backoff/2))
	}
	return err
}

// register makes a registration in place of a lost one.
func (r *runner) register(ctx context.Context) error {
	r.renewAt = time.Now().Add(r.h.pool.settings.renewal())
	if err := r.h.open(ctx); err != nil {
		return fmt.Errorf("register anew: %w", err)
	}
	r.seq = 0
	r.h.log.Info("registered anew")
	return nil
}

func (r *runner) renew(ctx context.Context) error {
	h, settings := r.h, r.h.pool.settings
	ctx, cancel := context.WithTimeout(ctx, settings.callTimeout())
	defer cancel()
	// Before sending, not when the answer comes: Redis counts from in between.
	sent := time.Now()
	err := h.pool.store.renew(ctx, h.id, settings.LeaseTTL)
	if errors.Is(err, errGone) {
		r.lost(err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	r.renewAt = sent.Add(settings.renewal())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspendIfOver()
	h.fence.renew(sent, settings.trust())
	if h.state == Suspended && h.fence.left() > 0 {
		h.state = Active
		h.log.Info("renewed after a suspension")
	}
	return nil
}

// lost gives up everything that the registration held.
func (r *runner) lost(cause error) {
	r.pending = nil
	h := r.h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log.Warn("the registration is lost", zap.Int("held", len(h.leases)), zap.Error(cause))
	h.state, h.id, h.releases = Lost, "", nil
	for l := range h.leases {
		l.end(ErrLost)
	}
	clear(h.leases)
}

// send sends the pending call, for the first time or again.
func (r *runner) send(ctx context.Context) error {
	h, c, settings := r.h, r.pending, r.h.pool.settings
	ctx, cancel := context.WithTimeout(ctx, settings.callTimeout())
	defer cancel()
	var got grant
	var stale []string
	var err error
	if c.releases != nil {
		stale, err = h.pool.store.release(ctx, h.id, c.seq, settings.Rest, c.releases)
	} else {
		got, err = h.pool.store.lease(ctx, h.id, c.seq, c.n, c.role)
	}
	switch {
	case errors.Is(err, errExpired):
		// It revives by renewing, or turns out to be gone.
		r.renewAt = time.Time{}
		return nil
	case errors.Is(err, errGone), errors.Is(err, errStale):
		r.lost(err)
		return nil
	case err != nil:
		return fmt.Errorf("lease and release: %w", err)
	}
	r.pending = nil
	if c.releases == nil {
		h.granted(c, got)
		return nil
	}
	if len(stale) > 0 {
		h.log.Warn("released what was not held any more", zap.Strings("ids", stale))
	}
	h.returned(c)
	return nil
}
