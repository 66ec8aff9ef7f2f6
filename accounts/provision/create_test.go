package provision_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// listed returns every account of the pool.
func listed(t testing.TB, pool *accounts.Pool, states ...accounts.AccountState) (all []accounts.Listed) {
	t.Helper()
	err := pool.List(context.Background(), accounts.Filter{States: states}, func(l accounts.Listed) error {
		all = append(all, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReceiptsAreKept(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 3})
	for _, a := range listed(t, pool) {
		if !a.Created || a.TargetID != "id-"+a.Username {
			t.Errorf("%s: created %v, known to the target as %q", a.Username, a.Created, a.TargetID)
		}
	}
}

// Redis was restarted between the intent and the confirmation, and has lost all
// or some of the intents: what the target has is known to the pool all the same.
func TestLostIntentsAreWrittenDownAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{1, 30, 60} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
				pool, w := newPool(t, rdb, namespace), newTown()
				var once sync.Once
				w.after = func(ctx context.Context, _ string, _ accounts.Account) error {
					once.Do(func() {
						if err := pool.Drop(ctx, names(intents(t, pool)[:lost])); err != nil {
							t.Error(err)
						}
					})
					return nil
				}
				result := mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 60})
				if result.Created != 60 || w.creates != 60 {
					t.Errorf("%+v with %d calls, want 60 created with 60", result, w.creates)
				}
				agree(t, pool, w, map[string]int{"student": 60})
			})
		})
	}
}

func names(list []accounts.Account) []string {
	all := make([]string, len(list))
	for i, a := range list {
		all[i] = a.Username
	}
	return all
}

// Processes that want the same at the same time create it once.
func TestEnsureTakesTurns(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		newPool(t, rdb, namespace)
		w := newTown()
		var all sync.WaitGroup
		var mu sync.Mutex
		created := 0
		for range 4 {
			pool := newPool(t, redistest.Another(t, rdb), namespace)
			all.Go(func() {
				result, err := provision.New(pool, w, provision.Config{}).Ensure(t.Context(), map[string]int{"student": 40})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				created += result.Created
			})
		}
		all.Wait()
		if created != 40 || w.creates != 40 {
			t.Errorf("%d created with %d calls, want 40", created, w.creates)
		}
	})
}

func TestEnsureSaysWhoHasTheTurn(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	ctx, cancel := context.WithCancelCause(t.Context())
	tired := errors.New("tired of waiting")
	w.before = func(context.Context, string, accounts.Account) error {
		cancel(tired)
		_, err := provision.New(pool, newTown(), provision.Config{}).Ensure(ctx, map[string]int{"student": 1})
		if !errors.Is(err, tired) {
			t.Errorf("got %v", err)
		}
		return nil
	}
	mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 1})
}

func TestLimit(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{Max: 30})
		mustEnsure(t, p, map[string]int{"student": 20, "proctor": 2})
		if _, err := pool.Retire(t.Context(), "student", 5); err != nil {
			t.Fatal(err)
		}
		refused := func(err error, parts ...string) {
			t.Helper()
			if !errors.Is(err, provision.ErrLimit) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want ErrLimit in one line", err)
			}
			for _, part := range parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %q", err, part)
				}
			}
			if w.creates != 22 || len(intents(t, pool)) != 0 {
				t.Errorf("%d calls, %d intents", w.creates, len(intents(t, pool)))
			}
			if goal, err := pool.Goal(t.Context()); goal != nil || err != nil {
				t.Errorf("the goal is %v, %v", goal, err)
			}
		}
		// The 5 that are retired are still in the target.
		_, err := p.Ensure(t.Context(), map[string]int{"student": 24, "proctor": 2})
		refused(err, "role student", "9 more", "room for 8", "22 accounts", "may have 30")
		_, err = p.Ensure(t.Context(), map[string]int{"student": 19, "proctor": 7})
		refused(err, "role student", "4 more", "room for 3")
		_, err = p.EnsureMore(t.Context(), map[string]int{"guest": 9})
		refused(err, "role guest")
		if _, err := p.DeleteRetired(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustEnsure(t, p, map[string]int{"student": 24, "proctor": 6})
		agree(t, pool, w, map[string]int{"student": 24, "proctor": 6})
	})
}

