package accounts

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/redistest"
)

// BenchmarkCycle compares leasing and releasing 100 accounts with the least that
// Redis can be asked to do for it, ZPOPMIN 100 and ZADD 100. Figures of one run
// compare; those of different runs do not.
func BenchmarkCycle(b *testing.B) {
	const accounts, batch, students = 20_000, 100, "student"
	rdb, namespace := redistest.Real(b)
	ctx := context.Background()
	pool, err := Create(ctx, Config{Redis: rdb, Namespace: namespace, Name: "bench"}, Settings{LeaseTTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	all, names := make([]Account, accounts), make([]string, accounts)
	for i := range all {
		names[i] = "user-" + strconv.Itoa(i)
		all[i] = Account{Username: names[i], Password: NewSecret(uuid.NewString() + uuid.NewString()), Role: students}
	}
	if _, err := pool.Intend(ctx, all); err != nil {
		b.Fatal(err)
	}
	if err := pool.Confirm(ctx, names); err != nil {
		b.Fatal(err)
	}
	raw := namespace + ":raw"
	members := make([]redis.Z, accounts)
	for i := range members {
		members[i] = redis.Z{Score: float64(i), Member: strconv.Itoa(i)}
	}
	if err := rdb.ZAdd(ctx, raw, members...).Err(); err != nil {
		b.Fatal(err)
	}

	rate := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "accounts/s")
	}
	b.Run("raw", func(b *testing.B) {
		var score atomic.Int64
		score.Store(accounts)
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				popped, err := rdb.ZPopMin(ctx, raw, batch).Result()
				for i := range popped {
					popped[i].Score = float64(score.Add(1))
				}
				if err == nil {
					err = rdb.ZAdd(ctx, raw, popped...).Err()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
		rate(b)
	})
	b.Run("leased", func(b *testing.B) {
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			holder := uuid.NewString()
			if err := pool.store.open(ctx, holder, time.Hour, "bench"); err != nil {
				b.Error(err)
				return
			}
			for seq := int64(1); pb.Next(); seq += 2 {
				got, err := pool.store.lease(ctx, holder, seq, batch, students)
				releases := make([]release, len(got.accounts))
				for i, a := range got.accounts {
					releases[i] = release{id: a.ID, role: students, token: a.Token}
				}
				if err == nil {
					_, err = pool.store.release(ctx, holder, seq+1, 0, releases)
				}
				if err != nil || len(got.accounts) != batch {
					b.Errorf("leased %d: %v", len(got.accounts), err)
					return
				}
			}
		})
		rate(b)
	})
}

// BenchmarkCheck is the fence that every write to the network passes.
func BenchmarkCheck(b *testing.B) {
	var f fence
	f.renew(time.Now(), time.Hour)
	l := &Lease{fence: &f}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Check(); err != nil {
			b.Fatal(err)
		}
	}
}
