//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
)

const (
	// replicaDelay is how far the replica is behind.
	replicaDelay = 200 * time.Millisecond
	namespace    = "chaos"
	poolName     = "accounts"
)

// store is the Redis of a run: a master with an append-only file, and a replica
// that is behind it.
type store struct {
	t               testing.TB
	settings        accounts.Settings
	master, replica *redistest.Server
	link            *proxy // from the replica to its master
}

// direct is the pool as the test itself uses it: by the shortest way.
type direct struct {
	rdb  *redis.Client
	pool *accounts.Pool
}

func startStore(ctx context.Context, t testing.TB, settings accounts.Settings) (*store, direct, error) {
	s := &store{t: t, settings: settings, master: redistest.Start(t, redistest.Options{AppendOnly: true, Config: serverConfig()})}
	rdb := dialRedis(s.master.Addr())
	pool, err := accounts.Create(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: poolName}, settings)
	return s, direct{rdb, pool}, err
}

func serverConfig() []string {
	return []string{"--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"}
}

// open opens the pool on the present master.
func (s *store) open(ctx context.Context) (direct, error) {
	rdb := dialRedis(s.master.Addr())
	pool, err := accounts.Open(ctx, accounts.Config{Redis: rdb, Namespace: namespace, Name: poolName})
	if err != nil {
		rdb.Close()
	}
	return direct{rdb, pool}, err
}

// attach starts a replica of the master and waits until it follows.
func (s *store) attach(ctx context.Context) error {
	var err error
	if s.link == nil {
		s.link, err = startProxy("link", s.master.Addr())
	} else {
		err = s.link.up(s.master.Addr())
	}
	if err != nil {
		return err
	}
	if err := s.link.poison(ctx, toxic{Type: "latency", Stream: "downstream",
		Attributes: map[string]int{"latency": int(replicaDelay.Milliseconds())}}); err != nil {
		return err
	}
	s.replica = redistest.Start(s.t, redistest.Options{AppendOnly: true, ReplicaOf: s.link.listen, Config: serverConfig()})
	return nil
}

// follow waits until the replica follows its master, and makes the master refuse
// to write when none does: the setting without which a master that is cut off
// goes on leasing. Redis knows it in whole seconds.
func (s *store) follow(ctx context.Context) error {
	for {
		info, err := s.replica.Info(ctx, "replication")
		if err == nil && info["master_link_status"] == "up" {
			break
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("the replica does not follow: %w", err)
		}
	}
	lag := int64(s.settings.ReplicaLag / time.Second)
	return errors.Join(
		s.master.Configure(ctx, "min-replicas-max-lag", strconv.FormatInt(lag, 10)),
		s.master.Configure(ctx, "min-replicas-to-write", "1"))
}

// promotion is what a failover has lost.
type promotion struct {
	old    *redistest.Server
	behind int64 // bytes of replication that the replica never had
}

// promote makes the replica the master. The old one is left as it is.
func (s *store) promote(ctx context.Context) (promotion, error) {
	p := promotion{old: s.master}
	had, err := s.offset(ctx, s.master)
	alive := err == nil
	if err := s.replica.Promote(ctx); err != nil {
		return p, err
	}
	if got, err := s.offset(ctx, s.replica); alive && err == nil {
		p.behind = had - got
	}
	s.master, s.replica = s.replica, nil
	return p, nil
}

// offset is how far a server's stream of writes has come.
func (s *store) offset(ctx context.Context, server *redistest.Server) (int64, error) {
	info, err := server.Info(ctx, "replication")
	if err != nil {
		return 0, err
	}
	field := "master_repl_offset"
	if info["role"] == "slave" {
		field = "slave_repl_offset"
	}
	return strconv.ParseInt(info[field], 10, 64)
}

// done is how many leases and releases there have been.
func (d direct) done(ctx context.Context) (int64, error) {
	all, err := d.pool.Stats(ctx)
	var n int64
	for _, s := range all {
		n += s.Leases + s.Releases + s.Reclaimed
	}
	return n, err
}
