package cmd

import (
	"slices"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("import", b.write("s.csv", rows("student", 6))).exits(0)
	b.run("import", b.write("p.csv", rows("proctor", 2))).exits(0)
	b.hold("box:7", "student", 2)
	b.run("quarantine", "proctor0", "--reason", "locked \x1b[31mby support", "--for", "1h").exits(0)

	all := b.listed()
	if len(all) != 8 {
		t.Fatalf("%d accounts listed, want 8", len(all))
	}
	states := map[string]int{}
	for _, a := range all {
		states[a.Role+" "+a.State]++
		switch a.State {
		case "leased":
			if a.HolderName != "box:7" || a.Holder == "" || a.Token == 0 || a.Since == nil {
				t.Errorf("leased: %+v", a)
			}
		case "quarantined":
			if a.Reason == "" || a.Since == nil || a.Until == nil || a.Until.Sub(*a.Since).Minutes() < 59 {
				t.Errorf("quarantined: %+v", a)
			}
		}
		if a.Created || a.Attributes["group"] == "" {
			t.Errorf("imported: %+v", a)
		}
	}
	if states["student leased"] != 2 || states["student available"] != 4 || states["proctor quarantined"] != 1 || states["proctor available"] != 1 {
		t.Errorf("states %v", states)
	}

	table := b.run("list").exits(0, "USERNAME", "box:7", "locked ?[31mby support", "student0")
	if strings.Count(table.stdout, "\n") != 9 {
		t.Errorf("printed\n%s", table.stdout)
	}
	for _, o := range []outcome{table, b.run("list", "--json"), b.run("stats"), b.run("stats", "--json")} {
		if strings.Contains(o.stdout+o.stderr, "secret-of") {
			t.Errorf("throng %s prints a password", o.line)
		}
	}

	if names := usernamesOf(b.listed("--role", "proctor", "--state", "available,quarantined")); len(names) != 2 || !strings.HasPrefix(names[0], "proctor") {
		t.Errorf("proctors: %v", names)
	}
	if names := usernamesOf(b.listed("--state", "retired")); len(names) != 0 {
		t.Errorf("retired: %v", names)
	}
	if n := len(b.listed("--limit", "3")); n != 3 {
		t.Errorf("--limit 3 lists %d", n)
	}
	b.run("list", "--limit", "3").exits(0, "There are more: these are the first 3")
	b.run("list", "--limit", "8").exits(0)
	b.run("list", "--role", "teacher").exits(2, `has no role "teacher": it has proctor, student`).oneLine()
	// The pool's name is enough.
	b.variables["THRONG_POOL"] = pool
	b.exactly("accounts", "list", "--redis", b.redis).exits(0, "student0")
}

func TestQuarantineAndRestore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("import", b.write("s.csv", rows("student", 6))).exits(0)
	b.run("import", b.write("p.csv", rows("proctor", 2))).exits(0)
	b.hold("busy", "student", 1)
	leased := usernamesOf(b.listed("--state", "leased"))[0]
	free := usernamesOf(b.listed("--role", "student", "--state", "available"))

	b.run("quarantine", free[0], "--reason", "banned").exits(0, "1 quarantined\n")
	b.run("quarantine", free[0], free[1], "--reason", "again").exits(0, "1 quarantined\n", free[0]+" was left: quarantined or retired already")
	got := decode[movedAccounts](b.run("quarantine", free[2], leased, "nobody", "--reason", "x", "--json").exits(1))
	want := []leftAccount{{leased, "somebody holds it"}, {"nobody", "the pool does not know it"}}
	if got.Done != 1 || !slices.Equal(got.Left, want) {
		t.Errorf("quarantine --json: %+v", got)
	}
	b.run("stats").exits(0, "banned", "again")

	b.run("restore", free[0], free[3]).exits(0, "1 restored\n", free[3]+" was left: not quarantined")
	b.run("quarantine", "proctor0", "--reason", "y").exits(0)
	b.run("restore", "--all", "--role", "student").exits(0, "2 restored\n")
	if names := usernamesOf(b.listed("--state", "quarantined")); !slices.Equal(names, []string{"proctor0"}) {
		t.Errorf("quarantined: %v, want proctor0 alone", names)
	}
	b.run("restore", "--all", "--role", "teacher").exits(2, "proctor, student").oneLine()
	b.run("restore", "--all").exits(0, "1 restored\n")
	b.run("restore", "--all").exits(0, "0 restored\n")
}

