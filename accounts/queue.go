package accounts

import (
	"container/list"
	"slices"
	"time"

	"go.uber.org/zap"
)

// queue is who waits for accounts of one role, first come first served.
type queue struct {
	role    string
	waiting list.List // of *waiter
	// Until next the pool is not asked again: it was short then. backoff is
	// what the next wait after that is derived from.
	next    time.Time
	backoff time.Duration
	// short is the last answer that was short; nil if none was.
	short *grant
}

// waiter is one call of Lease. Its fields are guarded by the holder's mu until
// done is closed.
type waiter struct {
	place *list.Element // nil once the waiter has been answered
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

// nextCall takes what is to be sent next: releases first, because others wait
// for them; then the roles that are waited for, in turn. If there is nothing, it
// says how long.
func (h *Holder) nextCall(now time.Time) (*call, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := min(len(h.releases), moveBatch); n > 0 {
		c := &call{releases: slices.Clone(h.releases[:n])}
		h.releases = slices.Delete(h.releases, 0, n)
		return c, 0
	}
	wait := time.Hour
	for range h.order {
		q := h.queues[h.order[h.turn]]
		h.turn = (h.turn + 1) % len(h.order)
		if q.waiting.Len() == 0 {
			continue
		}
		if left := q.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		return &call{role: q.role, n: min(q.waiting.Len(), leaseBatch)}, 0
	}
	return nil, wait
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
		first := q.waiting.Front()
		if first == nil || h.state != Active {
			// Who waited has given up, or could not use it: back it goes.
			h.releases = append(h.releases, release{id: account.ID, role: c.role, token: account.Token})
			continue
		}
		w := q.waiting.Remove(first).(*waiter)
		w.place = nil
		w.lease = &Lease{Leased: account, fence: &h.fence}
		h.leases[w.lease] = struct{}{}
		close(w.done)
	}
	if !got.short {
		q.backoff, q.next, q.short = 0, time.Time{}, nil
		return
	}
	q.backoff = min(max(2*q.backoff, shortestWait), longestWait)
	if len(got.accounts) > 0 {
		q.backoff = shortestWait
	}
	got.accounts = nil
	q.short = &got
	wait := q.backoff
	if got.wait >= 0 {
		wait = min(wait, max(got.wait, time.Millisecond))
	}
	q.next = time.Now().Add(wait)
}

// returned wakes those who wait for what has been given back.
func (h *Holder) returned(c *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ready := time.Now().Add(h.pool.settings.Rest)
	for _, rel := range c.releases {
		if q := h.queues[rel.role]; q != nil && rel.outcome == OK {
			q.backoff = 0
			if ready.Before(q.next) {
				q.next = ready
			}
		}
	}
}
