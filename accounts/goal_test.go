package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestGoal(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		check := func(want map[string]int) {
			t.Helper()
			if got, err := p.Goal(t.Context()); err != nil || !maps.Equal(got, want) {
				t.Errorf("the goal is %v, %v; want %v", got, err, want)
			}
		}
		check(nil)
		for _, goal := range []map[string]int{{"student": 100, "proctor": 3}, {"student": 7}} {
			if err := p.SetGoal(t.Context(), goal); err != nil {
				t.Fatal(err)
			}
			check(goal)
		}
		for _, bad := range []map[string]int{{"a b": 1}, {"student": -1}} {
			if err := p.SetGoal(t.Context(), bad); err == nil {
				t.Errorf("%v: no error", bad)
			}
		}
		check(map[string]int{"student": 7})
		for range 2 {
			if err := p.ClearGoal(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(nil)
		}
	})
}

func TestBaselineIsTheFirstOneOfACampaign(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		if n, known, err := p.Baseline(t.Context()); n != 0 || known || err != nil {
			t.Errorf("before: %d, %v, %v", n, known, err)
		}
		set := func(n, want int) {
			t.Helper()
			if got, err := p.SetBaseline(t.Context(), n); err != nil || got != want {
				t.Errorf("SetBaseline(%d): %d, %v; want %d", n, got, err, want)
			}
			if got, known, err := p.Baseline(t.Context()); err != nil || got != want || !known {
				t.Errorf("Baseline: %d, %v, %v; want %d", got, known, err, want)
			}
		}
		set(0, 0)
		set(12, 12) // nothing is there yet
		if _, err := p.Intend(t.Context(), []accounts.Account{{Username: "a", Password: accounts.NewSecret("x"), Role: "student"}}); err != nil {
			t.Fatal(err)
		}
		set(13, 12)
		if err := p.Drop(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		set(14, 14)
		fill(t, p, "student", 2)
		set(16, 14)
		if _, err := p.SetBaseline(t.Context(), -1); err == nil {
			t.Error("-1: no error")
		}
	})
}

// Nothing is written for a pool that is not there any more, and nothing stays.
func TestNotesEndWithThePool(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 1)
		if err := p.SetGoal(t.Context(), map[string]int{"student": 7}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.SetBaseline(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := p.CountFailed(t.Context(), map[string]int{"never": 1}); err != nil {
			t.Fatal(err)
		}
		if wait, err := p.Permit(t.Context(), 0.001, 1); wait != 0 || err != nil {
			t.Fatalf("wait %v, %v", wait, err)
		}
		if err := p.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"SetGoal":     p.SetGoal(t.Context(), map[string]int{"student": 7}),
			"ClearGoal":   p.ClearGoal(t.Context()),
			"CountFailed": p.CountFailed(t.Context(), map[string]int{"student": 7}),
		} {
			if !errors.Is(err, accounts.ErrNoPool) {
				t.Errorf("%s: %v, want ErrNoPool", what, err)
			}
		}
		if _, err := p.SetBaseline(t.Context(), 7); !errors.Is(err, accounts.ErrNoPool) {
			t.Errorf("SetBaseline: %v, want ErrNoPool", err)
		}
		if keys := keysOf(t, rdb, namespace); len(keys) > 0 {
			t.Errorf("left: %v", keys)
		}
	})
}

// keysOf returns every key with the namespace anywhere in it.
func keysOf(t *testing.T, rdb redis.UniversalClient, namespace string) (keys []string) {
	t.Helper()
	var mu sync.Mutex
	scan := func(ctx context.Context, c redis.Cmdable) error {
		iter := c.Scan(ctx, 0, "*"+namespace+":*", 1000).Iterator()
		for iter.Next(ctx) {
			mu.Lock()
			keys = append(keys, iter.Val())
			mu.Unlock()
		}
		return iter.Err()
	}
	var err error
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(t.Context(), func(ctx context.Context, c *redis.Client) error { return scan(ctx, c) })
	} else {
		err = scan(t.Context(), rdb)
	}
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestCountFailed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		for _, failed := range []map[string]int{{"student": 2}, nil, {"student": 3, "proctor": 1}} {
			if err := p.CountFailed(t.Context(), failed); err != nil {
				t.Fatal(err)
			}
		}
		all, err := p.Stats(t.Context())
		if err != nil || len(all) != 2 || all[0].Failed != 1 || all[1].Failed != 5 || all[1].Known != 0 {
			t.Errorf("%+v, %v; want 1 and 5 failed", all, err)
		}
		fill(t, p, "student", 1)
		audit(t, p)
		for i := range 70 {
			if err := p.CountFailed(t.Context(), map[string]int{fmt.Sprint("role-", i): 1}); err != nil {
				t.Fatal(err)
			}
		}
		if all, err := p.Stats(t.Context()); err != nil || len(all) != 64 {
			t.Errorf("%d roles, %v; want the most there can be", len(all), err)
		}
		if err := p.CountFailed(t.Context(), map[string]int{"a b": 1}); err == nil {
			t.Error("an impossible role: no error")
		}
	})
}
