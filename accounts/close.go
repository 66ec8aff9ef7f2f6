package accounts

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// closeTimeout bounds giving everything back at the end. Together with the call
// that may be under way it stays within two seconds.
const closeTimeout = time.Second

// shut ends everything locally: nobody waits any more, no lease is valid any
// more. It returns what has been released and not sent.
func (h *Holder) shut(cause error) []release {
	h.mu.Lock()
	defer h.mu.Unlock()
	ended := ErrReleased
	if cause != nil {
		ended = ErrLost
	}
	h.state = Closed
	for l := range h.leases {
		l.end(ended)
	}
	clear(h.leases)
	closed := h.pool.wrap("lease account", errors.Join(ErrClosed, cause))
	for _, q := range h.queues {
		for e := q.waiting.Front(); e != nil; e = e.Next() {
			w := e.Value.(*waiter)
			w.place, w.err = nil, closed
			close(w.done)
		}
		q.waiting.Init()
	}
	releases := h.releases
	h.releases = nil
	return releases
}

// close gives everything back and closes the registration. cause is why the
// holder ends, nil if it was asked to.
func (r *runner) close(ctx context.Context, cause error) {
	h, store := r.h, r.h.pool.store
	releases := h.shut(cause)
	if cause != nil || h.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	// What goes back as usable goes back with the rest; only a refusal has
	// something to say. A release that may have been sent keeps its number.
	releases = slices.DeleteFunc(releases, func(rel release) bool { return rel.outcome == OK })
	var calls []*call
	if r.pending != nil && r.pending.releases != nil {
		calls = append(calls, r.pending)
	}
	for batch := range slices.Chunk(releases, moveBatch) {
		r.seq++
		calls = append(calls, &call{seq: r.seq, releases: batch})
	}
	var err error
	for _, c := range calls {
		err = r.insist(ctx, func() error {
			_, err := store.release(ctx, h.id, c.seq, h.pool.settings.Rest, c.releases)
			return err
		})
		if err != nil {
			break
		}
	}
	for left := 1; left > 0 && err == nil; {
		err = r.insist(ctx, func() error {
			roles, err := store.roles(ctx)
			if err != nil {
				return err
			}
			_, left, err = store.close(ctx, h.id, "", h.pool.settings, moveBatch, roles)
			return err
		})
	}
	if err != nil && !errors.Is(err, errGone) {
		h.log.Warn("not everything could be given back: it comes back when the registration has expired", zap.Error(err))
	}
}

// insist does something until it succeeds, cannot succeed, or ctx ends.
func (r *runner) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || errors.Is(err, errGone) || errors.Is(err, ErrNoPool) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(shortestWait):
		}
	}
}
