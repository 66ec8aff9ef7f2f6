package accounts

import (
	"container/list"
	"slices"
	"time"

	"go.uber.org/zap"
)

// spareFor is how long accounts are kept ready that nobody wants ready any more.
const spareFor = time.Second

// queue is who waits for accounts of one role, first come first served, and the
// accounts that are kept ready for those to come.
type queue struct {
	role    string
	waiting list.List // of *waiter
	// Until next the pool is not asked again: it was short then. backoff is
	// what the next wait after that is derived from.
	next    time.Time
	backoff time.Duration
	// short is the last answer that was short; nil if none was. wanted tells
	// that Redis has it that this holder waits.
	short  *grant
	wanted bool

	// spare are leased and nobody's yet, ready of them are wanted. Until topUp
	// no more are asked for, because there were not plenty; from surplus on
	// there have been more than wanted, zero if there are not.
	spare   []Leased
	ready   int
	filling bool // from when half of them were left until all are there
	topUp   time.Time
	surplus time.Time
}

// waiter is one who waits. Its fields are guarded by the holder's mu until done
// is closed.
type waiter struct {
	place *list.Element // nil once the waiter has been answered, or has given up
	lease *Lease
	err   error
	done  chan struct{}
}

// queue returns the role's queue. mu must be held.
func (h *Holder) queue(role string) *queue {
	q := h.queues[role]
	if q == nil {
		q = &queue{role: role}
		h.queues[role] = q
		h.order = append(h.order, role)
	}
	return q
}

// Prefetch asks to keep n accounts of the role ready, so that as many calls of
// Lease need not wait for Redis. They are leased like any other and end with the
// holder; while others wait for the role, or there are not plenty, they are not
// taken. What is ready and no longer wanted goes back after a second, as not
// used. Prefetch does not wait; the last call for a role counts.
func (h *Holder) Prefetch(role string, n int) {
	h.mu.Lock()
	q := h.queue(role)
	changed := q.ready != n
	q.ready = max(0, n)
	h.mu.Unlock()
	if changed {
		h.signal()
	}
}

// takeReady leases up to n of the accounts that are kept ready, and tells
// whether more should be fetched. mu must be held.
func (h *Holder) takeReady(q *queue, n int) (got []*Lease, low bool) {
	h.suspendIfOver()
	if h.state == Active && q.waiting.Len() == 0 {
		for _, a := range q.spare[:min(n, len(q.spare))] {
			got = append(got, h.handOut(a))
		}
		q.spare = slices.Delete(q.spare, 0, len(got))
	}
	return got, q.low()
}

// handOut makes an account that the registration holds somebody's. mu must be
// held.
func (h *Holder) handOut(a Leased) *Lease {
	l := &Lease{Leased: a, fence: &h.fence}
	h.leases[l] = struct{}{}
	return l
}

// low tells whether accounts should be fetched to be ready: when half of them
// are left, until all are there again. mu must be held.
func (q *queue) low() bool {
	switch {
	case len(q.spare) >= q.ready:
		q.filling = false
	case len(q.spare) <= q.ready/2:
		q.filling = true
	}
	return q.filling
}

// serve hands accounts that are ready to those who wait: they began to wait when
// none could be handed out. mu must be held.
func (h *Holder) serve(q *queue) {
	h.suspendIfOver()
	for h.state == Active && len(q.spare) > 0 && q.waiting.Len() > 0 {
		h.answer(q, q.spare[0])
		q.spare = slices.Delete(q.spare, 0, 1)
	}
}

// answer gives an account to the first who waits. mu must be held.
func (h *Holder) answer(q *queue, account Leased) {
	w := q.waiting.Remove(q.waiting.Front()).(*waiter)
	w.place, w.lease = nil, h.handOut(account)
	close(w.done)
}

// unwanted returns the roles that Redis has this holder wait for and that nobody
// waits for any more.
func (h *Holder) unwanted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var roles []string
	for _, role := range h.order {
		if q := h.queues[role]; q.wanted && q.waiting.Len() == 0 {
			roles = append(roles, role)
		}
	}
	return roles
}

