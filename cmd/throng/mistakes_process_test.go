//go:build process

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/redistest"
)

// What goes wrong before a run says so in one clear line, with the right exit
// code, within seconds.
func TestMistakes(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	good := spec(t, address)
	redis := redistest.URL(t)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "throng.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	master := []string{"master", "--headless", "--redis", redis, "-u", "10", "-r", "10", "-t", "5s"}
	with := func(base []string, more ...string) []string { return append(append([]string(nil), base...), more...) }

	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // in the one line that is printed
	}{
		{"unknown flag", []string{"trial", "--usrs", "5"}, 2, "unknown flag: --usrs"},
		{"unknown command", []string{"trail"}, 2, `unknown command "trail"`},
		{"bad value", []string{"trial", "-t", "1.5s"}, 2, "run-time"},
		{"bad fault", []string{"trial", "--fault", "los=1"}, 2, "los"},
		{"no file", with(master), 2, "-f throng.yaml"},
		{"missing file", with(master, "-f", "nowhere.yaml"), 2, "nowhere.yaml"},
		{"too many users", []string{"trial", "-u", "20000"}, 2, "safety.max_users"},
		{"wrong Redis URL", []string{"worker", "--redis", "http://127.0.0.1"}, 2, "not a Redis URL"},
		{"Redis missing", []string{"worker", "--redis", "redis://127.0.0.1:1"}, 3, "does not answer"},
		{"Redis missing for the master", []string{"master", "--headless", "--redis", "redis://127.0.0.1:1", "-f", good}, 3, "does not answer"},
		{"target missing", []string{"run", "-f", spec(t, "127.0.0.1:1")}, 3, "does not answer"},
		{"forbidden host", []string{"run", "-f", spec(t, "192.0.2.1:80")}, 2, "safety.allow"},
		{"no pool", with(master, "-f", good, "--swarm", "nopool"), 3, "throng accounts create"},
		{"two listeners", []string{"target", "--listen", address}, 3, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, tt.args...)
			if code := p.wait(20 * time.Second); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if lines := strings.Split(strings.TrimSpace(p.out.String()), "\n"); len(lines) != 1 || !strings.Contains(lines[0], tt.want) {
				t.Errorf("printed %d lines, want one with %q:\n%s", len(lines), tt.want, p.out)
			}
		})
	}

	t.Run("every mistake of a file", func(t *testing.T) {
		t.Parallel()
		file := write("scenario: clasroom\ntarget: htp://x\nload: { users: ten, spawn_rate: -1 }\nprob: {}\nthresholds: [ delivery.p42 < 3 ]\n")
		p := start(t, "run", "-f", file)
		if code := p.wait(10 * time.Second); code != 2 {
			t.Errorf("exit code %d, want 2", code)
		}
		for _, want := range []string{":1:11: ", ":2:9: ", ":3:16: ", ":3:33: ", ":4:1: ", ":5:15: "} {
			if !strings.Contains(p.out.String(), "throng.yaml"+want) {
				t.Errorf("no mistake at %s in\n%s", want, p.out)
			}
		}
	})

	t.Run("a role without accounts", func(t *testing.T) {
		t.Parallel()
		file := spec(t, address)
		create := start(t, "accounts", "create", "5", "--role", "student", "-f", file, "--redis", redis)
		if code := create.wait(20 * time.Second); code != 0 {
			t.Fatalf("accounts create: exit code %d", code)
		}
		p := start(t, "master", "--headless", "-f", file, "--redis", redis, "--swarm", "few", "-u", "500", "-r", "10", "-t", "5s")
		if code := p.wait(10 * time.Second); code != 3 {
			t.Errorf("exit code %d, want 3", code)
		}
		p.says(`usable accounts of role`, time.Second)
	})

	t.Run("no worker in time", func(t *testing.T) {
		t.Parallel()
		file := spec(t, address)
		create := start(t, "accounts", "create", "-f", file, "--redis", redis, "-u", "5")
		if code := create.wait(20 * time.Second); code != 0 {
			t.Fatalf("accounts create: exit code %d", code)
		}
		p := start(t, "master", "--headless", "-f", file, "--redis", redis, "--swarm", "alone", "-u", "5", "-t", "5s", "--expect-workers-max-wait", "2s")
		if code := p.wait(15 * time.Second); code != 3 {
			t.Errorf("exit code %d, want 3", code)
		}
		p.says(`waits for workers \(0 of 1 are ready\)`, time.Second)
	})

	t.Run("second master", func(t *testing.T) {
		t.Parallel()
		file := spec(t, address)
		common := []string{"--redis", redis, "--swarm", "two"}
		create := start(t, with([]string{"accounts", "create", "-f", file, "-u", "5"}, common[:2]...)...)
		if code := create.wait(20 * time.Second); code != 0 {
			t.Fatalf("accounts create: exit code %d", code)
		}
		args := with([]string{"master", "--headless", "-f", file, "-u", "5"}, common...)
		first := start(t, args...)
		first.says(`waiting for workers`, 10*time.Second)
		second := start(t, args...)
		if code := second.wait(10 * time.Second); code != 3 {
			t.Errorf("exit code %d, want 3", code)
		}
		first.signal(os.Interrupt)
		if code := first.wait(10 * time.Second); code != 130 {
			t.Errorf("the first master, interrupted while it waited: exit code %d, want 130", code)
		}
	})
}

// A flag beats the environment beats the file.
func TestLayers(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	file := spec(t, address, "load: { users: 3, spawn_rate: 100, run_time: 1s }")
	for _, tt := range []struct {
		name string
		env  string
		flag []string
		want int
	}{
		{"file", "", nil, 3},
		{"environment", "THRONG_USERS=4", nil, 4},
		{"flag", "THRONG_USERS=4", []string{"-u", "5"}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startWith(t, []string{tt.env}, append([]string{"run", "-f", file, "--workers", "1", "--json", "s.json"}, tt.flag...)...)
			p.wait(40 * time.Second)
			if got := summary(t, filepath.Join(p.cmd.Dir, "s.json")).Run.UsersPeak; got != tt.want {
				t.Errorf("%d users at peak, want %d", got, tt.want)
			}
		})
	}
}
