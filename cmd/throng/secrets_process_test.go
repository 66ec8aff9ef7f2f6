//go:build process

package main_test

import (
	"crypto/rand"
	"encoding/csv"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/redistest"
)

// No password of the pool is anywhere but in the export and, without a key, in
// what Redis keeps of accounts: not in a log, an outcome, an error, an argument
// of a process, nor in any other value of Redis.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for name, keyed := range map[string]bool{"with a key": true, "without a key": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var variables []string
			key := ""
			if keyed {
				p := start(t, "accounts", "key")
				p.wait(10 * time.Second)
				key = strings.TrimSpace(p.out.String())
				variables = []string{"THRONG_ACCOUNTS_KEY=" + key}
			}
			b := campaign(t, variables)
			b.look(t, "key", []string{key[strings.Index(key, ":")+1:]})
			if leaks := b.look(t, "password", b.passwords); !keyed && len(leaks) == 0 {
				t.Error("the test cannot see records in Redis")
			} else if keyed && len(leaks) > 0 {
				t.Errorf("a password stands in Redis, at %q", leaks)
			} else {
				for _, key := range leaks {
					if !strings.HasSuffix(key, ":rec") && !strings.HasSuffix(key, ":intents") {
						t.Errorf("a password stands in Redis, at %q", key)
					}
				}
			}
		})
	}
}

// evidence is everything that a campaign left behind, but for its export.
type evidence struct {
	texts     map[string]string // by where they were found
	redis     map[string]string // by key
	passwords []string
}

