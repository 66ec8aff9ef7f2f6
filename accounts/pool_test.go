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
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestCreateAndOpen(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		config := accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool"}
		if _, err := accounts.Open(ctx, config); !errors.Is(err, accounts.ErrNoPool) {
			t.Fatalf("open before create: got %v, want ErrNoPool", err)
		}
		want := accounts.Settings{LeaseTTL: 30 * time.Second, LockDelay: 5 * time.Second}
		p, err := accounts.Create(ctx, config, accounts.Settings{})
		if err != nil || p.Settings() != want || p.Name() != "pool" {
			t.Fatalf("create: got %+v, %v; want %+v", p, err, want)
		}
		if _, err := accounts.Create(ctx, config, want); err != nil {
			t.Fatalf("create again with the same settings: %v", err)
		}
		if p, err := accounts.Open(ctx, config); err != nil || p.Settings() != want {
			t.Fatalf("open: got %+v, %v; want %+v", p, err, want)
		}
		_, err = accounts.Create(ctx, config, accounts.Settings{LeaseTTL: 7 * time.Second, Rest: time.Minute})
		if !errors.Is(err, accounts.ErrSettings) || !strings.Contains(err.Error(), "30s") || !strings.Contains(err.Error(), "7s") {
			t.Fatalf("create with other settings: got %v, want ErrSettings naming both", err)
		}

		if err := rdb.HSet(ctx, p.Generation(), "schema", "999").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := accounts.Open(ctx, config); !errors.Is(err, accounts.ErrVersion) {
			t.Fatalf("open another version's pool: got %v, want ErrVersion", err)
		}
		if _, err := accounts.Create(ctx, config, want); !errors.Is(err, accounts.ErrVersion) {
			t.Fatalf("create over another version's pool: got %v, want ErrVersion", err)
		}
	})
}

func TestCreateReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := accounts.Create(t.Context(), accounts.Config{Name: "a{b"}, accounts.Settings{
		LeaseTTL: time.Millisecond, LockDelay: -time.Second, Rest: 1500 * time.Microsecond,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no Redis", "a{b", "lease TTL", "lock-delay", "rest"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
}

func TestRefusesARedisThatDoesNotFit(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	opt := *rdb.(*redis.Client).Options()
	opt.ContextTimeoutEnabled = false
	hanging := redis.NewClient(&opt)
	defer hanging.Close()
	_, err := accounts.Create(t.Context(), accounts.Config{Redis: hanging, Namespace: namespace, Name: "p"}, accounts.Settings{})
	if !errors.Is(err, accounts.ErrRedis) {
		t.Errorf("a connection that ignores deadlines: got %v, want ErrRedis", err)
	}
	for name, info := range map[string]string{
		"old":      "redis_version:6.2.14\r\n",
		"evicting": "redis_version:7.2.0\r\nmaxmemory_policy:allkeys-lru\r\n",
	} {
		faked := redistest.Another(t, rdb)
		faked.AddHook(infoHook{info})
		_, err := accounts.Create(t.Context(), accounts.Config{Redis: faked, Namespace: namespace, Name: "p"}, accounts.Settings{})
		if !errors.Is(err, accounts.ErrRedis) {
			t.Errorf("an %s server: got %v, want ErrRedis", name, err)
		}
	}
}

// infoHook answers INFO.
type infoHook struct{ info string }

func (infoHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (infoHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h infoHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if text, ok := cmd.(*redis.StringCmd); ok && cmd.Name() == "info" {
			text.SetVal(h.info)
			return nil
		}
		return next(ctx, cmd)
	}
}

func TestDestroyLeavesNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 5)
		fill(t, p, "proctor", 2)
		if _, err := p.Intend(ctx, []accounts.Account{{Username: "new", Role: "student"}}); err != nil {
			t.Fatal(err)
		}
		h, stop := register(t, p)
		h.Release(lease(t, h, "student"), accounts.Refused("locked"))
		eventually(t, "a quarantined account", func() bool { s, _ := p.Stats(ctx); return s[1].Quarantined == 1 })
		if _, err := p.Retire(ctx, "proctor", 1); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Register(ctx, "idle"); err != nil {
			t.Fatal(err)
		}
		stop()
		if err := p.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		if left, err := rdb.Keys(ctx, namespace+":*").Result(); err != nil || len(left) > 0 {
			t.Fatalf("keys left: %v, %v", left, err)
		}
		if err := p.Destroy(ctx); !errors.Is(err, accounts.ErrNoPool) {
			t.Fatalf("destroy again: got %v, want ErrNoPool", err)
		}
	})
}