func TestEnsureMore(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{})
		more := func(more map[string]int, want provision.Result) {
			t.Helper()
			if got, err := p.EnsureMore(t.Context(), more); err != nil || got != want {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
			if goal, err := pool.Goal(t.Context()); goal != nil || err != nil {
				t.Errorf("the goal is %v, %v", goal, err)
			}
		}
		more(map[string]int{"student": 10}, provision.Result{Created: 10})
		more(map[string]int{"student": 5, "proctor": 1, "probe": 0, "guest": -3}, provision.Result{Created: 6, Existed: 10})
		agree(t, pool, w, map[string]int{"student": 15, "proctor": 1})

		// What an Ensure had intended comes on top.
		left := []accounts.Account{{Username: "student-a", Password: accounts.NewSecret("x"), Role: "student"}}
		if _, err := pool.Intend(t.Context(), left); err != nil {
			t.Fatal(err)
		}
		more(map[string]int{"student": 2}, provision.Result{Created: 3, Existed: 15})
		agree(t, pool, w, map[string]int{"student": 18, "proctor": 1})

		if _, err := p.EnsureMore(t.Context(), map[string]int{"a b": 1}); err == nil || !strings.Contains(err.Error(), `"a b"`) {
			t.Errorf("an impossible role: %v", err)
		}
	})
}

// What failed half-way is finished, not added to; and what finishes it otherwise
// ends it.
func TestEnsureMoreAfterAFailure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		between func(t *testing.T, p *provision.Provisioner)
		want    provision.Result
		have    int
	}{
		{"at once", nil, provision.Result{Created: 14, Existed: 16, Resumed: true}, 30},
		{"after an Ensure that reaches it", func(t *testing.T, p *provision.Provisioner) { mustEnsure(t, p, map[string]int{"student": 30}) },
			provision.Result{Created: 20, Existed: 30}, 50},
		{"after all are deleted", func(t *testing.T, p *provision.Provisioner) {
			if _, err := p.DeleteAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, provision.Result{Created: 20}, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rdb, namespace := redistest.Embedded(t)
			pool, w := newPool(t, rdb, namespace), newTown()
			p := provision.New(pool, w, provision.Config{Concurrency: 1})
			mustEnsure(t, p, map[string]int{"student": 10})
			w.before = func(context.Context, string, accounts.Account) error {
				if w.creates == 16 {
					return provision.ErrRefused
				}
				return nil
			}
			if result, err := p.EnsureMore(t.Context(), map[string]int{"student": 20}); !errors.Is(err, provision.ErrRefused) || result.Created != 6 {
				t.Fatalf("%+v, %v", result, err)
			}
			if goal, err := pool.Goal(t.Context()); err != nil || !maps.Equal(goal, map[string]int{"student": 30}) {
				t.Errorf("the goal is %v, %v", goal, err)
			}
			w.before = nil
			if tt.between != nil {
				tt.between(t, p)
			}
			if got, err := p.EnsureMore(t.Context(), map[string]int{"student": 20}); err != nil || got != tt.want {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
			agree(t, pool, w, map[string]int{"student": tt.have})
		})
	}
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	for i := range 7 {
		w.settle(accounts.Account{Username: fmt.Sprint("other-", i), Role: "other"})
	}
	check := func(want int) {
		t.Helper()
		if n, known, err := pool.Baseline(t.Context()); n != want || !known || err != nil {
			t.Errorf("the baseline is %d, %v, %v; want %d", n, known, err, want)
		}
	}
	p := provision.New(pool, census{w}, provision.Config{})
	mustEnsure(t, p, map[string]int{"student": 5})
	check(7)
	mustEnsure(t, p, map[string]int{"student": 15})
	check(7)
	if _, err := p.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(7)
	w.settle(accounts.Account{Username: "other-x", Role: "other"})
	mustEnsure(t, p, map[string]int{"student": 5})
	check(8)
}