// look looks for secrets. Outside of Redis it reports them; of Redis it returns
// the keys that have one.
func (e evidence) look(t *testing.T, what string, secrets []string) (keys []string) {
	t.Helper()
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for where, text := range e.texts {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("a %s stands in %s: ...%s[here]", what, where, text[max(0, i-80):i])
			}
		}
		for key, text := range e.redis {
			if (strings.Contains(text, secret) || strings.Contains(key, secret)) && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// campaign does all that is done with a pool, at the most talkative, with
// accounts among them that the target refuses.
func campaign(t *testing.T, variables []string) evidence {
	t.Helper()
	e := evidence{texts: map[string]string{}}
	target := start(t, "target", "--listen", "127.0.0.1:0", "-L", "DEBUG")
	address := target.says(`target at http://(\S+)`, 10*time.Second)[1]
	file := spec(t, address, "loglevel: DEBUG")
	say := func(code int, args ...string) {
		t.Helper()
		o := accountsWith(t, variables, file, args...).ended(t, code)
		e.texts["throng accounts "+strings.Join(args, " ")] += o.stdout + o.stderr
	}

	folder := t.TempDir()
	imported := filepath.Join(folder, "imported.csv")
	mine, other := rand.Text(), rand.Text() // in passwords of this campaign alone
	rows := "username,password,role\n"
	for i := range 5 {
		username := fmt.Sprintf("stranger%d", i)
		plant(t, address, username) // with another password
		rows += fmt.Sprintf("%s,hunter2-of-%s-%s,student\n", username, username, mine)
	}
	if err := os.WriteFile(imported, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	say(0, "import", imported)
	for name, text := range map[string]string{
		"other.csv":   strings.ReplaceAll(rows, mine, other), // known, with other passwords
		"broken.csv":  "username,password,role\nstranger0,\"" + mine + ",student\n",
		"shifted.csv": "username,password,role\n" + mine + ",,student\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		say(2, "import", path)
	}
	say(0, "create", "-u", "20", "--json")
	say(0, "create", "-u", "20")

	// A run, in which the strangers' log-ins fail.
	before := len(listedWith(t, variables, file))
	outcome := filepath.Join(folder, "summary.json")
	out := filepath.Join(folder, "out")
	p := startWith(t, variables, "run", "-f", file, "--redis", redistest.URL(t), "--swarm", name(t),
		"-u", "20", "-r", "40", "-t", "4s", "--workers", "2", "--json", outcome, "--out", out, "--exit-code-on-error", "0")
	arguments := map[string]bool{}
	for running := true; running; {
		select {
		case <-p.exited:
			running = false
		case <-time.After(50 * time.Millisecond):
			for line := range children(t, p.cmd.Process.Pid) {
				arguments[line] = true
			}
		}
	}
	// On a busy machine the run may not count; what it says is looked at all the same.
	if code := p.wait(time.Second); code != 0 && code != 98 {
		t.Fatalf("run: exit code %d\n%s", code, p.out)
	}
	failed := int64(0)
	for _, op := range summary(t, outcome).Operations {
		if op.Type == "LOGIN" {
			failed += op.Failures
		}
	}
	if failed == 0 {
		t.Error("no log-in has failed, so nobody had a reason to tell a password")
	}
	if !arguments["throng worker"] || !arguments["throng probe"] {
		t.Errorf("arguments of child processes: %v", arguments)
	}
	e.texts["arguments of processes"] = strings.Join(slices.Collect(maps.Keys(arguments)), "\n")
	e.texts["the run's output"] = p.out.String()
	for _, root := range []string{out, p.cmd.Dir, outcome} {
		e.files(t, root)
	}

	for _, username := range listedWith(t, variables, file, "--state", "available", "--role", "student")[:2] {
		askTarget(t, http.MethodDelete, address, "/accounts/"+username, "")
	}
	say(1, "verify", "--quarantined", "--json")
	say(1, "verify", "--quarantined")
	say(0, "list")
	say(0, "list", "--json")
	say(0, "stats", "--audit")
	say(0, "stats", "--audit", "--json")
	say(1, "quarantine", "stranger0", "nobody", "--reason", "by hand")
	say(0, "release")
	if variables != nil {
		// Another's key, and what is no key.
		o := accountsWith(t, []string{"THRONG_ACCOUNTS_KEY=" + strings.Repeat("A", 43) + "="}, file, "export", "-").ended(t, 3)
		e.texts["export with another key"] = o.stdout + o.stderr
		o = accountsWith(t, []string{variables[0] + "x"}, file, "list").ended(t, 2)
		e.texts["list with a broken key"] = o.stdout + o.stderr
		say(0, "rekey")
	}

	exported := filepath.Join(t.TempDir(), "export.csv")
	say(0, "export", exported)
	e.passwords = passwordsIn(t, exported)
	if len(e.passwords) < before {
		t.Errorf("%d passwords exported of %d accounts", len(e.passwords), before)
	}
	e.passwords = append(e.passwords, mine, other)
	e.redis = dump(t)
	say(0, "delete", "--json")
	e.texts["the target's output"] = target.out.String()
	return e
}

func listedWith(t *testing.T, variables []string, file string, args ...string) (usernames []string) {
	t.Helper()
	o := accountsWith(t, variables, file, append([]string{"list"}, args...)...).ended(t, 0)
	for i, line := range strings.Split(strings.TrimSpace(o.stdout), "\n") {
		if i > 0 { // the titles
			usernames = append(usernames, strings.Fields(line)[1])
		}
	}
	return usernames
}

// files takes in every file below root.
func (e evidence) files(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		e.texts["file "+path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func passwordsIn(t *testing.T, path string) (passwords []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := slices.Index(rows[0], "password")
	for _, row := range rows[1:] {
		if len(row[column]) < 12 {
			t.Errorf("a password is so short that finding it means nothing")
		}
		passwords = append(passwords, row[column])
	}
	return passwords
}

// dump is every value of the real Redis, by key.
func dump(t *testing.T) map[string]string {
	t.Helper()
	rdb, ctx := connectRedis(t), t.Context()
	all := map[string]string{}
	for keys := rdb.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		var text strings.Builder
		switch kind := rdb.Type(ctx, key).Val(); kind {
		case "string":
			text.WriteString(rdb.Get(ctx, key).Val())
		case "hash":
			for field, value := range rdb.HGetAll(ctx, key).Val() {
				text.WriteString(field + " " + value + "\n")
			}
		case "zset":
			text.WriteString(strings.Join(rdb.ZRange(ctx, key, 0, -1).Val(), "\n"))
		case "set":
			text.WriteString(strings.Join(rdb.SMembers(ctx, key).Val(), "\n"))
		case "list":
			text.WriteString(strings.Join(rdb.LRange(ctx, key, 0, -1).Val(), "\n"))
		case "stream":
			for _, entry := range rdb.XRange(ctx, key, "-", "+").Val() {
				fmt.Fprintln(&text, entry.Values)
			}
		case "none": // it has just gone
		default:
			t.Errorf("key %q is a %s: teach the test to read it", key, kind)
		}
		all[key] = text.String()
	}
	if len(all) == 0 {
		t.Error("nothing in Redis")
	}
	return all
}
