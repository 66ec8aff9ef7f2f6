package provision_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// patientPool is a pool whose turns outlast a busy machine.
func patientPool(t testing.TB, rdb redis.UniversalClient, namespace string) *accounts.Pool {
	t.Helper()
	pool, err := accounts.Create(context.Background(),
		accounts.Config{Redis: rdb, Namespace: namespace, Name: "p"}, accounts.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestBulkWithTheBuiltInTarget(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	pool := patientPool(t, rdb, namespace)
	base, server := startTarget(t)
	p := provision.New(pool, newHTTP(t, base), provision.Config{})
	want := map[string]int{"student": 1000, "proctor": 34, "probe": 4}
	if got := mustEnsure(t, p, want); got.Created != 1038 || server.Counters().Accounts != 1038 {
		t.Errorf("%+v, %d in the target", got, server.Counters().Accounts)
	}
	if result, err := p.DeleteAll(t.Context()); err != nil || result.Deleted != 1038 || server.Counters().Accounts != 0 {
		t.Errorf("%+v, %v, %d in the target", result, err, server.Counters().Accounts)
	}
}

func BenchmarkEnsure10000(b *testing.B) {
	rdb, namespace := redistest.Real(b)
	for b.Loop() {
		pool := patientPool(b, rdb, namespace)
		base, _ := startTarget(b)
		p := provision.New(pool, newHTTP(b, base), provision.Config{})
		mustEnsure(b, p, map[string]int{"student": 10_000})
		if _, err := p.DeleteAll(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
