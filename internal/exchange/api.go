package exchange

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// API is how accounts are created, looked at and deleted through an HTTP API,
// as the configuration says it. Verify or Login is needed with Create, to tell
// whose an account is; the rest is optional. An API without any request says
// nothing: who makes the requests has a default for it.
type API struct {
	// Headers go with every request. In a value, ${NAME} is replaced by an
	// environment variable.
	Headers map[string]string `yaml:"headers"`
	// Create makes an account.
	Create *Request `yaml:"create"`
	// Verify asks for an account.
	Verify *Request `yaml:"verify"`
	// Login logs in as the account: that it is accepted is the best proof that
	// it is there with its password.
	Login *Request `yaml:"login"`
	// Delete deletes an account.
	Delete *Request `yaml:"delete"`
	// Count asks how many accounts there are.
	Count *Request `yaml:"count"`
}

// Request is one request, and how its answer is read. All texts but Method are
// templates; see Text.
type Request struct {
	// Method is POST for create and login, DELETE for delete, GET otherwise,
	// when it is empty.
	Method string `yaml:"method"`
	// Path follows the API's URL: "/users/{{path .Username}}?force=1".
	Path string `yaml:"path"`
	// Headers go with this request, and beat those of the API. In a value,
	// ${NAME} is replaced by an environment variable.
	Headers map[string]string `yaml:"headers"`
	// Body is sent as JSON unless there is a header Content-Type.
	Body string `yaml:"body"`
	// OK, Missing, Taken and Refused are the statuses that say: done; no such
	// account; the username is there already; the account is not accepted.
	// An empty list means the usual statuses, see Call.Meaning.
	OK      []int `yaml:"ok"`
	Missing []int `yaml:"missing"`
	Taken   []int `yaml:"taken"`
	Refused []int `yaml:"refused"`
	// ID, Token, Error and Value are places in a JSON answer: what the target
	// calls the account, the token of a login, what went wrong, and the count.
	ID    string `yaml:"id"`
	Token string `yaml:"token"`
	Error string `yaml:"error"`
	Value string `yaml:"value"`
}

// IsZero says whether there is no request at all.
func (a API) IsZero() bool {
	return a.Create == nil && a.Verify == nil && a.Login == nil && a.Delete == nil && a.Count == nil
}

// Mistake is something wrong with an API.
type Mistake struct {
	// Keys lead to it: "create" and "body".
	Keys []string
	// Text says what is wrong, in one line.
	Text string
}

// Error is the mistake in one line.
func (m Mistake) Error() string { return strings.Join(m.Keys, ".") + ": " + m.Text }

// Calls are the requests of an API, ready to be filled. Those that the API does
// not have are nil.
type Calls struct{ Create, Verify, Login, Delete, Count *Call }

// Parse reads all requests. It returns all mistakes at once; with any, the
// calls are of no use.
func (a API) Parse() (Calls, []Mistake) {
	p := new(apiParser)
	common := p.headers(keys("headers"), a.Headers, OfNothing)
	calls := Calls{
		Create: p.call(a.Create, common, rules{create, http.MethodPost, OfApplicant, []string{"taken", "refused", "id"}}),
		Verify: p.call(a.Verify, common, rules{verify, http.MethodGet, OfSession, []string{"missing", "refused", "id"}}),
		Login:  p.call(a.Login, common, rules{login, http.MethodPost, OfAccount, []string{"missing", "refused", "id", "token"}}),
		Delete: p.call(a.Delete, common, rules{deletion, http.MethodDelete, OfSession, []string{"missing", "refused"}}),
		Count:  p.call(a.Count, common, rules{count, http.MethodGet, OfNothing, []string{"value"}}),
	}
	if !a.IsZero() {
		p.require(a.Create != nil, keys(create), "is missing: an account API needs it beside the other requests")
		p.require(a.Login != nil || a.Verify != nil, keys(login), "is missing, and verify too: without either, nobody can tell whose an account is")
	}
	if a.Count != nil {
		p.require(a.Count.Value != "", keys(count, "value"), "is missing: where in the answer is the number of accounts?")
	}
	p.sources(a, calls)
	return calls, p.mistakes
}

// sources makes sure that what templates use comes from somewhere.
func (p *apiParser) sources(a API, c Calls) {
	noToken, noID := a.Login == nil || a.Login.Token == "", a.Create != nil && a.Create.ID == ""
	for _, call := range []*Call{c.Verify, c.Login, c.Delete} {
		if call != nil && noToken && call.Uses(Token) {
			p.require(false, keys(login, "token"), "is missing: %s uses the field Token", call.Name)
			noToken = false // once is enough
		}
		if call != nil && noID && call.Uses(TargetID) {
			p.require(false, keys(create, "id"), "is missing: %s uses the field TargetID", call.Name)
			noID = false
		}
	}
}

// Expand returns the calls with every ${NAME} in a header replaced by what
// lookup says. The error has one line for each header.
func (c Calls) Expand(lookup func(name string) (string, bool)) (Calls, error) {
	var problems []error
	for _, call := range []**Call{&c.Create, &c.Verify, &c.Login, &c.Delete, &c.Count} {
		if *call == nil {
			continue
		}
		expanded := **call
		expanded.Headers = slices.Clone(expanded.Headers)
		for i, h := range expanded.Headers {
			value, err := h.Value.Expand(lookup)
			if err != nil {
				// A header of all requests is wrong once.
				problem := fmt.Errorf("%s: %w", strings.Join(h.keys, "."), err)
				if !slices.ContainsFunc(problems, func(p error) bool { return p.Error() == problem.Error() }) {
					problems = append(problems, problem)
				}
				continue
			}
			expanded.Headers[i].Value = value
		}
		*call = &expanded
	}
	return c, errors.Join(problems...)
}
