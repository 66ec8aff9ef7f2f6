package provision_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

func TestReadCSV(t *testing.T) {
	t.Parallel()
	ann := accounts.Account{Username: "ann", Password: accounts.NewSecret("hunter2"), Role: "student", Attributes: map[string]string{"class": "7b"}}
	bob := accounts.Account{Username: "bob", Password: accounts.NewSecret("a,b \"c\"\nd "), Role: "proctor"}
	tests := map[string]string{
		"plain":               "username,password,role,class\nann,hunter2,student,7b\nbob,\"a,b \"\"c\"\"\nd \",proctor,\n",
		"another order":       "class,role,PassWord,USERNAME\n7b,student,hunter2,ann\n,proctor,\"a,b \"\"c\"\"\nd \",bob\n",
		"CRLF":                "username,password,role,class\r\nann,hunter2,student,7b\r\nbob,\"a,b \"\"c\"\"\r\nd \",proctor,\r\n",
		"byte order mark":     "\ufeffusername,password,role,class\nann,hunter2,student,7b\nbob,\"a,b \"\"c\"\"\nd \",proctor,\n",
		"quoted header":       "\ufeff\"username\",\"password\",\"role\",\"class\"\nann,hunter2,student,7b\nbob,\"a,b \"\"c\"\"\nd \",proctor,\"\"\n",
		"empty lines, no end": "\n\nusername,password,role,class\n\nann,hunter2,student,7b\n\nbob,\"a,b \"\"c\"\"\nd \",proctor,",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, problems, err := provision.ReadCSV(strings.NewReader(text), "list.csv")
			if err != nil || problems.Rows != 0 {
				t.Fatalf("%v, %v", problems, err)
			}
			if !sameAccounts(list, []accounts.Account{ann, bob}) {
				t.Errorf("got %+v", list)
			}
		})
	}
	t.Run("no rows", func(t *testing.T) {
		t.Parallel()
		if list, problems, err := provision.ReadCSV(strings.NewReader("username,password,role"), "list.csv"); len(list) != 0 || problems.Rows != 0 || err != nil {
			t.Errorf("%v, %v, %v", list, problems, err)
		}
	})
}

func TestReadCSVNamesBadRows(t *testing.T) {
	t.Parallel()
	const header = "username,password,role,class\n"
	tests := map[string]struct {
		text string
		want []string // problems
		good string   // usernames
	}{
		"no username":                {",hunter2,student,7\nann,hunter2,student,7\n", []string{`line 2, column "username": it is empty`}, "ann"},
		"no password":                {"ann,hunter2,student,7\nbob,,student,7\n", []string{`line 3, column "password": it is empty`}, "ann"},
		"no role":                    {"ann,hunter2,,7\n", []string{`line 2, column "role": it is empty`}, ""},
		"bad role":                   {"ann,student,hunter2 hunter2,7\n", []string{`line 2, column "role": a role has 1 to 64 letters, digits, dots, dashes and underscores`}, ""},
		"twice":                      {"ann,hunter2,student,7\nbob,hunter2,student,7\n\nann,hunter2,student,7\n", []string{`line 5, column "username": the same username is on line 2`}, "ann bob"},
		"too few":                    {"ann,hunter2\nbob,hunter2,student,7\n", []string{`line 2, column "role": missing: the row has 2 fields, not 4`}, "bob"},
		"too many":                   {"ann,hunter2,x,student,7\n", []string{`line 2: the row has 5 fields, not 4; a text with a comma needs quotes`}, ""},
		"not UTF-8":                  {"ann,hunter2\xff,student,7\nbob,hunter2,student,\xc3(\n", []string{`line 2, column "password": it is not UTF-8`, `line 3, column "class": it is not UTF-8`}, ""},
		"a bare quote":               {"ann,hunt\"er2,student,7\nbob,hunter2,student,7\n", []string{`line 2, column "password": there is a " in it; put the text in quotes and double each " inside`}, "bob"},
		"quotes, then x":             {"ann,hunter2,\"student\"x,7\nbob,hunter2,student,7\n", []string{`line 2, column "role": its quotes are not closed, or a " inside is not doubled`}, "bob"},
		"an open quote":              {"ann,hunter2,student,7\nbob,\"hunter2,student,7\ncid,hunter2,student,7\n", []string{`line 3, column "password": its quotes are not closed, or a " inside is not doubled; the row goes on to line 4`}, "ann"},
		"behind a text of two lines": {"ann,\"hunter2\nhunter2\",student,7\nbob,,student,7\n", []string{`line 4, column "password": it is empty`}, "ann"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, problems, err := provision.ReadCSV(strings.NewReader(header+test.text), "list.csv")
			if err != nil {
				t.Fatal(err)
			}
			var got, good []string
			for _, p := range problems.First {
				got = append(got, p.String())
				if strings.Contains(p.String(), "hunter2") {
					t.Errorf("%s: it quotes the password", p)
				}
			}
			for _, a := range list {
				good = append(good, a.Username)
			}
			if !slices.Equal(got, test.want) || problems.Rows != len(got) {
				t.Errorf("%d problems: %q\nwant %q", problems.Rows, got, test.want)
			}
			if strings.Join(good, " ") != test.good {
				t.Errorf("accounts %v, want %s", good, test.good)
			}
		})
	}
}

