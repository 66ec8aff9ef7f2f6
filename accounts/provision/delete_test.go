package provision_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

func account(username, role, password string) accounts.Account {
	return accounts.Account{Username: username, Role: role, Password: accounts.NewSecret(password)}
}

// importAll imports accounts that the target has.
func importAll(t testing.TB, pool *accounts.Pool, w *town, list ...accounts.Account) {
	t.Helper()
	for _, a := range list {
		w.settle(a)
	}
	if _, err := pool.Import(context.Background(), list); err != nil {
		t.Fatal(err)
	}
}

// Only what the pool has created may be deleted.
func TestDeleteAllLeavesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 20})
		importAll(t, pool, w, account("imported-1", "student", "one"), account("imported-2", "proctor", "two"))
		// A look-alike, of the same pattern; and one that somebody else created
		// under a username that we had intended.
		w.settle(account("student-0123456789ab", "student", "theirs"))
		w.settle(account("student-taken", "student", "theirs"))
		if _, err := pool.Intend(t.Context(), []accounts.Account{account("student-taken", "student", "ours")}); err != nil {
			t.Fatal(err)
		}
		result, err := p.DeleteAll(t.Context())
		if want := (provision.Result{Deleted: 20, Forgotten: 2}); err != nil || result != want {
			t.Errorf("%+v, %v; want %+v", result, err, want)
		}
		there := w.population()
		for _, name := range []string{"imported-1", "imported-2", "student-0123456789ab", "student-taken"} {
			if _, ok := there[name]; !ok {
				t.Errorf("%s was deleted", name)
			}
		}
		if len(there) != 4 || len(listed(t, pool)) != 0 || len(intents(t, pool)) != 0 {
			t.Errorf("%d in the target, %d in the pool, %d intended", len(there), len(listed(t, pool)), len(intents(t, pool)))
		}
	})
}

// An intent that the target refuses to create, and whose username it has under
// another password, is never deleted; all else is.
func TestDeleteAllLeavesWhatItCannotTell(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	p := provision.New(pool, w, provision.Config{})
	mustEnsure(t, p, map[string]int{"student": 5})
	w.settle(account("student-theirs", "student", "theirs"))
	w.settle(account("student-ours", "student", "ours"))
	var intended []accounts.Account
	for _, name := range []string{"student-theirs", "student-ours", "student-never"} {
		intended = append(intended, account(name, "student", "ours"))
	}
	if _, err := pool.Intend(t.Context(), intended); err != nil {
		t.Fatal(err)
	}
	w.before = func(_ context.Context, verb string, _ accounts.Account) error {
		if verb == "create" {
			return fmt.Errorf("%w: answered 403", provision.ErrRefused)
		}
		return nil
	}
	result, err := p.DeleteAll(t.Context())
	if !errors.Is(err, provision.ErrRefused) || !strings.Contains(err.Error(), `"student-theirs"`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want the username in one line", err)
	}
	if result.Deleted != 5 || len(listed(t, pool)) != 0 {
		t.Errorf("%+v, and %d are left in the pool", result, len(listed(t, pool)))
	}
	left := intents(t, pool)
	if len(left) != 1 || left[0].Username != "student-theirs" {
		t.Errorf("intended are %v, want only student-theirs", names(left))
	}
	if there := w.population(); len(there) != 1 || there["student-theirs"].Username == "" {
		t.Errorf("the target has %d accounts, want only student-theirs", len(there))
	}
}

func TestDeleteRetired(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 620, "proctor": 3})
		importAll(t, pool, w, account("guest-1", "guest", "one"))
		for role, n := range map[string]int{"student": 600, "guest": 1} {
			if _, err := pool.Retire(t.Context(), role, n); err != nil {
				t.Fatal(err)
			}
		}
		result, err := p.DeleteRetired(t.Context())
		if want := (provision.Result{Deleted: 600, Forgotten: 1}); err != nil || result != want {
			t.Errorf("%+v, %v; want %+v", result, err, want)
		}
		if have := known(t, pool); have["student"] != 20 || have["proctor"] != 3 || have["guest"] != 0 || len(w.population()) != 24 {
			t.Errorf("%v known, %d in the target", have, len(w.population()))
		}
		if result, err := p.DeleteRetired(t.Context()); err != nil || result != (provision.Result{}) {
			t.Errorf("again: %+v, %v", result, err)
		}
	})
}
