package cmd

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, step := range []struct {
		args    []string
		created int
		there   int // in the target, afterwards
		say     string
	}{
		{[]string{"create", "-u", "10"}, 19, 19, "19 created in the target, 0 were there (wanted: 4 probe, 2 proctor, 13 student)"},
		{[]string{"create", "-u", "10"}, 0, 19, "0 created in the target, 19 were there"},
		{[]string{"create", "20", "--role", "student"}, 7, 26, "7 created in the target, 13 were there (wanted: 20 student)"},
		{[]string{"create", "20", "--role", "student"}, 0, 26, "0 created"},
		{[]string{"create", "5", "--role", "probe", "--more"}, 5, 31, "(wanted: 5 probe more)"},
		{[]string{"create", "5", "--role", "probe", "--more"}, 5, 36, "(wanted: 5 probe more)"},
		{[]string{"create", "22"}, 2, 38, "wanted: 22 student"}, // the role that most users have
	} {
		b.run(step.args...).exits(0, step.say)
		if got := b.inTarget(); got != step.there {
			t.Fatalf("%q: %d accounts in the target, want %d", step.args, got, step.there)
		}
	}
	got := decode[made](b.run("create", "25", "--role", "student", "--json").exits(0))
	if got.Created != 3 || got.CreatedByRole["student"] != 3 || got.Existed != 22 || !got.Complete || got.Wanted["student"] != 25 || got.Pool != pool {
		t.Errorf("create --json: %+v", got)
	}
}

func TestCreateMistakes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"create", "ten"}, `"ten" is not a whole number above 0`},
		{[]string{"create", "0"}, `"0" is not a whole number above 0`},
		{[]string{"create", "1", "2"}, `takes one N, but got "2" too`},
		{[]string{"create", "5", "--role", "teacher"}, `the scenario has no role "teacher": it has proctor, student, probe`},
		{[]string{"create", "--more"}, "say how many more"},
		{[]string{"create", "5", "--rate", "fast"}, "--rate"},
		{[]string{"create", "5", "--concurrency", "0"}, "accounts.provision.http.concurrency"},
		{[]string{"create", "5", "--lease-ttl", "0"}, "--lease-ttl"},
		{[]string{"verify", "extra"}, "takes no arguments"},
		{[]string{"quarantine", "--reason", "x"}, "at least one USERNAME"},
		{[]string{"quarantine", "ann"}, "--reason"},
		{[]string{"restore"}, "give the USERNAMEs, or --all"},
		{[]string{"restore", "ann", "--all"}, "not both"},
		{[]string{"restore", "ann", "--role", "student"}, "--role goes with --all"},
		{[]string{"list", "--state", "lost"}, `"lost" is none of available, leased, resting, quarantined, retired`},
		{[]string{"list", "--limit", "-1"}, "--limit"},
		{[]string{"release", "--dead", "--holder", "x"}, "not both"},
		{[]string{"import"}, "FILE"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			b.run(tt.args...).exits(2, tt.want).oneLine()
		})
	}
	t.Run("neither file nor pool", func(t *testing.T) {
		t.Parallel()
		b.exactly("accounts", "list", "--redis", b.redis).exits(2, "-f throng.yaml, or the pool's name with --pool").oneLine()
		b.exactly("accounts", "delete", "--redis", b.redis).exits(2, "give the run's file with -f throng.yaml").oneLine()
		b.exactly("accounts", "list", "--pool", "a{b}").exits(2, "--pool").oneLine()
		b.exactly("accounts", "delete", "--pool", "x").exits(2, "unknown flag: --pool").oneLine()
	})
	t.Run("no such pool", func(t *testing.T) {
		t.Parallel()
		for _, command := range []string{"list", "stats", "release", "rekey", "export"} {
			b.exactly("accounts", command, "--pool", "nowhere", "--redis", b.redis).exits(3, `"nowhere"`, "throng accounts create").oneLine()
		}
	})
}

