package provision_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
)

// BenchmarkPostgresCreate creates 10,000 accounts in batches, as a Provisioner
// does, and in the same run lets plain COPY bring the same rows into a table of
// the same kind: all at once, and in the same batches.
func BenchmarkPostgresCreate(b *testing.B) {
	const size, batch = 10_000, 500
	cfg, db := newUsers(b)
	p := openPostgres(b, cfg)
	list := people("our", size)
	fresh := func() { mustExec(b, db, "TRUNCATE users") }
	copied := func(list []accounts.Account) {
		_, err := db.CopyFrom(context.Background(), pgx.Identifier{"users"}, []string{"username", "password", "role"},
			pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
				return []any{list[i].Username, list[i].Password.Reveal(), list[i].Role}, nil
			}))
		if err != nil {
			b.Fatal(err)
		}
	}
	var create, copyAll, copyBatches time.Duration
	timed := func(total *time.Duration, do func()) {
		fresh()
		began := time.Now()
		do()
		*total += time.Since(began)
		if n := one[int](b, db, "SELECT count(*) FROM users"); n != size {
			b.Fatalf("%d rows, want %d", n, size)
		}
	}
	for b.Loop() {
		timed(&create, func() {
			for part := range slices.Chunk(list, batch) {
				mustCreate(b, p, part)
			}
		})
		timed(&copyAll, func() { copied(list) })
		timed(&copyBatches, func() {
			for part := range slices.Chunk(list, batch) {
				copied(part)
			}
		})
	}
	perSecond := func(total time.Duration) float64 { return float64(size*b.N) / total.Seconds() }
	b.ReportMetric(perSecond(create), "accounts/s")
	b.ReportMetric(perSecond(copyAll), "copied/s")
	b.ReportMetric(perSecond(create)/perSecond(copyAll), "of-COPY")
	b.ReportMetric(perSecond(create)/perSecond(copyBatches), "of-COPY-in-batches")
	b.ReportMetric(0, "ns/op") // of three things together, it says nothing
}

// BenchmarkPostgresVerify verifies one account, and a batch of them, where
// there are 10,000.
func BenchmarkPostgresVerify(b *testing.B) {
	for _, size := range []int{1, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cfg, _ := newUsers(b)
			p := openPostgres(b, cfg)
			list := people("our", 10_000)
			mustCreate(b, p, list)
			for b.Loop() {
				if _, err := p.VerifyAll(context.Background(), list[:size]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
