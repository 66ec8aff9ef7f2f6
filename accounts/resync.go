package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
)

// errResync is what a script answers when it does not know of a call that it
// has answered before: Redis has lost writes.
var errResync = errors.New("calls that were answered are lost")

// resync tells Redis, which has lost writes, what the holder holds. What Redis
// will not give back is lost, alone; all else goes on. Until it has succeeded
// nothing is renewed, so that a holder which cannot say what it holds fences
// itself in time.
func (r *runner) resync(ctx context.Context) error {
	h, store, settings := r.h, r.h.pool.store, r.h.pool.settings
	own := h.holdings(r.pending)
	known, err := r.heldInRedis(ctx)
	if err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	mine := make(map[string]bool, len(own))
	for _, held := range own {
		mine[held.id] = true
	}
	not := slices.DeleteFunc(known, func(held release) bool { return mine[held.id] })
	// A call without an answer is settled later: it is sent again, as it was.
	settled := r.answeredSeq()
	var lost []string
	for done := false; !done; {
		holds, rest := head(own, moveBatch)
		drops, left := head(not, moveBatch-len(holds))
		own, not = rest, left
		done = len(own) == 0 && len(not) == 0
		more, err := bounded(ctx, settings, func(ctx context.Context) ([]string, error) {
			return store.resync(ctx, h.id, h.name, settled, done, settings, holds, drops)
		})
		lost = append(lost, more...)
		if errors.Is(err, errGone) {
			r.lost(err)
			return nil
		}
		if err != nil {
			h.drop(lost)
			return fmt.Errorf("resync: %w", err)
		}
	}
	h.drop(lost)
	h.log.Warn("Redis has lost writes: told it what is held here", zap.Int("held", len(mine)), zap.Int("lost", len(lost)))
	return nil
}

// heldInRedis returns everything that Redis has the registration hold.
func (r *runner) heldInRedis(ctx context.Context) ([]release, error) {
	var all []release
	for cursor := uint64(0); ; {
		page, err := bounded(ctx, r.h.pool.settings, func(ctx context.Context) (page []release, err error) {
			page, cursor, err = r.h.pool.store.heldPage(ctx, r.h.id, cursor)
			return page, err
		})
		if all = append(all, page...); err != nil || cursor == 0 {
			return all, err
		}
	}
}

// bounded does one call, within the time that one may take.
func bounded[T any](ctx context.Context, settings Settings, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, settings.callTimeout())
	defer cancel()
	return call(ctx)
}

// head splits a list after at most n.
func head[T any](list []T, n int) (first, rest []T) {
	n = min(n, len(list))
	return list[:n], list[n:]
}

// holdings is everything that the holder has, whether it is used, kept ready, or
// on its way back.
func (h *Holder) holdings(pending *call) []release {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.releases)
	if pending != nil {
		all = append(all, pending.releases...)
	}
	for l := range h.leases {
		all = append(all, release{id: l.ID, role: l.Role, token: l.Token})
	}
	for _, q := range h.queues {
		for _, a := range q.spare {
			all = append(all, release{id: a.ID, role: q.role, token: a.Token})
		}
	}
	return all
}

// drop gives up accounts that somebody else may have.
func (h *Holder) drop(ids []string) {
	if len(ids) == 0 {
		return
	}
	lost := make(map[string]bool, len(ids))
	for _, id := range ids {
		lost[id] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.leases {
		if lost[l.ID] {
			l.end(ErrLost)
			delete(h.leases, l)
		}
	}
	h.releases = slices.DeleteFunc(h.releases, func(rel release) bool { return lost[rel.id] })
	for _, q := range h.queues {
		q.spare = slices.DeleteFunc(q.spare, func(a Leased) bool { return lost[a.ID] })
	}
}
