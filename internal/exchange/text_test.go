package exchange_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/throng-load/throng/internal/exchange"
)

// ann has something to escape in every field.
func ann() exchange.Fields {
	return exchange.Fields{
		Username: "ann/7 &+?", Password: `pa"ss<ö>`, Role: "student", TargetID: "41", Key: "k-1", Token: "t0k",
		Attributes: map[string]string{"class": "7b", "two words": "x"},
	}
}

func TestTextFill(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ source, want string }{
		{"", ""},
		{"plain $ { } ${X}", "plain $ { } ${X}"},
		{"{{.Username}}:{{.Role}}:{{.TargetID}}:{{.Key}}:{{.Token}}", "ann/7 &+?:student:41:k-1:t0k"},
		{`{"u":{{json .Username}},"p":{{json .Password}}}`, `{"u":"ann/7 \u0026+?","p":"pa\"ss\u003cö\u003e"}`},
		{"{{json .Attributes}}", `{"class":"7b","two words":"x"}`},
		{"/users/{{path .Username}}?u={{query .Username}}", "/users/ann%2F7%20&+%3F?u=ann%2F7%20%26%2B%3F"},
		{"u={{form .Username}}", "u=ann%2F7+%26%2B%3F"},
		{"{{.Username | query}}", "ann%2F7%20%26%2B%3F"},
		{"{{.Attributes.class}} {{index .Attributes \"two words\"}} {{index .Attributes `none`}}.", "7b x ."},
		{`{{if eq .Role "student"}}s{{else if .TargetID}}i{{else}}o{{end}}`, "s"},
		{`{{if and .TargetID (ne .Role "student")}}a{{else}}b{{end}}`, "b"},
		{"{{/* nothing */}}a{{- \"b\" -}} c", "abc"},
	} {
		text, err := exchange.ParseText(tt.source, exchange.OfSession)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		if got, err := text.Fill(ann()); err != nil || got != tt.want {
			t.Errorf("%s: got %q (%v), want %q", tt.source, got, err, tt.want)
		}
	}
}

