package cmd

import (
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
)

// everything is all that a Redis holds, as text.
func (b *bench) everything() string {
	b.t.Helper()
	rdb, ctx := b.client(), b.t.Context()
	var text strings.Builder
	for _, key := range rdb.Keys(ctx, "*").Val() {
		text.WriteString(key + "\n")
		switch rdb.Type(ctx, key).Val() {
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
		}
	}
	return text.String()
}

func TestKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := strings.TrimSpace(b.exactly("accounts", "key").exits(0).stdout)
	second := decode[struct{ Key string }](b.exactly("accounts", "key", "--json").exits(0)).Key
	if _, err := accounts.ParseKeyring(first + "," + second); err != nil || first == second {
		t.Fatalf("the printed keys: %v", err)
	}

	// Without a key, records can be read in Redis; from then on they cannot.
	list := b.write("s.csv", rows("student", 5))
	b.run("import", list).exits(0)
	if !strings.Contains(b.everything(), "secret-of-student0") {
		t.Fatal("the test cannot see records")
	}
	if o := b.run("rekey").exits(3, "set THRONG_ACCOUNTS_KEY"); strings.Contains(o.stderr, "is encrypted") {
		t.Errorf("rekey without a key says %q of a pool that is not encrypted", o.stderr)
	}
	b.variables[keyVariable] = first
	const half = "5 accounts that are not encrypted"
	b.run("import", b.write("p.csv", rows("proctor", 1))).exits(0, half, "throng accounts rekey")
	if o := b.run("import", b.write("q.csv", rows("proctor", 2))).exits(0); strings.Contains(o.stderr, half[2:]) {
		t.Errorf("said again: %q", o.stderr)
	}
	b.run("rekey").exits(0, "5 records encrypted anew")
	b.run("rekey").exits(0, "0 records encrypted anew")
	if strings.Contains(b.everything(), "secret-of") {
		t.Error("a password stands in Redis")
	}
	b.run("export", "-").exits(0, "secret-of-student4")

	// Without the key, nothing can be done; with a wrong text, one line says so.
	for name, text := range map[string]string{"none": "", "another": second} {
		b.variables[keyVariable] = text
		for _, command := range []string{"list", "stats", "export", "create", "delete"} {
			o := b.run(command).exits(3, "THRONG_ACCOUNTS_KEY")
			if strings.Contains(o.stderr, second) || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("key %s: throng %s printed %q", name, o.line, o.stderr)
			}
		}
	}
	b.variables[keyVariable] = "a:AAAAsecret"
	o := b.run("list").exits(2, "THRONG_ACCOUNTS_KEY", "throng accounts key")
	o.oneLine()
	if strings.Contains(o.stderr, "AAAAsecret") {
		t.Errorf("the error quotes the key: %s", o.stderr)
	}

	// A new key takes the place of the old one.
	b.variables[keyVariable] = second + "," + first
	b.run("rekey").exits(0, "7 records encrypted anew")
	b.variables[keyVariable] = second
	b.run("export", "-").exits(0, "secret-of-student4")
	if got := decode[struct {
		Pool     string
		Rekeyed  int
		Complete bool
	}](b.run("rekey", "--json").exits(0)); got.Rekeyed != 0 || got.Pool != pool {
		t.Errorf("rekey --json: %+v", got)
	}
}

// No flag takes a key: arguments of processes can be seen by others.
func TestNoFlagForTheKey(t *testing.T) {
	t.Parallel()
	e, _, _ := surroundings(nil)
	for _, cmd := range commands(newRoot(e)) {
		for _, f := range flagsOf(cmd) {
			// --tls-key is the name of a file.
			if variable(f.Name) == keyVariable || strings.Contains(f.Name, "key") && f.Name != "tls-key" {
				t.Errorf("%s --%s", cmd.CommandPath(), f.Name)
			}
		}
	}
}
