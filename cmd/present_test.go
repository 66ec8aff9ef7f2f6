package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/scenarios"
)

func TestPresent(t *testing.T) {
	t.Parallel()
	errOther := errors.New("connection refused")
	twoProblems := &scenarios.SpecError{Problems: []scenarios.Problem{
		{File: "throng.yaml", Line: 3, Column: 9, Path: "load.users", Text: `"ten" is not a whole number`},
		{Path: "load.spawn_rate", Text: "-1 is not a number above 0"},
	}}
	_, notURL := redisurl.Parse("http://h")
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string // all that is printed
	}{
		{"nothing", nil, 0, ""},
		{"usage", usageError("--users: %d is too many", 7), 2, "throng: --users: 7 is too many\n"},
		{"several usage errors", errors.Join(usageError("one"), usageError("two")), 2, "throng: one\ntwo\n"},
		{"start", startError("target: %w", errOther), 3, "throng: target: connection refused\n"},
		{"master's start", &master.StartError{Text: "no pool"}, 3, "throng: no pool\n"},
		{"wrapped start", fmt.Errorf("run: %w", &master.StartError{Text: "no pool"}), 3, "throng: run: no pool\n"},
		{"every line of a spec", twoProblems, 2, "throng.yaml:3:9: load.users: \"ten\" is not a whole number\nthrong: load.spawn_rate: -1 is not a number above 0\n"},
		{"a wrapped spec", fmt.Errorf("load: %w", twoProblems), 2, "throng.yaml:3:9: load.users: \"ten\" is not a whole number\nthrong: load.spawn_rate: -1 is not a number above 0\n"},
		{"not a Redis URL", notURL, 2, "throng: " + fmt.Sprint(notURL) + "\n"},
		{"forbidden host", fmt.Errorf("dial: %w", &dial.NotAllowedError{Addr: netip.MustParseAddr("192.0.2.1")}), 2, ""},
		{"second master", fmt.Errorf("lead: %w", coord.ErrLed), 3, ""},
		{"deposed", fmt.Errorf("save: %w", coord.ErrDeposed), 98, ""},
		{"no pool", fmt.Errorf("open: %w", accounts.ErrNoPool), 3, ""},
		{"other settings", fmt.Errorf("open: %w", accounts.ErrSettings), 3, ""},
		{"other version", fmt.Errorf("open: %w", accounts.ErrVersion), 3, ""},
		{"missing key", fmt.Errorf("open: %w", accounts.ErrKey), 3, ""},
		{"frozen", fmt.Errorf("retire: %w", accounts.ErrFrozen), 3, ""},
		{"known otherwise", &accounts.KnownError{Pool: "p", Usernames: []string{"ann"}}, 2, ""},
		{"another's turn, interrupted", fmt.Errorf("%w: box:7 has it: %w", accounts.ErrTurn, context.Canceled), 130, "throng: accounts: not this process's turn: box:7 has it: context canceled\n"},
		{"down", startError("create: %w", provision.ErrDown), 3, ""},
		{"limit", startError("create: %w", provision.ErrLimit), 3, ""},
		{"interrupted", fmt.Errorf("%w while waiting", master.ErrInterrupted), 130, ""},
		{"cancelled", fmt.Errorf("connect: %w", context.Canceled), 130, ""},
		{"what nobody thought of", errOther, 3, "throng: connection refused\n"},
		{"outcome without words", exitWith(99, nil), 99, "\x00"},
		{"outcome with words", exitWith(98, errOther), 98, "throng: connection refused\n"},
		{"outcome beats what it wraps", exitWith(99, startError("accounts are left")), 99, "throng: accounts are left\n"},
		{"passed", exitWith(0, nil), 0, ""},
		{"passed, and nowhere to say so", exitWith(0, errOther), 3, "throng: connection refused\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w bytes.Buffer
			if code := present(&w, tt.err); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			switch {
			case tt.want == "\x00" || tt.err == nil:
				if w.Len() > 0 {
					t.Errorf("printed %q, want nothing", &w)
				}
			case tt.want != "" && w.String() != tt.want:
				t.Errorf("printed %q, want %q", &w, tt.want)
			case tt.want == "" && (!strings.HasPrefix(w.String(), "throng: ") || strings.Count(w.String(), "\n") != 1):
				t.Errorf("printed %q, want one line", &w)
			}
		})
	}
}

