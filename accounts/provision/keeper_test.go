package provision_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// keep runs a keeper until the returned function is called, or the test ends.
func keep(t testing.TB, p *provision.Provisioner, cfg provision.KeeperConfig) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := provision.NewKeeper(p, cfg).Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return stop
}

// after lets time pass in a bubble.
func after(t testing.TB, d time.Duration) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
}

// leaseAll leases accounts for as long as the test runs.
func leaseAll(t testing.TB, h *accounts.Holder, role string, n int) []*accounts.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	leases, err := h.LeaseAll(ctx, role, n)
	if err != nil {
		t.Fatal(err)
	}
	return leases
}

func TestKeeperCreatesWhenARoleRunsLow(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 100, "proctor": 10})
		holder := register(t, pool)
		keep(t, p, provision.KeeperConfig{LowWater: 0.1, Every: time.Second})
		after(t, 5*time.Second)
		leaseAll(t, holder, "student", 90) // 10 of 100 are not less than a tenth
		after(t, 5*time.Second)
		if w.creates != 110 {
			t.Errorf("%d calls, want none but the first 110", w.creates)
		}
		leaseAll(t, holder, "student", 10)
		after(t, 5*time.Second)
		if have := known(t, pool); have["student"] < 110 || have["student"] > 112 || have["proctor"] != 10 {
			t.Errorf("%v known, want a tenth more students", have)
		}

		// Those who wait get theirs on top.
		leases := make(chan int, 1)
		go func() { leases <- len(leaseAll(t, holder, "student", 50)) }()
		after(t, 10*time.Second)
		select {
		case n := <-leases:
			if n != 50 {
				t.Errorf("%d leases", n)
			}
		default:
			t.Error("nothing came for those who wait")
		}
		if have := known(t, pool)["student"]; have < 160 || have > 185 {
			t.Errorf("%d students, want 150 and about a tenth more", have)
		}
		agree(t, pool, w, known(t, pool))
	})
}

func TestKeeperStopsAtTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		log, lines := observer.New(zap.WarnLevel)
		p := provision.New(pool, w, provision.Config{Log: zap.New(log)})
		mustEnsure(t, p, map[string]int{"student": 100, "proctor": 10})
		holder := register(t, pool)
		keep(t, p, provision.KeeperConfig{LowWater: 0.1, Max: 115, Every: time.Second})
		leaseAll(t, holder, "student", 100)
		after(t, time.Minute)
		if have := known(t, pool); have["student"] != 105 {
			t.Errorf("%v known, want 5 more", have)
		}
		if n := lines.FilterMessageSnippet("may have no more").Len(); n != 1 {
			t.Errorf("%d lines say so, want one: %v", n, lines.All())
		}
		if _, err := pool.Retire(t.Context(), "proctor", 2); err != nil {
			t.Fatal(err)
		}
		after(t, time.Minute)
		if have := known(t, pool); have["student"] != 107 || have["proctor"] != 8 {
			t.Errorf("%v known, want those retired replaced", have)
		}
		agree(t, pool, w, known(t, pool))
	})
}

func TestKeeperDeletesRetiredAccounts(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 100})
		if _, err := pool.Retire(t.Context(), "student", 40); err != nil {
			t.Fatal(err)
		}
		keep(t, p, provision.KeeperConfig{LowWater: 0.1, Every: time.Second})
		after(t, 3*time.Second)
		agree(t, pool, w, map[string]int{"student": 60})
	})
}

