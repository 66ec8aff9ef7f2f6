package accounts_test

import (
	"context"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// What is on record of an account's creation decides whether it may be deleted.
func TestReceipts(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		intend := func(a accounts.Account) accounts.Account {
			t.Helper()
			if n, err := p.Intend(ctx, []accounts.Account{a}); n != 1 || err != nil {
				t.Fatalf("intend: got %d, %v", n, err)
			}
			all, err := p.Intents(ctx, 2)
			if err != nil || len(all) != 1 {
				t.Fatalf("intents: got %v, %v", all, err)
			}
			return all[0]
		}
		a := person("ada", "student")
		a.Created = true // whoever says so is not believed
		first := intend(a)
		if len(first.Key) < 20 || first.Created {
			t.Fatalf("intended %+v; want a key and no receipt", first)
		}
		if n, err := p.Intend(ctx, []accounts.Account{a}); n != 0 || err != nil {
			t.Fatalf("intend again: got %d, %v", n, err)
		}
		// Only the target's id is taken over from who confirms.
		told := accounts.Account{Username: "ada", Password: accounts.NewSecret("another"), Role: "proctor", TargetID: "8f14", Key: "another"}
		if n, err := p.Confirm(ctx, []accounts.Account{told}); n != 1 || err != nil {
			t.Fatalf("confirm: got %d, %v", n, err)
		}
		got := list(t, p, accounts.Filter{})["ada"]
		if !got.Created || got.TargetID != "8f14" || got.Key != first.Key || got.Role != "student" || !got.Password.Equal(a.Password) {
			t.Fatalf("confirmed %+v; want %+v with its receipt", got, first)
		}

		if n, err := p.Retire(ctx, "", 1); n != 1 || err != nil {
			t.Fatalf("retire: got %d, %v", n, err)
		}
		if retired, err := p.Retired(ctx, 1); err != nil || !retired[0].Created || retired[0].TargetID != "8f14" {
			t.Fatalf("retired: got %+v, %v; want it with its receipt", retired, err)
		}
		if err := p.Forget(ctx, []string{got.ID}); err != nil {
			t.Fatal(err)
		}
		if again := intend(a); again.Key == first.Key || again.Key == "" {
			t.Errorf("created again with the key %q", again.Key)
		}
		if err := p.Drop(ctx, []string{"ada"}); err != nil {
			t.Fatal(err)
		}
		a.Key = "from a plan"
		if kept := intend(a); kept.Key != a.Key {
			t.Errorf("a given key is not kept: %q", kept.Key)
		}
		audit(t, p)
	})
}

// Several processes finish the same intents: each is confirmed once.
func TestConfirmsAtTheSameTime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		all := people("student", 300)
		if _, err := p.Intend(context.Background(), all); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		confirmed := make([]int, 4)
		for i := range confirmed {
			wg.Go(func() {
				var err error
				if confirmed[i], err = p.Confirm(context.Background(), all); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := confirmed[0] + confirmed[1] + confirmed[2] + confirmed[3]; n != 300 {
			t.Errorf("confirmed %v; want 300 together", confirmed)
		}
		if s := stats(t, p); s.Available != 300 {
			t.Errorf("stats: %+v", s)
		}
		audit(t, p)
	})
}