// Every limit and outage says so in one line, and what was done is kept.
func TestCreateFails(t *testing.T) {
	t.Parallel()
	t.Run("over the limit", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "accounts: { max: 10 }")
		b.run("create", "11", "--role", "student", "--rate", "5000/s").exits(3, "accounts.max is the limit", "student").oneLine()
		got := decode[made](b.run("create", "11", "--role", "student", "--json").exits(3))
		if got.Complete || got.Created != 0 || got.Wanted["student"] != 11 {
			t.Errorf("create --json that failed: %+v", got)
		}
		b.run("create", "10", "--role", "student", "--rate", "5000/s").exits(0)
		if b.inTarget() != 10 {
			t.Errorf("%d accounts in the target, want 10", b.inTarget())
		}
	})
	t.Run("target away", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		b.http.Close()
		b.run("create", "5").exits(3, "does not answer").oneLine()
	})
	t.Run("account API away", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, `accounts: { provision: { http: { url: "http://${API_HOST}" } } }`)
		b.run("create", "5").exits(2, "API_HOST is not set").oneLine()
		b.variables["API_HOST"] = "127.0.0.1:1"
		b.run("create", "5").exits(3, "the account API http://${API_HOST} does not answer").oneLine()
		b.variables["API_HOST"] = "192.0.2.1"
		b.run("create", "5").exits(2, "safety.allow").oneLine()
	})
	t.Run("database away", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, `accounts: { provision: { postgres: { url: "postgres://load:${DB_PASSWORD}@${DB_HOST}/app", table: users, columns: { username: name, password: pw } } } }`)
		b.run("create", "5").exits(2, "DB_PASSWORD, DB_HOST are not set").oneLine()
		b.variables["DB_PASSWORD"] = "hunter2"
		for host, code := range map[string]int{"127.0.0.1:1": 3, "192.0.2.1:5432": 2} {
			b.variables["DB_HOST"] = host
			if o := b.run("create", "5"); o.exits(code, "accounts.provision.postgres").stdout != "" || strings.Contains(o.stderr, "hunter2") || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("database at %s: printed %q and %q", host, o.stdout, o.stderr)
			}
		}
	})
	t.Run("nobody to tell", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, `accounts: { provision: { generated: { username: "load-{role}-{random}" } } }`)
		b.run("create", "5", "--role", "student").exits(0, "5 created in the pool only")
		if names := usernamesOf(b.listed()); len(names) != 5 || !strings.HasPrefix(names[0], "load-student-") || b.inTarget() != 0 {
			t.Errorf("accounts %v, %d in the target", names, b.inTarget())
		}
		b.run("verify").exits(0, "5 good")
		b.run("delete", "--rate", "5/s").exits(0, "5 deleted from the pool only", "--rate: of no effect")
	})
	t.Run("no source", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "accounts: { provision: {} }")
		b.run("create", "5", "--role", "student").exits(3, "0 of 5 student", "throng accounts import").oneLine()
		b.run("create", "5", "--more").exits(2, "throng accounts import").oneLine()
		b.run("verify").exits(2, "names no source").oneLine()
	})
	t.Run("other settings", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		b.run("create", "1").exits(0)
		b.run("create", "1", "--lease-ttl", "2s").exits(3, "the pool has other settings").oneLine()
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "accounts: { provision: { http: { rate: 100/s } } }")
		e, stdout, stderr := surroundings(nil, "accounts", "create", "10000", "--role", "student", "-f", b.file)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		begun := make(chan int, 1)
		go func() { begun <- run(ctx, e) }()
		await(t, func() bool { return b.inTarget() > 20 })
		interrupt()
		if code := <-begun; code != 130 {
			t.Errorf("exit code %d, want 130: %s", code, stderr)
		}
		if !strings.Contains(stdout.String(), "the same command does the rest") {
			t.Errorf("printed %q, want what was done", stdout)
		}
		// Nothing of it is lost.
		if n := len(b.listed()); n != b.inTarget() {
			t.Errorf("%d accounts in the pool and %d in the target", n, b.inTarget())
		}
	})
}

// await waits until something is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline:
			t.Fatal("waited in vain")
		case <-tick.C:
		}
	}
}

// Who waits for another process says for whom.
func TestCreateWaitsItsTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "1").exits(0)
	var other, first = b.open(nil), make(chan struct{})
	done, let := make(chan error, 1), make(chan struct{})
	go func() {
		done <- other.TakeTurn(t.Context(), accounts.JobProvision, func(context.Context) error {
			close(first)
			<-let
			return errors.New("over")
		})
	}()
	<-first
	e, stdout, _ := surroundings(nil, "accounts", "create", "5", "-f", b.file)
	noticed := &notice{want: `another process creates or deletes accounts of pool "classroom": `, seen: make(chan struct{})}
	e.stderr = &screen{w: noticed}
	code := make(chan int, 1)
	go func() { code <- run(t.Context(), e) }()
	select {
	case <-noticed.seen:
	case <-time.After(15 * time.Second):
		t.Errorf("nothing was said of the other process: %q", noticed.text)
	}
	if text := noticed.text; !strings.Contains(text, " has it: waiting until it is done") || strings.Contains(text, "turn") {
		t.Errorf("said %q, want who it is and nothing of turns", text)
	}
	close(let)
	if err := <-done; err == nil || err.Error() != "over" {
		t.Errorf("the other process: %v", err)
	}
	if got := <-code; got != 0 || !strings.Contains(stdout.String(), "4 created") {
		t.Errorf("exit code %d, printed %q and %q", got, stdout, noticed.text)
	}
}

// notice waits for a text to be written.
type notice struct {
	text, want string
	seen       chan struct{}
	found      bool
}