func TestRelease(t *testing.T) {
	t.Parallel()
	b := newBench(t, brief)
	b.run("import", b.write("s.csv", rows("student", 10))).exits(0)
	stays := b.hold("stays", "student", 2)
	loses := b.hold("loses", "student", 3)

	b.run("release", "--holder", "nobody").exits(2, `nobody is called "nobody"; there are `, "loses (").oneLine()
	// Those who live keep what they have.
	b.run("release").exits(0, "0 came back; 5 are leased")
	b.run("release", "--holder", "loses").exits(0, "Holder loses (", "has lost its leases: 3 accounts", "3 came back; 2 are leased")
	await(t, func() bool { return loses.Held() == 0 })
	if stays.Held() != 2 {
		t.Errorf("the other holder has %d accounts, want 2", stays.Held())
	}

	// One that dies leaves its accounts, and they come back.
	b.dies("student", 4)
	got := decode[struct {
		Pool             string
		Revoked          int
		Released, Leased int64
	}](b.run("release", "--dead", "--json").exits(0))
	if got.Released != 4 || got.Leased != 2 {
		t.Errorf("release --json: %+v", got)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "10", "--role", "student").exits(0)
	b.hold("box:7", "student", 4)
	names := usernamesOf(b.listed("--state", "available"))
	b.run("quarantine", names[0], names[1], "--reason", "banned").exits(0)
	b.run("quarantine", names[2], "--reason", "locked").exits(0)

	b.run("stats", "--audit").exits(0, "student", "banned", "box:7", "audit: 10 accounts, ", "conserved")
	got := decode[poolStats](b.run("stats", "--audit", "--json").exits(0))
	if len(got.Roles) != 1 || len(got.Holders) == 0 || got.Audit == nil || got.FrozenMS != 0 {
		t.Fatalf("stats --json: %+v", got)
	}
	r := got.Roles[0]
	if r.Known != 10 || r.Leased != 4 || r.Available != 3 || r.Quarantined != 3 || r.Leases != 4 || r.Created != 10 || r.PeakLeased != 4 {
		t.Errorf("role %+v", r)
	}
	if want := []reasonStats{{"student", "banned", 2}, {"student", "locked", 1}}; !slices.Equal(got.Quarantine, want) {
		t.Errorf("quarantine %+v, want %+v", got.Quarantine, want)
	}
	if got.Holders[0].Name != "box:7" || got.Holders[0].Accounts != 4 {
		t.Errorf("holders %+v", got.Holders)
	}
	if !got.Audit.Conserved || got.Audit.Accounts != 10 || len(got.Audit.Problems) != 0 {
		t.Errorf("audit %+v", got.Audit)
	}

	// An account that is in no place is found.
	rdb := b.client()
	for _, key := range rdb.Keys(t.Context(), "*").Val() {
		if rdb.Type(t.Context(), key).Val() == "zset" && rdb.ZCard(t.Context(), key).Val() == 3 && strings.Contains(key, "student") {
			if err := rdb.ZPopMin(t.Context(), key, 1).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.run("stats", "--audit").exits(1, "audit: 10 accounts", "problems")
	if got := decode[poolStats](b.run("stats", "--audit", "--json").exits(1)); got.Audit.Conserved || got.Audit.Found == 0 {
		t.Errorf("audit %+v", got.Audit)
	}
}
