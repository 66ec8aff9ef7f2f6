//go:build unix

package redistest_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/redistest"
)

// use returns a user of a server of the test's own.
func use(t *testing.T, s *redistest.Server) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func info(t *testing.T, s *redistest.Server, section, field string) string {
	t.Helper()
	fields, err := s.Info(t.Context(), section)
	must(t, err)
	return fields[field]
}

func TestAKilledServerKeepsItsAppendOnlyFile(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{AppendOnly: true})
	rdb := use(t, s)
	must(t, rdb.Set(t.Context(), "early", "1", 0).Err())
	size, err := s.AOFSize()
	must(t, err)
	must(t, rdb.Set(t.Context(), "late", "1", 0).Err())

	if _, err := s.CutAOF(size); err == nil {
		t.Fatal("the file of a running server was cut")
	}
	pid, run := s.PID(), info(t, s, "server", "run_id")
	must(t, s.Kill())
	must(t, s.Restart())
	if s.PID() == pid || info(t, s, "server", "run_id") == run {
		t.Fatal("it is the same process")
	}
	if n := rdb.Exists(t.Context(), "early", "late").Val(); n != 2 {
		t.Fatalf("%d of 2 keys are there after kill -9", n)
	}

	must(t, s.Kill())
	removed, err := s.CutAOF(size)
	must(t, err)
	if removed <= 0 {
		t.Fatalf("removed %d bytes", removed)
	}
	must(t, s.Restart())
	if rdb.Exists(t.Context(), "early").Val() != 1 || rdb.Exists(t.Context(), "late").Val() != 0 {
		t.Fatal("after the cut the early key should be there, and the late one not")
	}
}

func TestAServerWithoutAFileForgets(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{Config: []string{"--maxclients", "77"}})
	rdb := use(t, s)
	must(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	if got := rdb.ConfigGet(t.Context(), "maxclients").Val()["maxclients"]; got != "77" {
		t.Errorf("maxclients is %q, want 77", got)
	}
	must(t, s.Kill())
	must(t, s.Restart())
	if rdb.Exists(t.Context(), "k").Val() != 0 {
		t.Error("the key is there")
	}
	if _, err := s.AOFSize(); err == nil {
		t.Error("there is an append-only file")
	}
}

func TestAStoppedServerAnswersWhenItGoesOn(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{})
	rdb := use(t, s)
	must(t, rdb.Ping(t.Context()).Err())
	must(t, s.Stop())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err == nil {
		t.Error("a stopped server answered")
	}
	must(t, s.Cont())
	must(t, rdb.Ping(t.Context()).Err())
}

func TestAReplicaIsPromoted(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, redistest.Options{AppendOnly: true})
	replica := redistest.Start(t, redistest.Options{AppendOnly: true, ReplicaOf: master.Addr()})
	must(t, use(t, master).Set(t.Context(), "k", "v", 0).Err())
	deadline := time.After(20 * time.Second)
	for {
		if info(t, replica, "replication", "master_link_status") == "up" && use(t, replica).Exists(t.Context(), "k").Val() == 1 {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the replica never had it all")
		case <-time.After(5 * time.Millisecond):
		}
	}
	must(t, master.Kill())
	must(t, replica.Promote(t.Context()))
	rdb := use(t, replica)
	must(t, rdb.Set(t.Context(), "k", "new", 0).Err())
	if got := rdb.Get(t.Context(), "k").Val(); got != "new" {
		t.Errorf("the promoted server has %q", got)
	}
	must(t, replica.Kill())
	must(t, replica.Restart())
	if role := info(t, replica, "replication", "role"); role != "master" {
		t.Errorf("the promoted server is a %s after a restart", role)
	}
}
