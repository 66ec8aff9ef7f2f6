package redistest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/redistest"
)

// childVariable makes a copy of this test binary print the server's URL and
// wait to be killed.
const childVariable = "THRONG_TEST_REDISTEST_CHILD"

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

func TestEachServesEveryServer(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		if err := rdb.Set(t.Context(), namespace+":k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := redistest.Another(t, rdb).Get(t.Context(), namespace+":k").Result(); err != nil || got != "v" {
			t.Fatalf("another connection reads %q, %v; want \"v\"", got, err)
		}
	})
}

func TestNamespacesDiffer(t *testing.T) {
	t.Parallel()
	_, one := redistest.Real(t)
	_, other := redistest.Real(t)
	if one == other {
		t.Fatalf("both tests got %q", one)
	}
}

func TestPipedServerFollowsTheBubblesClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, rdb, namespace := redistest.Piped(t)
		ctx := context.Background()
		before, err := rdb.Time(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.Set(ctx, namespace, "v", 30*time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		after, err := rdb.Time(ctx).Result()
		if err != nil || after.Sub(before) != time.Hour {
			t.Fatalf("the server's clock moved by %v, %v; want 1h", after.Sub(before), err)
		}
		if n, err := rdb.Exists(ctx, namespace).Result(); err != nil || n != 0 {
			t.Fatalf("the key did not expire: %d, %v", n, err)
		}
	})
}

// TestServerDiesWithTheBinary kills a copy of this binary and waits until the
// server that it started is gone.
func TestServerDiesWithTheBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv(childVariable) != "" {
		_, _ = os.Stdout.WriteString("url " + redistest.URL(t) + "\n")
		select {}
	}
	redistest.URL(t) // skips without a redis-server
	child := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheBinary$")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		url, _ = strings.CutPrefix(lines.Text(), "url ")
	}
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatalf("the child printed %q: %v", url, err)
	}
	opt.MaxRetries, opt.DialerRetries = -1, 1
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("the child's server: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for rdb.Ping(t.Context()).Err() == nil {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("the server outlives the binary that started it")
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	count := redis.NewScript(`return redis.call('INCR', KEYS[1])`)
	tests := []struct {
		name   string
		order  func(f *redistest.Faults) *redistest.Fault
		err    error
		ran    int64 // how often the script had run after the failing call
		failed int   // how many calls fail
	}{
		{"lost reply", func(f *redistest.Faults) *redistest.Fault { return f.LoseReplies(1, redistest.Runs(count)) }, os.ErrDeadlineExceeded, 1, 1},
		{"lost replies", func(f *redistest.Faults) *redistest.Fault { return f.LoseReplies(3, redistest.Runs(count)) }, os.ErrDeadlineExceeded, 3, 3},
		{"refused", func(f *redistest.Faults) *redistest.Fault { return f.Refuse(2, redistest.Runs(count)) }, nil, 0, 2},
		{"of another command", func(f *redistest.Faults) *redistest.Fault {
			return f.Refuse(0, redistest.Runs(redis.NewScript("return 1")))
		}, nil, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
				var faults redistest.Faults
				rdb.AddHook(&faults)
				fault := test.order(&faults)
				for i := range test.failed {
					err := count.Run(t.Context(), rdb, []string{namespace}).Err()
					if err == nil || test.err != nil && !errors.Is(err, test.err) {
						t.Fatalf("call %d: got %v, want an error %v", i, err, test.err)
					}
				}
				if got, err := count.Run(t.Context(), rdb, []string{namespace}).Int64(); err != nil || got != test.ran+1 {
					t.Fatalf("the call after the fault: got %d, %v; want %d", got, err, test.ran+1)
				}
				if got := fault.Hits(); got != test.failed {
					t.Fatalf("hits: got %d, want %d", got, test.failed)
				}
			})
		})
	}
}

func TestHoldWaitsForLiftOrContext(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Embedded(t)
	var faults redistest.Faults
	rdb.AddHook(&faults)

	fault := faults.Hold(1, redistest.Any)
	done := make(chan error, 1)
	go func() { done <- rdb.Set(context.Background(), namespace, "v", 0).Err() }()
	<-fault.Struck()
	fault.Lift()
	fault.Lift()
	if err := <-done; err != nil {
		t.Fatalf("after the lift: %v", err)
	}

	faults.Hold(1, redistest.Any)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := rdb.Get(ctx, namespace).Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a held command whose context ended: got %v", err)
	}
}

func TestClusterSharesItsSlots(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Cluster(t)
	cluster := rdb.(*redis.ClusterClient)
	var masters atomic.Int64
	err := cluster.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		masters.Add(1)
		// Every node knows who has which slot, and sends us there.
		for i := range 10 {
			key := fmt.Sprintf("%s:%d", namespace, i)
			err := node.Set(ctx, key, "v", 0).Err()
			if err != nil && !redis.HasErrorPrefix(err, "MOVED") {
				return err
			}
			if err := cluster.Set(ctx, key, "v", 0).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := masters.Load(); n != 3 {
		t.Errorf("the Cluster has %d masters, want 3", n)
	}
}