// A pool that was destroyed and made again is another one: who has the old one
// open must not touch it.
func TestAPoolMadeAgainIsAnother(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		old := newPool(t, rdb, namespace, accounts.Settings{})
		h, err := old.Register(ctx, "h")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- h.Run(context.Background()) }()
		waiting := make(chan error, 1)
		go func() { _, err := h.Lease(context.Background(), "student"); waiting <- err }()
		if err := old.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		fill(t, newPool(t, rdb, namespace, accounts.Settings{}), "student", 1)

		if err := <-ended; !errors.Is(err, accounts.ErrNoPool) {
			t.Errorf("Run: got %v, want ErrNoPool", err)
		}
		if err := <-waiting; !errors.Is(err, accounts.ErrClosed) {
			t.Errorf("Lease: got %v, want ErrClosed", err)
		}
		calls := map[string]func() error{
			"Intend":   func() error { _, err := old.Intend(ctx, []accounts.Account{{Username: "u", Role: "r"}}); return err },
			"Stats":    func() error { _, err := old.Stats(ctx); return err },
			"Retire":   func() error { _, err := old.Retire(ctx, "student", 1); return err },
			"Register": func() error { _, err := old.Register(ctx, "h"); return err },
			"Destroy":  func() error { return old.Destroy(ctx) },
			"Pass":     func() error { _, err := accounts.NewReclaimer(old).Pass(ctx); return err },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, accounts.ErrNoPool) {
				t.Errorf("%s: got %v, want ErrNoPool", name, err)
			}
		}
	})
}

func TestProvisioning(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		account := func(name, role string) accounts.Account {
			return accounts.Account{Username: name, Password: accounts.NewSecret("pw of " + name), Role: role,
				Attributes: map[string]string{"of": name}}
		}
		intend := func(want int, all ...accounts.Account) {
			t.Helper()
			if added, err := p.Intend(ctx, all); err != nil || added != want {
				t.Fatalf("intend: got %d, %v; want %d", added, err, want)
			}
		}
		confirm := func(want int, usernames ...string) {
			t.Helper()
			var all []accounts.Account
			for _, name := range usernames {
				all = append(all, accounts.Account{Username: name})
			}
			if confirmed, err := p.Confirm(ctx, all); err != nil || confirmed != want {
				t.Fatalf("confirm: got %d, %v; want %d", confirmed, err, want)
			}
		}
		intents := func(want ...string) {
			t.Helper()
			all, err := p.Intents(ctx, 100)
			if err != nil || !slices.Equal(names(all), want) {
				t.Fatalf("intents: got %v, %v; want %v", names(all), err, want)
			}
			for _, a := range all {
				if a.ID != "" || a.Password.Reveal() != "pw of "+a.Username || a.Attributes["of"] != a.Username {
					t.Fatalf("intent %q came back as %+v", a.Username, a)
				}
			}
		}
		intend(3, account("a", "student"), account("b", "proctor"), account("c", "student"), account("a", "student"))
		intend(1, account("c", "student"), account("d", "student"))
		intents("a", "b", "c", "d")
		if all, err := p.Intents(ctx, 2); err != nil || len(all) != 2 {
			t.Fatalf("two intents: got %v, %v", names(all), err)
		}
		if all, err := p.Stats(ctx); err != nil || len(all) != 0 {
			t.Fatalf("stats before confirming: got %+v, %v; want none", all, err)
		}

		for _, want := range []int{2, 0} { // the second time changes nothing
			confirm(want, "a", "b", "a", "nobody")
			intents("c", "d")
			got, err := p.Stats(ctx)
			want := []accounts.RoleStats{
				{Role: "proctor", Known: 1, Available: 1, Created: 1}, {Role: "student", Known: 1, Available: 1, Created: 1},
			}
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("stats: got %+v, %v; want %+v", got, err, want)
			}
		}
		intend(0, account("a", "student")) // known already
		if err := p.Drop(ctx, []string{"c", "nobody"}); err != nil {
			t.Fatal(err)
		}
		confirm(1, "c", "d")
		intents()
		audit(t, p)

		if n, err := p.Retire(ctx, "student", 1); err != nil || n != 1 {
			t.Fatalf("retire one student: got %d, %v", n, err)
		}
		if n, err := p.Retire(ctx, "", 100); err != nil || n != 2 {
			t.Fatalf("retire the others: got %d, %v; want 2", n, err)
		}
		if n, err := p.Retire(ctx, "", 0); err != nil || n != 0 {
			t.Fatalf("retire none: got %d, %v", n, err)
		}
		retired, err := p.Retired(ctx, 100)
		if err != nil || !slices.Equal(names(retired), []string{"a", "b", "d"}) || retired[0].Password.Reveal() != "pw of a" {
			t.Fatalf("retired: got %v, %v; want a, b, d", names(retired), err)
		}
		audit(t, p)
		for range 2 {
			if err := p.Forget(ctx, []string{retired[0].ID, retired[1].ID, "12345"}); err != nil {
				t.Fatal(err)
			}
		}
		audit(t, p)
		if all, err := p.Retired(ctx, 100); err != nil || !slices.Equal(names(all), []string{"d"}) {
			t.Fatalf("retired: got %v, %v; want d", names(all), err)
		}
		intend(1, account("a", "student")) // forgotten, so it is new
		confirm(1, "a")
		if got, err := p.Retired(ctx, 100); err != nil || len(got) != 1 {
			t.Fatalf("a new account of a forgotten name is retired: %v, %v", names(got), err)
		}
		audit(t, p)
	})
}

