package accounts_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestListSaysWhereAccountsAre(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{Rest: time.Hour})
		fill(t, p, "student", 6)
		fill(t, p, "proctor", 1)
		h, _ := register(t, p)
		held, rested := lease(t, h, "student"), lease(t, h, "student")
		refused := lease(t, h, "student")
		h.Release(rested, accounts.OK)
		h.Release(refused, accounts.Refused("locked"))
		eventually(t, "both are back", func() bool {
			s, err := p.Stats(ctx)
			return err == nil && s[1].Leased == 1
		})
		if n, err := p.Retire(ctx, "proctor", 1); n != 1 || err != nil {
			t.Fatalf("retire: got %d, %v", n, err)
		}

		all := list(t, p, accounts.Filter{})
		if len(all) != 7 {
			t.Fatalf("%d accounts; want 7", len(all))
		}
		near := func(at time.Time) bool { return time.Since(at).Abs() < time.Minute }
		if l := all[held.Username]; l.State != accounts.StateLeased || l.Holder != h.ID() || l.HolderName != t.Name() || l.Token != held.Token || !near(l.Since) || !l.Until.IsZero() {
			t.Errorf("leased: got %+v", l)
		}
		if l := all[rested.Username]; l.State != accounts.StateResting || !near(l.Until.Add(-time.Hour)) || !l.Since.IsZero() {
			t.Errorf("resting: got %+v", l)
		}
		if l := all[refused.Username]; l.State != accounts.StateQuarantined || l.Reason != "locked" || l.Holder != h.ID() || l.Token != refused.Token || !near(l.Since) || !l.Until.IsZero() {
			t.Errorf("quarantined: got %+v", l)
		}
		if l := all["proctor-0"]; l.State != accounts.StateRetired || l.Role != "proctor" || l.ID == "" {
			t.Errorf("retired: got %+v", l)
		}
		for name, want := range map[string]struct {
			filter accounts.Filter
			n      int
		}{
			"available":         {accounts.Filter{States: []accounts.AccountState{accounts.StateAvailable}}, 3},
			"leased or retired": {accounts.Filter{States: []accounts.AccountState{accounts.StateLeased, accounts.StateRetired}}, 2},
			"resting students":  {accounts.Filter{Role: "student", States: []accounts.AccountState{accounts.StateResting}}, 1},
			"students":          {accounts.Filter{Role: "student"}, 6},
			"leased proctors":   {accounts.Filter{Role: "proctor", States: []accounts.AccountState{accounts.StateLeased}}, 0},
		} {
			if got := list(t, p, want.filter); len(got) != want.n {
				t.Errorf("%s: %d accounts; want %d", name, len(got), want.n)
			}
		}
	})
}

func TestListsThatCannotBe(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	fill(t, p, "student", 300)
	do := func(accounts.Listed) error { return nil }
	if err := p.List(t.Context(), accounts.Filter{Role: "teacher"}, do); !errors.Is(err, accounts.ErrUnknownRole) {
		t.Errorf("an unknown role: got %v, want ErrUnknownRole", err)
	}
	if err := p.List(t.Context(), accounts.Filter{States: []accounts.AccountState{"lost"}}, do); err == nil {
		t.Error("an unknown state: no error")
	}
	enough, n := errors.New("enough"), 0
	err := p.List(t.Context(), accounts.Filter{}, func(accounts.Listed) error {
		if n++; n == 10 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 10 {
		t.Errorf("got %v after %d accounts; want the callback's error after 10", err, n)
	}
}

// However much accounts move, each is listed once, and always somewhere.
func TestListOfAPoolInUse(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	fill(t, p, "student", 800)
	ctx, stop := context.WithCancel(context.Background())
	var users sync.WaitGroup
	defer users.Wait()
	defer stop()
	for range 4 {
		h, _ := register(t, p)
		users.Go(func() {
			for ctx.Err() == nil {
				all, err := h.LeaseAll(ctx, "student", 100)
				if err != nil {
					return
				}
				for i, l := range all {
					if i%10 == 0 {
						h.Release(l, accounts.Refused("locked"))
					} else {
						h.Release(l, accounts.OK)
					}
				}
			}
		})
	}
	users.Go(func() {
		for ctx.Err() == nil {
			all, err := p.Quarantined(ctx, 100)
			var these []string
			for _, q := range all {
				these = append(these, q.Username)
			}
			if _, restore := p.Restore(ctx, these); (err != nil || restore != nil) && ctx.Err() == nil {
				t.Errorf("restore: %v, %v", err, restore)
				return
			}
		}
	})
	seen := map[accounts.AccountState]int{}
	for range 6 {
		all := list(t, p, accounts.Filter{})
		for _, l := range all {
			seen[l.State]++
			if l.State == accounts.StateLeased && l.Holder == "" {
				t.Errorf("leased by nobody: %+v", l)
			}
		}
		if len(all) != 800 {
			t.Fatalf("%d accounts; want 800", len(all))
		}
	}
	if seen[""] > 0 || seen[accounts.StateLeased] == 0 || seen[accounts.StateAvailable] == 0 {
		t.Errorf("seen: %v; want some leased, some available, none nowhere", seen)
	}
}
