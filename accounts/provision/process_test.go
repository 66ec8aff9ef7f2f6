package provision_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/redistest"
)

// childVariable makes a copy of the test binary provision a pool and panic in
// the middle: "redis URL, namespace, target URL, at which call".
const childVariable = "THRONG_TEST_PROVISION_CHILD"

const exitDone = 0

// panicking is a Source with a bug.
type panicking struct {
	provision.Source
	calls atomic.Int64
	at    int64
}

func (p *panicking) Create(ctx context.Context, a accounts.Account) error {
	n := p.calls.Add(1)
	if n == p.at && p.at%2 == 0 {
		panic("before the call")
	}
	err := p.Source.Create(ctx, a)
	if n == p.at {
		panic("after the call")
	}
	return err
}

func childMain() int {
	if err := child(strings.Fields(os.Getenv(childVariable))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return exitDone
}

func child(args []string) error {
	opt, err := redis.ParseURL(args[0])
	if err != nil {
		return err
	}
	opt.ContextTimeoutEnabled, opt.MaxRetries = true, -1
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	base, err := url.Parse(args[2])
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	ctx := context.Background()
	pool, err := accounts.Open(ctx, accounts.Config{Redis: rdb, Namespace: args[1], Name: "p"})
	if err != nil {
		return err
	}
	source := &panicking{Source: provision.NewHTTP(base, http.DefaultClient), at: at}
	_, err = provision.New(pool, source, provision.Config{Concurrency: 8}).Ensure(ctx, map[string]int{"student": 600})
	return err
}

// The same with processes that really die.
func TestEnsureAfterAPanic(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	pool := newPool(t, rdb, namespace)
	base, server := startTarget(t)
	for _, at := range []int{1, 16, 77, 240, 501, 1_000_000} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d", childVariable, redistest.URL(t), namespace, base, at))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case at == 1_000_000 && err != nil:
			t.Fatalf("the last process: %v\n%s", err, out)
		case at < 1_000_000 && (!errors.As(err, &exit) || !strings.Contains(string(out), "panic:")):
			t.Fatalf("the process that panics at call %d: %v\n%s", at, err, out)
		}
		// Whatever the target has, the pool has it or intends it.
		if has, record := int(server.Counters().Accounts), known(t, pool)["student"]+len(intents(t, pool)); has > record {
			t.Errorf("after call %d the target has %d accounts, the pool %d", at, has, record)
		}
	}
	if n := known(t, pool)["student"]; n != 600 || server.Counters().Accounts != 600 || len(intents(t, pool)) != 0 {
		t.Errorf("%d known, %d in the target, %d intended; want 600, 600, 0", n, server.Counters().Accounts, len(intents(t, pool)))
	}
}
