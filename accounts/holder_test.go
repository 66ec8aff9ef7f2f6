package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

func TestLeaseAndRelease(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 2)
		h, _ := register(t, p)
		one, two := lease(t, h, "student"), lease(t, h, "student")
		if one.Username != "student-0" || two.Username != "student-1" || one.Role != "student" ||
			one.Password.Reveal() != "hunter2-student-0" || one.Token <= 0 || two.Token <= 0 {
			t.Fatalf("leased %+v and %+v", one.Leased, two.Leased)
		}
		if h.Held() != 2 || h.State() != accounts.Active || one.Check() != nil {
			t.Fatalf("held %d, state %v, check %v; want 2, active, nil", h.Held(), h.State(), one.Check())
		}
		ctx, cancel := one.Bind(t.Context())
		defer cancel()
		h.Release(one, accounts.OK)
		h.Release(one, accounts.Refused("twice")) // does nothing
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, accounts.ErrReleased) {
			t.Errorf("cause after release: got %v, want ErrReleased", err)
		}
		if err := one.Check(); !errors.Is(err, accounts.ErrReleased) {
			t.Errorf("check after release: got %v, want ErrReleased", err)
		}
		late, cancel := one.Bind(t.Context())
		defer cancel()
		if err := context.Cause(late); !errors.Is(err, accounts.ErrReleased) {
			t.Errorf("bound after release: got %v, want ErrReleased", err)
		}
		again := lease(t, h, "student")
		if again.ID != one.ID || again.Token <= one.Token {
			t.Errorf("leased %s with token %d after %s with %d", again.ID, again.Token, one.ID, one.Token)
		}
		eventually(t, "the counts", func() bool {
			return stats(t, p) == accounts.RoleStats{Role: "student", Known: 2, Leased: 2, Leases: 3, Releases: 1, PeakLeased: 2}
		})
		audit(t, p)
	})
}

func TestBindEndsWithItsParent(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	fill(t, p, "student", 1)
	h, _ := register(t, p)
	l := lease(t, h, "student")
	parent, cancelParent := context.WithCancel(t.Context())
	one, cancelOne := l.Bind(parent)
	defer cancelOne()
	two, cancelTwo := l.Bind(context.Background())
	three, cancelThree := l.Bind(context.Background())
	defer cancelThree()
	cancelParent()
	cancelTwo()
	<-one.Done()
	<-two.Done()
	if one.Err() != context.Canceled || two.Err() != context.Canceled || three.Err() != nil {
		t.Fatalf("got %v, %v, %v; want the first two cancelled", one.Err(), two.Err(), three.Err())
	}
}

func TestRefusedAccountsAreQuarantined(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 1)
		h, stop := register(t, p)
		l := lease(t, h, "student")
		h.Release(l, accounts.Refused("wrong password"))
		stop() // what has been refused is told even at the end
		want := accounts.RoleStats{Role: "student", Known: 1, Quarantined: 1, Leases: 1, Releases: 1, PeakLeased: 1}
		if got := stats(t, p); got != want {
			t.Fatalf("stats: got %+v, want %+v", got, want)
		}
		why, err := rdb.HGet(t.Context(), p.Reasons(), l.ID).Result()
		if err != nil || !strings.Contains(why, "wrong password") || !strings.Contains(why, fmt.Sprint(l.Token)) {
			t.Fatalf("reason: got %q, %v", why, err)
		}
		audit(t, p)
	})
}

