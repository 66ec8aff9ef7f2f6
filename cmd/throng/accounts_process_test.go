//go:build process

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/redisurl"
)

// told is what a command that has ended printed.
type told struct {
	code           int
	stdout, stderr string
}

// accountsCommand runs `throng accounts ARGS...` on the real Redis to its end.
func accountsCommand(t *testing.T, file string, args ...string) told {
	t.Helper()
	return accountsWith(t, nil, file, args...)
}

// accountsWith adds variables to the environment.
func accountsWith(t *testing.T, variables []string, file string, args ...string) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(append([]string{"accounts"}, args...), "-f", file, "--redis", redistest.URL(t))...)
	cmd.Env = append(os.Environ(), variables...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code says it
	return told{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ended checks the exit code.
func (o told) ended(t *testing.T, code int) told {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", o.code, code, o.stdout, o.stderr)
	}
	return o
}

func (o told) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), into); err != nil {
		t.Fatalf("%v in %q", err, o.stdout)
	}
}

// inTarget is how many accounts the target has.
func inTarget(t *testing.T, address string) int { return int(counters(t, address).Accounts) }

// plant makes accounts in the target that no pool knows of.
func plant(t *testing.T, address string, usernames ...string) {
	t.Helper()
	for _, username := range usernames {
		body := fmt.Sprintf(`{"username":%q,"password":"planted","role":"student"}`, username)
		if status := askTarget(t, http.MethodPost, address, "/accounts", body); status != http.StatusCreated {
			t.Fatalf("plant %s: status %d", username, status)
		}
	}
}

