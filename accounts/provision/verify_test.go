package provision_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// stateOf returns where each account is.
func stateOf(t testing.TB, pool *accounts.Pool) map[string]accounts.Listed {
	t.Helper()
	all := map[string]accounts.Listed{}
	for _, l := range listed(t, pool) {
		all[l.Username] = l
	}
	return all
}

func TestVerify(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 620, "proctor": 3})
		// What a busy machine does not give back in time comes back when the registration
		// has expired.
		reclaiming, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = accounts.NewReclaimer(pool).Run(reclaiming) })
		defer running.Wait()
		defer stop()
		verify := func(options provision.VerifyOptions) (provision.VerifyResult, error) {
			result, err := p.Verify(t.Context(), options)
			until(t, "everything has come back", func() bool { return len(listed(t, pool, accounts.StateLeased)) == 0 })
			return result, err
		}
		all := names(unlisted(listed(t, pool)))
		slices.Sort(all)
		students := all[3:]
		w.lock(students[0])
		w.lose(students[1])
		w.settle(account(students[2], "student", "another"))

		result, err := verify(provision.VerifyOptions{Role: "student"})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(result.Worst, func(a, b provision.BadAccount) int { return strings.Compare(a.Username, b.Username) })
		want := provision.VerifyResult{Checked: 620, Good: 617, Bad: 2, Missing: 1, Worst: []provision.BadAccount{
			{Username: students[0], Role: "student", Reason: "refused: locked"},
			{Username: students[1], Role: "student", Reason: "the target has no such account"},
			{Username: students[2], Role: "student", Reason: "refused: wrong password"},
		}}
		if !reflect.DeepEqual(result, want) {
			t.Errorf("%+v, want %+v", result, want)
		}
		if w.verifies != 620 {
			t.Errorf("%d calls, want each account once", w.verifies)
		}
		for name, l := range stateOf(t, pool) {
			bad := slices.Contains(students[:3], name)
			if bad != (l.State == accounts.StateQuarantined) || !bad && l.State != accounts.StateAvailable {
				t.Errorf("%s is %s", name, l.State)
			}
			if bad && l.Reason == "" {
				t.Errorf("%s: no reason", name)
			}
		}

		// The target has changed its mind about one.
		w.mu.Lock()
		delete(w.locked, students[0])
		w.mu.Unlock()
		result, err = verify(provision.VerifyOptions{Quarantined: true})
		result.Worst = nil
		if want := (provision.VerifyResult{Checked: 623, Good: 621, Bad: 1, Missing: 1, Restored: 1}); err != nil || !reflect.DeepEqual(result, want) {
			t.Errorf("with quarantined: %+v, %v; want %+v", result, err, want)
		}
		if l := stateOf(t, pool)[students[0]]; l.State != accounts.StateAvailable {
			t.Errorf("%s is %s", students[0], l.State)
		}

		importAll(t, pool, w, account("imported", "student", "x"))
		w.lock("imported")
		result, err = verify(provision.VerifyOptions{Quarantined: true, DeleteBad: true})
		result.Worst = nil
		if want := (provision.VerifyResult{Checked: 624, Good: 621, Bad: 2, Missing: 1, Deleted: 2, Forgotten: 1}); err != nil || !reflect.DeepEqual(result, want) {
			t.Errorf("with deletion: %+v, %v; want %+v", result, err, want)
		}
		there := w.population()
		if _, ok := there["imported"]; !ok || len(there) != 622 || len(listed(t, pool)) != 621 {
			t.Errorf("%d in the target (the imported one: %v), %d in the pool; want 622 and 621", len(there), ok, len(listed(t, pool)))
		}
	})
}

func unlisted(all []accounts.Listed) []accounts.Account {
	list := make([]accounts.Account, len(all))
	for i, l := range all {
		list[i] = l.Account
	}
	return list
}

func TestVerifyUnknownRole(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool := newPool(t, rdb, namespace)
	_, err := provision.New(pool, newTown(), provision.Config{}).Verify(t.Context(), provision.VerifyOptions{Role: "studnet"})
	if !errors.Is(err, accounts.ErrUnknownRole) || !strings.Contains(err.Error(), `"studnet"`) {
		t.Errorf("got %v", err)
	}
	if result, err := provision.New(pool, newTown(), provision.Config{}).Verify(t.Context(), provision.VerifyOptions{}); err != nil || result.Checked != 0 {
		t.Errorf("an empty pool: %+v, %v", result, err)
	}
}

