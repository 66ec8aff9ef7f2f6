package accounts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// holdsMost is how long one command may hold Redis.
const holdsMost = 5 * time.Millisecond

// scriptNames says which script a hash in the slow log is. It makes Redis know
// them all, so that none is listed by its text.
func scriptNames(ctx context.Context, b *bench) map[string]string {
	b.Helper()
	names := map[string]string{}
	for name, script := range map[string]*redis.Script{
		"audit": auditScript, "close": closeScript, "confirm": confirmScript, "create": createScript, "destroy": destroyScript,
		"drop": dropScript, "failed": failedScript, "forget": forgetScript, "import": importScript, "intend": intendScript, "key": keyScript, "lease": leaseScript,
		"note": noteScript, "open": openScript, "places": placesScript, "quarantine": quarantineScript, "release": releaseScript,
		"renew": renewScript, "restore": restoreScript, "resync": resyncScript, "retire": retireScript,
		"retire these": retireTheseScript, "revoke": revokeScript, "rewrite": rewriteScript, "stats": statsScript,
		"sweep": sweepScript, "tell": tellScript,
	} {
		b.must(script.Load(ctx, b.rdb).Err())
		names[script.Hash()] = name
	}
	return names
}

// slowlog is Redis's own list of commands that took long.
type slowlog struct {
	bench *bench
	names map[string]string
}

// slow is one command of the list, by the script's name or its own.
type slow struct {
	redis.SlowLog
	name string
}

// slowlog makes Redis list commands that take longer than a time.
func (b *bench) slowlog(longer time.Duration) slowlog {
	b.Helper()
	ctx := context.Background()
	b.must(b.server.Configure(ctx, "slowlog-log-slower-than", fmt.Sprint(longer.Microseconds())))
	b.must(b.server.Configure(ctx, "slowlog-max-len", "10000"))
	s := slowlog{b, scriptNames(ctx, b)}
	s.reset()
	return s
}

func (s slowlog) reset() {
	s.bench.Helper()
	s.bench.must(s.bench.rdb.SlowLogReset(context.Background()).Err())
}

// entries returns the list, without the commands that look at it.
func (s slowlog) entries() []slow {
	s.bench.Helper()
	logs, err := s.bench.rdb.SlowLogGet(context.Background(), 10000).Result()
	s.bench.must(err)
	var all []slow
	for _, entry := range logs {
		name := strings.ToUpper(entry.Args[0])
		switch name {
		case "SLOWLOG":
			continue
		case "EVALSHA":
			name = s.names[entry.Args[1]]
		}
		all = append(all, slow{entry, name})
	}
	return all
}