func askTarget(t *testing.T, method, address, path, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// listed are the usernames that a list prints.
func listed(t *testing.T, file string, args ...string) (usernames []string) {
	t.Helper()
	o := accountsCommand(t, file, append([]string{"list", "--json"}, args...)...).ended(t, 0)
	for line := range strings.Lines(o.stdout) {
		var a struct{ Username string }
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		usernames = append(usernames, a.Username)
	}
	return usernames
}

func connectRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	client, err := redisurl.Connect(t.Context(), redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAccountsCreateTwice(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	for range 2 {
		accountsCommand(t, file, "create", "500", "--role", "student").ended(t, 0)
		if n := inTarget(t, address); n != 500 {
			t.Fatalf("%d accounts in the target, want 500", n)
		}
	}
	accountsCommand(t, file, "create", "100", "--role", "student", "--more").ended(t, 0)
	if n := inTarget(t, address); n != 600 {
		t.Errorf("%d accounts in the target, want 600", n)
	}
}

// A create --more that is killed is finished by the same command: nothing is
// added to what the first one wanted, and nothing is lost.
func TestAccountsMoreKilled(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	accountsCommand(t, file, "create", "100", "--role", "student").ended(t, 0)
	more := []string{"accounts", "create", "400", "--more", "--role", "student", "--rate", "400/s", "-f", file, "--redis", redistest.URL(t)}
	for _, at := range []int{150, 300} {
		p := start(t, more...)
		until(t, fmt.Sprintf("%d accounts", at), 20*time.Second, func() bool { return inTarget(t, address) >= at })
		p.signal(syscall.SIGKILL)
		p.wait(5 * time.Second)
	}
	p := start(t, more...)
	if code := p.wait(30 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	p.says("finished an earlier create --more", time.Second)
	if n, known := inTarget(t, address), len(listed(t, file)); n != 500 || known != 500 {
		t.Errorf("%d accounts in the target and %d in the pool, want 500 and 500", n, known)
	}
}

// The life of accounts that come from a file.
func TestAccountsFromFile(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	rows := "username,password,role,class\nann,\"correct horse, say\",student,7b\nbob,\"p\"\"w\nx\",student,\ncid,tea & cake,proctor,7c\n"
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := write("bad.csv", rows+"eve,,student,\n")
	if o := accountsCommand(t, file, "import", bad).ended(t, 2); !strings.Contains(o.stderr, `column "password"`) {
		t.Errorf("said %q", o.stderr)
	}
	accountsCommand(t, file, "list").ended(t, 3) // there is no pool, so nothing was imported
	var imported struct {
		Added   int
		LeftOut int `json:"left_out"`
	}
	accountsCommand(t, file, "import", bad, "--skip-bad", "--json").ended(t, 0).decode(t, &imported)
	if imported.Added != 3 || imported.LeftOut != 1 {
		t.Errorf("import --skip-bad: %+v", imported)
	}

	exported := filepath.Join(folder, "exported.csv")
	accountsCommand(t, file, "export", exported).ended(t, 0)
	copied := spec(t, address, "pool: "+name(t)+"-copy")
	if o := accountsCommand(t, copied, "import", exported).ended(t, 0); !strings.Contains(o.stdout, "3 imported") {
		t.Errorf("said %q", o.stdout)
	}
	if o := accountsCommand(t, file, "import", exported).ended(t, 0); !strings.Contains(o.stdout, "0 imported, 3 were there") {
		t.Errorf("said %q", o.stdout)
	}

	accountsCommand(t, file, "quarantine", "ann", "bob", "--reason", "locked", "--for", "1h").ended(t, 0)
	if names := listed(t, file, "--state", "quarantined"); len(names) != 2 {
		t.Errorf("quarantined: %v", names)
	}
	accountsCommand(t, file, "restore", "ann").ended(t, 0)
	accountsCommand(t, file, "restore", "ann", "nobody").ended(t, 1)
	if names := listed(t, file, "--state", "quarantined"); len(names) != 1 || names[0] != "bob" {
		t.Errorf("quarantined: %v, want bob", names)
	}
}

// An audit of a pool in use.
func TestAccountsAudit(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	accountsCommand(t, file, "create", "200", "--role", "student").ended(t, 0)
	pool, err := accounts.Open(t.Context(), accounts.Config{Redis: connectRedis(t), Name: name(t)})
	if err != nil {
		t.Fatal(err)
	}
	holder, err := pool.Register(t.Context(), "the test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- holder.Run(ctx) }()
	leases, err := holder.LeaseAll(t.Context(), "student", 60)
	if err != nil {
		t.Fatal(err)
	}
	turned := make(chan int, 1)
	go func() { // accounts change hands while the audit looks
		n := 0
		for ctx.Err() == nil {
			holder.Release(leases[n%len(leases)], accounts.OK)
			lease, err := holder.Lease(ctx, "student")
			if err != nil {
				break
			}
			leases[n%len(leases)] = lease
			n++
		}
		turned <- n
	}()
	var stats struct {
		Audit struct {
			Accounts, Found int
			Conserved       bool
		}
		Holders []struct{ Name string }
	}
	for range 3 {
		accountsCommand(t, file, "stats", "--audit", "--json").ended(t, 0).decode(t, &stats)
		if !stats.Audit.Conserved || stats.Audit.Accounts != 200 || len(stats.Holders) != 1 || stats.Holders[0].Name != "the test" {
			t.Errorf("stats %+v", stats)
		}
	}
	stop()
	if n := <-turned; n == 0 {
		t.Error("no account has changed hands")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What a killed create left is removed, and nothing else.
func TestAccountsReap(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	plant(t, address, "student-0a1b2c3d4e5f", "student-ffffffffffff", "ann")
	p := start(t, "accounts", "create", "2000", "--role", "student", "--rate", "500/s", "-f", file, "--redis", redistest.URL(t))
	until(t, "accounts in the target", 20*time.Second, func() bool { return inTarget(t, address) >= 203 })
	p.signal(syscall.SIGKILL)
	p.wait(5 * time.Second)

	var reaped struct {
		Deleted, Before, After int
		Proven                 bool
	}
	accountsCommand(t, file, "reap", "--json").ended(t, 0).decode(t, &reaped)
	if !reaped.Proven || reaped.Before != 3 || reaped.After != 3 || reaped.Deleted < 200 {
		t.Errorf("reap: %+v", reaped)
	}
	if n := inTarget(t, address); n != 3 {
		t.Errorf("%d accounts in the target, want the 3 that were there before", n)
	}
	for _, planted := range []string{"student-0a1b2c3d4e5f", "student-ffffffffffff", "ann"} {
		if status := askTarget(t, http.MethodGet, address, "/accounts/"+planted, ""); status != http.StatusOK {
			t.Errorf("%s: status %d, want it to have survived", planted, status)
		}
	}
	// Then a delete takes the pool away, and again there is nothing to do.
	accountsCommand(t, file, "reap").ended(t, 0)
	accountsCommand(t, file, "delete").ended(t, 0)
}

// Accounts that are deleted behind the pool's back are found, and replaced.
func TestAccountsVerify(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	accountsCommand(t, file, "create", "100", "--role", "student").ended(t, 0)
	for _, username := range listed(t, file)[:7] {
		askTarget(t, http.MethodDelete, address, "/accounts/"+username, "")
	}
	var verified struct{ Checked, Good, Missing int }
	accountsCommand(t, file, "verify", "--json").ended(t, 1).decode(t, &verified)
	if verified.Checked != 100 || verified.Good != 93 || verified.Missing != 7 {
		t.Errorf("verify: %+v", verified)
	}
	accountsCommand(t, file, "verify", "--quarantined", "--delete-bad").ended(t, 0)
	accountsCommand(t, file, "create", "100", "--role", "student").ended(t, 0)
	accountsCommand(t, file, "verify").ended(t, 0)
	if n := inTarget(t, address); n != 100 {
		t.Errorf("%d accounts in the target, want 100", n)
	}
}

// Ctrl-C keeps what was done; the accounts of a worker that was killed come
// back.
func TestAccountsInterruptedAndReleased(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address)
	p := start(t, "accounts", "create", "5000", "--role", "student", "--rate", "400/s", "-f", file, "--redis", redistest.URL(t))
	until(t, "accounts in the target", 20*time.Second, func() bool { return inTarget(t, address) >= 100 })
	p.signal(os.Interrupt)
	if code := p.wait(10 * time.Second); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	p.says(`Accounts: \d+ created in the target`, time.Second)
	p.says("the same command does the rest", time.Second)
	known := len(listed(t, file))
	if n := inTarget(t, address); n != known {
		t.Errorf("%d accounts in the target and %d in the pool", n, known)
	}

	s := startSwarm(t, address, file, 1, 20, "60s")
	s.master.says(`users 20 `, 30*time.Second)
	s.workers[0].signal(syscall.SIGKILL)
	var released struct{ Released, Leased int }
	accountsCommand(t, file, "release", "--json").ended(t, 0).decode(t, &released)
	until(t, "the master to take "+strconv.Itoa(released.Released)+" accounts back", 20*time.Second, func() bool {
		return len(listed(t, file, "--state", "leased", "--role", "student")) == 0
	})
}
