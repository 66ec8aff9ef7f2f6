package accounts

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/redisurl"
)

// Each benchmark measures the plain Redis commands that do the least that could
// be asked for, and the pool, in turn, in the same run: figures of different runs
// do not compare, ratios do. "x-raw" is the ratio, and "x-least" or "x-most" what
// it should be at least, or at most, on a quiet machine.

const (
	benchRole   = "student"
	benchBatch  = 100
	benchRecord = 120 // bytes
	// A round is many short slices of the one and the other, so that what else
	// the machine does weighs on both.
	benchRounds = 5
	benchSlices = 10
	benchSlice  = 40 * time.Millisecond
)

// bench is a Redis of the benchmark's own.
type bench struct {
	*testing.B
	server *redistest.Server
	rdb    redis.UniversalClient
}

func newBench(b *testing.B) *bench {
	b.Helper()
	server := redistest.Start(b, redistest.Options{})
	rdb, err := redisurl.Connect(context.Background(), server.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = rdb.Close() })
	return &bench{b, server, rdb}
}

// must ends the benchmark with an error.
func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// with returns the same bench for a benchmark within it.
func (b *bench) with(inner *testing.B) *bench { return &bench{inner, b.server, b.rdb} }

// pool makes a pool without accounts.
func (b *bench) pool(name string, settings Settings) *Pool {
	b.Helper()
	if settings.LeaseTTL == 0 {
		settings.LeaseTTL = time.Hour
	}
	p, err := Create(context.Background(), Config{Redis: b.rdb, Name: name}, settings)
	b.must(err)
	return p
}

// fill imports the accounts with these numbers.
func (b *bench) fill(p *Pool, from, to int) {
	b.Helper()
	for chunk := range slices.Chunk(benchAccounts(from, to), 10_000) {
		_, err := p.Import(context.Background(), chunk)
		b.must(err)
	}
}

// benchAccounts returns accounts whose records have benchRecord bytes.
func benchAccounts(from, to int) []Account {
	all := make([]Account, 0, to-from)
	for i := from; i < to; i++ {
		a := Account{Username: fmt.Sprintf("student-%07d", i), Role: benchRole}
		a.Password = NewSecret(strings.Repeat("p", benchRecord-len(encodePlain(a))))
		all = append(all, a)
	}
	return all
}

// raw makes a sorted set like that of a role's available accounts.
func (b *bench) raw(n int) (key string) {
	b.Helper()
	key = "raw-" + uuid.NewString()
	now := float64(time.Now().UnixMilli())
	for from := 1; from <= n; from += 1000 {
		members := make([]redis.Z, 0, 1000)
		for i := from; i < min(from+1000, n+1); i++ {
			members = append(members, redis.Z{Score: now, Member: strconv.Itoa(i)})
		}
		b.must(b.rdb.ZAdd(context.Background(), key, members...).Err())
	}
	return key
}

// cycleRaw takes a batch out of a sorted set and puts it back at the end. It
// returns how long the taking took.
func (b *bench) cycleRaw(ctx context.Context, key string) (time.Duration, error) {
	began := time.Now()
	popped, err := b.rdb.ZPopMin(ctx, key, benchBatch).Result()
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	now := float64(time.Now().UnixMilli())
	for i := range popped {
		popped[i].Score = now
	}
	return took, b.rdb.ZAdd(ctx, key, popped...).Err()
}

// benchHolder makes a holder's calls one by one. One goroutine may use it.
type benchHolder struct {
	pool *Pool
	id   string
	seq  int64
}

func (b *bench) holder(p *Pool) *benchHolder {
	b.Helper()
	h := &benchHolder{pool: p, id: uuid.NewString()}
	b.must(p.store.open(context.Background(), h.id, p.settings.LeaseTTL, "bench"))
	return h
}

func (b *bench) holders(p *Pool, n int) []*benchHolder {
	b.Helper()
	all := make([]*benchHolder, n)
	for i := range all {
		all[i] = b.holder(p)
	}
	return all
}

// lease leases n accounts, a batch a call.
func (h *benchHolder) lease(ctx context.Context, n int) ([]release, error) {
	all := make([]release, 0, n)
	for len(all) < n {
		h.seq++
		ask := min(n-len(all), benchBatch)
		got, err := h.pool.store.lease(ctx, h.id, "bench", h.seq, ask, 0, benchRole, h.pool.settings.MaxAge)
		if err != nil {
			return nil, err
		}
		if len(got.accounts) != ask {
			return nil, fmt.Errorf("leased %d of %d accounts", len(got.accounts), ask)
		}
		for _, a := range got.accounts {
			all = append(all, release{id: a.ID, role: benchRole, token: a.Token})
		}
	}
	return all, nil
}

func (h *benchHolder) release(ctx context.Context, all []release) error {
	h.seq++
	_, err := h.pool.store.release(ctx, h.id, "bench", h.seq, h.pool.settings, all)
	return err
}

// cycle leases n accounts and releases them. It returns how long the leasing
// took.
func (h *benchHolder) cycle(ctx context.Context, n int) (time.Duration, error) {
	began := time.Now()
	all, err := h.lease(ctx, n)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, h.release(ctx, all)
}

// step is something that one of several goroutines does again and again. It
// returns how long the part that counts took.
type step func(ctx context.Context, worker int) (time.Duration, error)

// run is what steps have come to.
type run struct {
	took    []time.Duration
	elapsed time.Duration
}

// perSecond is how often a second a step was done.
func (r run) perSecond() float64 { return float64(len(r.took)) / r.elapsed.Seconds() }

// p99 is the 99th percentile of the steps, in ms.
func (r run) p99() float64 {
	slices.Sort(r.took)
	return r.took[len(r.took)*99/100].Seconds() * 1000
}

// during lets n goroutines do a step again and again for a slice.
func (b *bench) during(n int, do step, r *run) {
	b.Helper()
	group, ctx := errgroup.WithContext(context.Background())
	each := make([][]time.Duration, n)
	began := time.Now()
	for worker := range n {
		group.Go(func() error {
			for time.Since(began) < benchSlice {
				took, err := do(ctx, worker)
				if err != nil {
					return err
				}
				each[worker] = append(each[worker], took)
			}
			return nil
		})
	}
	b.must(group.Wait())
	r.elapsed += time.Since(began)
	r.took = append(r.took, slices.Concat(each...)...)
}

// compare lets n goroutines do two steps in turn, and returns the medians of a
// figure of each and of their ratios.
func (b *bench) compare(n int, raw, ours step, figure func(run) float64) (medianRaw, medianOurs, ratio float64) {
	b.Helper()
	return inTurn(func() (float64, float64) {
		var r, o run
		for range benchSlices {
			b.during(n, raw, &r)
			b.during(n, ours, &o)
		}
		return figure(r), figure(o)
	})
}

// inTurn measures raw and ours several times and returns the medians of the two
// and of ours / raw.
func inTurn(both func() (raw, ours float64)) (medianRaw, medianOurs, ratio float64) {
	var raws, all, ratios []float64
	for range benchRounds {
		r, o := both()
		raws, all, ratios = append(raws, r), append(all, o), append(ratios, o/r)
	}
	return median(raws), median(all), median(ratios)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
