package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// surroundings are what a test gives the program: arguments, variables by name.
func surroundings(variables map[string]string, args ...string) (e env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return env{
		args: args, stdout: stdout, stderr: &screen{w: stderr}, scenarios: []scenarios.Scenario{classroom.Scenario},
		lookup: func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
	}, stdout, stderr
}

// file writes a throng.yaml with these lines more than it must have.
func file(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "throng.yaml")
	if err := os.WriteFile(path, []byte("scenario: classroom\ntarget: http+poll://127.0.0.1:1\n"+lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// settled is what a command that has every kind of flag makes of its settings.
type settled struct {
	common commonFlags
	output outputFlags
	wait   waitFlags
	spec   *scenarios.Spec
}

// settle reads the settings as every command does: the command line, then the
// environment, then the file.
func settle(t *testing.T, variables map[string]string, lines string, args ...string) (settled, error) {
	t.Helper()
	e, _, _ := surroundings(variables)
	var s settled
	var load loadFlags
	cmd := &cobra.Command{Use: "throng", SilenceErrors: true, SilenceUsage: true}
	s.common.add(cmd.Flags(), defaultRedis, "INFO")
	load.add(cmd.Flags(), "1", "1", "never")
	s.wait.add(cmd.Flags())
	s.output.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := readEnvironment(cmd, e); err != nil {
			return err
		}
		if s.spec, err = loadSpec(cmd, e, file(t, lines), "", nil); err != nil {
			return err
		}
		load.apply(cmd, s.spec)
		return checkSpec(s.spec)
	}
	cmd.SetArgs(args)
	err := cmd.Execute()
	return s, err
}

func TestLayers(t *testing.T) {
	t.Parallel()
	const (
		inFile = "load: { users: 10, spawn_rate: 2.5, run_time: 1m, stop_timeout: 1s }\nswarm: from-file\nredis: redis://file:1\nexpect_workers: 3\nonly_summary: true\nexit_code_on_error: 7\nexpect_workers_max_wait: 5s\n"
	)
	inEnv := map[string]string{
		"THRONG_USERS": "20", "THRONG_SPAWN_RATE": "5", "THRONG_RUN_TIME": "2m", "THRONG_STOP_TIMEOUT": "2s", "THRONG_SWARM": "from-env",
		"THRONG_REDIS": "redis://env:1", "THRONG_EXPECT_WORKERS": "4", "THRONG_ONLY_SUMMARY": "false", "THRONG_EXIT_CODE_ON_ERROR": "8",
		"THRONG_EXPECT_WORKERS_MAX_WAIT": "6s",
	}
	onLine := []string{"-u", "30", "-r", "7.5", "--run-time", "3m", "-s", "3s", "--swarm=from-flag", "--redis", "redis://flag:1", "--expect-workers", "5", "--only-summary=true", "--exit-code-on-error", "9", "--expect-workers-max-wait", "7"}
	type values struct {
		users        int
		rate         float64
		run, stop    time.Duration
		swarm, redis string
		workers      int
		only         bool
		code         int
		wait         time.Duration
	}
	defaults := values{1, 1, 0, 0, "default", defaultRedis, 1, false, 1, 0}
	fromFile := values{10, 2.5, time.Minute, time.Second, "from-file", "redis://file:1", 3, true, 7, 5 * time.Second}
	fromEnv := values{20, 5, 2 * time.Minute, 2 * time.Second, "from-env", "redis://env:1", 4, false, 8, 6 * time.Second}
	fromFlag := values{30, 7.5, 3 * time.Minute, 3 * time.Second, "from-flag", "redis://flag:1", 5, true, 9, 7 * time.Second}
	for _, tt := range []struct {
		name      string
		file      string
		variables map[string]string
		args      []string
		want      values
	}{
		{"nothing", "", nil, nil, defaults},
		{"file", inFile, nil, nil, fromFile},
		{"environment", "", inEnv, nil, fromEnv},
		{"flags", "", nil, onLine, fromFlag},
		{"environment beats file", inFile, inEnv, nil, fromEnv},
		{"flag beats file", inFile, nil, onLine, fromFlag},
		{"flag beats environment", "", inEnv, onLine, fromFlag},
		{"flag beats environment beats file", inFile, inEnv, onLine, fromFlag},
		{"an empty variable is none", inFile, map[string]string{"THRONG_USERS": "", "THRONG_SWARM": ""}, nil, fromFile},
		{"a flag that says the default is a flag", inFile, inEnv, []string{"-u", "1", "-r", "1", "-t", "0", "-s", "0", "--swarm", "default", "--redis", defaultRedis, "--expect-workers", "1", "--only-summary=false", "--exit-code-on-error", "1", "--expect-workers-max-wait", "0"}, defaults},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := settle(t, tt.variables, tt.file, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			got := values{
				s.spec.Load.Users, s.spec.Load.SpawnRate, time.Duration(s.spec.Load.RunTime), time.Duration(s.spec.Load.StopTimeout),
				s.common.swarm, s.common.redis, s.wait.workers, s.output.onlySummary, s.output.exitCodeOnError, s.wait.limit(),
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// A mistake says where it was made, and all of a layer come at once.
func TestMistakesInLayers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		file      string
		variables map[string]string
		args      []string
		want      []string
	}{
		{"environment", "", map[string]string{"THRONG_USERS": "ten", "THRONG_RUN_TIME": "1.5s", "THRONG_ONLY_SUMMARY": "perhaps"}, nil,
			[]string{"THRONG_USERS: ", "THRONG_RUN_TIME: ", "THRONG_ONLY_SUMMARY: "}},
		{"file", "expect_workers: many\nexpect_workers_max_wait: soon\nexit_code_on_error: x\n", nil, nil,
			[]string{"throng.yaml:3:17: ", "throng.yaml:4:26: ", "throng.yaml:5:21: "}},
		{"file and load", "load: { users: ten, swarm: x }\n", nil, nil, []string{"load.users", "belongs at the top level"}},
		{"flags against the spec", "safety: { max_users: 5 }\n", nil, []string{"-u", "6", "-r", "-1"}, []string{"safety.max_users", "load.spawn_rate"}},
		{"a variable against the spec", "safety: { max_users: 5 }\n", map[string]string{"THRONG_USERS": "6"}, nil, []string{"safety.max_users"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := settle(t, tt.variables, tt.file, tt.args...)
			var w bytes.Buffer
			if code := present(&w, err); code != 2 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(w.String(), want) {
					t.Errorf("printed no %q:\n%s", want, &w)
				}
			}
		})
	}
	// What beats a wrong value makes it irrelevant.
	if s, err := settle(t, map[string]string{"THRONG_USERS": "ten"}, "", "-u", "3"); err != nil || s.spec.Load.Users != 3 {
		t.Errorf("a flag over a wrong variable: %v", err)
	}
	if s, err := settle(t, map[string]string{"THRONG_EXPECT_WORKERS": "4"}, "expect_workers: many\n"); err != nil || s.wait.workers != 4 {
		t.Errorf("a variable over a wrong key: %v", err)
	}
}

func TestVariable(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"users": "THRONG_USERS", "spawn-rate": "THRONG_SPAWN_RATE", "expect-workers-max-wait": "THRONG_EXPECT_WORKERS_MAX_WAIT"} {
		if got := variable(flag); got != want {
			t.Errorf("--%s is %s, want %s", flag, got, want)
		}
	}
}

// commands are all commands of the program.
func commands(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, sub := range root.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}

// flagsOf are the flags of a command, without help and without those that are
// given on the command line alone.
func flagsOf(cmd *cobra.Command) (all []*pflag.Flag) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !isOnlyOnLine(f) {
			all = append(all, f)
		}
	})
	return all
}

