package accounts_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	_ "pgregory.net/rapid" // registers the flag that TestMain sets

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestMain(m *testing.M) {
	// Fewer histories than rapid's default of 100; -rapid.checks asks for more.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	os.Exit(redistest.Main(m))
}

// patience is how long a test waits for what must happen. It bounds failures,
// not the tests' own time.
const patience = 20 * time.Second

// newPool makes a pool in the namespace.
func newPool(t testing.TB, rdb redis.UniversalClient, namespace string, settings accounts.Settings) *accounts.Pool {
	t.Helper()
	p, err := accounts.Create(context.Background(), accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// again opens the pool through another connection, to which faults belong.
func again(t testing.TB, rdb redis.UniversalClient, namespace string, faults *redistest.Faults) *accounts.Pool {
	t.Helper()
	other := redistest.Another(t, rdb)
	if faults != nil {
		other.AddHook(faults)
	}
	p, err := accounts.Open(context.Background(), accounts.Config{Redis: other, Namespace: namespace, Name: "pool"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fill adds n accounts of a role, named after it and numbered from 0.
func fill(t testing.TB, p *accounts.Pool, role string, n int) {
	t.Helper()
	all := make([]accounts.Account, n)
	for i := range n {
		name := fmt.Sprintf("%s-%d", role, i)
		all[i] = accounts.Account{Username: name, Password: accounts.NewSecret("hunter2-" + name), Role: role}
	}
	if _, err := p.Intend(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Confirm(context.Background(), all); err != nil {
		t.Fatal(err)
	}
}

// register registers a holder and runs it until the test ends, or until the
// returned function is called, which waits for its end.
func register(t testing.TB, p *accounts.Pool) (*accounts.Holder, func()) {
	t.Helper()
	h, err := p.Register(context.Background(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	return h, run(t, h)
}

func run(t testing.TB, h *accounts.Holder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func lease(t testing.TB, h *accounts.Holder, role string) *accounts.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := h.Lease(ctx, role)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stats returns the only role's counts.
func stats(t testing.TB, p *accounts.Pool) accounts.RoleStats {
	t.Helper()
	all, err := p.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("stats of %d roles; want one: %+v", len(all), all)
	}
	all[0].Waits = accounts.Waits{} // they are told now and then
	all[0].Created = 0              // by fill, in most tests
	return all[0]
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func audit(t testing.TB, p *accounts.Pool) {
	t.Helper()
	if report, err := p.Audit(context.Background()); err != nil || report.Found > 0 {
		t.Errorf("audit: %d problems: %q, %v", report.Found, report.Problems, err)
	}
}
