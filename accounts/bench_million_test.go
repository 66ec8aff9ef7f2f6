package accounts

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const million = 1_000_000

// BenchmarkMemory says how many bytes of Redis an account costs, at a million.
// The index of usernames, which is only for those who manage accounts, is told
// apart: the bounds are for the rest.
func BenchmarkMemory(b *testing.B) {
	if testing.Short() {
		b.Skip("fills a pool with a million accounts")
	}
	tests := []struct {
		name     string
		settings Settings
		most     float64
	}{
		{"plain", Settings{}, 300},
		{"limits", Settings{MaxUses: mostUses, MaxAge: oldest}, 380},
	}
	for _, test := range tests {
		b.Run(test.name, func(b *testing.B) {
			bench := newBench(b)
			for b.Loop() {
				p := bench.pool("memory", test.settings)
				before := bench.info("memory", "used_memory")
				bench.fill(p, 0, million)
				if test.settings.MaxUses > 0 {
					// What is kept of uses is kept from the first use on.
					h := bench.holder(p)
					for range million / benchBatch {
						_, err := h.cycle(context.Background(), benchBatch)
						bench.must(err)
					}
				}
				// What a key takes is what is left without it: MEMORY USAGE leaves
				// out what the allocator rounds up.
				used := bench.info("memory", "used_memory")
				all := (used - before) / million
				of := func(key string) float64 {
					bench.must(bench.rdb.Del(context.Background(), key).Err())
					left := bench.info("memory", "used_memory")
					freed := (used - left) / million
					used = left
					return freed
				}
				index := of(p.store.keys.index())
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(all-index, "B/account")
				b.ReportMetric(test.most, "B-most")
				b.ReportMetric(index, "B-index/account")
				b.Logf("of %.0f B: records %.0f, index %.0f, available %.0f, uses %.0f, born %.0f", all,
					of(p.store.keys.records()), index, of(p.store.keys.available(benchRole)), of(p.store.keys.uses()), of(p.store.keys.born()))
			}
		})
	}
}

// BenchmarkRenew compares the processor time of Redis for renewing a million
// leased accounts, of a thousand holders, with that for as many leases that each
// have an expiry of their own, renewed a hundred at a time: ZADD XX.
func BenchmarkRenew(b *testing.B) {
	if testing.Short() {
		b.Skip("fills a pool with a million accounts")
	}
	const holders = 1000
	bench := newBench(b)
	ctx := context.Background()
	p := bench.pool("renew", Settings{})
	bench.fill(p, 0, million)
	raw, all := bench.raw(million), bench.holders(p, holders)
	for _, h := range all {
		_, err := h.lease(ctx, million/holders)
		bench.must(err)
	}
	spent := func(do func()) float64 {
		before := bench.cpu()
		do()
		return (bench.cpu() - before) * 1000
	}
	for b.Loop() {
		rawMs, ms, ratio := inTurn(func() (float64, float64) {
			expires := float64(time.Now().Add(time.Hour).UnixMilli())
			each := spent(func() {
				for from := 1; from <= million; from += benchBatch {
					members := make([]redis.Z, benchBatch)
					for i := range members {
						members[i] = redis.Z{Score: expires, Member: strconv.Itoa(from + i)}
					}
					bench.must(bench.rdb.ZAddXX(ctx, raw, members...).Err())
				}
			})
			return each, spent(func() {
				for _, h := range all {
					bench.must(p.store.renew(ctx, h.id, time.Hour, h.seq))
				}
			})
		})
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(rawMs, "raw-cpu-ms")
		b.ReportMetric(ms, "cpu-ms")
		b.ReportMetric(ratio, "x-raw")
		b.ReportMetric(0.1, "x-most")
	}
}

// info returns one number of INFO.
func (b *bench) info(section, name string) float64 {
	b.Helper()
	text, err := b.rdb.Info(context.Background(), section).Result()
	b.must(err)
	n, err := strconv.ParseFloat(field(text, name), 64)
	b.must(err)
	return n
}

// cpu is the processor time that Redis has taken, in seconds.
func (b *bench) cpu() float64 {
	return b.info("cpu", "used_cpu_user") + b.info("cpu", "used_cpu_sys")
}

// BenchmarkReclaim takes 100,000 accounts back from a dead holder, in a pool of a
// million, while nothing else goes on. Beside it, the plain commands that move as
// many from a hash to a sorted set: HRANDFIELD, HDEL and ZADD, 256 at a time.
func BenchmarkReclaim(b *testing.B) {
	if testing.Short() {
		b.Skip("fills a pool with a million accounts")
	}
	const dead = 100_000
	bench := newBench(b)
	ctx := context.Background()
	p := bench.pool("reclaim", Settings{})
	bench.fill(p, 0, million)
	slow := bench.slowlog(0)
	var calls, sum, longest time.Duration
	raw := func() float64 {
		key := "raw-held"
		held := make(map[string]any, 1000)
		for i := range dead {
			held[strconv.Itoa(i)] = "1234567890123456 student"
			if len(held) == 1000 {
				bench.must(bench.rdb.HSet(ctx, key, held).Err())
				clear(held)
			}
		}
		began := time.Now()
		for {
			ids, err := bench.rdb.HRandField(ctx, key, moveBatch).Result()
			bench.must(err)
			if len(ids) == 0 {
				break
			}
			members := make([]redis.Z, len(ids))
			for i, id := range ids {
				members[i] = redis.Z{Score: 1, Member: id}
			}
			bench.must(bench.rdb.HDel(ctx, key, ids...).Err())
			bench.must(bench.rdb.ZAdd(ctx, "raw-av", members...).Err())
		}
		took := time.Since(began).Seconds()
		bench.must(bench.rdb.Unlink(ctx, "raw-av").Err())
		return took
	}
	ours := func() float64 {
		h := bench.holder(p)
		_, err := h.lease(ctx, dead)
		bench.must(err)
		bench.must(bench.rdb.ZAdd(ctx, p.store.keys.holders(), redis.Z{Score: 1, Member: h.id}).Err())
		slow.reset()
		began := time.Now()
		moved, err := NewReclaimer(p).empty(ctx, h.id, 1)
		took := time.Since(began)
		bench.must(err)
		if moved != dead {
			b.Fatalf("reclaimed %d accounts, want %d", moved, dead)
		}
		for _, entry := range slow.entries() {
			if strings.HasPrefix(entry.name, "close") {
				calls, sum, longest = calls+1, sum+entry.Duration, max(longest, entry.Duration)
			}
		}
		return took.Seconds()
	}
	for b.Loop() {
		rawSeconds, seconds, ratio := inTurn(func() (float64, float64) { return raw(), ours() })
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(rawSeconds, "raw-s")
		b.ReportMetric(seconds, "s")
		b.ReportMetric(0.5, "s-most")
		b.ReportMetric(ratio, "x-raw")
		b.ReportMetric((sum/max(calls, 1)).Seconds()*1000, "script-avg-ms")
		b.ReportMetric(longest.Seconds()*1000, "script-max-ms")
	}
}