// Accounts that cannot be deleted keep nobody from creating others.
func TestKeeperCreatesWhenItCannotDelete(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		log, lines := observer.New(zap.WarnLevel)
		p := provision.New(pool, w, provision.Config{Log: zap.New(log)})
		mustEnsure(t, p, map[string]int{"student": 100})
		if _, err := pool.Retire(t.Context(), "student", 40); err != nil {
			t.Fatal(err)
		}
		w.before = func(_ context.Context, verb string, _ accounts.Account) error {
			if verb == "delete" {
				return fmt.Errorf("%w: answered 403", provision.ErrRefused)
			}
			return nil
		}
		keep(t, p, provision.KeeperConfig{LowWater: 0.1, Every: time.Second})
		holder := register(t, pool)
		for range 3 {
			leaseAll(t, holder, "student", 20)
			after(t, 3*time.Minute)
		}
		if have := known(t, pool)["student"]; have < 66 {
			t.Errorf("%d students, want a tenth more than 60", have)
		}
		if n := lines.FilterMessageSnippet("cannot be deleted").Len(); n != 1 || lines.Len() != 1 {
			t.Errorf("%d lines say so, want one: %v", n, lines.All())
		}
	})
}

func TestKeeperSaysOnceThatItCannot(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		log, lines := observer.New(zap.InfoLevel)
		p := provision.New(pool, w, provision.Config{Log: zap.New(log), Concurrency: 1})
		mustEnsure(t, p, map[string]int{"student": 10})
		holder := register(t, pool)
		leaseAll(t, holder, "student", 10)
		start := time.Now()
		var refused atomic.Int64
		w.before = func(context.Context, string, accounts.Account) error {
			refused.Add(1)
			if time.Since(start) < 10*time.Minute {
				return fmt.Errorf("%w: answered 403", provision.ErrRefused)
			}
			return nil
		}
		keep(t, p, provision.KeeperConfig{LowWater: 0.5, Every: time.Second})
		after(t, 9*time.Minute)
		if calls := refused.Load(); calls < 5 || calls > 400 {
			t.Errorf("%d calls in 9 minutes, want fewer and fewer", calls)
		}
		if n := lines.FilterMessageSnippet("are not created").Len(); n != 1 {
			t.Errorf("%d lines say so, want one: %v", n, lines.All())
		}
		after(t, 3*time.Minute)
		if n := lines.FilterMessageSnippet("are created again").Len(); n != 1 {
			t.Errorf("%d lines say that it is over, want one", n)
		}
		if have := known(t, pool)["student"]; have < 15 {
			t.Errorf("%d students, want more", have)
		}
	})
}

// Of two keepers one works; when it has died the other takes over.
func TestKeepersTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		pool, w := longPool(t, rdb, namespace), newTown()
		mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 100})
		holder := register(t, pool)
		cfg := provision.KeeperConfig{LowWater: 0.1, Every: time.Second}

		ends := new(crash)
		first := newTown()
		first.there, first.seen = w.there, w.seen
		keep(t, provision.New(dying(t, rdb, namespace, ends), first, provision.Config{}), cfg)
		after(t, time.Second)
		keep(t, provision.New(pool, w, provision.Config{}), cfg)
		after(t, 3*time.Second)
		leaseAll(t, holder, "student", 100)
		after(t, 3*time.Second)
		if first.creates < 10 || w.creates != 100 {
			t.Errorf("the first made %d calls, the second %d; want only the first to work", first.creates, w.creates-100)
		}
		ends.over.Store(true)
		after(t, 15*time.Second)
		leaseAll(t, holder, "student", 10)
		after(t, 15*time.Second)
		if w.creates < 110 {
			t.Errorf("the second made %d calls, want it to have taken over", w.creates-100)
		}
		agree(t, pool, w, known(t, pool))
	})
}

func TestKeeperEndsWithThePool(t *testing.T) {
	bubble(t, func(t *testing.T, pool *accounts.Pool, w *town) {
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 1})
		destroyed := make(chan error, 1)
		time.AfterFunc(time.Minute, func() { destroyed <- pool.Destroy(context.Background()) })
		if err := provision.NewKeeper(p, provision.KeeperConfig{LowWater: 0.1}).Run(t.Context()); !errors.Is(err, accounts.ErrNoPool) {
			t.Errorf("got %v, want ErrNoPool", err)
		}
		if err := <-destroyed; err != nil {
			t.Error(err)
		}
	})
}
