package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

// node is one node of a Cluster.
type node struct {
	*redis.Client
	id string
}

// nodes returns the nodes of the Cluster, the one first that serves the key.
func nodes(t *testing.T, cluster *redis.ClusterClient, key string) []node {
	t.Helper()
	owner, err := cluster.MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []node
	err = cluster.ForEachMaster(t.Context(), func(ctx context.Context, client *redis.Client) error {
		id, err := client.Do(ctx, "cluster", "myid").Text()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node{client, id})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b node) int {
		switch owner.Options().Addr {
		case a.Options().Addr:
			return -1
		case b.Options().Addr:
			return 1
		default:
			return 0
		}
	})
	return all
}

// move moves a slot from the first node to the second, as an operator would:
// meanwhile some of its keys are on one node and some on the other.
func move(ctx context.Context, slot int64, all []node) error {
	from, to := all[0], all[1]
	set := func(n node, args ...any) error {
		return n.Do(ctx, append([]any{"cluster", "setslot", slot}, args...)...).Err()
	}
	if err := set(to, "importing", from.id); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := set(from, "migrating", to.id); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	host, port, err := net.SplitHostPort(to.Options().Addr)
	if err != nil {
		return err
	}
	for {
		// A few keys at a time: the others stay for some more calls.
		keys, err := from.ClusterGetKeysInSlot(ctx, int(slot), 2).Result()
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"migrate", host, port, "", 0, 5000, "keys"}
		for _, key := range keys {
			args = append(args, key)
		}
		if err := from.Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("move keys: %w", err)
		}
	}
	// The new owner first: the slot is never nobody's.
	for _, n := range append([]node{to, from}, all[2:]...) {
		if err := set(n, "node", to.id); err != nil {
			return fmt.Errorf("assign: %w", err)
		}
	}
	return nil
}

// TestPoolMovesWithItsSlot moves the pool's slot around the Cluster while holders
// lease and release and answers are lost. The pool sees another Redis process
// each time, and must go on as after a failover that lost nothing.
func TestPoolMovesWithItsSlot(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Cluster(t)
	cluster := rdb.(*redis.ClusterClient)
	// A name of its own is a slot of its own: the other tests' pools stay.
	config := accounts.Config{Redis: rdb, Namespace: namespace, Name: "moving"}
	p, err := accounts.Create(t.Context(), config, accounts.Settings{LeaseTTL: time.Second, LockDelay: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, p, "student", 20)
	slot, err := rdb.ClusterKeySlot(t.Context(), p.Generation()).Result()
	if err != nil {
		t.Fatal(err)
	}
	all := nodes(t, cluster, p.Generation())
	if len(all) != 3 {
		t.Fatalf("the Cluster has %d nodes, want 3", len(all))
	}

	ctx, cancel := context.WithCancel(context.Background())
	reclaiming, cancelReclaiming := context.WithCancel(context.Background())
	used := &history{epoch: time.Now()}
	var running, reclaimer sync.WaitGroup
	defer func() { cancel(); running.Wait(); cancelReclaiming(); reclaimer.Wait() }()
	r := accounts.NewReclaimer(p)
	reclaimer.Go(func() { _ = r.Run(reclaiming) })
	var stops []func()
	for number := range 4 {
		faults := &redistest.Faults{}
		config := config
		config.Redis = redistest.Another(t, rdb)
		config.Redis.AddHook(faults)
		own, err := accounts.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		h, stop := register(t, own)
		stops = append(stops, stop)
		n := 0
		faults.LoseReplies(0, func(redis.Cmder) bool { n++; return n%17 == 0 })
		for i := range 8 {
			running.Go(func() { used.user(ctx, 8*number+i, h) })
		}
	}
	goOn := func() {
		t.Helper()
		size := used.size()
		eventually(t, "they go on", func() bool { return used.size() >= size+100 })
	}
	goOn()
	for range 3 {
		if err := move(t.Context(), slot, all); err != nil {
			t.Fatal(err)
		}
		goOn()
		all = append(all[1:], all[0])
	}
	cancel()
	running.Wait()
	for _, stop := range stops {
		stop()
	}
	used.check(t)
	// A holder that was too slow to give something back, or to renew, is dead.
	eventually(t, "all are available", func() bool { return stats(t, p).Available == 20 })
	audit(t, p)
}

// A Cluster is asked for what the pool needs on the node that will have the
// pool, whatever the other nodes are like.
func TestTheNodeOfThePoolMustFit(t *testing.T) {
	t.Parallel()
	const evicting = "redis_version:7.2.0\r\nmaxmemory_policy:allkeys-lru\r\n"
	rdb, namespace := redistest.Cluster(t)
	p := newPool(t, rdb, namespace, accounts.Settings{})
	owner := nodes(t, rdb.(*redis.ClusterClient), p.Generation())[0].Options().Addr
	tests := map[string]struct {
		evicts func(addr string) bool
		want   error
	}{
		"the pool's node evicts": {func(addr string) bool { return addr == owner }, accounts.ErrRedis},
		"the other nodes do":     {func(addr string) bool { return addr != owner }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faked := redistest.Another(t, rdb).(*redis.ClusterClient)
			faked.OnNewNode(func(node *redis.Client) {
				if test.evicts(node.Options().Addr) {
					node.AddHook(infoHook{evicting})
				}
			})
			for range 6 {
				_, err := accounts.Open(t.Context(), accounts.Config{Redis: faked, Namespace: namespace, Name: "pool"})
				if !errors.Is(err, test.want) {
					t.Fatalf("open: got %v, want %v", err, test.want)
				}
			}
		})
	}
}
