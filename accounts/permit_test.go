package accounts_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestBurst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		perSecond float64
		want      int
	}{{0.001, 1}, {1000.0 / 60, 1}, {19, 1}, {20, 2}, {1000, 100}, {1e18, 1<<31 - 1}} {
		if got := accounts.Burst(tt.perSecond); got != tt.want {
			t.Errorf("Burst(%g) = %d, want %d", tt.perSecond, got, tt.want)
		}
	}
}

func TestPermitsOutOfRange(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	for _, tt := range []struct {
		perSecond float64
		n         int
	}{{0, 1}, {-1, 1}, {10, 0}, {10, 2}, {20, 3}} {
		if _, err := p.Permit(t.Context(), tt.perSecond, tt.n); err == nil {
			t.Errorf("%d at %g/s: no error", tt.n, tt.perSecond)
		}
	}
}

// The first permits are there at once, the others are not.
func TestPermit(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		if wait, err := p.Permit(t.Context(), 0.1, 1); wait != 0 || err != nil {
			t.Fatalf("the first: wait %v, %v", wait, err)
		}
		wait, err := p.Permit(t.Context(), 0.1, 1)
		if err != nil || wait < 5*time.Second || wait > 10*time.Second {
			t.Errorf("the second: wait %v, %v; want almost 10s", wait, err)
		}
	})
}

// Whatever anybody asks for and whenever, in no window there are more than the
// rate allows in it, and one burst.
func TestPermitsInEveryWindow(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{1000.0 / 60, 3, 40, 700} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, rdb, namespace := redistest.Piped(t)
				p := newPool(t, rdb, namespace, accounts.Settings{})
				var mu sync.Mutex
				var at []time.Time
				span := time.Duration(600 / perSecond * float64(time.Second))
				ctx, cancel := context.WithTimeout(t.Context(), span)
				defer cancel()
				var all sync.WaitGroup
				for who := range 3 {
					random := rand.New(rand.NewPCG(uint64(who), 1))
					all.Go(func() {
						for ctx.Err() == nil {
							n := 1 + random.IntN(accounts.Burst(perSecond))
							wait, err := p.Permit(ctx, perSecond, n)
							if ctx.Err() == nil && err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							for range n {
								if wait == 0 && err == nil {
									at = append(at, time.Now())
								}
							}
							mu.Unlock()
							// Now and then nobody asks for a while.
							rest := time.Duration(random.ExpFloat64() * float64(time.Second) / perSecond)
							select {
							case <-ctx.Done():
							case <-time.After(wait + rest):
							}
						}
					})
				}
				all.Wait()
				slices.SortFunc(at, time.Time.Compare)
				burst := accounts.Burst(perSecond)
				if len(at) < 350 {
					t.Errorf("only %d permits in %v at %g/s", len(at), span, perSecond)
				}
				for i := range at {
					for j := i; j < len(at); j++ {
						window := at[j].Sub(at[i])
						if n, most := j-i+1, window.Seconds()*perSecond+float64(burst)+0.01; float64(n) > most {
							t.Fatalf("%d permits in %v at %g/s, want at most %g", n, window, perSecond, most)
						}
					}
				}
			})
		})
	}
}