func (n *notice) Write(p []byte) (int, error) {
	n.text += string(p)
	if !n.found && strings.Contains(n.text, n.want) {
		n.found = true
		close(n.seen)
	}
	return len(p), nil
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ask("POST", "/accounts", `{"username":"student-000000000000","password":"not ours","role":"student"}`, 201)
	b.run("create", "10", "--role", "student").exits(0)
	b.run("import", b.write("more.csv", rows("tutor", 3))).exits(0)
	b.hold("busy", "student", 4)
	b.run("delete").exits(0, "6 deleted from the target, 3 only forgotten, because they were imported, 4 are leased and were left")
	if b.inTarget() != 5 {
		t.Errorf("%d accounts in the target, want the 4 leased and the look-alike", b.inTarget())
	}
}

func TestDeleteThePool(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "10").exits(0)
	b.run("delete", "--keep-pool").exits(0, "10 deleted from the target\n")
	b.run("stats").exits(0)
	got := decode[deletedAccounts](b.run("delete", "--json").exits(0))
	if !got.PoolGone || !got.Complete || got.Deleted != 0 {
		t.Errorf("delete --json: %+v", got)
	}
	b.run("stats").exits(3, "throng accounts create")
}

// Without a source nothing can be deleted in the target, so what was created
// there is kept on record.
func TestDeleteWithoutSource(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "5").exits(0)
	without := b.write("without.yaml", "scenario: classroom\ntarget: http+poll://"+b.address()+"\nredis: "+b.redis+"\naccounts: { provision: {} }\n")
	b.exactly("accounts", "delete", "-f", without).exits(3, "names no source").oneLine()
	if n := len(b.listed()); n != 5 || b.inTarget() != 5 {
		t.Errorf("%d accounts in the pool and %d in the target, want 5 and 5", n, b.inTarget())
	}
	b.run("delete").exits(0, "5 deleted")
}

func TestReap(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, name := range []string{"student-0a1b2c3d4e5f", "ann"} {
		b.ask("POST", "/accounts", `{"username":"`+name+`","password":"not ours","role":"student"}`, 201)
	}
	b.run("create", "10", "--role", "student").exits(0)
	b.run("reap").exits(0, "10 deleted from the target", "Proven: the target had 2 accounts before and has 2 now")
	b.run("create", "5", "--role", "student").exits(0)
	b.ask("POST", "/accounts", `{"username":"eve","password":"meanwhile","role":"student"}`, 201)
	got := decode[reapedAccounts](b.run("reap", "--json").exits(1))
	if got.Proven || got.Deleted != 5 || got.Before == nil || *got.Before != 2 || *got.After != 3 || got.Doubt == "" {
		t.Errorf("reap --json: %+v", got)
	}
}

// What an earlier create had begun is finished first, and told apart.
func TestCreateTellsRolesApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "1", "--role", "student").exits(0)
	intended := []accounts.Account{{Username: "proctor-0", Password: accounts.NewSecret("x"), Role: "proctor"}}
	if _, err := b.open(nil).Intend(t.Context(), intended); err != nil {
		t.Fatal(err)
	}
	b.run("create", "3", "--role", "student").exits(0,
		"3 created in the target, 1 were there (wanted: 3 student)", "among those created are 1 proctor, which an earlier create had begun")
}

// A create --more that is resumed says what the first one wanted.
func TestCreateMoreResumed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "1", "--role", "student").exits(0)
	if err := b.open(nil).SetGoal(t.Context(), map[string]int{"student": 4}); err != nil {
		t.Fatal(err)
	}
	b.run("create", "50", "--more", "--role", "proctor").exits(0, "3 created in the target, 1 were there (wanted: 4 student)", "finished an earlier create --more")
}

// What dead holders have is not waited for in silence.
func TestDeleteSaysForWhomItWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, fast+"\n"+brief)
	b.run("create", "5", "--role", "student").exits(0)
	b.dies("student", 3)
	b.run("delete").exits(0, "3 accounts are held: waiting up to 2.2s for those of holders that have died", "5 deleted")
}

// An error names the operation once.
func TestErrorsAreNotDoubled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "5").exits(0)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(refusing.Close)
	file := b.write("down.yaml", "scenario: classroom\ntarget: http+poll://"+b.address()+"\nredis: "+b.redis+
		"\naccounts: { provision: { http: { url: \""+refusing.URL+"\", rate: 5000/s } } }\n")
	for _, command := range []string{"verify", "delete", "reap"} {
		o := b.exactly("accounts", command, "-f", file, "--retries", "0").exits(3, `throng: pool "classroom": `)
		if strings.Contains(o.stderr, "provision: ") || strings.Contains(o.stderr, command+" accounts: "+command+" accounts") {
			t.Errorf("throng %s: printed %q", o.line, o.stderr)
		}
	}
}
