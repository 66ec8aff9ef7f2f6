package accounts

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// State is what a holder can do at the moment.
type State int

// The states of a holder.
const (
	// Active: accounts can be leased and used.
	Active State = iota
	// Suspended: no renewal has succeeded in time. Leases are over, and new
	// ones wait until a renewal succeeds.
	Suspended
	// Lost: the pool has taken the holder for dead. A new registration is
	// being made, which leads back to Active.
	Lost
	// Closed: Run has ended. There is no way back.
	Closed
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Suspended:
		return "suspended"
	case Lost:
		return "lost"
	case Closed:
		return "closed"
	default:
		return fmt.Sprintf("State(%d)", int(s))
	}
}

// maxName is how much of a holder's name is kept, in bytes.
const maxName = 256

// Holder is a worker's registration with a pool. Its leases share its expiry.
// It is safe for concurrent use; Run does all its work in the background.
type Holder struct {
	pool  *Pool
	name  string
	log   *zap.Logger
	fence fence
	// wake tells Run that there is something to do. It holds one message, so
	// that whoever writes it never waits.
	wake    chan struct{}
	started atomic.Bool

	mu    sync.Mutex // guards everything below
	state State
	// id is the registration's; "" between a lost one and the next.
	id     string
	leases map[*Lease]struct{}
	queues map[string]*queue // by role
	// order has the queues' roles, turn the place of the one to look at next.
	order []string
	turn  int
	// releases are accounts that go back with the next call. There are never
	// more than the registration holds.
	releases []release
	// waits are by role, and not told yet; telling is being told.
	waits   map[string]*Waits
	telling []waited
	tellAt  time.Time
}

// Register opens a holder. The name is for people: "worker host:pid". The
// registration is kept alive by Run, and expires like a dead worker's without.
func (p *Pool) Register(ctx context.Context, name string) (*Holder, error) {
	h := &Holder{
		pool: p, name: name[:min(len(name), maxName)], log: p.log.With(zap.String("holder", name)),
		wake:   make(chan struct{}, 1),
		leases: map[*Lease]struct{}{}, queues: map[string]*queue{}, waits: map[string]*Waits{},
	}
	if err := h.open(ctx); err != nil {
		return nil, p.wrap("register holder", err)
	}
	return h, nil
}

// open makes a registration. Its id is new with every attempt: one whose answer
// was lost may stand, and expires with nothing in it.
func (h *Holder) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.pool.settings.callTimeout())
	defer cancel()
	id, sent := uuid.NewString(), time.Now()
	if err := h.pool.store.open(ctx, id, h.pool.settings.LeaseTTL, h.name); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.id, h.state = id, Active
	h.fence.renew(sent, h.pool.settings.trust())
	return nil
}

