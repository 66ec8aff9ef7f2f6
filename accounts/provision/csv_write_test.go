package provision_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	err := provision.WriteCSV(&file, []accounts.Account{
		{Username: "ann", Password: accounts.NewSecret("=1+1"), Role: "student", Attributes: map[string]string{"class": "7b", "b": ""}},
		{Username: "bob", Password: accounts.NewSecret(`a,"b"`), Role: "proctor", Attributes: map[string]string{"age": "40"}},
	})
	want := "username,password,role,age,class\nann,=1+1,student,,7b\nbob,\"a,\"\"b\"\"\",proctor,40,\n"
	if err != nil || file.String() != want {
		t.Errorf("%v, %q; want %q", err, file.String(), want)
	}
	if err := provision.WriteCSV(io.Discard, nil); err != nil {
		t.Errorf("nobody: %v", err)
	}
}

func TestWriteCSVRefusesWhatCouldNotBeReadBack(t *testing.T) {
	t.Parallel()
	good := func() accounts.Account {
		return accounts.Account{Username: "ann", Password: accounts.NewSecret("hunter2"), Role: "student"}
	}
	tests := map[string]struct {
		change func(*accounts.Account)
		says   string
	}{
		"no username":   {func(a *accounts.Account) { a.Username = "" }, "no username"},
		"no password":   {func(a *accounts.Account) { a.Password = accounts.Secret{} }, "its password is empty"},
		"bad role":      {func(a *accounts.Account) { a.Role = "a b" }, `role: name "a b"`},
		"CRLF":          {func(a *accounts.Account) { a.Password = accounts.NewSecret("hunter2\r\n") }, "cannot carry its password"},
		"not UTF-8":     {func(a *accounts.Account) { a.Username = "\xff" }, "cannot carry its username"},
		"attribute":     {func(a *accounts.Account) { a.Attributes = map[string]string{"x": "\r\n"} }, `cannot carry its attribute "x"`},
		"like a column": {func(a *accounts.Account) { a.Attributes = map[string]string{"Role": "x"} }, `attribute "Role" cannot have a column`},
		"without name":  {func(a *accounts.Account) { a.Attributes = map[string]string{"": "x"} }, `attribute "" cannot have a column`},
		"twice":         {func(a *accounts.Account) { a.Username = "bob" }, `account "bob": it is there twice`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bob, ann := good(), good()
			bob.Username = "bob"
			test.change(&ann)
			var file bytes.Buffer
			err := provision.WriteCSV(&file, []accounts.Account{bob, ann})
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one line that says %q", err, test.says)
			}
			if file.Len() > 0 {
				t.Errorf("%q was written", file.String())
			}
		})
	}
	t.Run("a file that takes no more", func(t *testing.T) {
		t.Parallel()
		full := errors.New("the disk is full")
		if err := provision.WriteCSV(fullFile{full}, []accounts.Account{good()}); !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
	})
}

type fullFile struct{ err error }

func (f fullFile) Write([]byte) (int, error) { return 0, f.err }

// Whatever accounts are, they come back as they were.
func TestCSVRoundTrip(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("a ,;\"'\r\n\t=\\.\ufeffé🔒\x00")), 1, 8, -1), rapid.StringN(1, 20, -1),
	).Filter(func(s string) bool { return !strings.Contains(s, "\r\n") })
	name := rapid.SampledFrom([]string{"class", "Class", "a,b", "x\ny", " username", "é"})
	account := rapid.Custom(func(r *rapid.T) accounts.Account {
		a := accounts.Account{
			Username: text.Draw(r, "username"), Password: accounts.NewSecret(text.Draw(r, "password")),
			Role: rapid.StringMatching(`[a-z0-9._-]{1,8}`).Draw(r, "role"),
		}
		if attributes := rapid.MapOfN(name, text, 0, 4).Draw(r, "attributes"); len(attributes) > 0 {
			a.Attributes = attributes
		}
		return a
	})
	rapid.Check(t, func(r *rapid.T) {
		list := rapid.SliceOfNDistinct(account, 0, 8, func(a accounts.Account) string { return a.Username }).Draw(r, "accounts")
		mark := rapid.SampledFrom([]string{"", "\ufeff"}).Draw(r, "mark")
		var file bytes.Buffer
		if err := provision.WriteCSV(&file, list); err != nil {
			r.Fatal(err)
		}
		got, problems, err := provision.ReadCSV(strings.NewReader(mark+file.String()), "list.csv")
		if err != nil || problems.Rows > 0 || !sameAccounts(got, list) {
			r.Fatalf("%v, %v\nfile %q\ngot  %+v\nwant %+v", err, problems, file.String(), got, list)
		}
	})
}

func FuzzReadCSV(f *testing.F) {
	for _, seed := range []string{
		"username,password,role,class\nann,hunter2,student,7b\n",
		"\ufeffRole,\"user\"\"name\",password,USERNAME\r\nstudent,\"\"\"\r\n\",x,ann\r\n\r\n",
		"username,password,role\nann,\"hunter2\n", "username,password,role\n\xff,,\nann,b,c,d\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		list, problems, err := provision.ReadCSV(bytes.NewReader(file), "list.csv")
		if err != nil {
			if list != nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d accounts and %q", len(list), err)
			}
			return
		}
		if len(problems.First) > min(problems.Rows, 1000) {
			t.Errorf("%d problems are kept of %d", len(problems.First), problems.Rows)
		}
		for _, p := range problems.First {
			if p.Line < 2 || p.Reason == "" || strings.Contains(p.String(), "\n") {
				t.Errorf("a problem of %q", p)
			}
		}
		var again bytes.Buffer
		if err := provision.WriteCSV(&again, list); err != nil {
			// The reader takes \r\r\n for \r\n.
			if !bytes.Contains(file, []byte("\r\r\n")) {
				t.Errorf("what was read cannot be written: %v", err)
			}
			return
		}
		got, problems, err := provision.ReadCSV(&again, "list.csv")
		if err != nil || problems.Rows > 0 || !sameAccounts(got, list) {
			t.Errorf("%v, %v: written and read again, %+v is %+v", err, problems, list, got)
		}
	})
}

func sameAccounts(a, b []accounts.Account) bool {
	return slices.EqualFunc(a, b, func(a, b accounts.Account) bool {
		shown := func(a accounts.Account) string {
			return fmt.Sprintf("%q %q %q %q", a.ID, a.Username, a.Role, a.TargetID)
		}
		return shown(a) == shown(b) && a.Password.Equal(b.Password) && maps.Equal(a.Attributes, b.Attributes) && a.Created == b.Created
	})
}
