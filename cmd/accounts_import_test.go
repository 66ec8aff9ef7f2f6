package cmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := b.write("good.csv", rows("student", 5))
	b.run("import", good).exits(0, "5 imported, 0 were there")
	b.run("import", good).exits(0, "0 imported, 5 were there")
	b.stdin = strings.NewReader(rows("proctor", 2))
	got := decode[importedAccounts](b.run("import", "-", "--json").exits(0))
	if got.Added != 2 || got.Existed != 0 || got.Pool != pool || got.LeftOut != 0 {
		t.Errorf("import --json: %+v", got)
	}
	if b.inTarget() != 0 {
		t.Error("an import has reached the target")
	}

	// The pool is made where it is not, by its name alone.
	b.exactly("accounts", "import", good, "--pool", "other", "--redis", b.redis).exits(0, "5 imported")
	b.run("import", filepath.Join(t.TempDir(), "nowhere.csv")).exits(2, "nowhere.csv").oneLine()
}

func TestImportRefusesBadRows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad := b.write("bad.csv", "username,password,role\nann,hunter2,student\n,hunter3,student\nbob,,student\ncid,hunter4,student\nann,hunter5,student\n")
	o := b.run("import", bad).exits(2, `line 3, column "username"`, `line 4, column "password"`, "line 6", "nothing was imported", "--skip-bad")
	if strings.Contains(o.stdout+o.stderr, "hunter") {
		t.Errorf("an error quotes a password: %s", o.stderr)
	}
	b.run("stats").exits(3) // not even the pool was made

	got := decode[importedAccounts](b.run("import", bad, "--skip-bad", "--json").exits(0))
	if got.Added == 0 || got.LeftOut < 3 || len(got.Problems) < 3 {
		t.Errorf("import --skip-bad --json: %+v", got)
	}
	b.run("import", bad, "--skip-bad").exits(0, "0 imported", "left out")
}

func TestImportRefusesKnownAccounts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("import", b.write("s.csv", rows("student", 3))).exits(0)
	other := strings.ReplaceAll(rows("student", 5), "secret-of-student1,", "hunter2,")
	o := b.run("import", b.write("other.csv", other)).exits(2, `"student1"`, "leave them out of the file")
	o.oneLine()
	if strings.Contains(o.stderr, "hunter2") {
		t.Errorf("the error quotes a password: %s", o.stderr)
	}
	if n := len(b.listed()); n != 3 {
		t.Errorf("%d accounts, want the 3 that were there", n)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("import", b.write("s.csv", rows("student", 5))).exits(0)
	b.run("create", "3", "--role", "proctor").exits(0)
	file := filepath.Join(t.TempDir(), "accounts.csv")
	b.run("export", file).exits(0, "8 exported to "+file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v; want mode 0600", info.Mode(), err)
	}
	b.run("export", file).exits(2, "--force").oneLine()
	b.run("export", file, "--force", "--role", "student").exits(0, "5 exported")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file, overwritten: %v, %v; want mode 0600", info.Mode(), err)
	}
	b.run("export", t.TempDir(), "--force").exits(2, "is not a file").oneLine()

	// What is exported is imported elsewhere as it was, and exports the same.
	text := b.run("export", "-").exits(0, "secret-of-student0").stdout
	copied := b.write("copy.csv", text)
	b.exactly("accounts", "import", copied, "--pool", "copy", "--redis", b.redis).exits(0, "8 imported")
	b.exactly("accounts", "import", copied, "--pool", pool, "--redis", b.redis).exits(0, "0 imported, 8 were there")
	again := b.exactly("accounts", "export", "-", "--pool", "copy", "--redis", b.redis).exits(0).stdout
	if sorted(text) != sorted(again) {
		t.Errorf("exported\n%s\nand of its import\n%s", text, again)
	}

	b.run("quarantine", "student0", "--reason", "x").exits(0)
	if out := b.run("export", "-", "--state", "quarantined").exits(0).stdout; strings.Count(out, "\n") != 2 || !strings.Contains(out, "student0") {
		t.Errorf("exported the quarantined: %q", out)
	}
	b.run("export", "-", "--role", "teacher").exits(2, "proctor, student").oneLine()
}

// Passwords come to a terminal only when it is named.
func TestExportToTerminal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("import", b.write("s.csv", rows("student", 2))).exits(0)
	terminal := func(args ...string) outcome {
		e, stdout, stderr := surroundings(nil, append([]string{"accounts", "export", "-f", b.file}, args...)...)
		e.size = func() (int, int) { return 80, 24 }
		return outcome{t, "export " + strings.Join(args, " "), run(t.Context(), e), stdout.String(), stderr.String()}
	}
	terminal().exits(2, "passwords").oneLine()
	terminal("-").exits(0, "secret-of-student0")
	b.run("export").exits(0, "secret-of-student0") // a pipe
}

// A csv source is imported by create, which says that it can create none.
func TestCreateFromFile(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "accounts.csv")
	if err := os.WriteFile(list, []byte(rows("student", 5)), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "accounts: { provision: { csv: { file: "+list+" } } }")
	b.run("create", "5", "--role", "student").exits(0, "5 imported from the file, 0 were there (wanted: 5 student)")
	b.run("create", "5", "--role", "student").exits(0, "5 were there")
	b.run("create", "9", "--role", "student").exits(3, "only 5 of 9 student accounts; a csv source can create none: add some to "+list).oneLine()
	b.run("create", "1", "--more").exits(2, "a csv source can create none").oneLine()
	b.run("verify").exits(2, "names no source that can be asked").oneLine()
	b.run("delete").exits(0, "0 deleted from the target, 5 only forgotten")
}

// A file's limit holds for what is imported too, by import and by create.
func TestImportRespectsTheLimit(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "accounts.csv")
	if err := os.WriteFile(list, []byte(rows("student", 5)), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "accounts: { max: 6, provision: { csv: { file: "+list+" } } }")
	b.run("import", b.write("p.csv", rows("proctor", 2))).exits(0, "2 imported")
	b.run("import", list).exits(3, "has 2 accounts and may have 6, and 5 more are in the file", "nothing was imported", "accounts.max is the limit").oneLine()
	b.run("create", "5", "--role", "student").exits(3, "accounts.max is the limit").oneLine()
	if n := len(b.listed()); n != 2 {
		t.Errorf("%d accounts, want the 2 that were there", n)
	}
	b.run("import", b.write("s.csv", rows("student", 4))).exits(0, "4 imported")
	b.run("import", b.write("s.csv", rows("student", 4))).exits(0, "0 imported, 4 were there")
	b.run("import", list).exits(3, "1 more are in the file").oneLine()
}

// sorted is a CSV text with its rows in order.
func sorted(text string) string {
	header, rest, _ := strings.Cut(text, "\n")
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	slices.Sort(lines)
	return header + "\n" + strings.Join(lines, "\n")
}