// Nobody else has an account while it is verified, and those that others have
// are left to them.
func TestVerifyLeasesWhatItVerifies(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{Concurrency: 4})
		mustEnsure(t, p, map[string]int{"student": 60})
		holder := register(t, pool)
		theirs := map[string]bool{}
		for range 10 {
			l, err := holder.Lease(t.Context(), "student")
			if err != nil {
				t.Fatal(err)
			}
			theirs[l.Username] = true
		}
		w.before = func(_ context.Context, _ string, a accounts.Account) error {
			if theirs[a.Username] {
				t.Errorf("%s is verified, and somebody has it", a.Username)
			}
			return nil
		}
		w.after = func(_ context.Context, _ string, a accounts.Account) error {
			if l := stateOf(t, pool)[a.Username]; l.State != accounts.StateLeased || !strings.HasPrefix(l.HolderName, "verify ") {
				t.Errorf("%s is %s by %q while it is verified", a.Username, l.State, l.HolderName)
			}
			return nil
		}
		result, err := p.Verify(t.Context(), provision.VerifyOptions{})
		if err != nil || result.Good != 50 || result.Checked != 50 {
			t.Errorf("%+v, %v; want 50 good ones", result, err)
		}
		stats, err := pool.Stats(t.Context())
		if err != nil || stats[0].Available != 50 || stats[0].Leased != 10 {
			t.Errorf("%+v, %v", stats, err)
		}
	})
}

// register runs a holder until the test ends.
func register(t testing.TB, pool *accounts.Pool) *accounts.Holder {
	t.Helper()
	holder, err := pool.Register(context.Background(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- holder.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return holder
}

// Everything comes back, with what was found so far, when the target is down or
// nobody wants to know any more.
func TestVerifyStops(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  error
	}{{"the service is down", provision.ErrDown}, {"the context ends", context.Canceled}} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
				mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 700})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				calls := 0
				w.before = func(_ context.Context, _ string, a accounts.Account) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					if calls++; calls < 100 {
						if calls == 7 {
							return fmt.Errorf("%w: locked", provision.ErrRefused)
						}
						return nil
					}
					if tt.end == context.Canceled {
						cancel()
						return nil
					}
					return errBusy
				}
				p := provision.New(pool, w, provision.Config{Concurrency: 5, Patience: time.Second})
				result, err := p.Verify(ctx, provision.VerifyOptions{})
				if !errors.Is(err, tt.end) || result.Bad != 1 || result.Checked < 99 || result.Checked > 110 {
					t.Errorf("%+v, %v; want %v", result, err, tt.end)
				}
				stats, err := pool.Stats(t.Context())
				if err != nil || stats[0].Available != 699 || stats[0].Quarantined != 1 {
					t.Errorf("%+v, %v", stats, err)
				}
			})
		})
	}
}

func TestVerifyGoesByTheRate(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 100})
		var seen []int
		p := provision.New(pool, w, provision.Config{Rate: 10, Progress: func(done, total int) {
			if total != 100 {
				t.Errorf("progress of %d", total)
			}
			seen = append(seen, done)
		}})
		start := time.Now()
		result, err := p.Verify(t.Context(), provision.VerifyOptions{})
		if took := time.Since(start); err != nil || result.Good != 100 || took < 9900*time.Millisecond || took > 13*time.Second {
			t.Errorf("%+v, %v after %v; want about 10s", result, err, took)
		}
		if !slices.IsSorted(seen) || seen[0] != 0 || seen[len(seen)-1] != 100 {
			t.Errorf("progress: %v", seen)
		}
	})
}

// A holder that loses its leases says so: accounts are not passed over in
// silence, and none is lost.
func TestVerifyLosesItsLeases(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		p := provision.New(pool, w, provision.Config{Concurrency: 10})
		mustEnsure(t, p, map[string]int{"student": 100})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- accounts.NewReclaimer(pool).Run(ctx) }()
		defer func() { stop(); <-ended }()
		calls := 0
		w.before = func(ctx context.Context, _ string, _ accounts.Account) error {
			w.mu.Lock()
			calls++
			revoke := calls == 25
			w.mu.Unlock()
			if revoke {
				holders, err := pool.Holders(t.Context())
				if err != nil || len(holders) != 1 || pool.Revoke(t.Context(), holders[0].ID) != nil {
					t.Errorf("%+v, %v", holders, err)
				}
			}
			return pause(ctx, 2*time.Second)
		}
		result, err := p.Verify(t.Context(), provision.VerifyOptions{})
		if err == nil || !strings.Contains(err.Error(), "the leases ended") || result.Good < 20 || result.Good > 60 || result.Checked != result.Good {
			t.Errorf("%+v, %v; want some good ones, and that the leases ended", result, err)
		}
		after(t, time.Minute)
		w.before = nil
		if result, err := p.Verify(t.Context(), provision.VerifyOptions{}); err != nil || result.Good != 100 {
			t.Errorf("afterwards %+v, %v", result, err)
		}
	})
}