func TestShortage(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{Rest: time.Hour})
		fill(t, p, "student", 3)
		h, _ := register(t, p)
		h.Release(lease(t, h, "student"), accounts.OK) // rests from now on
		lease(t, h, "student")
		lease(t, h, "student")
		eventually(t, "one rests", func() bool { return stats(t, p).Resting == 1 })

		given, giveUp := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() { _, err := h.Lease(given, "student"); gaveUp <- err }()
		eventually(t, "the pool says that it is short", func() bool { return h.Short("student") })
		giveUp()
		if err := <-gaveUp; !errors.Is(err, accounts.ErrNoAccount) || !errors.Is(err, context.Canceled) {
			t.Errorf("gave up: got %v, want ErrNoAccount, and that it was cancelled", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := h.Lease(ctx, "student")
		var short *accounts.ShortageError
		if !errors.As(err, &short) || !errors.Is(err, accounts.ErrNoAccount) || !errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, accounts.ErrUnknownRole) {
			t.Fatalf("got %v, want a ShortageError for lack of time", err)
		}
		if short.Pool != "pool" || short.Role != "student" || short.Known != 3 || short.Available != 0 || short.Leased != 2 || short.Resting != 1 {
			t.Errorf("counts: got %+v", short)
		}
		for _, part := range []string{`"pool"`, `"student"`, "3 known", "2 leased", "1 resting"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not say %s: %v", part, err)
			}
		}

		cause := errors.New("the run is over")
		unknown, cancelUnknown := context.WithCancelCause(t.Context())
		go func() { _, err := h.Lease(unknown, "proctor"); gaveUp <- err }()
		eventually(t, "the pool says that there is none", func() bool { return h.Short("proctor") })
		cancelUnknown(cause)
		err = <-gaveUp
		if !errors.Is(err, accounts.ErrUnknownRole) || !errors.Is(err, accounts.ErrNoAccount) || !errors.Is(err, cause) {
			t.Errorf("unknown role: got %v, want ErrUnknownRole and the cause", err)
		}
		if _, err := h.Lease(t.Context(), "no role"); err == nil || errors.Is(err, accounts.ErrNoAccount) {
			t.Errorf("a role that cannot be: got %v", err)
		}
		if h.Held() != 2 {
			t.Errorf("held: got %d, want 2", h.Held())
		}
	})
}

func TestLeaseWithoutRunSaysSo(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	h, err := newPool(t, rdb, namespace, accounts.Settings{}).Register(t.Context(), "h")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := h.Lease(ctx, "student"); !errors.Is(err, accounts.ErrNoAccount) || !strings.Contains(err.Error(), "not answered") {
		t.Fatalf("got %v, want that the pool has not answered", err)
	}
}

// Those who wait for a role are served in the order in which they came, as
// accounts come back or are added.
func TestWaitingIsFair(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 1)
		h, _ := register(t, p)
		l := lease(t, h, "student")
		const waiting = 20
		order := make(chan int, waiting)
		var wg sync.WaitGroup
		for i := range waiting {
			queued := h.Waiting("student")
			wg.Go(func() {
				l := lease(t, h, "student")
				order <- i
				h.Release(l, accounts.OK)
			})
			eventually(t, "it waits", func() bool { return h.Waiting("student") > queued })
		}
		h.Release(l, accounts.OK)
		wg.Wait()
		for i := range waiting {
			if got := <-order; got != i {
				t.Fatalf("number %d was served in place of %d", got, i)
			}
		}
	})
}

func TestNewAccountsReachThoseWhoWait(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		h, _ := register(t, p)
		got := make(chan *accounts.Lease)
		go func() { got <- lease(t, h, "student") }()
		eventually(t, "it waits", func() bool { return h.Waiting("student") == 1 })
		fill(t, p, "student", 1)
		if l := <-got; l.Username != "student-0" {
			t.Fatalf("leased %q", l.Username)
		}
	})
}

// Who gives up waiting holds nothing, whenever that is.
func TestGivingUpLosesNoAccount(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 5)
		h, _ := register(t, p)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%20)*time.Millisecond)
				defer cancel()
				if l, err := h.Lease(ctx, "student"); err == nil {
					h.Release(l, accounts.OK)
				}
			})
		}
		wg.Wait()
		eventually(t, "all are available", func() bool { return stats(t, p).Available == 5 })
		if h.Held() != 0 {
			t.Errorf("held: got %d, want none", h.Held())
		}
		audit(t, p)
	})
}

func TestTheEndGivesEverythingBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 700)
		h, stop := register(t, p)
		leases := make([]*accounts.Lease, 700)
		var wg sync.WaitGroup
		for i := range leases {
			wg.Go(func() { leases[i] = lease(t, h, "student") })
		}
		wg.Wait()
		waiting := make(chan error)
		go func() { _, err := h.Lease(context.Background(), "proctor"); waiting <- err }()
		eventually(t, "it waits", func() bool { return h.Waiting("proctor") == 1 })
		ctx, cancel := leases[0].Bind(context.Background())
		defer cancel()
		h.Release(leases[1], accounts.OK)
		stop()

		if err := <-waiting; !errors.Is(err, accounts.ErrClosed) {
			t.Errorf("waiting: got %v, want ErrClosed", err)
		}
		if err := context.Cause(ctx); !errors.Is(err, accounts.ErrReleased) {
			t.Errorf("bound: got %v, want ErrReleased", err)
		}
		if err := leases[2].Check(); !errors.Is(err, accounts.ErrReleased) {
			t.Errorf("check: got %v, want ErrReleased", err)
		}
		want := accounts.RoleStats{Role: "student", Known: 700, Available: 700, Leases: 700, Releases: 700, PeakLeased: 700}
		if got := stats(t, p); got != want {
			t.Errorf("stats: got %+v, want %+v", got, want)
		}
		if n, err := p.Registrations(t.Context()); err != nil || n != 0 {
			t.Errorf("registrations left: %d, %v", n, err)
		}
		if h.State() != accounts.Closed || h.Held() != 0 {
			t.Errorf("state %v, held %d; want closed, 0", h.State(), h.Held())
		}
		if _, err := h.Lease(t.Context(), "student"); !errors.Is(err, accounts.ErrClosed) {
			t.Errorf("lease after the end: got %v, want ErrClosed", err)
		}
		h.Release(leases[3], accounts.OK)
		if err := h.Run(t.Context()); err == nil {
			t.Error("a holder runs twice")
		}
		audit(t, p)
	})
}

// A call whose answer is lost has happened once, however often it is sent.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	scripts := map[string]*redis.Script{
		"lease": accounts.LeaseScript(), "release": accounts.ReleaseScript(), "renew": accounts.RenewScript(), "close": accounts.CloseScript(),
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
				var faults redistest.Faults
				settings := accounts.Settings{}
				if name == "renew" {
					settings.LeaseTTL = 6 * time.Second // so that there soon is one
				}
				p := newPool(t, rdb, namespace, settings)
				fill(t, p, "student", 3)
				h, stop := register(t, again(t, rdb, namespace, &faults))
				fault := faults.LoseReplies(3, redistest.Runs(script))

				one, two := lease(t, h, "student"), lease(t, h, "student")
				if one.ID == two.ID {
					t.Fatalf("leased %s twice", one.ID)
				}
				h.Release(one, accounts.Refused("locked"))
				h.Release(two, accounts.OK)
				if name != "close" {
					eventually(t, "three answers are lost", func() bool { return fault.Hits() == 3 })
				}
				three := lease(t, h, "student")
				if err := three.Check(); err != nil || h.State() != accounts.Active {
					t.Fatalf("check: %v, state %v; want nil, active", err, h.State())
				}
				stop()
				if fault.Hits() != 3 {
					t.Fatalf("the fault struck %d times, want 3", fault.Hits())
				}
				want := accounts.RoleStats{Role: "student", Known: 3, Available: 2, Quarantined: 1, Leases: 3, Releases: 3, PeakLeased: 2}
				if got := stats(t, p); got != want {
					t.Errorf("stats: got %+v, want %+v", got, want)
				}
				if n, err := p.Registrations(t.Context()); err != nil || n != 0 {
					t.Errorf("registrations left: %d, %v", n, err)
				}
				audit(t, p)
			})
		})
	}
}

// Two holders never have the same account, and the tokens of each account rise.
func TestHoldersShareAPool(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		p := newPool(t, rdb, namespace, accounts.Settings{})
		fill(t, p, "student", 10)
		type use struct {
			user  int
			token int64
		}
		var mu sync.Mutex
		using, last := map[string]use{}, map[string]int64{}
		var wg sync.WaitGroup
		for holder := range 2 {
			h, _ := register(t, p)
			for user := range 10 {
				wg.Go(func() {
					for range 10 {
						l := lease(t, h, "student")
						mu.Lock()
						if other, taken := using[l.ID]; taken {
							t.Errorf("account %s is leased to %d and %d", l.ID, other.user, 10*holder+user)
						}
						if l.Token <= last[l.ID] {
							t.Errorf("account %s: token %d after %d", l.ID, l.Token, last[l.ID])
						}
						using[l.ID], last[l.ID] = use{10*holder + user, l.Token}, l.Token
						mu.Unlock()
						mu.Lock()
						delete(using, l.ID)
						mu.Unlock()
						h.Release(l, accounts.OK)
					}
				})
			}
		}
		wg.Wait()
		eventually(t, "all are available", func() bool { return stats(t, p).Available == 10 })
		if got := stats(t, p); got.Leases != 200 || got.Releases != 200 || got.PeakLeased > 10 {
			t.Errorf("stats: got %+v, want 200 leases and releases", got)
		}
		audit(t, p)
	})
}
