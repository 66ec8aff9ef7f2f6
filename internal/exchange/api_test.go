package exchange_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/throng-load/throng/internal/exchange"
)

// whole is an API with all requests and nothing wrong.
func whole() exchange.API {
	return exchange.API{
		Headers: map[string]string{"authorization": "Bearer ${TOKEN}", "X-A": "a"},
		Create:  &exchange.Request{Path: "/users", Body: "{{.Username}}", ID: "data.id", Headers: map[string]string{"x-a": "b{{.Key}}"}},
		Verify:  &exchange.Request{Path: "/users/{{path .TargetID}}"},
		Login:   &exchange.Request{Path: "/login", Body: "{{.Password}}", Token: "token", Refused: []int{400}},
		Delete:  &exchange.Request{Path: "/users/{{path .TargetID}}", Headers: map[string]string{"Authorization": "Bearer {{.Token}}"}},
		Count:   &exchange.Request{Path: "/count", Value: "n", OK: []int{204}},
	}
}

func TestAPIParse(t *testing.T) {
	t.Parallel()
	calls, mistakes := whole().Parse()
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	for _, c := range []*exchange.Call{calls.Create, calls.Verify, calls.Login, calls.Delete, calls.Count} {
		want := map[string]string{"create": "POST", "verify": "GET", "login": "POST", "delete": "DELETE", "count": "GET"}[c.Name]
		var names []string
		for _, h := range c.Headers {
			names = append(names, h.Name)
		}
		slices.Sort(names)
		if c.Method != want || !slices.Equal(names, []string{"Authorization", "X-A"}) {
			t.Errorf("%s: method %s, headers %v", c.Name, c.Method, names)
		}
	}
	if !calls.Delete.Uses(exchange.Token) || calls.Verify.Uses(exchange.Token) || !calls.Verify.Uses(exchange.TargetID) {
		t.Error("what the requests use is not noticed")
	}
	if !calls.Login.Proves() || calls.Verify.Proves() || calls.Create.Proves() {
		t.Error("login proves an account, and here nothing else does")
	}
	if calls, mistakes := (exchange.API{}).Parse(); len(mistakes) > 0 || calls != (exchange.Calls{}) || !(exchange.API{}).IsZero() || whole().IsZero() {
		t.Errorf("no request: %v", mistakes)
	}
}

