package exchange

import (
	"slices"
	"strings"
)

// Fields is an account as a template sees it. It holds secrets in plain text,
// so it prints as redacted; do not keep it longer than it takes to make a
// request.
type Fields struct {
	Username string
	Password string
	Role     string
	// TargetID is what the target calls the account; "" when that is unknown.
	TargetID string
	// Key is the idempotency key of the account's creation.
	Key string
	// Attributes may be nil.
	Attributes map[string]string
	// Token is what a login answered; "" before one.
	Token string
}

// String returns "redacted".
func (Fields) String() string { return "redacted" }

// GoString returns "redacted".
func (Fields) GoString() string { return "redacted" }

// Names of the fields that this package, or who makes requests, treats
// differently from others.
const (
	Password   = "Password"
	TargetID   = "TargetID"
	Token      = "Token"
	attributes = "Attributes"
)

// Scope is what the templates of a text are about.
type Scope int

// The scopes.
const (
	// OfNothing has no fields.
	OfNothing Scope = iota
	// OfApplicant is an account that the target does not have yet.
	OfApplicant
	// OfAccount is an account that the target has.
	OfAccount
	// OfSession is an account after its login.
	OfSession
)

// fields lists the names that a template of the scope can use.
func (s Scope) fields() []string {
	switch s {
	case OfApplicant:
		return []string{"Username", Password, "Role", "Key", attributes}
	case OfAccount:
		return []string{"Username", Password, "Role", TargetID, "Key", attributes}
	case OfSession:
		return []string{"Username", Password, "Role", TargetID, "Key", attributes, Token}
	default:
		return nil
	}
}

// lacks says that the scope does not have a field, and what it has.
func (s Scope) lacks(name string) string {
	all := OfSession.fields()
	switch {
	case s == OfNothing && slices.Contains(all, name):
		return "no field " + name + " here: this is not about one account"
	case s == OfNothing:
		return "no field " + name + ": this is not about one account"
	case name == TargetID:
		return "no field " + name + " before the account is created; there are " + strings.Join(s.fields(), ", ")
	case name == Token:
		return "no field " + name + " here: it comes of a login, for verify and delete"
	}
	// Which fields there are at which time is another question than which
	// there are at all.
	return "no field " + name + "; an account has " + strings.Join(OfAccount.fields(), ", ")
}

// sample is an account with a value in every field, to try templates with.
func sample(attributeNames []string) Fields {
	f := Fields{Username: "u", Password: "p", Role: "r", TargetID: "i", Key: "k", Token: "t", Attributes: map[string]string{}}
	for _, name := range attributeNames {
		f.Attributes[name] = "a"
	}
	return f
}
