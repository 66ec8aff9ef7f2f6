package accounts_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// taking is the beginning of a use of an account, or its end. What the checker
// is told is not what the pool did but what users were allowed to do: a use
// ends with the last moment at which Check let a request leave.
type taking struct {
	account string
	token   int64
	ends    bool
}

// possession is what the checker knows of one account.
type possession struct{ held, last int64 }

// exclusive says which histories of one account are lawful: one use at a time,
// each with a higher token than the last.
var exclusive = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byAccount := map[string][]porcupine.Operation{}
		for _, op := range history {
			account := op.Input.(taking).account
			byAccount[account] = append(byAccount[account], op)
		}
		var all [][]porcupine.Operation
		for _, ops := range byAccount {
			all = append(all, ops)
		}
		return all
	},
	Init: func() any { return possession{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(possession), input.(taking)
		if in.ends {
			return s.held == in.token, possession{last: s.last}
		}
		return s.held == 0 && in.token > s.last, possession{held: in.token, last: in.token}
	},
}

// history is who used which account when, as the users saw it.
type history struct {
	epoch time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) now() int64 { return int64(time.Since(h.epoch)) }

func (h *history) record(user int, in taking, call, ret int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: user, Input: in, Call: call, Return: ret})
}

func (h *history) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// user leases, uses and releases accounts until ctx ends.
func (h *history) user(ctx context.Context, number int, holder *accounts.Holder) {
	for ctx.Err() == nil {
		call := h.now()
		l, err := holder.Lease(ctx, "student")
		if err != nil {
			return
		}
		h.record(number, taking{account: l.ID, token: l.Token}, call, h.now())
		used := h.now()
		for range 3 {
			wait(ctx, time.Millisecond)
			if at := h.now(); l.Check() == nil {
				used = at
			}
		}
		h.record(number, taking{account: l.ID, token: l.Token, ends: true}, used, math.MaxInt64)
		holder.Release(l, accounts.OK)
	}
}

// check says whether the history is lawful. Nobody may be recording any more.
func (h *history) check(t *testing.T) {
	t.Helper()
	if len(h.ops) < 200 {
		t.Errorf("only %d operations", len(h.ops))
	}
	if got := porcupine.CheckOperationsTimeout(exclusive, h.ops, 20*time.Second); got != porcupine.Ok {
		t.Fatalf("%d operations: got %v, want %v", len(h.ops), got, porcupine.Ok)
	}
	t.Logf("%d operations", len(h.ops))
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// TestHistoryIsExclusive runs eight holders on few accounts, loses answers all
// the time and cuts two of the holders off again and again for longer than the
// lease TTL, and lets a checker find out whether any two uses overlapped.
func TestHistoryIsExclusive(t *testing.T) {
	t.Parallel()
	servers := map[string]func(testing.TB) (redis.UniversalClient, string){"redis": redistest.Real, "cluster": redistest.Cluster}
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, namespace := server(t)
			p := newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: 500 * time.Millisecond, LockDelay: 100 * time.Millisecond})
			fill(t, p, "student", 12)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()

			all := &history{epoch: time.Now()}
			var running sync.WaitGroup
			running.Go(func() {
				// Longer on a busy machine, where little happens.
				wait(ctx, 3*time.Second)
				for time.Since(all.epoch) < patience && all.size() < 400 {
					wait(ctx, 50*time.Millisecond)
				}
				cancel()
			})
			r := accounts.NewReclaimer(p)
			running.Go(func() { _ = r.Run(ctx) })
			for holder := range 8 {
				faults := &redistest.Faults{}
				h, _ := register(t, again(t, rdb, namespace, faults))
				n := 0
				faults.LoseReplies(0, func(redis.Cmder) bool { n++; return n%17 == 0 })
				if holder < 2 {
					running.Go(func() {
						for ctx.Err() == nil {
							wait(ctx, 300*time.Millisecond)
							fault := faults.Refuse(0, redistest.Any)
							wait(ctx, 1300*time.Millisecond)
							fault.Lift()
						}
					})
				}
				for i := range 4 {
					running.Go(func() { all.user(ctx, 4*holder+i, h) })
				}
			}
			running.Wait()
			all.check(t)
		})
	}
}

// The checker finds what it is there to find.
func TestHistoryCheckerFindsViolations(t *testing.T) {
	t.Parallel()
	begin := func(account string, token, call, ret int64) porcupine.Operation {
		return porcupine.Operation{Input: taking{account: account, token: token}, Call: call, Return: ret}
	}
	end := func(account string, token, call int64) porcupine.Operation {
		return porcupine.Operation{Input: taking{account: account, token: token, ends: true}, Call: call, Return: math.MaxInt64}
	}
	tests := []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"one after the other", []porcupine.Operation{begin("a", 1, 0, 1), end("a", 1, 2), begin("a", 2, 3, 4)}, true},
		{"given back while another waits", []porcupine.Operation{begin("a", 1, 0, 1), begin("a", 2, 2, 9), end("a", 1, 5)}, true},
		{"two accounts", []porcupine.Operation{begin("a", 1, 0, 1), begin("b", 1, 2, 3)}, true},
		{"two at once", []porcupine.Operation{begin("a", 1, 0, 1), begin("a", 2, 2, 3), end("a", 1, 5), end("a", 2, 6)}, false},
		{"a token again", []porcupine.Operation{begin("a", 1, 0, 1), end("a", 1, 2), begin("a", 1, 3, 4)}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := porcupine.CheckOperations(exclusive, test.history); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