func TestIntendRefusesUnfitAccounts(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	secret := accounts.NewSecret("hunter2")
	added, err := p.Intend(t.Context(), []accounts.Account{
		{Username: "", Role: "student", Password: secret},
		{Username: "fine", Role: "student", Password: secret},
		{Username: "spaced", Role: "stu dent", Password: secret},
		{Username: "roleless", Password: secret},
		{Username: strings.Repeat("x", 600), Role: "student", Password: secret},
		{Username: "binary", Role: "student", Password: accounts.NewSecret("hunter2\xff")},
	})
	if added != 0 || err == nil {
		t.Fatalf("got %d, %v; want an error and nothing recorded", added, err)
	}
	for _, want := range []string{"no username", "spaced", "roleless", "xxx", "binary"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells a password: %v", err)
	}
	if all, err := p.Intents(t.Context(), 10); err != nil || len(all) != 0 {
		t.Errorf("recorded all the same: %v, %v", names(all), err)
	}
}

func TestRolesAreLimited(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		for i := range 64 {
			fill(t, p, fmt.Sprintf("role-%d", i), 1)
		}
		if _, err := p.Intend(t.Context(), []accounts.Account{{Username: "u", Role: "one-more"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Confirm(t.Context(), []accounts.Account{{Username: "u"}}); !errors.Is(err, accounts.ErrRoles) {
			t.Fatalf("the 65th role: got %v, want ErrRoles", err)
		}
		fill(t, p, "role-63", 1) // its username is known: nothing to do, no error
		audit(t, p)
	})
}

// Many accounts take several calls, and none is lost between them.
func TestBulk(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 1000)
		if n, err := p.Retire(ctx, "", 600); err != nil || n != 600 {
			t.Fatalf("retire: got %d, %v; want 600", n, err)
		}
		retired, err := p.Retired(ctx, 1000)
		if err != nil || len(retired) != 600 {
			t.Fatalf("retired: got %d, %v; want 600", len(retired), err)
		}
		ids := make([]string, len(retired))
		for i, a := range retired {
			ids[i] = a.ID
		}
		if err := p.Forget(ctx, ids); err != nil {
			t.Fatal(err)
		}
		if got, want := stats(t, p), (accounts.RoleStats{Role: "student", Known: 400, Available: 400}); got != want {
			t.Fatalf("stats: got %+v, want %+v", got, want)
		}
		audit(t, p)
	})
}

// No error and no log line of the package tells a password.
func TestPasswordsDoNotLeak(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	core, logs := observer.New(zap.DebugLevel)
	p, err := accounts.Create(t.Context(), accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool", Log: zap.New(core)}, accounts.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p, "student", 2)
	ids, err := rdb.HKeys(t.Context(), p.Records()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.HSet(t.Context(), p.Records(), ids[0], `{"u":"x","r":"student","p":123456}`).Err(); err != nil {
		t.Fatal(err)
	}
	h, _ := register(t, p)
	l := lease(t, h, "student")
	for _, text := range []string{
		fmt.Sprint(l.Leased), fmt.Sprintf("%+v", l.Leased), fmt.Sprintf("%#v", l.Leased), fmt.Sprintf("%v %s", l.Account, l.Password),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("formatting a lease tells its password: %s", text)
		}
	}
	// The account whose record makes no sense is out of the way, not in it.
	eventually(t, "the unreadable account is quarantined", func() bool {
		h.Release(l, accounts.OK)
		l = lease(t, h, "student")
		return stats(t, p).Quarantined == 1
	})
	if _, err := p.Retire(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	for _, entry := range logs.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "hunter2") || strings.Contains(text, "123456") {
			t.Errorf("a log line tells a password: %s", text)
		}
	}
}

func names(all []accounts.Account) []string {
	var names []string
	for _, a := range all {
		names = append(names, a.Username)
	}
	return names
}

func TestQuarantinedAccountsRetire(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 3)
		fill(t, p, "proctor", 2)
		h, stop := register(t, p)
		defer stop()
		for _, role := range []string{"student", "student", "proctor"} {
			h.Release(lease(t, h, role), accounts.Refused("locked"))
		}
		eventually(t, "three quarantined", func() bool {
			return sum(t, p).Quarantined == 3
		})
		if n, err := p.RetireQuarantined(ctx, 2); err != nil || n != 2 {
			t.Fatalf("retire two: got %d, %v", n, err)
		}
		if n, err := p.RetireQuarantined(ctx, 100); err != nil || n != 1 {
			t.Fatalf("retire the rest: got %d, %v; want 1", n, err)
		}
		if got := sum(t, p); got.Retired != 3 || got.Quarantined != 0 || got.Available != 2 {
			t.Errorf("after retiring: %+v", got)
		}
		audit(t, p)
	})
}

// sum adds up the counts of all roles.
func sum(t *testing.T, p *accounts.Pool) accounts.RoleStats {
	t.Helper()
	all, err := p.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var total accounts.RoleStats
	for _, s := range all {
		total.Available += s.Available
		total.Quarantined += s.Quarantined
		total.Retired += s.Retired
	}
	return total
}