func TestAPIExpand(t *testing.T) {
	t.Parallel()
	calls, _ := whole().Parse()
	expanded, err := calls.Expand(func(name string) (string, bool) { return "s3cret", name == "TOKEN" })
	if err != nil {
		t.Fatal(err)
	}
	header := func(c *exchange.Call, name string) string {
		i := slices.IndexFunc(c.Headers, func(h exchange.Header) bool { return h.Name == name })
		text, err := c.Headers[i].Value.Fill(ann())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for call, want := range map[*exchange.Call]string{
		expanded.Create: "Bearer s3cret bk-1", expanded.Delete: "Bearer t0k a", calls.Create: "Bearer ${TOKEN} bk-1",
	} {
		if got := header(call, "Authorization") + " " + header(call, "X-A"); got != want {
			t.Errorf("%s: got %s, want %s", call.Name, got, want)
		}
	}
	_, err = calls.Expand(func(string) (string, bool) { return "", false })
	if err == nil || err.Error() != "headers.authorization: the environment variable TOKEN is not set" {
		t.Errorf("got %v", err)
	}
}

func TestAPIMistakes(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*exchange.API){
		"create: is missing: an account API needs it":      func(a *exchange.API) { a.Create = nil },
		"login: is missing, and verify too":                func(a *exchange.API) { a.Verify, a.Login, a.Delete = nil, nil, nil },
		"create.path: is missing: give the request's path": func(a *exchange.API) { a.Create.Path = "" },
		"create.method: \"get me\" is not a method":        func(a *exchange.API) { a.Create.Method = "get me" },
		"create.method: \"post\" is not a method":          func(a *exchange.API) { a.Create.Method = "post" },
		"create.body: line 1: no field Usrname; an account has Username, Password, Role, TargetID, Key, Attributes": func(a *exchange.API) {
			a.Create.Body = "{{.Usrname}}"
		},
		"create.path: line 1: no field TargetID before":                func(a *exchange.API) { a.Create.Path = "/{{path .TargetID}}" },
		"count.path: line 1: no field Role here":                       func(a *exchange.API) { a.Count.Path = "/{{path .Role}}" },
		"headers.x: line 1: no field Role here":                        func(a *exchange.API) { a.Headers["x"] = "{{.Role}}" },
		"headers.x y: is not the name of a header":                     func(a *exchange.API) { a.Headers["x y"] = "z" },
		"headers.content-length: is not for the configuration":         func(a *exchange.API) { a.Headers["content-length"] = "5" },
		"headers.x-a: is given twice, in other letters":                func(a *exchange.API) { a.Headers["x-a"] = "5" },
		"headers.x: ${ must begin the name of an environment variable": func(a *exchange.API) { a.Headers["x"] = "${5}" },
		"headers.Cookie: must not hold a secret: write ${NAME}":        func(a *exchange.API) { a.Headers["Cookie"] = "hush" },
		"login.token: is missing: delete uses the field Token":         func(a *exchange.API) { a.Login.Token = "" },
		"create.id: is missing: verify uses the field TargetID":        func(a *exchange.API) { a.Create.ID, a.Delete = "", nil },
		"count.value: is missing":                                      func(a *exchange.API) { a.Count.Value = "" },
		"verify.token: nothing of the kind is taken from the answer":   func(a *exchange.API) { a.Verify.Token = "x" },
		"delete.id: nothing of the kind is taken":                      func(a *exchange.API) { a.Delete.ID = "x" },
		"create.id: \"a..b\" is not a path into an answer":             func(a *exchange.API) { a.Create.ID = "a..b" },
		"create.missing: create has no such status":                    func(a *exchange.API) { a.Create.Missing = []int{404} },
		"login.refused: 99 is not a status from 200 to 599":            func(a *exchange.API) { a.Login.Refused = []int{99} },
		"login.refused: 401 is in missing already":                     func(a *exchange.API) { a.Login.Missing, a.Login.Refused = []int{401}, []int{401} },
		"login.body: line 2: unclosed action":                          func(a *exchange.API) { a.Login.Body = "a\n{{" },
		"delete.headers.A: line 1: no function base64; there are json": func(a *exchange.API) { a.Delete.Headers["A"] = "{{base64 .Role}}" },
	} {
		a := whole()
		change(&a)
		_, mistakes := a.Parse()
		if len(mistakes) != 1 || !strings.HasPrefix(mistakes[0].Error(), want) {
			t.Errorf("got %v, want %s", mistakes, want)
		}
	}
	// All at once.
	a := whole()
	a.Create.Path, a.Delete.Body, a.Count.OK, a.Headers["x"] = "x", "{{", []int{1}, "${"
	if _, mistakes := a.Parse(); len(mistakes) != 4 {
		t.Errorf("got %v", mistakes)
	}
}

func TestMeaning(t *testing.T) {
	t.Parallel()
	calls, mistakes := whole().Parse()
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	proving := whole()
	proving.Login, proving.Delete, proving.Verify.Body = nil, nil, "{{.Password}}"
	other, mistakes := proving.Parse()
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	for _, tt := range []struct {
		call   *exchange.Call
		status int
		want   exchange.Meaning
	}{
		{calls.Create, 201, exchange.OK},
		{calls.Create, 302, exchange.Unexpected},
		{calls.Create, 400, exchange.Unexpected},
		{calls.Create, 401, exchange.Unexpected},
		{calls.Create, 404, exchange.Unexpected},
		{calls.Create, 409, exchange.Taken},
		{calls.Create, 408, exchange.Passing},
		{calls.Create, 425, exchange.Passing},
		{calls.Create, 429, exchange.Passing},
		{calls.Create, 500, exchange.Passing},
		{calls.Create, 599, exchange.Passing},
		{calls.Verify, 404, exchange.Missing},
		{calls.Verify, 410, exchange.Missing},
		{calls.Verify, 401, exchange.Unexpected}, // who asks may be wrong
		{other.Verify, 401, exchange.Refused},
		{calls.Login, 400, exchange.Refused},
		{calls.Login, 401, exchange.Unexpected}, // what is given is all there is
		{calls.Login, 404, exchange.Unexpected}, // the path may be wrong
		{calls.Delete, 404, exchange.Missing},
		{calls.Delete, 409, exchange.Unexpected},
		{calls.Count, 204, exchange.OK},
		{calls.Count, 200, exchange.Unexpected},
	} {
		if got := tt.call.Meaning(tt.status); got != tt.want {
			t.Errorf("%s answered %d: got %d, want %d", tt.call.Name, tt.status, got, tt.want)
		}
	}
}
