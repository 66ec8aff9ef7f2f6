package accounts

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/redistest"
)

// These tests do what a fake clock cannot: a process that was paused while a
// call was under way, so that its answer comes after the deadline, and before
// anything else in the process has noticed.

// paused returns a holder whose deadline has passed unnoticed, and a lease that
// it handed out before.
func paused(t *testing.T) (*Holder, *Lease) {
	t.Helper()
	rdb, namespace := redistest.Embedded(t)
	p, err := Create(t.Context(), Config{Redis: rdb, Namespace: namespace, Name: "pool", Log: zap.NewNop()}, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Register(t.Context(), "paused")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lease{Leased: Leased{Account: Account{ID: "1", Role: "student"}, Token: 1}, fence: &h.fence}
	h.leases[l] = struct{}{}
	h.fence.renew(time.Now().Add(-time.Hour), p.settings.trust())
	return h, l
}

func TestAPauseEndsOldLeasesBeforeItsRenewalCounts(t *testing.T) {
	t.Parallel()
	h, old := paused(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	old.bound = map[*binding]struct{}{{cancel: cancel}: {}}
	r := &runner{h: h}
	if err := r.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.State() != Active || h.fence.left() <= 0 {
		t.Fatalf("state %v, trust left %v; want active with trust", h.State(), h.fence.left())
	}
	if old.Check() != ErrSuspended || context.Cause(ctx) != ErrSuspended {
		t.Fatalf("the lease from before: check %v, cause %v; want ErrSuspended", old.Check(), context.Cause(ctx))
	}
}

func TestNothingIsHandedOutAfterThePause(t *testing.T) {
	t.Parallel()
	h, _ := paused(t)
	w := &waiter{done: make(chan struct{})}
	q := h.queue("student")
	w.place = q.waiting.PushBack(w)
	h.granted(&call{seq: 1, role: "student", n: 1}, grant{
		accounts: []Leased{{Account: Account{ID: "2", Role: "student"}, Token: 7}},
	})
	if w.lease != nil || q.waiting.Len() != 1 || h.State() != Suspended {
		t.Fatalf("got lease %v, %d waiting, state %v; want none, one, suspended", w.lease, q.waiting.Len(), h.State())
	}
	if len(h.releases) != 1 || h.releases[0] != (release{id: "2", role: "student", token: 7, unused: true}) {
		t.Fatalf("to be given back: %+v; want account 2", h.releases)
	}
}
