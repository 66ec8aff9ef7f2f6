package provision_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(childMain())
	}
	os.Exit(redistest.Main(m))
}

// errBusy is a failure that passes.
var errBusy = errors.New("answered 503")

// town is a target in memory. It remembers idempotency keys, as real ones do:
// a creation that it has seen is not done again, even if the account is gone.
type town struct {
	// before and after are asked around each call, if set; what they return
	// is what the caller gets. Set them before the first call.
	before, after func(ctx context.Context, verb string, a accounts.Account) error

	mu            sync.Mutex
	there         map[string]accounts.Account
	seen          map[string]string // username -> password
	creates       int
	deletes       int
	underWay, top int
}

func newTown() *town {
	return &town{there: map[string]accounts.Account{}, seen: map[string]string{}}
}

func (w *town) Create(ctx context.Context, a accounts.Account) error {
	return w.call(ctx, "create", a, func() error {
		w.creates++
		if password, ok := w.seen[a.Username]; ok && password == a.Password.Reveal() {
			return nil
		}
		if _, ok := w.there[a.Username]; ok {
			return provision.ErrTaken
		}
		w.there[a.Username] = a
		w.seen[a.Username] = a.Password.Reveal()
		return nil
	})
}

func (w *town) Delete(ctx context.Context, a accounts.Account) error {
	return w.call(ctx, "delete", a, func() error {
		w.deletes++
		delete(w.there, a.Username)
		return nil
	})
}

func (w *town) call(ctx context.Context, verb string, a accounts.Account, do func() error) error {
	w.mu.Lock()
	w.underWay++
	w.top = max(w.top, w.underWay)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.underWay--
	}()
	if w.before != nil {
		if err := w.before(ctx, verb, a); err != nil {
			return err
		}
	}
	w.mu.Lock()
	err := do()
	w.mu.Unlock()
	if err == nil && w.after != nil {
		err = w.after(ctx, verb, a)
	}
	return err
}

// healed is the same target, without the hooks.
func (w *town) healed() *town {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &town{there: w.there, seen: w.seen}
}

func (w *town) population() map[string]accounts.Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := make(map[string]accounts.Account, len(w.there))
	for name, a := range w.there {
		there[name] = a
	}
	return there
}

func newPool(t testing.TB, rdb redis.UniversalClient, namespace string) *accounts.Pool {
	t.Helper()
	pool, err := accounts.Create(context.Background(),
		accounts.Config{Redis: rdb, Namespace: namespace, Name: "p"}, accounts.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// known returns how many accounts of each role the pool has, without those
// that are retired.
func known(t testing.TB, pool *accounts.Pool) map[string]int {
	t.Helper()
	stats, err := pool.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	byRole := map[string]int{}
	for _, s := range stats {
		if n := int(s.Known - s.Retired); n > 0 {
			byRole[s.Role] = n
		}
	}
	return byRole
}

func intents(t testing.TB, pool *accounts.Pool) []accounts.Account {
	t.Helper()
	list, err := pool.Intents(context.Background(), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func retired(t testing.TB, pool *accounts.Pool) []accounts.Account {
	t.Helper()
	list, err := pool.Retired(context.Background(), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// agree checks that pool and target have the same number of accounts of each
// role, and that nothing is unfinished.
func agree(t testing.TB, pool *accounts.Pool, w *town, want map[string]int) {
	t.Helper()
	there := map[string]int{}
	for _, a := range w.population() {
		there[a.Role]++
	}
	if got := known(t, pool); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the pool knows %v, want %v", got, want)
	}
	if fmt.Sprint(there) != fmt.Sprint(want) {
		t.Errorf("the target has %v, want %v", there, want)
	}
	if n := len(intents(t, pool)); n > 0 {
		t.Errorf("%d intents are left", n)
	}
	if n := len(retired(t, pool)); n > 0 {
		t.Errorf("%d retired accounts are left", n)
	}
}

func mustEnsure(t testing.TB, p *provision.Provisioner, want map[string]int) provision.Result {
	t.Helper()
	result, err := p.Ensure(context.Background(), want)
	if err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	return result
}

// pause waits for d in a bubble's time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
