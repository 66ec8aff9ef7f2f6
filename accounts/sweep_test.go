package accounts_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// readsByScore matches how a sweep looks for what is due.
func readsByScore(cmd redis.Cmder) bool { return cmd.Name() == "zrangebyscore" }

// offsets is a go-redis hook that notes from which offset each page is read that
// a sweep reads: Redis walks past all that is before it.
type offsets struct {
	mu  sync.Mutex
	all []int64
}

func (o *offsets) DialHook(next redis.DialHook) redis.DialHook { return next }
func (o *offsets) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (o *offsets) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); readsByScore(cmd) { // ... LIMIT offset count
			o.mu.Lock()
			o.all = append(o.all, args[len(args)-2].(int64))
			o.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (o *offsets) noted() []int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.all)
}

// grow makes accounts two hours old, each one a step younger than the one before.
func grow(t *testing.T, rdb redis.UniversalClient, p *accounts.Pool, step time.Duration, ids ...string) {
	t.Helper()
	now, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	born := make([]redis.Z, len(ids))
	for i, id := range ids {
		at := now.Add(-2*time.Hour + time.Duration(i)*step)
		born[i] = redis.Z{Score: float64(at.UnixMilli()), Member: id}
	}
	if err := rdb.ZAdd(t.Context(), p.Key("born"), born...).Err(); err != nil {
		t.Fatal(err)
	}
}

// Accounts that are too old and leased stay. However many there are, a sweep
// reaches those behind them, and does not have Redis count them for each page.
func TestASweepStepsOverWhatIsLeased(t *testing.T) {
	t.Parallel()
	const leased, free = 800, 3
	for _, test := range []struct {
		name   string
		step   time.Duration
		offset int64 // the most that a page may begin at
	}{
		{"of different ages", time.Millisecond, 1},
		{"of one age", 0, leased + free},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				p := newPool(t, rdb, namespace, accounts.Settings{MaxAge: time.Hour})
				fill(t, p, "student", leased+free)
				h, _ := register(t, p)
				all, err := h.LeaseAll(ctx, "student", leased)
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, l := range all {
					ids = append(ids, l.ID)
				}
				for _, a := range list(t, p, accounts.Filter{}) {
					if !slices.Contains(ids[:leased], a.ID) {
						ids = append(ids, a.ID)
					}
				}
				grow(t, rdb, p, test.step, ids...)

				other, pages := redistest.Another(t, rdb), &offsets{}
				other.AddHook(pages)
				sweeper, err := accounts.Open(ctx, accounts.Config{Redis: other, Namespace: namespace, Name: "pool"})
				if err != nil {
					t.Fatal(err)
				}
				got, err := sweeper.Sweep(ctx)
				if want := (accounts.Swept{Retired: free}); got != want || err != nil {
					t.Errorf("swept %+v, %v; want %+v", got, err, want)
				}
				if read := pages.noted(); len(read) < 4 || len(read) > 8 || slices.Max(read) > test.offset {
					t.Errorf("pages were read from %v; want a few, from %d at most", read, test.offset)
				}
				if s := stats(t, p); s.Leased != leased || s.Retired != free {
					t.Errorf("stats: %+v", s)
				}
				audit(t, p)
			})
		})
	}
}

// Reclaiming goes on while a sweep takes long, or hangs.
func TestASweepDoesNotDelayReclaiming(t *testing.T) {
	on(t, defaults, 2, func(t *testing.T, b *bench) {
		faults, _ := b.reclaim(t)
		lease(t, b.holder, "student")
		<-faults.Hold(0, readsByScore).Struck()
		b.faults.Refuse(0, redistest.Any) // the holder is as good as dead
		pass(40 * time.Second)
		want := accounts.RoleStats{Role: "student", Known: 2, Available: 2, Leases: 1, Reclaimed: 1, PeakLeased: 1}
		if got := stats(t, b.pool); got != want {
			t.Fatalf("stats: got %+v, want %+v", got, want)
		}
	})
}

func TestAnUnreadableRecordKeepsNobodyInQuarantine(t *testing.T) {
	on(t, defaults, 3, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.reclaim(t)
		broken := list(t, b.pool, accounts.Filter{})["student-1"].ID
		got, err := b.pool.Quarantine(ctx, []string{"student-0", "student-1", "student-2"}, "the target is upgraded", time.Minute)
		wantMoved(t, "quarantine", got, err, accounts.Moved{Done: 3})
		record, err := b.rdb.HGet(ctx, b.pool.Records(), broken).Result()
		if err != nil {
			t.Fatal(err)
		}
		write := func(text string) {
			t.Helper()
			if err := b.rdb.HSet(ctx, b.pool.Records(), broken, text).Err(); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(when string, available, quarantined int64) {
			t.Helper()
			if s := stats(t, b.pool); s.Available != available || s.Quarantined != quarantined {
				t.Fatalf("%s: %d available, %d quarantined; want %d, %d", when, s.Available, s.Quarantined, available, quarantined)
			}
		}
		write("no record")
		pass(59 * time.Second)
		expect("before the time", 0, 3)
		pass(2 * time.Second)
		expect("after it", 2, 1)
		write(record)
		pass(2 * time.Second)
		expect("with the record mended", 3, 0)
	})
}

func TestAnUnreadableRecordKeepsNobodyInUse(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ctx := t.Context()
		p := newPool(t, rdb, namespace, accounts.Settings{MaxAge: time.Hour})
		fill(t, p, "student", 4)
		all := list(t, p, accounts.Filter{})
		grow(t, rdb, p, 0, all["student-0"].ID, all["student-1"].ID, all["student-2"].ID)
		if err := rdb.HSet(ctx, p.Records(), all["student-1"].ID, "no record").Err(); err != nil {
			t.Fatal(err)
		}
		got, err := p.Sweep(ctx)
		if want := (accounts.Swept{Retired: 2}); got != want || err != nil {
			t.Errorf("swept %+v, %v; want %+v", got, err, want)
		}
		if s := stats(t, p); s.Available != 2 || s.Retired != 2 {
			t.Errorf("stats: %+v; want two retired", s)
		}
	})
}
