package provision_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/pgtest"
)

// usersTable is a table as an application may have it.
const usersTable = `CREATE TABLE users (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	username text NOT NULL UNIQUE,
	password text NOT NULL,
	role text,
	class text,
	created_at timestamptz NOT NULL DEFAULT now())`

// newUsers makes a database with the table, and returns how to reach both.
func newUsers(t testing.TB, statements ...string) (provision.PostgresConfig, *pgx.Conn) {
	t.Helper()
	return prepare(t, pgtest.URL(t), append([]string{usersTable}, statements...)...)
}

func prepare(t testing.TB, address string, statements ...string) (provision.PostgresConfig, *pgx.Conn) {
	t.Helper()
	db := pgtest.Connect(t, address)
	for _, statement := range statements {
		mustExec(t, db, statement)
	}
	return provision.PostgresConfig{
		URL: address, Table: "users",
		Columns: provision.PostgresColumns{
			ID: "id", Username: "username", Password: "password", Role: "role",
			Attributes: map[string]string{"class": "class"},
		},
	}, db
}

func openPostgres(t testing.TB, cfg provision.PostgresConfig) *provision.Postgres {
	t.Helper()
	p, err := provision.NewPostgres(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// people returns n accounts; those of another kind have other passwords.
func people(kind string, n int) []accounts.Account {
	list := make([]accounts.Account, n)
	for i := range list {
		list[i] = accounts.Account{
			Username: fmt.Sprintf("student-%05d", i), Role: "student",
			Password: accounts.NewSecret(fmt.Sprintf("%s-secret-%05d", kind, i)),
		}
	}
	return list
}

func person(username, password string) accounts.Account {
	return accounts.Account{Username: username, Password: accounts.NewSecret(password), Role: "student"}
}

func mustExec(t testing.TB, db *pgx.Conn, statement string, arguments ...any) {
	t.Helper()
	if _, err := db.Exec(context.Background(), statement, arguments...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func mustCreate(t testing.TB, p *provision.Postgres, list []accounts.Account) []provision.Outcome {
	t.Helper()
	outcomes, err := p.CreateAll(context.Background(), list)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Err != nil {
			t.Fatalf("%s: %v", list[i].Username, o.Err)
		}
	}
	return outcomes
}

// one reads one value.
func one[T any](t testing.TB, db *pgx.Conn, query string, arguments ...any) T {
	t.Helper()
	var value T
	if err := db.QueryRow(context.Background(), query, arguments...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// checkLine checks that an error is one line that has all the parts, and nobody's
// password.
func checkLine(t testing.TB, err error, list []accounts.Account, cfg provision.PostgresConfig, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one with %q", parts)
		return
	}
	for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
		for _, part := range parts {
			if !strings.Contains(shown, part) {
				t.Errorf("%q does not say %q", shown, part)
			}
		}
		if strings.Contains(shown, "\n") {
			t.Errorf("%q has more than one line", shown)
		}
		for _, a := range list {
			if password := a.Password.Reveal(); password != "" && strings.Contains(shown, password) {
				t.Errorf("%q has the password of %s", shown, a.Username)
			}
		}
		if u, err := url.Parse(cfg.URL); err == nil {
			if password, ok := u.User.Password(); ok && strings.Contains(shown, password) {
				t.Errorf("%q has the database's password", shown)
			}
		}
	}
}

// until waits until the condition holds.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// gate is a way to the server. It counts connections.
type gate struct {
	// With opened set, so many bytes pass on each connection, and all others are
	// held back until it is closed.
	limit  int
	opened chan struct{}
	// cutsCommit ends a connection behind its first COMMIT.
	cutsCommit bool

	mu        sync.Mutex
	open, top int
}

func (g *gate) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open++
	g.top = max(g.top, g.open)
	return &gatedConn{Conn: nc, gate: g}, nil
}

type gatedConn struct {
	net.Conn
	gate  *gate
	sent  int
	close sync.Once
}

func (c *gatedConn) Write(p []byte) (int, error) {
	if c.gate.opened != nil && c.sent+len(p) > c.gate.limit {
		<-c.gate.opened
	}
	n, err := c.Conn.Write(p)
	c.sent += n
	if c.gate.cutsCommit && bytes.Contains(bytes.ToLower(p), []byte("commit\x00")) {
		_ = c.Close()
	}
	return n, err
}

func (c *gatedConn) Close() error {
	c.close.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.open--
	})
	return c.Conn.Close()
}

// deletion is what came of DeleteAll, in one error.
func deletion(errs []error, err error) error { return errors.Join(append(errs, err)...) }
