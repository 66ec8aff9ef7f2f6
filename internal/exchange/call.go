package exchange

import (
	"net/http"
	"slices"
)

// Call is a request of an API as it was understood. It does not change and is
// safe for concurrent use.
type Call struct {
	// Name is the request's key: "create", "verify", "login", "delete" or
	// "count".
	Name string
	// Method is the request's method, in capitals.
	Method string
	// Path is the path with its query, if any.
	Path *Text
	// Headers are all headers of the request, those of the API included, each
	// name once.
	Headers []Header
	// Body may be nil.
	Body *Text
	// ID, Token, Error and Value are zero when they are not configured.
	ID, Token, Error, Value Place

	ok, missing, taken, refused []int // as given; nil is the usual
}

// Header is one header of a request.
type Header struct {
	// Name is in its canonical form.
	Name  string
	Value *Text

	keys []string // that lead to it
}

// Uses says whether any text of the request names a field.
func (c *Call) Uses(field string) bool {
	return c.Path.Uses(field) || c.Body != nil && c.Body.Uses(field) ||
		slices.ContainsFunc(c.Headers, func(h Header) bool { return h.Value.Uses(field) })
}

// Meaning is what a status says about a request.
type Meaning int

// The meanings.
const (
	// Unexpected is a status that nobody has thought of. Asking again would
	// not change it.
	Unexpected Meaning = iota
	// OK is done.
	OK
	// Missing is that there is no such account.
	Missing
	// Taken is that the username is there already.
	Taken
	// Refused is that the target does not accept the account.
	Refused
	// Passing is a failure that may pass.
	Passing
)

// Meaning returns what a status means to this request. The statuses that it
// names come first. Then, for what it does not name: 2xx is OK; 404 and 410 are
// Missing to verify and delete, 409 is Taken to create; 401, 403 and 423 are
// Refused to login, and to a verify that sends the password; 408, 425, 429 and
// 5xx are Passing.
func (c *Call) Meaning(status int) Meaning {
	switch {
	case slices.Contains(c.ok, status):
		return OK
	case slices.Contains(c.missing, status):
		return Missing
	case slices.Contains(c.taken, status):
		return Taken
	case slices.Contains(c.refused, status):
		return Refused
	case c.ok == nil && status >= 200 && status <= 299:
		return OK
	case c.missing == nil && (c.Name == verify || c.Name == deletion) && (status == http.StatusNotFound || status == http.StatusGone):
		return Missing
	case c.taken == nil && c.Name == create && status == http.StatusConflict:
		return Taken
	case c.refused == nil && c.Proves() && (status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusLocked):
		return Refused
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests || status >= 500:
		return Passing
	}
	return Unexpected
}

// Proves says whether the request shows the account's password, so that its OK
// proves that the target has the account with this password. Only then is a 401
// about the account, and not about who asks.
func (c *Call) Proves() bool {
	return c.Name == login || c.Name == verify && c.Uses(Password)
}

// Names of the requests, as the configuration has them.
const (
	create   = "create"
	verify   = "verify"
	login    = "login"
	deletion = "delete"
	count    = "count"
)
