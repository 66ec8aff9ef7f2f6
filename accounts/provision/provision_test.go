package provision_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

func TestEnsureCreatesWhatIsMissing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{})

		want := map[string]int{"student": 620, "proctor": 21, "probe": 0}
		if got := mustEnsure(t, p, want); got != (provision.Result{Created: 641}) {
			t.Errorf("first: %+v, want 641 created", got)
		}
		agree(t, pool, w, map[string]int{"student": 620, "proctor": 21})

		if got := mustEnsure(t, p, want); got != (provision.Result{Existed: 641}) || w.creates != 641 {
			t.Errorf("again: %+v and %d calls in all, want 641 existing and no more calls", got, w.creates)
		}

		more := map[string]int{"student": 600, "probe": 4}
		if got := mustEnsure(t, p, more); got != (provision.Result{Created: 4, Existed: 620}) {
			t.Errorf("more: %+v, want 4 created beside 620", got)
		}
		agree(t, pool, w, map[string]int{"student": 620, "proctor": 21, "probe": 4})
	})
}

func TestEnsureFinishesIntentsOfWhateverRole(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		left := []accounts.Account{
			{Username: "student-a", Password: accounts.NewSecret("one"), Role: "student", Attributes: map[string]string{"class": "7"}},
			{Username: "guest-a", Password: accounts.NewSecret("two"), Role: "guest"},
		}
		if _, err := pool.Intend(t.Context(), left); err != nil {
			t.Fatal(err)
		}
		got := mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 3})
		if got.Created != 4 {
			t.Errorf("created %d, want the 2 intended and 2 more", got.Created)
		}
		agree(t, pool, w, map[string]int{"student": 3, "guest": 1})
		there := w.population()["student-a"]
		if there.Password.Reveal() != "one" || there.Attributes["class"] != "7" {
			t.Errorf("the target got %+v, not what was intended", there)
		}
	})
}

func TestGeneratedCredentials(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 50})
	name, password := regexp.MustCompile(`^student-[0-9a-f]{12}$`), regexp.MustCompile(`^[A-Za-z0-9_-]{24}$`)
	passwords := map[string]bool{}
	for _, a := range w.population() {
		if !name.MatchString(a.Username) || !password.MatchString(a.Password.Reveal()) {
			t.Errorf("username %q or its password of %d bytes does not look right", a.Username, len(a.Password.Reveal()))
		}
		passwords[a.Password.Reveal()] = true
	}
	if len(passwords) != 50 {
		t.Errorf("%d passwords for 50 accounts", len(passwords))
	}
}

func TestDeleteAllDeletesWhatIsFree(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		p := provision.New(pool, w, provision.Config{})
		mustEnsure(t, p, map[string]int{"student": 620, "proctor": 3})
		intended := []accounts.Account{{Username: "student-x", Password: accounts.NewSecret("x"), Role: "student"}}
		if _, err := pool.Intend(t.Context(), intended); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Retire(t.Context(), "proctor", 2); err != nil {
			t.Fatal(err)
		}

		holder, err := pool.Register(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- holder.Run(ctx) }()
		refused, err := holder.Lease(ctx, "student")
		if err != nil {
			t.Fatal(err)
		}
		holder.Release(refused, accounts.Refused("locked")) // quarantined accounts are deleted as well
		lease, err := holder.Lease(ctx, "student")
		if err != nil {
			t.Fatal(err)
		}
		result, err := p.DeleteAll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := (provision.Result{Deleted: 623, Left: 1}); result != want {
			t.Errorf("with one leased: %+v, want %+v", result, want)
		}
		agree(t, pool, w, map[string]int{"student": 1})
		if _, ok := w.population()[lease.Username]; !ok {
			t.Errorf("the account that is leased is not in the target")
		}

		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if result, err = p.DeleteAll(t.Context()); err != nil || result != (provision.Result{Deleted: 1}) {
			t.Errorf("once released: %+v, %v", result, err)
		}
		agree(t, pool, w, map[string]int{})
		if result, err = p.DeleteAll(t.Context()); err != nil || result != (provision.Result{}) {
			t.Errorf("when empty: %+v, %v", result, err)
		}
	})
}

func TestRetiredAccountsDoNotCount(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	p := provision.New(pool, w, provision.Config{})
	mustEnsure(t, p, map[string]int{"student": 10})
	if _, err := pool.Retire(t.Context(), "student", 4); err != nil {
		t.Fatal(err)
	}
	if got := mustEnsure(t, p, map[string]int{"student": 10}); got != (provision.Result{Created: 4, Existed: 6}) {
		t.Errorf("%+v, want 4 created in place of those retired", got)
	}
}

