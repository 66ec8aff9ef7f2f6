//go:build linux

package chaos_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/throng-load/throng/accounts"
)

// look is how often the watch looks at the registrations.
const look = 20 * time.Millisecond

// watch looks at the pool from beside, all the time, by a connection that no
// proxy breaks. It judges the reclaimers, and notes how many accounts are leased.
//
// Its judgements need no tolerance for a busy machine: what it has seen to have
// happened, has happened, and the clocks that it compares are Redis's and its
// own, which on one machine are the same.
type watch struct {
	settings accounts.Settings
	accounts int64
	// enforced says whether too few leased accounts are a violation, and not
	// only a figure.
	enforced bool
	violate  func(rule, format string, args ...any)

	mu    sync.Mutex // guards everything below
	pool  *accounts.Pool
	known map[string]registration
	// expires is until when the registrations of a name were last seen to live.
	expires map[string]time.Time
	// unproven is until when a reclaimer cannot have watched for a whole TTL.
	unproven time.Time
	// over says that workers leave by themselves from now on.
	over bool
	// changes counts what makes a look that is under way worthless.
	changes int
	last    sample
	judged  string // see judge
	shares  shares
}

type registration struct {
	name            string
	opened, expires time.Time
}

func newWatch(pool *accounts.Pool, of size, violate func(string, string, ...any)) *watch {
	return &watch{settings: of.settings, accounts: int64(of.accounts), enforced: of.lasts > 0, violate: violate, pool: pool,
		known: map[string]registration{}, expires: map[string]time.Time{}}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for n := 0; ; n++ {
		w.look(ctx)
		if n%5 == 0 {
			w.count(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// turn makes the watch look at another server, or at one that may have lost
// writes: what it knew is worth nothing.
func (w *watch) turn(pool *accounts.Pool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes++
	w.pool = pool
	clear(w.known)
}

// blindUntil says that the reclaimers could not look at the pool before at, which
// must have been read before they could.
func (w *watch) blindUntil(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unproven = at.Add(w.settings.LeaseTTL)
}

// end ends the judging of registrations.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// judge says that the floor must hold from now on, and what should be known if it
// does not; with "" that it need not.
func (w *watch) judge(circumstances string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judged = circumstances
}

func (w *watch) now() sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// live returns a worker's registrations that were last seen to live, by id.
func (w *watch) live(name string) map[string]registration {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]registration{}
	for id, r := range w.known {
		if r.name == name {
			all[id] = r
		}
	}
	return all
}

// taken waits until none of the registrations lives any more. One that was opened
// anew under the same id is another.
func (w *watch) taken(ctx context.Context, all map[string]registration) error {
	for {
		left := 0
		w.mu.Lock()
		for id, r := range all {
			if now, lives := w.known[id]; lives && now.opened.Equal(r.opened) {
				left++
			}
		}
		w.mu.Unlock()
		if left == 0 {
			return nil
		}
		if err := wait(ctx, look); err != nil {
			return fmt.Errorf("%d registrations are not taken away: %w", left, err)
		}
	}
}

// expiry is until when the registrations of a worker were last seen to live.
func (w *watch) expiry(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expires[name]
}

// look sees which registrations have been taken away since the last look.
func (w *watch) look(ctx context.Context) {
	w.mu.Lock()
	pool, changes := w.pool, w.changes
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	holders, err := pool.Holders(ctx)
	at := time.Now()
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if changes != w.changes || w.over {
		return
	}
	gone := w.known
	w.known = make(map[string]registration, len(holders))
	for _, h := range holders {
		switch h.State {
		case "live":
			w.known[h.ID] = registration{h.Name, h.Opened, h.Expires}
			if h.Expires.After(w.expires[h.Name]) {
				w.expires[h.Name] = h.Expires
			}
			delete(gone, h.ID)
		case "closing": // by itself
			delete(gone, h.ID)
		}
	}
	for _, r := range gone {
		if early := r.expires.Add(w.settings.LockDelay).Sub(at); early > 0 {
			w.violate("reclaimed too early", "the registration of %s was taken away at least %v before its expiry and the lock-delay had passed", r.name, early)
		}
		if left := w.unproven.Sub(at); left > 0 {
			w.violate("reclaimed on one clock", "the registration of %s was taken away although no reclaimer can have watched it for the lease TTL: %v were missing", r.name, left)
		}
	}
}
