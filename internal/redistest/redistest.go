// Package redistest gives tests a Redis: a real server that lives as long as
// the test binary, a real Cluster that does too, an embedded one, one that runs
// inside a testing/synctest bubble, and a hook that loses replies and
// connections to order.
//
// Only tests import it. It knows nothing of what is stored: each test has a
// random namespace and never flushes, so that all of them run in parallel.
package redistest

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/throng-load/throng/internal/embedded"
)

// urlVariable carries the real server's address from Main to the tests of the
// binary, and to the processes that they start.
const urlVariable = "THRONG_TEST_REDIS_URL"

// URL returns the address of the real server that Main started, as
// redis://127.0.0.1:PORT. Where no redis-server is installed the test is
// skipped, or fails when the environment variable CI is set.
func URL(t testing.TB) string {
	t.Helper()
	url := os.Getenv(urlVariable)
	switch {
	case url != "":
		return url
	case os.Getenv("CI") != "":
		t.Fatal("redistest: no real Redis: install redis-server, and call redistest.Main from TestMain")
	default:
		t.Skip("redistest: no real Redis: redis-server is not installed, or TestMain does not call redistest.Main")
	}
	return ""
}

// Real returns a user of the real server and a namespace that no other test
// has. The connection is closed when the test ends.
func Real(t testing.TB) (rdb redis.UniversalClient, namespace string) {
	t.Helper()
	opt, err := redis.ParseURL(URL(t))
	if err != nil {
		t.Fatalf("redistest: parse the server's URL: %v", err)
	}
	return connect(t, opt), randomNamespace()
}

// Embedded returns a user of an embedded server of the test's own, and a
// random namespace. Both are closed when the test ends.
func Embedded(t testing.TB) (rdb redis.UniversalClient, namespace string) {
	t.Helper()
	server, err := embedded.Start()
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(server.Close)
	return connect(t, &redis.Options{Addr: server.Addr()}), randomNamespace()
}

// Each runs test three times in parallel, as subtests "redis", "embedded" and
// "cluster", so that the servers cannot drift apart.
func Each(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient, namespace string)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		rdb, namespace := Real(t)
		test(t, rdb, namespace)
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		rdb, namespace := Embedded(t)
		test(t, rdb, namespace)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		rdb, namespace := Cluster(t)
		test(t, rdb, namespace)
	})
}

// Piped returns a miniredis that touches no socket, and a user of it: both work
// inside a testing/synctest bubble, where the server's clock and its expiry
// follow the bubble's. Close both before the bubble ends; t.Cleanup of the
// bubble's own T, which Piped uses, does.
func Piped(t testing.TB) (server *miniredis.Miniredis, rdb redis.UniversalClient, namespace string) {
	t.Helper()
	server = miniredis.NewMiniRedis()
	server.ClockTTL(true)
	t.Cleanup(server.Close)
	opt := &redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) { return server.Dial() }}
	return server, connect(t, opt), randomNamespace()
}

// Another returns a second user of the server or the Cluster that rdb talks to,
// with connections and hooks of its own.
func Another(t testing.TB, rdb redis.UniversalClient) redis.UniversalClient {
	t.Helper()
	switch rdb := rdb.(type) {
	case *redis.Client:
		opt := *rdb.Options()
		return connect(t, &opt)
	case *redis.ClusterClient:
		return connectCluster(t, rdb.Options().Addrs)
	}
	t.Fatalf("redistest: another of a %T", rdb)
	return nil
}

// connect opens what every part of Throng uses: no retries behind the caller's
// back (a script may run twice otherwise), and deadlines that count.
func connect(t testing.TB, opt *redis.Options) redis.UniversalClient {
	t.Helper()
	opt.MaxRetries = -1
	opt.ContextTimeoutEnabled = true
	opt.DialerRetries = 1
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// connectCluster is connect for a Cluster. There go-redis follows redirections,
// and repeats a command whose connection broke, whatever MaxRetries says: a
// script may run twice, and must bear it.
func connectCluster(t testing.TB, addrs []string) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func randomNamespace() string { return "test-" + rand.Text() }
