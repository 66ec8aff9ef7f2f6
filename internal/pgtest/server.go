package pgtest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// superuser is the user that the servers are made with.
const superuser = "throng"

// options trade what a crash of the machine would lose for speed. A server whose
// processes are killed still loses nothing.
const options = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 " +
	"-c shared_buffers=32MB -c fsync=off -c full_page_writes=off -c jit=off"

// script makes a cluster, runs its server until its own standard input ends,
// and removes the folder. The standard input is a pipe from the test binary, so
// it ends when the binary does, kill -9 included. $1 is the folder of
// PostgreSQL's programs, $2 the port, $3 the options, $4 the user,
// $5 the folder, which is also the working folder.
const script = `
trap '' PIPE
[ -d data ] || "$1/initdb" -D data -U "$4" --pwfile=password --auth=password \
	--encoding=UTF8 --locale=C --wal-segsize=1 --no-sync --no-instructions >log 2>&1 || exit 1
"$1/pg_ctl" -D data -l log -w -t 60 -o "-p $2 $3" start >/dev/null 2>&1 || exit 1
echo ready || :
read -r _ || :
"$1/pg_ctl" -D data -m immediate -w stop >/dev/null 2>&1
rm -rf "$5"
`

// server is one PostgreSQL server that runs.
type server struct {
	port     int
	password string
	cmd      *exec.Cmd
	stdin    io.Closer // the server runs until this is closed
}

// find returns the folder of initdb and pg_ctl: from the search path, or where
// Debian puts them, the newest version.
func find() (folder string, found bool) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), true
	}
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(paths) == 0 {
		return "", false
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(paths, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), true
}

// start makes a cluster and returns once its server answers.
func start(programs string) (*server, error) {
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, fmt.Errorf("pgtest: make the server's folder: %w", err)
	}
	password := rand.Text()
	if err = os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600); err == nil {
		err = giveAway(dir, filepath.Join(dir, "password"))
	}
	// Between finding a free port and the server's bind somebody else may take
	// it: then the next port is tried.
	for range 5 {
		if err != nil {
			break
		}
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		var s *server
		if s, err = launch(programs, dir, port); err == nil {
			s.password = password
			return s, nil
		}
		if !errors.Is(err, errPort) {
			break
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	_ = os.RemoveAll(dir)
	return nil, fmt.Errorf("pgtest: start PostgreSQL: %w\n%s", err, log)
}

// errPort says that the server did not start because of its port.
var errPort = errors.New("the port is taken")

func launch(programs, dir string, port int) (*server, error) {
	cmd := exec.Command("sh", "-c", script, "sh", programs, strconv.Itoa(port), options, superuser, dir)
	cmd.Dir = dir
	if err := detach(cmd); err != nil {
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		_ = stdin.Close()
		err := cmd.Wait()
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); strings.Contains(string(log), "Address already in use") {
			return nil, errPort
		}
		return nil, err
	}
	return &server{port: port, cmd: cmd, stdin: stdin}, nil
}

// stop ends the server and removes its folder.
func (s *server) stop() {
	_ = s.stdin.Close()
	_ = s.cmd.Wait()
}

func (s *server) url(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// run runs one statement on a connection of its own.
func run(address, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer db.Close(ctx)
	_, err = db.Exec(ctx, statement)
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
