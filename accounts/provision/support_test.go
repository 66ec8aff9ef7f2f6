package provision_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/target"
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
	locked        map[string]bool
	creates       int
	deletes       int
	verifies      int
	underWay, top int
}

func newTown() *town {
	return &town{there: map[string]accounts.Account{}, seen: map[string]string{}, locked: map[string]bool{}}
}

func (w *town) Create(ctx context.Context, a accounts.Account) (provision.Receipt, error) {
	return provision.Receipt{TargetID: "id-" + a.Username}, w.call(ctx, "create", a, func() error {
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

func (w *town) Verify(ctx context.Context, a accounts.Account) error {
	return w.call(ctx, "verify", a, func() error {
		w.verifies++
		there, ok := w.there[a.Username]
		switch {
		case !ok:
			return provision.ErrMissing
		case w.locked[a.Username]:
			return fmt.Errorf("%w: locked", provision.ErrRefused)
		case !there.Password.Equal(a.Password):
			return fmt.Errorf("%w: wrong password", provision.ErrRefused)
		default:
			return nil
		}
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

// lock makes the target refuse an account.
func (w *town) lock(username string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locked[username] = true
}

// lose makes the target lose an account.
func (w *town) lose(username string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.there, username)
}

// settle puts an account there that no pool has created.
func (w *town) settle(a accounts.Account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.there[a.Username] = a
}

// census is a town that knows how many accounts it has.
type census struct{ *town }

func (c census) Count(context.Context) (int, error) { return len(c.population()), nil }

// wholesale is a town that does many accounts with one call. It notes how many
// each call was of.
type wholesale struct {
	*town
	mu    sync.Mutex
	sizes []int
}

func (b *wholesale) note(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, n)
}

func (b *wholesale) CreateAll(ctx context.Context, all []accounts.Account) ([]provision.Outcome, error) {
	b.note(len(all))
	outcomes := make([]provision.Outcome, len(all))
	for i, a := range all {
		outcomes[i].Receipt, outcomes[i].Err = b.Create(ctx, a)
	}
	return outcomes, nil
}

func (b *wholesale) VerifyAll(ctx context.Context, all []accounts.Account) ([]error, error) {
	b.note(len(all))
	errs := make([]error, len(all))
	for i, a := range all {
		errs[i] = b.Verify(ctx, a)
	}
	return errs, nil
}

func (b *wholesale) DeleteAll(ctx context.Context, all []accounts.Account) ([]error, error) {
	b.note(len(all))
	errs := make([]error, len(all))
	for i, a := range all {
		errs[i] = b.Delete(ctx, a)
	}
	return errs, nil
}

// healed is the same target, without the hooks.
func (w *town) healed() *town {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &town{there: w.there, seen: w.seen, locked: w.locked}
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

// newPool makes the pool, or opens it, for tests in real time: the turn of a
// process that has died ends soon, and one that is merely slow keeps its own.
func newPool(t testing.TB, rdb redis.UniversalClient, namespace string) *accounts.Pool {
	t.Helper()
	return poolWith(t, rdb, namespace, accounts.Settings{LeaseTTL: 4 * time.Second, LockDelay: 100 * time.Millisecond})
}

// longPool is newPool for tests in a bubble, where waiting takes no time, and
// keeping alive what lasts for long does.
func longPool(t testing.TB, rdb redis.UniversalClient, namespace string) *accounts.Pool {
	t.Helper()
	return poolWith(t, rdb, namespace, accounts.Settings{})
}

func poolWith(t testing.TB, rdb redis.UniversalClient, namespace string, settings accounts.Settings) *accounts.Pool {
	t.Helper()
	pool, err := accounts.Create(context.Background(), accounts.Config{Redis: rdb, Namespace: namespace, Name: "p"}, settings)
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

// serveTarget serves the built-in target, behind what wrap puts before it.
func serveTarget(t testing.TB, wrap func(http.Handler) http.Handler) (base string, server *target.Server) {
	t.Helper()
	server, err := target.New(target.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(wrap(server.Handler()))
	t.Cleanup(s.Close)
	return s.URL, server
}

// newAPI returns a user of the built-in target's account API.
func newAPI(base string) (provision.Source, error) {
	return provision.NewHTTP(provision.HTTPConfig{URL: base, Dial: new(net.Dialer).DialContext})
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
