package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// childVariable makes a copy of the test binary do one order, as JSON.
const childVariable = "THRONG_TEST_PROVISION_CHILD"

// order is what a process of its own is to do with the pool.
type order struct {
	Redis, Namespace, Target string
	// Verb is ensure, more, delete or verify; N says of how many students.
	Verb string
	N    int
	Rate float64
	// PanicAt makes a bug show in that creation; 0: never.
	PanicAt int64
}

// panicking is a Source with a bug.
type panicking struct {
	provision.Source
	calls atomic.Int64
	at    int64
}

func (p *panicking) Create(ctx context.Context, a accounts.Account) (provision.Receipt, error) {
	n := p.calls.Add(1)
	if n == p.at && p.at%2 == 0 {
		panic("before the call")
	}
	receipt, err := p.Source.Create(ctx, a)
	if n == p.at {
		panic("after the call")
	}
	return receipt, err
}

func childMain() int {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childVariable)), &o)
	if err == nil {
		err = o.do(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (o order) do(ctx context.Context) error {
	opt, err := redis.ParseURL(o.Redis)
	if err != nil {
		return err
	}
	opt.ContextTimeoutEnabled, opt.MaxRetries = true, -1
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	api, err := newAPI(o.Target)
	if err != nil {
		return err
	}
	pool, err := accounts.Open(ctx, accounts.Config{Redis: rdb, Namespace: o.Namespace, Name: "p"})
	if err != nil {
		return err
	}
	p := provision.New(pool, &panicking{Source: api, at: o.PanicAt}, provision.Config{Concurrency: 8, Rate: o.Rate})
	students := map[string]int{"student": o.N}
	switch o.Verb {
	case "ensure":
		_, err = p.Ensure(ctx, students)
	case "more":
		_, err = p.EnsureMore(ctx, students)
	case "delete":
		_, err = p.DeleteAll(ctx)
	case "verify":
		_, err = p.Verify(ctx, provision.VerifyOptions{})
	default:
		err = fmt.Errorf("no verb: %q", o.Verb)
	}
	return err
}

// process prepares a process that does the order.
func process(t testing.TB, o order) *exec.Cmd {
	text, err := json.Marshal(o)
	if err != nil {
		t.Error(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	return cmd
}

// A process that panics leaves nothing that the pool does not know of.
func TestEnsureAfterAPanic(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	pool := newPool(t, rdb, namespace)
	base, server := serveTarget(t, func(next http.Handler) http.Handler { return next })
	o := order{Redis: redistest.URL(t), Namespace: namespace, Target: base, Verb: "ensure", N: 600}
	for _, o.PanicAt = range []int64{1, 240, 0} {
		out, err := process(t, o).CombinedOutput()
		var exit *exec.ExitError
		switch {
		case o.PanicAt == 0 && err != nil:
			t.Fatalf("the last process: %v\n%s", err, out)
		case o.PanicAt > 0 && (!errors.As(err, &exit) || !strings.Contains(string(out), "panic:")):
			t.Fatalf("the process that panics at call %d: %v\n%s", o.PanicAt, err, out)
		}
		// Whatever the target has, the pool has it or intends it.
		if has, record := int(server.Counters().Accounts), known(t, pool)["student"]+len(intents(t, pool)); has > record {
			t.Errorf("after call %d the target has %d accounts, the pool %d", o.PanicAt, has, record)
		}
	}
	if n := known(t, pool)["student"]; n != 600 || server.Counters().Accounts != 600 || len(intents(t, pool)) != 0 {
		t.Errorf("%d known, %d in the target, %d intended; want 600, 600, 0", n, server.Counters().Accounts, len(intents(t, pool)))
	}
}

// Two processes keep to one rate together.
func TestProcessesShareTheRate(t *testing.T) {
	t.Parallel()
	const rate, n = 40, 60
	rdb, namespace := redistest.Real(t)
	pool := newPool(t, rdb, namespace)
	var mu sync.Mutex
	var at []time.Time
	base, _ := serveTarget(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			at = append(at, time.Now())
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	})
	api, err := newAPI(base)
	if err != nil {
		t.Fatal(err)
	}
	mustEnsure(t, provision.New(pool, api, provision.Config{}), map[string]int{"guest": n})
	mu.Lock()
	at = nil
	mu.Unlock()
	var both sync.WaitGroup
	for _, verb := range []string{"ensure", "verify"} {
		cmd := process(t, order{Redis: redistest.URL(t), Namespace: namespace, Target: base, Verb: verb, N: n, Rate: rate})
		both.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", verb, err, out)
			}
		})
	}
	both.Wait()
	// A busy machine may delay the first call, and bring some together.
	least := time.Duration(len(at)-accounts.Burst(rate))*time.Second/rate - 300*time.Millisecond
	if took := at[len(at)-1].Sub(at[0]); len(at) < 2*n || took < least {
		t.Errorf("%d calls in %v, want no less than %d in %v", len(at), took, 2*n, least)
	}
}