// uncounted cannot count at the moment.
type uncounted struct{ *town }

func (uncounted) Count(context.Context) (int, error) {
	return 0, fmt.Errorf("%w: 403", provision.ErrRefused)
}

// Once there are accounts it is too late to count.
func TestNothingIsCreatedWithoutABaseline(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	w.settle(account("other", "other", "theirs"))
	_, err := provision.New(pool, uncounted{w}, provision.Config{}).Ensure(t.Context(), map[string]int{"student": 5})
	if !errors.Is(err, provision.ErrRefused) || strings.Contains(err.Error(), "\n") || w.creates != 0 || len(intents(t, pool)) != 0 {
		t.Errorf("%v, %d calls, %d intents; want the count's failure and none", err, w.creates, len(intents(t, pool)))
	}
	mustEnsure(t, provision.New(pool, census{w}, provision.Config{}), map[string]int{"student": 6})
	if n, known, err := pool.Baseline(t.Context()); n != 1 || !known || err != nil {
		t.Errorf("the baseline: %d, %v, %v; want 1", n, known, err)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), &wholesale{town: newTown()}
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 1100})
		agree(t, pool, w.town, map[string]int{"student": 1100})
		if want := []int{500, 500, 100}; !slices.Equal(w.sizes, want) {
			t.Errorf("calls of %v, want %v", w.sizes, want)
		}
		w.sizes = nil
		if result, err := p.Verify(t.Context(), provision.VerifyOptions{}); err != nil || result.Good != 1100 {
			t.Errorf("%+v, %v", result, err)
		}
		if len(w.sizes) > 5 {
			t.Errorf("calls of %v", w.sizes)
		}
		w.sizes = nil
		if result, err := p.DeleteAll(t.Context()); err != nil || result.Deleted != 1100 {
			t.Errorf("%+v, %v", result, err)
		}
		if len(w.sizes) != 3 {
			t.Errorf("calls of %v", w.sizes)
		}
		agree(t, pool, w.town, map[string]int{})
	})
}

// Of a call for many, only those are repeated that failed in passing.
func TestBulkThatFailsInPart(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, town *town) {
		w := &wholesale{town: town}
		tries := map[string]int{}
		w.before = func(_ context.Context, _ string, a accounts.Account) error {
			if tries[a.Username]++; tries[a.Username] == 1 && len(tries)%4 == 0 {
				return errBusy
			}
			return nil
		}
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 100})
		if want := []int{100, 25}; !slices.Equal(w.sizes, want) {
			t.Errorf("calls of %v, want %v", w.sizes, want)
		}
		agree(t, pool, town, map[string]int{"student": 100})
		n := 0
		w.before = func(context.Context, string, accounts.Account) error {
			if n++; n == 5 {
				return fmt.Errorf("%w: answered 403", provision.ErrRefused)
			}
			return nil
		}
		result, err := provision.New(pool, w, provision.Config{}).Ensure(t.Context(), map[string]int{"student": 110})
		if !errors.Is(err, provision.ErrRefused) || result.Created != 9 || len(intents(t, pool)) != 1 {
			t.Errorf("%+v, %v, and %d intents; want all but one created", result, err, len(intents(t, pool)))
		}
	})
}

// mistaken answers for fewer accounts than it was asked for.
type mistaken struct{ wholesale }

func (m *mistaken) CreateAll(context.Context, []accounts.Account) ([]provision.Outcome, error) {
	return make([]provision.Outcome, 3), nil
}

func TestBulkThatAnswersForOthers(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool := newPool(t, rdb, namespace)
	source := &mistaken{wholesale{town: newTown()}}
	result, err := provision.New(pool, source, provision.Config{}).Ensure(t.Context(), map[string]int{"student": 10})
	if !errors.Is(err, provision.ErrRefused) || result.Created != 0 {
		t.Errorf("%+v, %v", result, err)
	}
}
