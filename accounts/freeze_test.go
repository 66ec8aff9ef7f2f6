//go:build unix

package accounts_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// That Redis was restarted shows by what INFO says of the process, so whoever
// is refused INFO must not touch a pool: neither could he tell, nor may others
// take him for another process.

// withUsers starts a Redis with two users besides the default one: "cautious" has
// no dangerous command, "fit" has INFO of those.
func withUsers(t *testing.T) *redistest.Server {
	t.Helper()
	user := func(name string, rights ...string) []string {
		return append([]string{"--user", name, "on", ">pw", "~*", "&*", "+@all", "-@dangerous"}, rights...)
	}
	return redistest.Start(t, redistest.Options{
		AppendOnly: true, Config: slices.Concat(user("cautious"), user("fit", "+info")),
	})
}

// as is the pool as a user of the server reaches it; "" is the default user.
func as(t *testing.T, server *redistest.Server, user string) accounts.Config {
	t.Helper()
	opt := &redis.Options{Addr: server.Addr(), Username: user, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true}
	if user != "" {
		opt.Password = "pw"
	}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return accounts.Config{Redis: rdb, Name: "pool"}
}

// wantNoInfo checks that the error says what is wrong, and what to do.
func wantNoInfo(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, accounts.ErrRedis) || !strings.Contains(err.Error(), "+info") {
		t.Errorf("%s: got %v, want ErrRedis and the right that is missing", what, err)
	}
}

// wantThawed checks that nobody has taken Redis for restarted.
func wantThawed(t *testing.T, what string, p *accounts.Pool) {
	t.Helper()
	if left, err := p.Frozen(t.Context()); left != 0 || err != nil {
		t.Errorf("%s: frozen for %v, %v; want not at all", what, left, err)
	}
}

func TestWhoIsRefusedInfoGetsNoPool(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), withUsers(t)
	cautious, fit := as(t, server, "cautious"), as(t, server, "fit")

	_, err := accounts.Create(ctx, cautious, accounts.Settings{})
	wantNoInfo(t, "Create", err)
	if n, err := fit.Redis.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("%d keys are made all the same, %v", n, err)
	}

	p, err := accounts.Create(ctx, fit, accounts.Settings{})
	if err != nil {
		t.Fatalf("Create with the right to INFO: %v", err)
	}
	_, err = accounts.Create(ctx, cautious, accounts.Settings{})
	wantNoInfo(t, "Create of a pool that is there", err)
	_, err = accounts.Open(ctx, cautious)
	wantNoInfo(t, "Open", err)

	// Who has the right did not notice.
	wantThawed(t, "after the others' attempts", p)
	fill(t, p, "student", 1)
	h, _ := register(t, p)
	lease(t, h, "student")
}

func TestWhoLosesTheRightToInfoFreezesNobody(t *testing.T) {
	t.Parallel()
	ctx, server := t.Context(), withUsers(t)
	admin, err := accounts.Create(ctx, as(t, server, ""), accounts.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := accounts.Open(ctx, as(t, server, "fit"))
	if err != nil {
		t.Fatal(err)
	}
	rights := as(t, server, "").Redis
	grant := func(right string) {
		t.Helper()
		if err := rights.Do(ctx, "ACL", "SETUSER", "fit", right).Err(); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, admin, "student", 1)

	grant("-info")
	for range 3 { // in turn, as an administrator and the workers come
		_, err := worker.Frozen(ctx)
		wantNoInfo(t, "a look", err)
		_, err = worker.Stats(ctx)
		wantNoInfo(t, "Stats", err)
		_, err = worker.Retire(ctx, "student", 1)
		wantNoInfo(t, "Retire", err)
		_, err = worker.Register(ctx, "worker")
		wantNoInfo(t, "Register", err)
		wantThawed(t, "beside a user without the right", admin)
	}
	if s := stats(t, admin); s.Available != 1 {
		t.Errorf("something was done all the same: %+v", s)
	}

	grant("+info")
	wantThawed(t, "with the right given back", worker)
	h, stop := register(t, worker)
	lease(t, h, "student")
	stop()

	// With the right, a restart is seen.
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pool is frozen", func() bool { // connections are made anew
		left, err := worker.Frozen(ctx)
		return err == nil && left > 0
	})
}