// What goes wrong in cleaning up is said, and does not change how the run went.
func TestCleanUpKeepsTheExitCode(t *testing.T) {
	t.Parallel()
	left := startError("5 accounts were left")
	for _, tt := range []struct {
		name    string
		err     error
		cleanUp error
		code    int
		want    string
	}{
		{"all well", nil, nil, 0, ""},
		{"only the outcome", exitWith(99, nil), nil, 99, ""},
		{"only the cleaning up", nil, left, 3, "throng: 5 accounts were left\n"},
		{"an outcome that was said", exitWith(99, nil), left, 99, "throng: 5 accounts were left\n"},
		{"an error besides", startError("no workers"), left, 3, "throng: no workers\n5 accounts were left\n"},
		{"interrupted", exitWith(130, nil), left, 130, "throng: 5 accounts were left\n"},
		{"usage", usageError("no source"), left, 2, "throng: no source\n5 accounts were left\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w bytes.Buffer
			if code := present(&w, new(localRun).also(tt.err, tt.cleanUp)); code != tt.code || w.String() != tt.want {
				t.Errorf("exit code %d and %q, want %d and %q", code, &w, tt.code, tt.want)
			}
		})
	}
}

// Mistakes that are found before anything starts, through the whole program.
func TestMistakes(t *testing.T) {
	t.Parallel()
	good := file(t, "")
	for _, tt := range []struct {
		name      string
		variables map[string]string
		args      []string
		want      string
	}{
		{"unknown command", nil, []string{"trail"}, `unknown command "trail"`},
		{"unknown command of accounts", nil, []string{"accounts", "craete"}, `unknown command "craete"`},
		{"unknown flag", nil, []string{"run", "--usrs", "3"}, "unknown flag: --usrs"},
		{"unknown short flag", nil, []string{"run", "-z"}, "-z"},
		{"arguments", nil, []string{"run", "throng.yaml"}, "takes no arguments"},
		{"wrong value", nil, []string{"run", "-u", "ten"}, "--users"},
		{"wrong variable", map[string]string{"THRONG_USERS": "ten"}, []string{"run", "-f", good}, "THRONG_USERS"},
		{"no file", nil, []string{"run"}, "-f throng.yaml"},
		{"file from the environment", map[string]string{"THRONG_FILE": "nowhere.yaml"}, []string{"master", "--headless"}, "nowhere.yaml"},
		{"swarm", nil, []string{"worker", "--swarm", "a{b}"}, "--swarm"},
		{"level", nil, []string{"worker", "-L", "LOUD"}, "LOUD"},
		{"Redis URL", nil, []string{"worker", "--redis", "redis://h1,h2"}, "not a Redis URL"},
		{"Redis URL from the environment", map[string]string{"THRONG_REDIS": "redis://ann:hunter2@h:port"}, []string{"probe"}, "not a Redis URL"},
		{"workers", nil, []string{"run", "-f", good, "--workers", "0"}, "--workers"},
		{"fault", nil, []string{"target", "--fault", "los=1"}, "--fault"},
		{"headless", nil, []string{"master", "-f", good, "--headless", "--autostart"}, "--headless"},
		{"a flag of the page", nil, []string{"run", "-f", good, "--class-picker"}, "--web"},
		{"quit without start", nil, []string{"master", "-f", good, "--autoquit", "3"}, "--autostart"},
		{"login", map[string]string{"THRONG_WEB_USER": "ann"}, []string{"master", "-f", good, "--web-login"}, "THRONG_WEB_PASSWORD"},
		{"certificate", nil, []string{"master", "-f", good, "--tls-cert", "cert.pem"}, "--tls-key"},
		{"base path", nil, []string{"master", "-f", good, "--web-base-path", "load"}, "--web-base-path"},
		{"web port", nil, []string{"master", "-f", good, "-P", "70000"}, "--web-port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, stdout, stderr := surroundings(tt.variables, tt.args...)
			if code := run(t.Context(), e); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if out := stderr.String(); strings.Count(out, "\n") != 1 || !strings.Contains(out, tt.want) || strings.Contains(out, "hunter2") || stdout.Len() > 0 {
				t.Errorf("printed %q and %q, want one line with %q", stdout, out, tt.want)
			}
		})
	}
}

func TestCommandsThatStartNothing(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"version": "throng ", "scenarios": "classroom ", "": "Usage:", "accounts": "Usage:", "run --help": "--spawn-rate", "trial -h": "--fault",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			e, stdout, stderr := surroundings(nil, strings.Fields(args)...)
			if code := run(t.Context(), e); code != 0 || stderr.Len() > 0 || !strings.Contains(stdout.String(), want) {
				t.Errorf("exit code %d, printed %q and %q", code, stdout, stderr)
			}
		})
	}
}
