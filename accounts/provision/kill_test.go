package provision_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

const (
	kills = 50
	lanes = 10 // pools that processes work on at the same time
)

// assassin kills a process at a request to the target: soon before or after it
// is served.
type assassin struct {
	mu     sync.Mutex
	victim *exec.Cmd
	left   int // requests before it strikes
	delay  time.Duration
	struck bool
}

func (s *assassin) hire(victim *exec.Cmd, at int, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.victim, s.left, s.delay, s.struck = victim, at, delay, false
}

// retire tells whether it has struck.
func (s *assassin) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.victim = nil
	return s.struck
}

func (s *assassin) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.victim != nil {
			if s.left--; s.left == 0 {
				s.struck = true
				victim := s.victim
				if s.delay == 0 {
					_ = victim.Process.Kill()
				} else {
					time.AfterFunc(s.delay, func() { _ = victim.Process.Kill() })
				}
			}
		}
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// lane is one pool and one target, and processes that work on them one after the
// other and are killed.
type lane struct {
	t        *testing.T
	pool     *accounts.Pool
	order    order
	random   *rand.Rand
	assassin *assassin
	kills    *atomic.Int64
}

// until runs processes with the same order, killing each at a random moment, up
// to most of them, until done; then it runs the order once more, to the end.
func (l *lane) until(verb string, n, requests, most int, done func() bool) {
	l.order.Verb, l.order.N = verb, n
	for killed := 0; killed < most && !done() && !l.t.Failed(); {
		at, delay := 1+l.random.IntN(requests), time.Duration(l.random.Int64N(int64(6*time.Millisecond)))
		if l.random.IntN(3) == 0 {
			delay = 0
		}
		cmd := process(l.t, l.order)
		if err := cmd.Start(); err != nil {
			l.t.Error(err)
			return
		}
		l.assassin.hire(cmd, at, delay)
		err := cmd.Wait()
		if struck := l.assassin.retire(); struck {
			killed++
			l.kills.Add(1)
		} else if err != nil {
			l.t.Logf("%s: %v", verb, err) // on a busy machine: it lost its turn
		}
	}
	if !done() && !l.t.Failed() {
		if out, err := process(l.t, l.order).CombinedOutput(); err != nil {
			l.t.Errorf("%s, to the end: %v\n%s", verb, err, out)
		}
	}
	if !done() {
		l.t.Errorf("%s: not done", verb)
	}
}

// has tells whether pool and target have n students each, and nothing is
// unfinished.
func (l *lane) has(n int) bool {
	goal, err := l.pool.Goal(context.Background())
	return err == nil && len(goal) == 0 && known(l.t, l.pool)["student"] == n && len(intents(l.t, l.pool))+len(retired(l.t, l.pool)) == 0
}

// Processes that create, add and delete are killed 50 times, anywhere. In the end
// everything is there once, or gone.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	redisURL := redistest.URL(t)
	opt, err := redis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	opt.ContextTimeoutEnabled, opt.MaxRetries = true, -1
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	_, namespace := redistest.Real(t)
	var all sync.WaitGroup
	var killed atomic.Int64
	for i := range lanes {
		l := &lane{
			t: t, random: rand.New(rand.NewPCG(uint64(i), 50)), assassin: new(assassin), kills: &killed,
			order: order{Redis: redisURL, Namespace: fmt.Sprint(namespace, i)},
		}
		l.pool = newPool(t, rdb, l.order.Namespace)
		base, server := serveTarget(t, l.assassin.wrap)
		l.order.Target = base
		api, err := newAPI(base)
		if err != nil {
			t.Fatal(err)
		}
		// A look-alike, which nobody may touch.
		if _, err := api.Create(t.Context(), account("student-0123456789ab", "student", "theirs")); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			check := func(n int) {
				result, err := provision.New(l.pool, api, provision.Config{}).Verify(context.Background(), provision.VerifyOptions{})
				for tries := 0; err != nil && tries < 5; tries++ {
					l.t.Logf("lane %d: %v", i, err) // on a busy machine: the leases ended
					result, err = provision.New(l.pool, api, provision.Config{}).Verify(context.Background(), provision.VerifyOptions{})
				}
				if err != nil || result.Good != n || result.Checked != n || int(server.Counters().Accounts) != n+1 {
					t.Errorf("lane %d: %d of %d are good (%v), the target has %d; want %d and the look-alike",
						i, result.Good, result.Checked, err, server.Counters().Accounts, n)
				}
			}
			l.until("ensure", 100, 60, 2, func() bool { return l.has(100) })
			check(100)
			l.until("more", 60, 40, 2, func() bool { return l.has(160) })
			check(160)
			l.until("delete", 0, 90, kills/lanes-4, func() bool { return l.has(0) })
			check(0)
			// What was asked for is there before enough were killed, now and then.
			for killed.Load() < kills && !t.Failed() {
				l.until("ensure", 30, 25, 1, func() bool { return l.has(30) })
				l.until("delete", 0, 25, 1, func() bool { return l.has(0) })
			}
			check(0)
		})
	}
	all.Wait()
	if n := killed.Load(); n < kills {
		t.Errorf("%d processes were killed, want %d", n, kills)
	}
}
