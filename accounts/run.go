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
	seq  int64
	role string
	// n accounts are waited for, extra ones are welcome.
	n, extra int
	releases []release
}

// runner is the state of one Run. One goroutine owns it.
type runner struct {
	h       *Holder
	seq     int64
	pending *call // sent, or about to be, and not yet answered
	// behind tells that Redis has lost writes and has not been told yet what is
	// held here.
	behind bool
	// told is the number of the last waits that were told.
	told int64
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
// the pool is not there any more, or ErrKey when its records are encrypted with
// a key that the pool was not opened with. It can be called once.
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
		if errors.Is(err, ErrNoPool) || errors.Is(err, ErrKey) {
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
	case r.behind:
		err := r.resync(ctx)
		r.behind = err != nil
		r.renewAt = time.Time{} // the trust waits for it
		return 0, r.answered(err)
	case state == Suspended, !now.Before(r.renewAt):
		return 0, r.answered(r.renew(ctx))
	}
	if r.pending == nil {
		if waits := r.h.takeWaits(now, false); waits != nil {
			return 0, r.answered(r.tell(ctx, waits))
		}
		if roles := r.h.unwanted(); roles != nil {
			return 0, r.answered(r.unwant(ctx, roles))
		}
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
			r.h.log.Info("the pool can be used again")
		}
		r.backoff, r.retryAt = 0, time.Time{}
	case !errors.Is(err, ErrNoPool):
		if r.backoff == 0 && !errors.Is(err, context.Canceled) {
			r.h.log.Warn("the pool cannot be used just now", zap.Error(err))
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
	r.seq, r.told, r.behind = 0, 0, false
	r.h.log.Info("registered anew")
	return nil
}

func (r *runner) renew(ctx context.Context) error {
	h, settings := r.h, r.h.pool.settings
	ctx, cancel := context.WithTimeout(ctx, settings.callTimeout())
	defer cancel()
	// Before sending, not when the answer comes: Redis counts from in between.
	sent := time.Now()
	err := h.pool.store.renew(ctx, h.id, settings.LeaseTTL, r.answeredSeq())
	switch {
	case errors.Is(err, errGone):
		r.lost(err)
		return nil
	case errors.Is(err, errResync):
		r.behind = true
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

// answeredSeq is the number of the last call that Redis has answered.
func (r *runner) answeredSeq() int64 {
	if r.pending != nil {
		return r.seq - 1
	}
	return r.seq
}

// tell tells how long accounts were waited for. What cannot be told is dropped
// when the registration is lost.
func (r *runner) tell(ctx context.Context, waits []waited) error {
	ctx, cancel := context.WithTimeout(ctx, r.h.pool.settings.callTimeout())
	defer cancel()
	err := r.h.pool.store.tell(ctx, r.h.id, r.told+1, waits)
	switch {
	case errors.Is(err, errGone):
		r.lost(err)
		return nil
	case err != nil:
		return fmt.Errorf("tell waits: %w", err)
	}
	r.told++
	r.h.toldWaits()
	return nil
}

// unwant tells that nobody here waits for the roles any more.
func (r *runner) unwant(ctx context.Context, roles []string) error {
	ctx, cancel := context.WithTimeout(ctx, r.h.pool.settings.callTimeout())
	defer cancel()
	if err := r.h.pool.store.unwant(ctx, r.h.id, roles); err != nil {
		return fmt.Errorf("wait no longer: %w", err)
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, role := range roles {
		r.h.queue(role).wanted = false
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
	h.state, h.id, h.releases, h.telling = Lost, "", nil, nil
	for l := range h.leases {
		l.end(ErrLost)
	}
	clear(h.leases)
	for _, q := range h.queues {
		q.spare, q.wanted = nil, false
	}
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
		stale, err = h.pool.store.release(ctx, h.id, h.name, c.seq, settings, c.releases)
	} else {
		got, err = h.pool.store.lease(ctx, h.id, h.name, c.seq, c.n, c.extra, c.role, settings.MaxAge)
	}
	switch {
	case errors.Is(err, errExpired):
		// It revives by renewing, or turns out to be gone.
		r.renewAt = time.Time{}
		return nil
	case errors.Is(err, errResync):
		r.behind = true
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
