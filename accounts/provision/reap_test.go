package provision_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// crashedCampaign leaves accounts leased by somebody who is dead, intents, some
// of which are in the target, retired ones and quarantined ones, beside accounts
// that are not the pool's.
func crashedCampaign(t *testing.T, rdb redis.UniversalClient, namespace string, source provision.Source, w *town) *accounts.Pool {
	t.Helper()
	for i := range 9 {
		w.settle(account(fmt.Sprintf("student-%012d", i), "student", "theirs"))
	}
	pool := newPool(t, rdb, namespace)
	mustEnsure(t, provision.New(pool, source, provision.Config{}), map[string]int{"student": 50})
	end := new(crash)
	holder, err := dying(t, rdb, namespace, end).Register(t.Context(), "dead")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- holder.Run(ctx) }()
	leaseAll(t, holder, "student", 20)
	end.over.Store(true)
	stop()
	<-ended
	if _, err := pool.Retire(t.Context(), "student", 5); err != nil {
		t.Fatal(err)
	}
	var intended []accounts.Account
	for i := range 10 {
		a := account(fmt.Sprint("student-", i), "student", "ours")
		intended = append(intended, a)
		if i%2 == 0 {
			if _, err := w.Create(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := pool.Intend(t.Context(), intended); err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestReap(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		w := newTown()
		source := census{w}
		pool := crashedCampaign(t, rdb, namespace, source, w)
		result, err := provision.New(pool, source, provision.Config{}).Reap(t.Context())
		want := provision.ReapResult{Deleted: 60, Counted: true, Before: 9, After: 9, Proven: true}
		if err != nil || result != want {
			t.Errorf("%+v, %v; want %+v", result, err, want)
		}
		if n := len(w.population()); n != 9 || len(listed(t, pool)) != 0 || len(intents(t, pool)) != 0 {
			t.Errorf("%d in the target, want the 9 of others", n)
		}
	})
}

// Where nobody counts, each account is looked for.
func TestReapWithoutACount(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	w := newTown()
	pool := crashedCampaign(t, rdb, namespace, w, w)
	result, err := provision.New(pool, w, provision.Config{}).Reap(t.Context())
	if want := (provision.ReapResult{Deleted: 60, Proven: true}); err != nil || result != want || w.verifies != 60 {
		t.Errorf("%+v, %v with %d calls; want %+v", result, err, w.verifies, want)
	}
}

// forgetful says that accounts are deleted, and keeps one.
type forgetful struct{ *town }

func (f forgetful) Delete(ctx context.Context, a accounts.Account) error {
	if len(f.population()) == 10 {
		return nil
	}
	return f.town.Delete(ctx, a)
}

type forgetfulCensus struct{ forgetful }

func (f forgetfulCensus) Count(context.Context) (int, error) { return len(f.population()), nil }

func TestReapDoubts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		source func(w *town) provision.Source
		doubt  string
	}{
		{"by the count", func(w *town) provision.Source { return forgetfulCensus{forgetful{w}} }, "had 9 accounts before, and has 10 now"},
		{"by looking", func(w *town) provision.Source { return forgetful{w} }, "still has 1 accounts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rdb, namespace := redistest.Embedded(t)
			w := newTown()
			pool := crashedCampaign(t, rdb, namespace, tt.source(w), w)
			result, err := provision.New(pool, tt.source(w), provision.Config{Concurrency: 1}).Reap(t.Context())
			if err != nil || result.Proven || !strings.Contains(result.Doubt, tt.doubt) || strings.Contains(result.Doubt, "\n") {
				t.Errorf("%+v, %v; want doubt: %s", result, err, tt.doubt)
			}
		})
	}
}

func TestReapLeavesWhatSomebodyUses(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	w := newTown()
	source := census{w}
	pool := crashedCampaign(t, rdb, namespace, source, w)
	lease := leaseAll(t, register(t, pool), "student", 3)[0]
	result, err := provision.New(pool, source, provision.Config{}).Reap(t.Context())
	if err != nil || result.Left != 3 || result.Deleted != 57 || result.Proven || !strings.Contains(result.Doubt, "3 accounts are held") {
		t.Errorf("%+v, %v", result, err)
	}
	if err := lease.Check(); err != nil {
		t.Errorf("the lease: %v", err)
	}
}
