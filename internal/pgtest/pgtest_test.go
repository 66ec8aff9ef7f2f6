package pgtest_test

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/internal/pgtest"
)

// childVariable tells the test binary to be the child of
// TestServerEndsWithTheBinary.
const childVariable = "THRONG_TEST_PGTEST_CHILD"

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	one, other := pgtest.URL(t), pgtest.URL(t)
	if one == other {
		t.Fatalf("twice the same database")
	}
	if _, err := pgtest.Connect(t, one).Exec(t.Context(), "CREATE TABLE users (id int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := pgtest.Connect(t, other).Exec(t.Context(), "CREATE TABLE users (id int)"); err != nil {
		t.Errorf("the table of one database is in the way in the other: %v", err)
	}
}

func TestSchemasOfOneDatabase(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	for range 2 {
		if _, err := pgtest.Connect(t, pgtest.Schema(t, address)).Exec(t.Context(), "CREATE TABLE users (id int)"); err != nil {
			t.Errorf("the table of one schema is in the way in the other: %v", err)
		}
	}
	if _, err := pgtest.Connect(t, address).Exec(t.Context(), "CREATE TABLE users (id int)"); err != nil {
		t.Errorf("the table of a schema is in the way in the database: %v", err)
	}
}

func TestDatabaseIsDroppedWhenTheTestEnds(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) {
		db := pgtest.Connect(t, pgtest.URL(t))
		if err := db.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	var there bool
	err := pgtest.Connect(t, pgtest.URL(t)).QueryRow(t.Context(),
		"SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there)
	if err != nil || there {
		t.Errorf("database %q is there: %v, %v", name, there, err)
	}
}

func TestAsNeedsThatUsersPassword(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), pgtest.As(t, address, u.User.Username(), "wrong"))
	if err == nil {
		db.Close(t.Context())
		t.Errorf("the server asks for no password")
	}
}

func TestOwnServerIsAnother(t *testing.T) {
	t.Parallel()
	shared, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	own, err := url.Parse(pgtest.Own(t))
	if err != nil {
		t.Fatal(err)
	}
	if own.Host == shared.Host {
		t.Errorf("both are %s", own.Host)
	}
}

// However a test binary ends, it leaves neither a server nor a folder behind.
func TestServerEndsWithTheBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv(childVariable) != "" {
		address := pgtest.URL(t)
		var folder string
		if err := pgtest.Connect(t, address).QueryRow(t.Context(), "SHOW data_directory").Scan(&folder); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s %s\n", address, folder)
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	pgtest.URL(t) // skips where there is no PostgreSQL
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithTheBinary$")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	address, folder, _ := strings.Cut(strings.TrimSpace(line), " ")
	if _, err := os.Stat(folder); err != nil {
		t.Fatalf("the child's server has no folder: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}

	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		_, missing := os.Stat(filepath.Dir(folder))
		if os.IsNotExist(missing) {
			break
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("the server's folder is still there: %v", missing)
		}
	}
	if db, err := pgx.Connect(t.Context(), address); err == nil {
		db.Close(t.Context())
		t.Errorf("the server is still there")
	}
}