// Lease waits until an account of the role is free, in turn with others of this
// holder that wait for the role; with an account kept ready (see Prefetch) it
// does not wait. When ctx ends first, the error is a *ShortageError that wraps
// ErrNoAccount and ctx's cause; when the holder is closed, the error wraps
// ErrClosed.
func (h *Holder) Lease(ctx context.Context, role string) (*Lease, error) {
	all, err := h.LeaseAll(ctx, role, 1)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// LeaseAll is Lease for n accounts of the role, n above 0: all of them or none.
// While it waits it keeps those that have come, so callers that together ask
// for more than there are may all wait in vain.
func (h *Holder) LeaseAll(ctx context.Context, role string, n int) ([]*Lease, error) {
	if err := checkRole(role); err != nil {
		return nil, h.pool.wrap("lease account", err)
	}
	if n < 1 {
		return nil, h.pool.wrap("lease accounts", fmt.Errorf("%d: ask for at least one", n))
	}
	since := time.Now()
	h.mu.Lock()
	if h.state == Closed {
		h.mu.Unlock()
		return nil, h.pool.wrap("lease account", ErrClosed)
	}
	q := h.queue(role)
	ready, low := h.takeReady(q, n)
	var waiters []*waiter
	for range n - len(ready) {
		w := &waiter{done: make(chan struct{})}
		w.place = q.waiting.PushBack(w)
		waiters = append(waiters, w)
	}
	if len(waiters) == 0 {
		h.note(role, 0)
	}
	h.mu.Unlock()
	if low || len(waiters) > 0 {
		h.signal()
	}
	if len(waiters) == 0 {
		return ready, nil
	}
	for i, w := range waiters {
		select {
		case <-w.done:
		case <-ctx.Done():
		}
		if ctx.Err() != nil || w.err != nil {
			return nil, h.giveUp(ctx, q, ready, waiters[i:], since)
		}
		ready = append(ready, w.lease)
	}
	h.mu.Lock()
	h.note(role, time.Since(since))
	h.mu.Unlock()
	return ready, nil
}

// giveUp ends waiting in vain, gives back what has come, and says what was
// short, or why the holder could not go on.
func (h *Holder) giveUp(ctx context.Context, q *queue, got []*Lease, waiters []*waiter, since time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(q.role, time.Since(since))
	var failed error
	for _, w := range waiters {
		switch {
		case w.place != nil:
			q.waiting.Remove(w.place)
			w.place = nil
		case w.err != nil:
			failed = w.err
		default:
			// It came together with the end of ctx. Whoever gave up does not
			// expect it any more.
			got = append(got, w.lease)
		}
	}
	for _, l := range got {
		h.release(l, OK, true)
	}
	h.signal()
	if failed != nil {
		return failed
	}
	e := &ShortageError{Pool: h.pool.name, Role: q.role, Waited: time.Since(since), cause: context.Cause(ctx)}
	if short := q.short; short != nil {
		e.Answered, e.Frozen, e.Most = true, short.frozen, short.most
		e.Leased, e.Resting, e.Quarantined, e.Retired = short.leased, short.resting, short.quarantined, short.retired
		e.Known = e.Available + e.Leased + e.Resting + e.Quarantined + e.Retired
	}
	return e
}

// Release ends a lease and gives its account back, by Run and soon. It never
// waits for Redis. Releasing again, or what was lost, does nothing.
func (h *Holder) Release(l *Lease, outcome Outcome) {
	h.mu.Lock()
	held := h.release(l, outcome, false)
	h.mu.Unlock()
	if held {
		h.signal()
	}
}

// Return ends a lease whose account was not used: it is available at once, and
// that was no use. Otherwise it is Release.
func (h *Holder) Return(l *Lease) {
	h.mu.Lock()
	held := h.release(l, OK, true)
	h.mu.Unlock()
	if held {
		h.signal()
	}
}

// release is Release, and tells whether there was anything to do. mu must be
// held.
func (h *Holder) release(l *Lease, outcome Outcome, unused bool) bool {
	if _, held := h.leases[l]; !held {
		return false
	}
	delete(h.leases, l)
	h.releases = append(h.releases, release{id: l.ID, role: l.Role, token: l.Token, outcome: outcome, unused: unused})
	l.end(ErrReleased)
	return true
}

// Held returns how many accounts are leased and not released, including those
// whose leases are suspended, and without those that are kept ready.
func (h *Holder) Held() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.leases)
}

// State returns what the holder can do at the moment.
func (h *Holder) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// Grace is for how long after the end of a lease answers to requests that had
// left before may still be read: half the lock-delay, at most 2 s. The account is
// nobody else's before the whole of it is over.
func (h *Holder) Grace() time.Duration {
	return min(h.pool.settings.LockDelay/2, 2*time.Second)
}

// signal wakes Run.
func (h *Holder) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// suspendIfOver ends all leases when the deadline has passed. They must have
// ended before a later renewal makes a new term, or they would come alive again
// after their users were told to stop. mu must be held.
func (h *Holder) suspendIfOver() {
	if h.state != Active || h.fence.left() > 0 {
		return
	}
	h.state = Suspended
	for l := range h.leases {
		l.end(ErrSuspended)
	}
	h.log.Warn("no renewal in time: leases are suspended", zap.Int("held", len(h.leases)))
}

// watch ends the leases as soon as the deadline has passed, whatever call to
// Redis may hang meanwhile. It returns when stop is closed.
func (h *Holder) watch(stop <-chan struct{}) {
	// Timers run by the monotonic clock; the wall clock must be looked at.
	const look = 250 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		h.mu.Lock()
		h.suspendIfOver()
		state := h.state
		h.mu.Unlock()
		if state == Active {
			timer.Reset(min(max(h.fence.left(), 0), look))
			continue
		}
		h.signal()
		timer.Reset(look)
	}
}