// tidy gives back what has been ready for too long without being wanted, and
// says when to look again; 0 is never. mu must be held.
func (h *Holder) tidy(q *queue, now time.Time) time.Duration {
	more := len(q.spare) - q.ready
	switch {
	case more <= 0:
		q.surplus = time.Time{}
		return 0
	case q.surplus.IsZero():
		q.surplus = now
	}
	if left := spareFor - now.Sub(q.surplus); left > 0 {
		return left
	}
	for _, a := range q.spare[:more] {
		h.releases = append(h.releases, release{id: a.ID, role: q.role, token: a.Token, unused: true})
	}
	q.spare, q.surplus = slices.Delete(q.spare, 0, more), time.Time{}
	return 0
}

// nextCall takes what is to be sent next: releases first, because others wait
// for them; then the roles that are waited for, in turn. If there is nothing, it
// says how long.
func (h *Holder) nextCall(now time.Time) (*call, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wait := time.Hour
	for _, role := range h.order {
		h.serve(h.queues[role])
		if left := h.tidy(h.queues[role], now); left > 0 {
			wait = min(wait, left)
		}
	}
	if n := min(len(h.releases), moveBatch); n > 0 {
		c := &call{releases: slices.Clone(h.releases[:n])}
		h.releases = slices.Delete(h.releases, 0, n)
		return c, 0
	}
	for range h.order {
		q := h.queues[h.order[h.turn]]
		h.turn = (h.turn + 1) % len(h.order)
		c, left := q.ask(now)
		if c != nil {
			return c, 0
		}
		if left > 0 {
			wait = min(wait, left)
		}
	}
	return nil, wait
}

// ask returns the call for what is waited for and should be ready, or how long
// to wait before there is one; 0 is until something changes.
func (q *queue) ask(now time.Time) (*call, time.Duration) {
	n := min(q.waiting.Len(), leaseBatch)
	extra := 0
	if q.low() && !now.Before(q.topUp) {
		extra = min(q.ready-len(q.spare), leaseBatch-n)
	}
	switch {
	case n > 0 && now.Before(q.next):
		return nil, q.next.Sub(now)
	case n > 0 || extra > 0:
		return &call{role: q.role, n: n, extra: extra}, 0
	case q.low():
		return nil, q.topUp.Sub(now)
	}
	return nil, 0
}

// granted hands out what a lease call has brought, in the order of asking.
func (h *Holder) granted(c *call, got grant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspendIfOver()
	q := h.queue(c.role)
	for _, id := range got.unreadable {
		h.log.Error("an account's record is not readable", zap.String("id", id))
		h.releases = append(h.releases, release{id: id, role: c.role, token: got.token, outcome: "the record is not readable"})
	}
	for _, account := range got.accounts {
		switch {
		case q.waiting.Len() > 0 && h.state == Active:
			h.answer(q, account)
		case len(q.spare) < q.ready:
			q.spare = append(q.spare, account)
		default:
			// Who waited has given up, or could not use it: back it goes.
			h.releases = append(h.releases, release{id: account.ID, role: c.role, token: account.Token, unused: true})
		}
	}
	now := time.Now()
	if len(got.accounts) < c.n+c.extra {
		q.topUp = now.Add(longestWait)
	}
	q.wanted = got.short && !got.frozen
	if !got.short {
		q.backoff, q.next, q.short = 0, time.Time{}, nil
		return
	}
	q.backoff = min(max(2*q.backoff, shortestWait), longestWait)
	if len(got.accounts) > 0 {
		q.backoff = shortestWait
	}
	got.accounts = nil
	if got.frozen && (q.short == nil || !q.short.frozen) {
		h.log.Warn("Redis was restarted or failed over: nothing is leased for a while", zap.Duration("left", got.wait))
	}
	q.short = &got
	wait := q.backoff
	if got.wait >= 0 {
		wait = min(wait, max(got.wait, time.Millisecond))
	}
	q.next = now.Add(wait)
}

// returned wakes those who wait for what has been given back.
func (h *Holder) returned(c *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, rel := range c.releases {
		q := h.queues[rel.role]
		if q == nil || rel.outcome != OK {
			continue
		}
		ready := now
		if !rel.unused {
			ready = now.Add(h.pool.settings.Rest)
		}
		q.backoff = 0
		if ready.Before(q.next) && (q.short == nil || !q.short.frozen) {
			q.next = ready
		}
	}
}
