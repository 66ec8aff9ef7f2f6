package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// clusterSize is how many nodes the Cluster has, all of them masters.
	clusterSize = 3
	// slots is how many slots every Redis Cluster has.
	slots = 16384
	// clusterPatience bounds a start on a machine that is very busy. A node does
	// not serve before two seconds have passed, whatever the others say.
	clusterPatience = 30 * time.Second
)

// shared is the binary's Cluster, started by the first test that asks for it.
// It is the package's only variable: the testing package gives Main and the
// tests nothing else to meet at.
var shared cluster

// cluster is a Redis Cluster of processes. The zero value is one that has not
// been started.
type cluster struct {
	once  sync.Once
	addrs []string
	err   error
	kill  func() // nil unless it runs
}

// Cluster returns a user of a real Cluster of three nodes, which starts with the
// first call, takes over two seconds to do so and lives as long as the test
// binary; and a namespace that no other test has. The connections are closed
// when the test ends. It needs what URL needs.
func Cluster(t testing.TB) (rdb redis.UniversalClient, namespace string) {
	t.Helper()
	return connectCluster(t, clusterAddrs(t)), randomNamespace()
}

// ClusterURL returns the address of the Cluster that Cluster uses, as
// redis+cluster://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT.
func ClusterURL(t testing.TB) string {
	t.Helper()
	return "redis+cluster://" + strings.Join(clusterAddrs(t), ",")
}

func clusterAddrs(t testing.TB) []string {
	t.Helper()
	URL(t) // skips or fails without redis-server, and without Main
	shared.once.Do(func() { shared.err = shared.start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.addrs
}

// stop kills the nodes, if they run. No test may be running any more.
func (c *cluster) stop() {
	if c.kill != nil {
		c.kill()
	}
}

func (c *cluster) start() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redistest: start a Cluster: %w", err)
	}
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return fmt.Errorf("redistest: make the Cluster's folder: %w", err)
	}
	nodes := make([]*node, clusterSize)
	errs := make([]error, clusterSize)
	var starting sync.WaitGroup
	for i := range nodes {
		starting.Go(func() { nodes[i], errs[i] = startNode(path, filepath.Join(dir, strconv.Itoa(i))) })
	}
	starting.Wait()
	c.kill = func() {
		for _, n := range nodes {
			if n != nil {
				n.kill()
			}
		}
		_ = os.RemoveAll(dir)
	}
	if err = errors.Join(errs...); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
		defer cancel()
		err = join(ctx, nodes)
	}
	if err != nil {
		c.kill()
		c.kill = nil
		return fmt.Errorf("redistest: start a Cluster: %w", err)
	}
	for _, n := range nodes {
		c.addrs = append(c.addrs, n.addr())
	}
	return nil
}

// node is one process of a Cluster.
type node struct {
	port, bus int
	kill      func()
}

// startNode starts a node that knows no other yet. The bus port is given, not
// ten thousand above the other, so that both can be any free port.
func startNode(path, dir string) (*node, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a node's folder: %w", err)
	}
	var err error
	for range 5 { // for the same reason as in start
		n := &node{}
		if n.port, n.bus, err = freePorts(); err != nil {
			break
		}
		n.kill, err = launch(path, dir, n.port, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(n.bus),
			"--cluster-config-file", fmt.Sprintf("nodes-%d.conf", n.port))
		if err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("start a node: %w", err)
}

func (n *node) addr() string { return "127.0.0.1:" + strconv.Itoa(n.port) }

// join makes a Cluster of the nodes and returns when every one of them serves.
func join(ctx context.Context, nodes []*node) error {
	clients := make([]*redis.Client, len(nodes))
	for i, n := range nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: n.addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
		defer clients[i].Close()
	}
	for i, client := range clients {
		first, last := slots*i/len(nodes), slots*(i+1)/len(nodes)-1
		if err := client.Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return fmt.Errorf("number node %d: %w", i, err)
		}
		if err := client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			return fmt.Errorf("give slots to node %d: %w", i, err)
		}
	}
	// Each pair is introduced: waiting for gossip takes longer.
	for i, client := range clients {
		for _, other := range nodes[i+1:] {
			if err := client.Do(ctx, "cluster", "meet", "127.0.0.1", other.port, other.bus).Err(); err != nil {
				return fmt.Errorf("introduce nodes: %w", err)
			}
		}
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for _, client := range clients {
		for {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return fmt.Errorf("ask a node: %w", err)
			}
			if whole(info) {
				break
			}
			select {
			case <-poll.C:
			case <-ctx.Done():
				return fmt.Errorf("the nodes do not agree: %w: %q", ctx.Err(), info)
			}
		}
	}
	return nil
}

// whole tells whether a node serves and knows who has every slot.
func whole(info string) bool {
	for _, line := range []string{
		"cluster_state:ok", fmt.Sprintf("cluster_slots_ok:%d", slots),
		fmt.Sprintf("cluster_known_nodes:%d", clusterSize), fmt.Sprintf("cluster_size:%d", clusterSize),
	} {
		if !strings.Contains(info, line+"\r\n") {
			return false
		}
	}
	return true
}
