package accounts

import (
	"context"
	"testing"
	"time"
)

// benchClients is how many holders there are in a benchmark of several.
const benchClients = 8

// BenchmarkCycle compares leasing and releasing 100 accounts, with their records,
// with taking 100 members out of a sorted set and putting them back: ZPOPMIN 100
// and ZADD 100.
func BenchmarkCycle(b *testing.B) {
	const accounts = 100_000
	outer := newBench(b)
	raw := outer.raw(accounts)
	tests := []struct {
		name  string
		uses  int
		held  int // by each holder, besides the hundred
		least float64
	}{
		{"records", 0, 0, 0.40},
		{"400-held", 0, 400, 0.40},
		{"max-uses", mostUses, 0, 0.30},
	}
	for _, test := range tests {
		b.Run(test.name, func(b *testing.B) {
			bench := outer.with(b)
			p := bench.pool(test.name, Settings{MaxUses: test.uses})
			bench.fill(p, 0, accounts)
			all := bench.holders(p, benchClients)
			for _, h := range all {
				_, err := h.lease(context.Background(), test.held)
				bench.must(err)
			}
			for b.Loop() {
				rawRate, rate, ratio := bench.compare(benchClients, func(ctx context.Context, _ int) (time.Duration, error) {
					return bench.cycleRaw(ctx, raw)
				}, func(ctx context.Context, worker int) (time.Duration, error) {
					return all[worker].cycle(ctx, benchBatch)
				}, func(r run) float64 { return r.perSecond() * benchBatch })
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rawRate, "raw/s")
				b.ReportMetric(rate, "accounts/s")
				b.ReportMetric(ratio, "x-raw")
				b.ReportMetric(test.least, "x-least")
			}
		})
	}
}

// BenchmarkSingle compares leasing and releasing one account, two calls one after
// the other, with PING: what is left of the round trip.
func BenchmarkSingle(b *testing.B) {
	bench := newBench(b)
	p := bench.pool("single", Settings{})
	bench.fill(p, 0, 10_000)
	h := bench.holder(p)
	for b.Loop() {
		raw, rate, ratio := bench.compare(1, func(ctx context.Context, _ int) (time.Duration, error) {
			return 0, bench.rdb.Ping(ctx).Err()
		}, func(ctx context.Context, _ int) (time.Duration, error) {
			return h.cycle(ctx, 1)
		}, run.perSecond)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(raw, "raw/s")
		b.ReportMetric(rate, "accounts/s")
		b.ReportMetric(ratio, "x-raw")
		b.ReportMetric(0.15, "x-least")
	}
}

// BenchmarkLeaseP99 compares the 99th percentile of leasing 100 accounts with
// that of ZPOPMIN 100, each while eight clients do that and give back.
func BenchmarkLeaseP99(b *testing.B) {
	const accounts = 100_000
	bench := newBench(b)
	p := bench.pool("p99", Settings{})
	bench.fill(p, 0, accounts)
	raw, all := bench.raw(accounts), bench.holders(p, benchClients)
	for b.Loop() {
		rawMs, ms, ratio := bench.compare(benchClients, func(ctx context.Context, _ int) (time.Duration, error) {
			return bench.cycleRaw(ctx, raw)
		}, func(ctx context.Context, worker int) (time.Duration, error) {
			return all[worker].cycle(ctx, benchBatch)
		}, run.p99)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(rawMs, "raw-p99-ms")
		b.ReportMetric(ms, "p99-ms")
		b.ReportMetric(ratio, "x-raw")
		b.ReportMetric(2, "x-most")
	}
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
