// Package pgtest gives tests a real PostgreSQL: a server of the test binary's
// own, in which each test has a database of its own, and for tests that break
// things a server of the test's own.
//
// Only tests import it. It knows nothing of what is stored, and needs no
// TestMain: the first test that asks starts the server, which ends with the
// test binary, however that ends.
package pgtest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds what takes a moment, on a machine that is very busy.
const patience = 60 * time.Second

// shared is the binary's server. It is the package's only variable: the testing
// package gives tests nothing else to meet at.
var shared struct {
	once   sync.Once
	server *server
	err    error
}

// URL returns the address of a new, empty database of the binary's server, as
// postgres://USER:PASSWORD@127.0.0.1:PORT/DATABASE. The user is a superuser, and
// the database is dropped when the test ends, whoever is connected to it. Where
// no PostgreSQL is installed the test is skipped, or fails when the environment
// variable CI is set.
func URL(t testing.TB) string {
	t.Helper()
	folder := programs(t)
	shared.once.Do(func() { shared.server, shared.err = start(folder) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return newDatabase(t, shared.server)
}

// Own is URL, in a server of the test's own: what the test does to the server
// does not disturb other tests. It takes about a second to start.
func Own(t testing.TB) string {
	t.Helper()
	own, err := start(programs(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.stop)
	return newDatabase(t, own)
}

// Schema returns the address with a new, empty schema as the search path: for
// subtests, since it takes a tenth of what a database does. It goes when the
// database does.
func Schema(t testing.TB, address string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := run(address, "CREATE SCHEMA "+name); err != nil {
		t.Fatalf("pgtest: create a schema: %v", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("pgtest: parse an address: %v", err)
	}
	query := u.Query()
	query.Set("search_path", name)
	u.RawQuery = query.Encode()
	return u.String()
}

// Connect returns a connection to a database, closed when the test ends. Like
// every connection of pgx it is for one goroutine at a time.
func Connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatalf("pgtest: connect: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = db.Close(ctx)
	})
	return db
}

// As returns the address with another user and password in it.
func As(t testing.TB, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("pgtest: parse an address: %v", err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func newDatabase(t testing.TB, s *server) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := run(s.url("postgres"), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("pgtest: create a database: %v", err)
	}
	t.Cleanup(func() {
		// A test's own server may be beyond answering.
		if err := run(s.url("postgres"), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil && s == shared.server {
			t.Errorf("pgtest: drop the test's database: %v", err)
		}
	})
	return s.url(name)
}

// programs returns the folder of PostgreSQL's server programs.
func programs(t testing.TB) string {
	t.Helper()
	folder, found := find()
	switch {
	case found:
	case os.Getenv("CI") != "":
		t.Fatal("pgtest: no PostgreSQL: install its server, for instance Debian's package postgresql")
	default:
		t.Skip("pgtest: no PostgreSQL is installed")
	}
	return folder
}