// sample is a value for a flag that is not its default.
func sample(t *testing.T, f *pflag.Flag) string {
	t.Helper()
	switch f.Value.Type() {
	case "string":
		return "other"
	case "stringArray":
		return "loss=0.5"
	case "int", "uint64", "float64":
		return "77"
	case "bool":
		return "true"
	case "duration":
		return "1m17s"
	case "rate":
		return "77/m"
	}
	t.Fatalf("--%s is a %s: teach the test about it", f.Name, f.Value.Type())
	return ""
}

// Every flag of every command is an environment variable, and no two flags of a
// command share one.
func TestEveryFlagHasItsVariable(t *testing.T) {
	t.Parallel()
	seen := 0
	e, _, _ := surroundings(nil)
	for _, cmd := range commands(newRoot(e)) {
		variables := make(map[string]string)
		for _, f := range flagsOf(cmd) {
			if _, taken := variables[variable(f.Name)]; taken {
				t.Errorf("%s: two flags are %s", cmd.CommandPath(), variable(f.Name))
			}
			variables[variable(f.Name)] = sample(t, f)
			seen++
		}
		full, _, _ := surroundings(variables)
		if err := readEnvironment(cmd, full); err != nil {
			t.Errorf("%s: %v", cmd.CommandPath(), err)
		}
		for _, f := range flagsOf(cmd) {
			want := sample(t, f)
			if f.Value.Type() == "stringArray" {
				want = "[" + want + "]"
			}
			if !f.Changed || f.Value.String() != want {
				t.Errorf("%s: %s=%s gives --%s %q", cmd.CommandPath(), variable(f.Name), sample(t, f), f.Name, f.Value)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d flags were looked at", seen)
	}
}

// Every flag is a key of throng.yaml too, but for the file itself. Flags with a
// name in common must agree on their kind, since a file serves all commands.
func TestEveryFlagHasItsKey(t *testing.T) {
	t.Parallel()
	e, _, _ := surroundings(nil)
	root := newRoot(e)
	names := flagNames(root)
	kinds := make(map[string]string)
	for _, cmd := range commands(root) {
		for _, f := range flagsOf(cmd) {
			if f.Name != "file" && !slices.Contains(names, f.Name) {
				t.Errorf("%s: --%s has no key", cmd.CommandPath(), f.Name)
			}
			if kind, known := kinds[f.Name]; known && kind != f.Value.Type() {
				t.Errorf("--%s is a %s here and a %s there", f.Name, kind, f.Value.Type())
			}
			kinds[f.Name] = f.Value.Type()
		}
	}
	if slices.Contains(names, "file") || slices.Contains(names, "help") {
		t.Errorf("a file can name itself or ask for help: %q", names)
	}
	load := []string{"users", "spawn-rate", "run-time", "stop-timeout"}
	for _, name := range names {
		f := kinds[name]
		value := map[string]string{"string": "other", "stringArray": "loss=0.5", "int": "77", "uint64": "77", "float64": "77", "bool": "true", "duration": "77s", "rate": "77/m"}[f]
		key := strings.ReplaceAll(name, "-", "_")
		lines := key + ": " + value + "\n"
		if slices.Contains(load, name) {
			lines = "load: { " + key + ": " + value + " }\n"
		}
		spec, err := scenarios.ParseSpec("throng.yaml", []byte("scenario: classroom\ntarget: http+poll://h\n"+lines),
			scenarios.ParseEnv{Scenarios: e.scenarios, Schemes: schemes(), Flags: names})
		if err != nil || spec.Settings[name].Text != value {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestProcessesIsWorkers(t *testing.T) {
	t.Parallel()
	e, _, _ := surroundings(nil)
	for _, name := range []string{"trial", "run"} {
		cmd, _, err := newRoot(e).Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.ParseFlags([]string{"--processes", "5"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := cmd.Flags().Lookup("workers").Value.String(); got != "5" {
			t.Errorf("%s --processes 5 is --workers %s", name, got)
		}
	}
}