// BenchmarkScripts does everything that is ever asked of a pool, on one of a
// million accounts, all but a hundred thousand of them leased by a thousand
// holders, while two more lease and release; and says which command held Redis
// longest, by Redis's own account. Figures over 5 ms on a machine that does other
// things too are mostly the machine's.
func BenchmarkScripts(b *testing.B) {
	if testing.Short() {
		b.Skip("fills a pool with a million accounts")
	}
	const holders = 1000
	bench := newBench(b)
	for b.Loop() {
		ctx := context.Background()
		p := bench.pool("scripts", Settings{MaxUses: mostUses, MaxAge: oldest})
		list := bench.slowlog(500 * time.Microsecond)
		bench.fill(p, 0, million)
		all := bench.holders(p, holders)
		held := make([][]release, holders)
		for i, h := range all {
			var err error
			held[i], err = h.lease(ctx, 900)
			bench.must(err)
		}

		busy, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		for range 2 {
			h := bench.holder(p)
			running.Go(func() {
				for busy.Err() == nil {
					if _, err := h.cycle(ctx, benchBatch); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		bench.everything(p, all, held)
		stop()
		running.Wait()
		bench.must(p.Destroy(ctx))

		worst, over, text := judge(list.entries())
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(worst.Seconds()*1000, "max-ms")
		b.ReportMetric(holdsMost.Seconds()*1000, "ms-most")
		b.ReportMetric(float64(over), "over")
		b.Logf("longest: %s", text)
	}
}

// judge returns how long the longest command took, how many took too long,
// and which took over a millisecond.
func judge(all []slow) (worst time.Duration, over int, text string) {
	byName, tooLong := map[string]time.Duration{}, map[string]int{}
	for _, entry := range all {
		byName[entry.name] = max(byName[entry.name], entry.Duration)
		worst = max(worst, entry.Duration)
		if entry.Duration > holdsMost {
			tooLong[entry.name]++
			over++
		}
	}
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(byName), func(x, y string) int { return cmp.Compare(byName[y], byName[x]) }) {
		if byName[name] > time.Millisecond {
			parts = append(parts, fmt.Sprintf("%s %.1f ms (%d over %v)", name, byName[name].Seconds()*1000, tooLong[name], holdsMost))
		}
	}
	return worst, over, strings.Join(parts, ", ")
}

// everything makes every call there is, in batches as large as they get.
func (b *bench) everything(p *Pool, all []*benchHolder, held [][]release) {
	b.Helper()
	ctx := context.Background()
	for _, h := range all {
		b.must(p.store.renew(ctx, h.id, time.Hour, h.seq))
	}
	_, err := p.Stats(ctx)
	b.must(err)
	_, err = p.Holders(ctx)
	b.must(err)
	report, err := p.Audit(ctx)
	b.must(err)
	if report.Found > 0 {
		b.Errorf("audit: %v", report.Problems)
	}

	fresh := benchAccounts(million, million+2000)
	_, err = p.Intend(ctx, fresh)
	b.must(err)
	b.must(p.Drop(ctx, []string{fresh[0].Username}))
	_, err = p.Confirm(ctx, fresh)
	b.must(err)
	_, err = p.Intents(ctx, 1000)
	b.must(err)
	names := make([]string, len(fresh)-1)
	for i, a := range fresh[1:] {
		names[i] = a.Username
	}
	_, err = p.Quarantine(ctx, names, "in the way", time.Millisecond)
	b.must(err)
	_, err = p.Quarantined(ctx, 1000)
	b.must(err)
	_, err = p.Sweep(ctx)
	b.must(err)
	_, err = p.Quarantine(ctx, names, "in the way", 0)
	b.must(err)
	_, err = p.Restore(ctx, names)
	b.must(err)
	_, err = p.RetireAccounts(ctx, names)
	b.must(err)
	_, err = p.Retire(ctx, benchRole, 1000)
	b.must(err)
	for {
		retired, err := p.Retired(ctx, 1000)
		b.must(err)
		if len(retired) == 0 {
			break
		}
		ids := make([]string, len(retired))
		for i, a := range retired {
			ids[i] = a.ID
		}
		b.must(p.Forget(ctx, ids))
	}
	listed := 0
	b.must(p.List(ctx, Filter{}, func(Listed) error { listed++; return nil }))

	// A holder that has to say what it holds; one that is told to go; one that
	// dies.
	for batch := range slices.Chunk(held[0], moveBatch) {
		_, err = p.store.resync(ctx, all[0].id, "bench", 1, false, p.settings, batch, nil)
		b.must(err)
	}
	b.must(p.Revoke(ctx, all[1].id))
	b.must(p.store.tell(ctx, all[2].id, 1, []waited{{role: benchRole, bucket: 1, n: 1}}))
	for batch := range slices.Chunk(held[2], moveBatch) {
		b.must(all[2].release(ctx, batch))
	}
	b.must(b.rdb.ZAdd(ctx, p.store.keys.holders(), redis.Z{Score: 1, Member: all[3].id}).Err())
	_, err = NewReclaimer(p).empty(ctx, all[3].id, 1)
	b.must(err)
}
