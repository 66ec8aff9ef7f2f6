package provision_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/pgtest"
)

// created is what a call that runs beside the test came to.
type created struct {
	outcomes []provision.Outcome
	err      error
}

func creating(ctx context.Context, p *provision.Postgres, list []accounts.Account) <-chan created {
	ended := make(chan created, 1)
	go func() {
		outcomes, err := p.CreateAll(ctx, list)
		ended <- created{outcomes, err}
	}()
	return ended
}

// block keeps others from adding a username, until the function is called.
func block(t testing.TB, cfg provision.PostgresConfig, username string) (release func()) {
	t.Helper()
	other := pgtest.Connect(t, cfg.URL)
	mustExec(t, other, "BEGIN")
	mustExec(t, other, "INSERT INTO users (username, password) VALUES ($1, 'x')", username)
	return func() { mustExec(t, other, "ROLLBACK") }
}

// backend waits for a connection of a Postgres that does something, and returns
// the process that serves it.
func backend(t testing.TB, db *pgx.Conn, does string) (pid int) {
	t.Helper()
	until(t, "a connection that does "+does, func() bool {
		err := db.QueryRow(context.Background(), `SELECT pid FROM pg_stat_activity
			WHERE application_name = 'throng' AND datname = current_database() AND `+does).Scan(&pid)
		return err == nil
	})
	return pid
}

const (
	isWaiting = "wait_event_type = 'Lock'"
	isCopying = "state = 'active' AND query ILIKE 'copy%'"
)

func TestPostgresCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	p := openPostgres(t, cfg)
	list := people("our", 300)
	release := block(t, cfg, list[250].Username)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("that was enough")
	ended := creating(ctx, p, list)
	pid := backend(t, db, isWaiting)
	cancel(enough)
	got := <-ended
	if !errors.Is(got.err, enough) || errors.Is(got.err, provision.ErrRefused) {
		t.Errorf("got %v, want the context's cause", got.err)
	}
	checkLine(t, got.err, list, cfg, "that was enough")
	// Nothing goes on in the server either, though the lock is still there.
	until(t, "the server gives up as well", func() bool {
		return one[int](t, db, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'", pid) == 0
	})
	release()
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	mustCreate(t, p, list)
}

func TestPostgresTimeout(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	cfg.Timeout = 2 * time.Second
	p := openPostgres(t, cfg)
	release := block(t, cfg, "ann")
	_, err := p.Create(t.Context(), person("ann", "hunter2"))
	if errors.Is(err, provision.ErrRefused) {
		t.Errorf("%v wraps ErrRefused, but it may pass", err)
	}
	checkLine(t, err, nil, cfg, "2s")
	release()
	cfg.Timeout = 0
	mustCreate(t, openPostgres(t, cfg), []accounts.Account{person("ann", "hunter2")})
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// Whatever ends the connection, and when: nothing is half-applied, the failure
// may pass, and the same call again finishes the work.
func TestPostgresConnectionIsLost(t *testing.T) {
	t.Parallel()
	terminate := func(t *testing.T, db *pgx.Conn, pid int) {
		if !one[bool](t, db, "SELECT pg_terminate_backend($1)", pid) {
			t.Errorf("the connection's process is not there")
		}
	}
	t.Run("in the middle of COPY", func(t *testing.T) {
		t.Parallel()
		cfg, db := newUsers(t)
		way := &gate{limit: 100_000, opened: make(chan struct{})}
		cfg.Dial = way.Dial
		p := openPostgres(t, cfg)
		list := people("our", 5_000)
		ended := creating(t.Context(), p, list)
		terminate(t, db, backend(t, db, isCopying))
		close(way.opened)
		lostAndFinished(t, cfg, db, p, list, <-ended)
	})
	t.Run("while it waits for a lock", func(t *testing.T) {
		t.Parallel()
		cfg, db := newUsers(t)
		p := openPostgres(t, cfg)
		list := people("our", 300)
		release := block(t, cfg, list[250].Username)
		ended := creating(t.Context(), p, list)
		terminate(t, db, backend(t, db, isWaiting))
		got := <-ended
		release()
		lostAndFinished(t, cfg, db, p, list, got)
	})
	t.Run("killed in the middle of COPY, and with it all others", func(t *testing.T) {
		t.Parallel()
		cfg, db := prepare(t, pgtest.Own(t), usersTable)
		way := &gate{limit: 100_000, opened: make(chan struct{})}
		cfg.Dial = way.Dial
		p := openPostgres(t, cfg)
		list := people("our", 5_000)
		ended := creating(t.Context(), p, list)
		if err := syscall.Kill(backend(t, db, isCopying), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		close(way.opened)
		got := <-ended
		// The server restarts all of its processes, and recovers.
		until(t, "the server is back", func() bool {
			again, err := pgx.Connect(context.Background(), cfg.URL)
			if err == nil {
				_ = again.Close(context.Background())
			}
			return err == nil
		})
		lostAndFinished(t, cfg, pgtest.Connect(t, cfg.URL), p, list, got)
	})
}

func lostAndFinished(t *testing.T, cfg provision.PostgresConfig, db *pgx.Conn, p *provision.Postgres, list []accounts.Account, got created) {
	t.Helper()
	checkLine(t, got.err, list, cfg, "PostgreSQL at 127.0.0.1:")
	if errors.Is(got.err, provision.ErrRefused) || got.outcomes != nil {
		t.Errorf("%d outcomes and %v; want none and an error that may pass", len(got.outcomes), got.err)
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	// A connection that the server ended is found out at its next use.
	until(t, "the accounts are created", func() bool {
		outcomes, err := p.CreateAll(t.Context(), list)
		if err != nil {
			checkLine(t, err, list, cfg)
			return false
		}
		for _, o := range outcomes {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		return true
	})
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != len(list) {
		t.Errorf("%d rows, want %d", n, len(list))
	}
}

// The answer to COMMIT never comes: the accounts are there, and are recognised.
func TestPostgresCommitIsLost(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	list := people("our", 50)
	cut := cfg
	cut.Dial = (&gate{cutsCommit: true}).Dial
	_, err := openPostgres(t, cut).CreateAll(t.Context(), list)
	checkLine(t, err, list, cfg, "PostgreSQL at 127.0.0.1:")
	if errors.Is(err, provision.ErrRefused) {
		t.Errorf("%v wraps ErrRefused, but it may pass", err)
	}
	until(t, "the server has committed", func() bool { return one[int](t, db, "SELECT count(*) FROM users") == 50 })
	for i, o := range mustCreate(t, openPostgres(t, cfg), list) {
		if id := one[string](t, db, "SELECT id::text FROM users WHERE username = $1", list[i].Username); o.TargetID != id {
			t.Errorf("account %d: id %q, want %q", i, o.TargetID, id)
		}
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 50 {
		t.Errorf("%d rows, want 50", n)
	}
}
