package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func wantMoved(t *testing.T, what string, got accounts.Moved, err error, want accounts.Moved) {
	t.Helper()
	if err != nil || got.Done != want.Done || !slices.Equal(got.Leased, want.Leased) ||
		!slices.Equal(got.Unknown, want.Unknown) || !slices.Equal(got.Elsewhere, want.Elsewhere) {
		t.Fatalf("%s: got %+v, %v; want %+v", what, got, err, want)
	}
}

func TestQuarantineAndRestore(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 5)
		fill(t, p, "proctor", 2)
		h, _ := register(t, p)
		held := lease(t, h, "student").Username
		free := slices.DeleteFunc([]string{"student-0", "student-1", "student-2", "student-3", "student-4"},
			func(name string) bool { return name == held })

		before := time.Now().Add(-time.Minute)
		these := []string{free[0], free[1], "proctor-0", held, "nobody", free[0]}
		got, err := p.Quarantine(ctx, these, "asks for a captcha", 0)
		wantMoved(t, "quarantine", got, err, accounts.Moved{Done: 3, Leased: []string{held}, Unknown: []string{"nobody"}})
		got, err = p.Quarantine(ctx, []string{free[1], free[2]}, "", time.Hour)
		wantMoved(t, "quarantine again", got, err, accounts.Moved{Done: 1, Elsewhere: []string{free[1]}})
		audit(t, p)

		h.Release(lease(t, h, "proctor"), accounts.Refused("wrong password"))
		eventually(t, "the refused account is quarantined", func() bool {
			s, err := p.Stats(ctx)
			return err == nil && s[0].Quarantined == 2
		})
		all, err := p.Quarantined(ctx, 100)
		if err != nil || len(all) != 5 {
			t.Fatalf("quarantined: got %+v, %v; want 5", all, err)
		}
		if all[0].Username != free[2] || all[0].Reason != "no reason given" || all[0].Until.Sub(all[0].Since) != time.Hour {
			t.Errorf("the first to come out is %+v; want %s after an hour", all[0], free[2])
		}
		byName := map[string]accounts.Quarantined{}
		for _, q := range all {
			byName[q.Username] = q
			if q.Since.Before(before) || q.Since.After(time.Now().Add(time.Minute)) || q.Password.Reveal() != "hunter2-"+q.Username {
				t.Errorf("%+v: since when?", q)
			}
		}
		if q := byName[free[0]]; q.Reason != "asks for a captcha" || !q.Until.IsZero() || q.Holder != "" {
			t.Errorf("by hand: got %+v", q)
		}
		if q := byName["proctor-1"]; q.Reason != "wrong password" || !q.Until.IsZero() || q.Holder != h.ID() || q.HolderName != t.Name() {
			t.Errorf("by its holder: got %+v", q)
		}
		if some, err := p.Quarantined(ctx, 2); err != nil || len(some) != 2 {
			t.Errorf("two of them: got %+v, %v", some, err)
		}

		got, err = p.Restore(ctx, []string{free[0], "proctor-1", held, free[3], "nobody"})
		wantMoved(t, "restore", got, err, accounts.Moved{Done: 2, Leased: []string{held}, Unknown: []string{"nobody"}, Elsewhere: []string{free[3]}})
		audit(t, p)
		lease(t, h, "proctor")

		got, err = p.RetireAccounts(ctx, []string{free[0], free[1], held, "nobody"})
		wantMoved(t, "retire", got, err, accounts.Moved{Done: 2, Leased: []string{held}, Unknown: []string{"nobody"}})
		got, err = p.RetireAccounts(ctx, []string{free[0]})
		wantMoved(t, "retire again", got, err, accounts.Moved{Elsewhere: []string{free[0]}})
		got, err = p.Restore(ctx, []string{free[0]})
		wantMoved(t, "restore what is retired", got, err, accounts.Moved{Elsewhere: []string{free[0]}})
		audit(t, p)
		retired, err := p.Retired(ctx, 10)
		if err != nil || !slices.Equal(names(retired), []string{free[0], free[1]}) {
			t.Errorf("retired: got %v, %v", names(retired), err)
		}
	})
}

func TestBadQuarantines(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	fill(t, p, "student", 1)
	for _, how := range []time.Duration{-1, 11 * 365 * 24 * time.Hour} {
		if _, err := p.Quarantine(t.Context(), []string{"student-0"}, "x", how); err == nil || !strings.Contains(err.Error(), "0 for ever") {
			t.Errorf("for %v: got %v", how, err)
		}
	}
	got, err := p.Quarantine(t.Context(), nil, "x", 0)
	wantMoved(t, "none", got, err, accounts.Moved{})
	got, err = p.Quarantine(t.Context(), []string{"student-0"}, strings.Repeat("x", 1000)+"\xff", 0)
	wantMoved(t, "a long reason", got, err, accounts.Moved{Done: 1})
	if all, err := p.Quarantined(t.Context(), 1); err != nil || len(all[0].Reason) != 256 {
		t.Errorf("got %+v, %v; want 256 bytes of the reason", all, err)
	}
}

// Thousands take several calls, and a quarantine ends by itself.
func TestQuarantineInBulk(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 600)
		var all []string
		for i := range 600 {
			all = append(all, fmt.Sprintf("student-%d", i))
		}
		got, err := p.Quarantine(ctx, all, "the target is upgraded", time.Nanosecond)
		wantMoved(t, "quarantine", got, err, accounts.Moved{Done: 600})
		eventually(t, "all are out again", func() bool {
			if _, err := p.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			return stats(t, p).Available == 600
		})
		audit(t, p)
	})
}

// While the pool is frozen somebody may hold what Redis has as free.
func TestNothingIsTakenFromAFrozenPool(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 3)
		if _, err := p.Quarantine(ctx, []string{"student-0"}, "x", 0); err != nil {
			t.Fatal(err)
		}
		until := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
		if err := rdb.HSet(ctx, p.Generation(), "frozen", until).Err(); err != nil {
			t.Fatal(err)
		}
		student := []string{"student-0"}
		for name, call := range map[string]func(context.Context) error{
			"Quarantine":        func(ctx context.Context) error { _, err := p.Quarantine(ctx, student, "x", 0); return err },
			"Restore":           func(ctx context.Context) error { _, err := p.Restore(ctx, student); return err },
			"Retire":            func(ctx context.Context) error { _, err := p.Retire(ctx, "student", 1); return err },
			"RetireAccounts":    func(ctx context.Context) error { _, err := p.RetireAccounts(ctx, student); return err },
			"RetireQuarantined": func(ctx context.Context) error { _, err := p.RetireQuarantined(ctx, 1); return err },
		} {
			if err := call(ctx); !errors.Is(err, accounts.ErrFrozen) {
				t.Errorf("%s: got %v, want ErrFrozen", name, err)
			}
		}
		if s := stats(t, p); s.Available != 2 || s.Quarantined != 1 {
			t.Errorf("stats: %+v", s)
		}
		fill(t, p, "proctor", 1) // new accounts are nobody's
		audit(t, p)
	})
}
