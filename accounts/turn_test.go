package accounts_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestOneTurnAtATime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: time.Second})
		var working, turns atomic.Int64
		var all sync.WaitGroup
		for range 5 {
			own := again(t, rdb, namespace, nil)
			all.Go(func() {
				err := own.TakeTurn(t.Context(), accounts.JobProvision, func(context.Context) error {
					if working.Add(1) > 1 {
						t.Error("two at a time")
					}
					turns.Add(1)
					working.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if turns.Load() != 5 {
			t.Errorf("%d turns, want 5", turns.Load())
		}
		// Another job is another turn, and what work returns comes back.
		failed := errors.New("work failed")
		err := p.TakeTurn(t.Context(), accounts.JobProvision, func(ctx context.Context) error {
			return p.TakeTurn(ctx, accounts.JobGenerate, func(context.Context) error { return failed })
		})
		if err != failed {
			t.Errorf("got %v, want what work returned", err)
		}
	})
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: time.Second})
		other := again(t, rdb, namespace, nil)
		err := p.TakeTurn(t.Context(), accounts.JobProvision, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return other.TakeTurn(ctx, accounts.JobProvision, func(context.Context) error {
				t.Error("two at a time")
				return nil
			})
		})
		host, _ := os.Hostname()
		if who := host + ":" + strconv.Itoa(os.Getpid()); !errors.Is(err, accounts.ErrTurn) ||
			!errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), who) {
			t.Errorf("got %v, want ErrTurn, the cause, and %s", err, who)
		}
	})
}

// A turn lasts as long as its work, and no longer than it can be kept alive.
func TestATurnIsKeptAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		p := newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: 30 * time.Second})
		other := again(t, rdb, namespace, nil)
		start := time.Now()
		var waiting sync.WaitGroup
		err := p.TakeTurn(t.Context(), accounts.JobGenerate, func(ctx context.Context) error {
			waiting.Go(func() {
				err := other.TakeTurn(t.Context(), accounts.JobGenerate, func(context.Context) error { return nil })
				if took := time.Since(start); err != nil || took < time.Hour || took > time.Hour+time.Second {
					t.Errorf("the other's turn came after %v, %v", took, err)
				}
			})
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Hour):
				return nil
			}
		})
		if err != nil {
			t.Error(err)
		}
		waiting.Wait()
	})
}

func TestATurnIsLostWhenRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		outage time.Duration
		lost   bool
	}{{"short", 5 * time.Second, false}, {"long", 20 * time.Second, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, rdb, namespace := redistest.Piped(t)
				newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: 30 * time.Second})
				faults := new(redistest.Faults)
				p, other := again(t, rdb, namespace, faults), again(t, rdb, namespace, nil)
				err := p.TakeTurn(t.Context(), accounts.JobProvision, func(ctx context.Context) error {
					time.AfterFunc(time.Minute, func() {
						fault := faults.Refuse(0, redistest.Any)
						time.AfterFunc(tt.outage, fault.Lift)
					})
					select {
					case <-ctx.Done():
						// Nobody else has it yet.
						ended := time.Now()
						err := other.TakeTurn(t.Context(), accounts.JobProvision, func(context.Context) error { return nil })
						if err != nil || time.Since(ended) < 500*time.Millisecond {
							t.Errorf("the other's turn came %v later, %v", time.Since(ended), err)
						}
						return context.Cause(ctx)
					case <-time.After(2 * time.Minute):
						return nil
					}
				})
				if tt.lost != errors.Is(err, accounts.ErrTurn) || !tt.lost && err != nil {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// Who has died keeps the turn for a while, and no longer.
func TestATurnOutlivesItsProcessForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		newPool(t, rdb, namespace, accounts.Settings{LeaseTTL: 3 * time.Second})
		faults := new(redistest.Faults)
		dying, other := again(t, rdb, namespace, faults), again(t, rdb, namespace, nil)
		died := errors.New("died")
		err := dying.TakeTurn(t.Context(), accounts.JobProvision, func(context.Context) error {
			faults.Refuse(0, redistest.Any)
			return died
		})
		if err != died {
			t.Errorf("got %v", err)
		}
		start := time.Now()
		err = other.TakeTurn(t.Context(), accounts.JobProvision, func(context.Context) error { return nil })
		if took := time.Since(start); err != nil || took < time.Second || took > 4*time.Second {
			t.Errorf("the turn came after %v, %v; want about 3s", took, err)
		}
	})
}