func TestTakenUsernames(t *testing.T) {
	t.Parallel()
	theirs := accounts.Account{Username: "student-a", Password: accounts.NewSecret("theirs"), Role: "student"}
	ours := accounts.Account{Username: "student-a", Password: accounts.NewSecret("ours"), Role: "student"}
	start := func(t *testing.T) (*accounts.Pool, *town, *provision.Provisioner) {
		rdb, namespace := redistest.Embedded(t)
		pool, w := newPool(t, rdb, namespace), newTown()
		if _, err := w.Create(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Intend(t.Context(), []accounts.Account{ours}); err != nil {
			t.Fatal(err)
		}
		return pool, w, provision.New(pool, w, provision.Config{})
	}
	t.Run("Ensure drops them", func(t *testing.T) {
		t.Parallel()
		pool, w, p := start(t)
		_, err := p.Ensure(t.Context(), map[string]int{"student": 2})
		if !errors.Is(err, provision.ErrTaken) || !strings.Contains(err.Error(), `"student-a"`) {
			t.Errorf("got %v, want ErrTaken and the username", err)
		}
		mustEnsure(t, p, map[string]int{"student": 2})
		if n := known(t, pool)["student"]; n != 2 || len(w.population()) != 3 {
			t.Errorf("%d known, %d in the target; want 2 and 3", n, len(w.population()))
		}
	})
	t.Run("DeleteAll leaves them alone", func(t *testing.T) {
		t.Parallel()
		pool, w, p := start(t)
		if result, err := p.DeleteAll(t.Context()); err != nil || result != (provision.Result{}) {
			t.Errorf("%+v, %v", result, err)
		}
		if _, ok := w.population()["student-a"]; !ok || len(intents(t, pool)) != 0 {
			t.Errorf("somebody else's account is there: %v; %d intents", ok, len(intents(t, pool)))
		}
	})
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		pool, w := newPool(t, rdb, namespace), newTown()
		calls := 0 // one call at a time
		w.before = func(context.Context, string, accounts.Account) error {
			if calls++; calls == 7 {
				return fmt.Errorf("%w: answered 403", provision.ErrRefused)
			}
			return nil
		}
		p := provision.New(pool, w, provision.Config{Concurrency: 1})
		result, err := p.Ensure(t.Context(), map[string]int{"student": 20})
		if !errors.Is(err, provision.ErrRefused) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want ErrRefused in one line", err)
		}
		if calls != 7 || result.Created != 6 || known(t, pool)["student"] != 6 {
			t.Errorf("%d calls, %d created, %v known; want 7, 6, 6", calls, result.Created, known(t, pool))
		}
		if got := mustEnsure(t, p, map[string]int{"student": 20}); got != (provision.Result{Created: 14, Existed: 6}) {
			t.Errorf("afterwards %+v", got)
		}
		agree(t, pool, w, map[string]int{"student": 20})
	})
}

// A target that creates no more accounts must not keep those it has.
func TestDeleteAllWhenCreationsAreRefused(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	mustEnsure(t, provision.New(pool, w, provision.Config{}), map[string]int{"student": 5})
	// One was created, but its answer never came.
	orphan := accounts.Account{Username: "student-x", Password: accounts.NewSecret("x"), Role: "student"}
	if _, err := pool.Intend(t.Context(), []accounts.Account{orphan}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create(t.Context(), orphan); err != nil {
		t.Fatal(err)
	}
	w.before = func(_ context.Context, verb string, _ accounts.Account) error {
		if verb == "create" {
			return provision.ErrRefused
		}
		return nil
	}
	result, err := provision.New(pool, w, provision.Config{}).DeleteAll(t.Context())
	if err != nil || result.Deleted != 5 {
		t.Errorf("%+v, %v", result, err)
	}
	agree(t, pool, w, map[string]int{})
}

func TestImpossibleRole(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	pool, w := newPool(t, rdb, namespace), newTown()
	_, err := provision.New(pool, w, provision.Config{}).Ensure(t.Context(), map[string]int{"a b": 500})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), `"a b"`) {
		t.Errorf("got %v, want one line that names the role", err)
	}
	if n := len(intents(t, pool)); n > 0 || w.creates > 0 {
		t.Errorf("%d intents, %d calls", n, w.creates)
	}
}

func TestRedisFails(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		faults := new(redistest.Faults)
		broken := redistest.Another(t, rdb)
		broken.AddHook(faults)
		w := newTown()
		pool := newPool(t, broken, namespace)
		fault := faults.LoseReplies(1, func(cmd redis.Cmder) bool {
			return w.population() != nil && len(w.population()) == 20 && strings.HasPrefix(cmd.Name(), "eval") &&
				!strings.Contains(cmd.String(), ":turn:") // which is kept alive meanwhile
		})
		_, err := provision.New(pool, w, provision.Config{}).Ensure(t.Context(), map[string]int{"student": 20})
		if err == nil || fault.Hits() != 1 {
			t.Errorf("the reply to Confirm was lost, and the error is %v", err)
		}
		mustEnsure(t, provision.New(newPool(t, rdb, namespace), w, provision.Config{}), map[string]int{"student": 20})
		agree(t, pool, w, map[string]int{"student": 20})
	})
}