func TestTextDotsAreNoSteps(t *testing.T) {
	t.Parallel()
	text, err := exchange.ParsePath("/a/{{path .Username}}", exchange.OfAccount)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"..": "/a/%2E%2E", ".": "/a/%2E", "a..": "/a/a..", "": "/a/"} {
		if got, err := text.Fill(exchange.Fields{Username: name}); err != nil || got != want {
			t.Errorf("%q: got %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestParseTextMistakes(t *testing.T) {
	t.Parallel()
	const all = "; an account has Username, Password, Role, TargetID, Key, Attributes"
	for _, tt := range []struct {
		scope        exchange.Scope
		source, want string
	}{
		{exchange.OfAccount, "{{.Usrname}}", "line 1: no field Usrname" + all},
		{exchange.OfApplicant, "a\n\n{{json .usr}}", "line 3: no field usr" + all},
		{exchange.OfAccount, "{{if true}}{{else}}\n{{.X.Y}}{{end}}", "line 2: no field X" + all},
		{exchange.OfAccount, "{{if .X}}{{end}}", "line 1: no field X" + all},
		{exchange.OfAccount, "{{or .Role (json .X)}}", "line 1: no field X" + all},
		{exchange.OfAccount, "{{.Username.First}}", "line 1: no field First in .Username, which is text"},
		{exchange.OfAccount, "{{.Attributes.a.b}}", "line 1: no field b in .Attributes.a, which is text"},
		{exchange.OfApplicant, "{{.TargetID}}", "line 1: no field TargetID before the account is created; there are Username, Password, Role, Key, Attributes"},
		{exchange.OfAccount, "{{.Token}}", "line 1: no field Token here: it comes of a login, for verify and delete"},
		{exchange.OfNothing, "{{.Username}}", "line 1: no field Username here: this is not about one account"},
		{exchange.OfAccount, "{{upper .Username}}", "line 1: no function upper; there are json, path, query, form, eq, ne, and, or, not, index"},
		{exchange.OfAccount, "{{printf `%s` .Username}}", "line 1: no function printf; there are"},
		{exchange.OfAccount, "{{json}}", "line 1: at <json>: wrong number of args for json: want 1 got 0"},
		{exchange.OfAccount, "{{path .Attributes}}", "line 1: at <.Attributes>: wrong type for value"},
		{exchange.OfAccount, "{{.}}", "line 1: . is not available: there are fields, functions, and if with else"},
		{exchange.OfAccount, "{{$}}", "line 1: $ is not available"},
		{exchange.OfAccount, "{{$x := .Role}}", "line 1: $x := .Role is not available"},
		{exchange.OfAccount, "\n{{range .Attributes}}x{{end}}", "line 2: {{range .Attributes}}x{{end}} is not available"},
		{exchange.OfAccount, "{{with .Role}}{{.}}{{end}}", "is not available"},
		{exchange.OfAccount, `{{template "x"}}`, "is not available"},
		{exchange.OfAccount, `{{define "x"}}{{end}}`, "line 1: define is not available"},
		{exchange.OfAccount, `{{define "text"}}{{range 9}}{{end}}{{end}}`, "define is not available"},
		{exchange.OfAccount, "{{nil}}", "nil is not"},
		{exchange.OfAccount, "a\n{{.Role", "line 2: unclosed action"},
		{exchange.OfAccount, "{{if .Role}}", "line 1: unexpected EOF"},
		{exchange.OfAccount, "{{.Role}", "line 1: bad character"},
	} {
		text, err := exchange.ParseText(tt.source, tt.scope)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, %v, want %s", tt.source, text, err, tt.want)
		}
	}
}

func TestParsePathMistakes(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"users":                            "must begin with a slash",
		"{{path .Role}}":                   "must begin with a slash",
		"/users/{{.Username}}":             "line 1: {{.Username}} is not escaped: write {{.Username | path}}, or behind the ? {{.Username | query}}",
		"/u\n/{{if .Role}}{{.Key}}{{end}}": "line 2: {{.Key}} is not escaped",
		"/{{json .Role}}":                  "{{json .Role}} is not escaped",
		"/{{path .Rle}}":                   "no field Rle",
	} {
		if _, err := exchange.ParsePath(source, exchange.OfAccount); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", source, err, want)
		}
	}
	for _, source := range []string{"/", "/a?b=c", "/{{path .Role}}?q={{.Username | query}}", "/{{if eq .Role `a`}}x{{end}}"} {
		if _, err := exchange.ParsePath(source, exchange.OfAccount); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestTextMissingAttribute(t *testing.T) {
	t.Parallel()
	text, err := exchange.ParseText("{{.Attributes.class}}{{.Attributes.school}}", exchange.OfAccount)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []exchange.Fields{ann(), {Attributes: map[string]string{"class": ""}}} {
		if got, err := text.Fill(f); err == nil || err.Error() != `the account has no attribute "school"` {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestTextUses(t *testing.T) {
	t.Parallel()
	text, err := exchange.ParseText("{{json .Role}}{{if .TargetID}}{{.Attributes.Token}}{{end}}", exchange.OfSession)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]bool{"Role": true, exchange.TargetID: true, "Attributes": true, exchange.Token: false, exchange.Password: false} {
		if got := text.Uses(field); got != want {
			t.Errorf("uses %s: %v, want %v", field, got, want)
		}
	}
}

func TestTextExpand(t *testing.T) {
	t.Parallel()
	text, err := exchange.ParseText("Bearer ${A}{{if .Role}}${B}{{.Role}}{{else}}${A}{{end}}{{`${C}`}}", exchange.OfAccount)
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"A": "a{{.Password}}", "B": "b"}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }
	expanded, err := text.Expand(lookup)
	if err != nil {
		t.Fatal(err)
	}
	// What a variable holds is no template, and the first text is as it was.
	if got, err := expanded.Fill(ann()); err != nil || got != "Bearer a{{.Password}}bstudent${C}" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := text.Fill(ann()); err != nil || got != "Bearer ${A}${B}student${C}" {
		t.Errorf("the original: got %q, %v", got, err)
	}
	delete(variables, "B")
	if _, err := text.Expand(lookup); err == nil || err.Error() != "the environment variable B is not set" {
		t.Errorf("got %v", err)
	}
}

func TestFieldsPrintRedacted(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, ann()); strings.Contains(got, "pa") || !strings.Contains(got, "redacted") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// FuzzText: whatever the template, it is refused with one line, or it can be
// filled, tells what it uses, and lets no value out of its quotes.
func FuzzText(f *testing.F) {
	for _, source := range []string{
		"", "{{.Username}}", "{{json .Username}}", "/{{path .Username}}?{{query .Password}}", "{{form .Attributes.a}}", "{{if .Role}}a{{else}}b{{end}}",
		"{{with .Role}}{{.}}{{end}}", `{{define "text"}}{{end}}`, "{{range 1000000000}}{{end}}", "{{.Usrname}}", "${A}", "${", "{{", "{{(((.Role)))}}",
		"{{index .Attributes .Role}}", "{{and 1 0x1p4 'a' true}}", "{{eq .Role .Attributes}}", "{{block `a` .}}{{end}}", "{{break}}",
	} {
		f.Add(source, "user", "secret")
	}
	f.Fuzz(func(t *testing.T, source, username, password string) {
		for scope := exchange.OfNothing; scope <= exchange.OfSession; scope++ {
			fields := exchange.Fields{Username: username, Password: password, Role: "r", Attributes: map[string]string{"a": username}}
			text, err := exchange.ParseText(source, scope)
			if err != nil {
				if len(err.Error()) > 4*len(source)+1000 || strings.ContainsAny(err.Error(), "\n\r") || err.Error() == "" {
					t.Fatalf("%q: %q", source, err)
				}
				continue
			}
			filled, err := text.Fill(fields)
			if err == nil && !text.Uses(exchange.Password) {
				other := fields
				other.Password += "x"
				if again, err := text.Fill(other); err != nil || again != filled {
					t.Fatalf("%q uses the password after all: %q, %q (%v)", source, filled, again, err)
				}
			}
			if _, err := text.Expand(func(string) (string, bool) { return "{{", true }); err != nil && !strings.Contains(source, "${") {
				t.Fatalf("%q: %v", source, err)
			}
			if path, err := exchange.ParsePath(source, scope); err == nil {
				checkPath(t, source, path, fields)
			}
		}
	})
}

// checkPath: a value adds no segment, no query and no fragment to a path.
func checkPath(t *testing.T, source string, path *exchange.Text, fields exchange.Fields) {
	t.Helper()
	wild, tame := fields, fields
	wild.Username, tame.Username = "a/b?c#d", "tame"
	a, err := path.Fill(wild)
	b, err2 := path.Fill(tame)
	if err != nil || err2 != nil || strings.Contains(source, "if") { // either side may be another path
		return
	}
	for _, mark := range []string{"/", "?", "#"} {
		if strings.Count(a, mark) != strings.Count(b, mark) {
			t.Fatalf("%q: a username changes the path: %q, %q", source, a, b)
		}
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add("a b+c/ö%2F..\x00")
	f.Add("..")
	f.Fuzz(func(t *testing.T, value string) {
		fill := func(source string) string {
			text, err := exchange.ParseText(source, exchange.OfAccount)
			if err != nil {
				t.Fatal(err)
			}
			filled, err := text.Fill(exchange.Fields{Username: value})
			if err != nil {
				t.Fatal(err)
			}
			return filled
		}
		if got, err := url.PathUnescape(fill("{{path .Username}}")); err != nil || got != value {
			t.Errorf("path: %q, %v, want %q", got, err, value)
		}
		for _, name := range []string{"query", "form"} {
			if got, err := url.QueryUnescape(fill("{{" + name + " .Username}}")); err != nil || got != value {
				t.Errorf("%s: %q, %v, want %q", name, got, err, value)
			}
		}
		var got string
		if err := json.Unmarshal([]byte(fill("{{json .Username}}")), &got); err != nil || got != value && utf8.ValidString(value) {
			t.Errorf("json: %q, %v, want %q", got, err, value)
		}
	})
}