func TestReadCSVKeepsSomeProblemsAndCountsAll(t *testing.T) {
	t.Parallel()
	text := "username,password,role\n" + strings.Repeat("ann,,student\n", 5000) + "bob,hunter2,student\n"
	list, problems, err := provision.ReadCSV(strings.NewReader(text), "list.csv")
	if err != nil || len(list) != 1 || len(problems.First) != 1000 || problems.Rows != 5000 {
		t.Errorf("%d accounts, %d problems of %d, %v", len(list), len(problems.First), problems.Rows, err)
	}
}

func TestReadCSVRefusesFiles(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is broken")
	tests := map[string]struct {
		text string
		says string
	}{
		"empty":                 {"", "list.csv: it is empty; the first row must name the columns username, password and role"},
		"no header":             {"ann,hunter2,student\n", "there is no column username; there is no column password; there is no column role"},
		"no header, and twice":  {"ann,hunter2,hunter2\n", "there is no column role"},
		"no password":           {"username,pass,role\n", "list.csv: line 1: there is no column password;"},
		"spaces":                {"username, password,role\n", "there is no column password"},
		"semicolons":            {"username;password;role\n", "columns must be separated by commas"},
		"a column twice":        {"username,password,role,class,class\n", `column "class" is there twice`},
		"a needed one twice":    {"username,password,role,Password\n", `column "Password" is there twice`},
		"a column without name": {"username,password,role,\n", "column 4 has no name"},
		"not UTF-8":             {"username,password,role,\xff\n", "the name of column 4 is not UTF-8"},
		"a broken header":       {"username,pass\"word,role\n", "line 1: bare \""},
		"UTF-16":                {"\xff\xfeu\x00s\x00e\x00r\x00", "there is no column username"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, problems, err := provision.ReadCSV(strings.NewReader(test.text), "list.csv")
			if list != nil || problems.Rows != 0 || err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, %v, %v; want one line that says %q", list, problems, err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v quotes a password", err)
			}
		})
	}
	t.Run("it cannot be read", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"", "username,password,role\nann,hunter2,student\n"} {
			list, _, err := provision.ReadCSV(
				&brokenFile{strings.NewReader(text), broken}, "list.csv")
			if !errors.Is(err, broken) || list != nil {
				t.Errorf("%v, %v", list, err)
			}
		}
	})
}

// brokenFile is a file that cannot be read to its end.
type brokenFile struct {
	text *strings.Reader
	err  error
}

func (f *brokenFile) Read(p []byte) (int, error) {
	if f.text.Len() == 0 {
		return 0, f.err
	}
	return f.text.Read(p)
}
