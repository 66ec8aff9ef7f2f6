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
	releases := h.releases
	h.releases = nil
	for _, q := range h.queues {
		for _, a := range q.spare {
			releases = append(releases, release{id: a.ID, role: q.role, token: a.Token, unused: true})
		}
		q.spare = nil
		for e := q.waiting.Front(); e != nil; e = e.Next() {
			w := e.Value.(*waiter)
			w.place, w.err = nil, closed
			close(w.done)
		}
		q.waiting.Init()
	}
	return releases
}

// close gives everything back and closes the registration. cause is why the
// holder ends, nil if it was asked to.
func (r *runner) close(ctx context.Context, cause error) {
	h, store := r.h, r.h.pool.store
	releases := h.shut(cause)
	if errors.Is(cause, ErrNoPool) || h.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	// What goes back as used goes back with the rest; only a refusal, and what
	// was not used, has something to say. A release that may have been sent
	// keeps its number.
	settings := h.pool.settings
	matters := settings.Rest > 0 || settings.MaxUses > 0
	releases = slices.DeleteFunc(releases, func(rel release) bool { return rel.outcome == OK && !(rel.unused && matters) })
	var calls []*call
	if r.pending != nil && (r.pending.releases != nil || len(releases) > 0) {
		calls = append(calls, r.pending)
	}
	for batch := range slices.Chunk(releases, moveBatch) {
		r.seq++
		calls = append(calls, &call{seq: r.seq, releases: batch})
	}
	var err error
	for i, c := range calls {
		err = r.insist(ctx, func() error { return r.once(ctx, c) })
		if errors.Is(err, errResync) {
			if err = r.insist(ctx, func() error { return r.claim(ctx, calls[i:]) }); err == nil {
				err = r.insist(ctx, func() error { return r.once(ctx, c) })
			}
		}
		if err != nil {
			break
		}
	}
	if errors.Is(err, errResync) {
		err = nil // what Redis has this holder hold goes back, whatever that is
	}
	if waits := h.takeWaits(time.Now(), true); waits != nil && err == nil {
		// Only a figure: it is not worth waiting for.
		_ = store.tell(ctx, h.id, r.told+1, waits)
	}
	for left := 1; left > 0 && err == nil; {
		err = r.insist(ctx, func() error {
			roles, err := store.roles(ctx)
			if err != nil {
				return err
			}
			_, left, err = store.close(ctx, h.id, "", settings, moveBatch, roles)
			return err
		})
	}
	if err != nil && !errors.Is(err, errGone) {
		h.log.Warn("not everything could be given back: it comes back when the registration has expired", zap.Error(err))
	}
}

// once makes a call whose outcome nobody waits for: a lease then only keeps its
// number from being missing, and goes back with the rest.
func (r *runner) once(ctx context.Context, c *call) (err error) {
	h, settings := r.h, r.h.pool.settings
	if c.releases != nil {
		_, err = h.pool.store.release(ctx, h.id, h.name, c.seq, settings, c.releases)
	} else {
		_, err = h.pool.store.lease(ctx, h.id, h.name, c.seq, c.n, c.extra, c.role, settings.MaxAge)
	}
	switch {
	case errors.Is(err, errExpired):
		return errResync // it ends without saying more
	case errors.Is(err, ErrKey):
		return nil // leased all the same
	}
	return err
}

// claim tells Redis, which has lost writes, of accounts that are about to go
// back with something to say. All else that Redis has the holder hold goes back
// with the end.
func (r *runner) claim(ctx context.Context, calls []*call) error {
	for i, c := range calls {
		_, err := r.h.pool.store.resync(ctx, r.h.id, r.h.name, calls[0].seq-1, i == len(calls)-1, r.h.pool.settings, c.releases, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// insist does something until it succeeds, cannot succeed, or ctx ends.
func (r *runner) insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || errors.Is(err, errGone) || errors.Is(err, ErrNoPool) || errors.Is(err, errResync) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(shortestWait):
		}
	}
}
