package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/embedded"
)

func open(t *testing.T) (*embedded.Server, *redis.Client) {
	t.Helper()
	server, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	opt, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatalf("URL %q: %v", server.URL(), err)
	}
	opt.MaxRetries = -1
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return server, rdb
}

func TestServesCommandsAndScripts(t *testing.T) {
	t.Parallel()
	_, rdb := open(t)
	got, err := rdb.Eval(t.Context(), `redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])`,
		[]string{"k"}, "v").Text()
	if err != nil || got != "v" {
		t.Fatalf("script: got %q, %v; want \"v\"", got, err)
	}
}

func TestKeysExpireByTheClock(t *testing.T) {
	t.Parallel()
	_, rdb := open(t)
	if err := rdb.Set(t.Context(), "k", "v", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		n, err := rdb.Exists(ctx, "k").Result()
		if err != nil {
			t.Fatalf("the key never expired: %v", err)
		}
		if n == 0 {
			return
		}
	}
}

func TestServersAreIndependent(t *testing.T) {
	t.Parallel()
	_, one := open(t)
	_, other := open(t)
	if err := one.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := other.Exists(t.Context(), "k").Result(); err != nil || n != 0 {
		t.Fatalf("the other server has the key: %d, %v", n, err)
	}
}

func TestCloseEndsTheServerAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	server, rdb := open(t)
	server.Close()
	server.Close()
	if err := rdb.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a closed server still answers")
	}
}
