package accounts

import (
	"fmt"
	"io"
	"log/slog"
)

// Account is one set of credentials in the target, with its role and free
// attributes. It is a value; a pool never changes the fields of an account.
type Account struct {
	// ID is the pool's own number for the account, given when the account is
	// added. It is empty before that.
	ID string
	// Username is unique in its pool.
	Username string
	Password Secret
	// Role says what the account can be used as: "student", "probe", ...
	Role string
	// Attributes is free for scenarios and provisioning; nil is fine.
	Attributes map[string]string
	// TargetID is what the target calls the account, if it told when it
	// created it; "" when it is known by its username alone.
	TargetID string
	// Created tells that the target has the account because this pool created
	// it there. Only such an account may be deleted from the target: this is
	// its receipt. Confirm sets it; an imported account never has it.
	Created bool
	// Key is random and the account's own, for as long as the pool has it: an
	// account that is deleted and created again under the same username has
	// another. A target that heeds idempotency keys is told it. Intend gives
	// one where there is none; imported accounts have none.
	Key string
}

// Leased is an account as its holder uses it: with the fencing token of its
// lease. Tokens of one account strictly increase from lease to lease, so a
// target that is told the token can tell a late request from a rightful one.
type Leased struct {
	Account
	Token int64
}

// Secret is text that must not be printed: every way of formatting, logging or
// marshalling it shows "redacted". Reveal gives the text itself. The zero value
// is the empty text.
type Secret struct {
	// Two secrets are compared with Equal: == would compare pointers.
	_ [0]func()
	// A pointer, because whoever prints a struct with a Secret in one of its
	// unexported fields never comes to ask the Secret: fmt would print the text.
	text *string
}

const redacted = "redacted"

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text. Call it only where the text leaves for the target
// or for Redis, or for a file that the user asked for.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Equal tells whether both have the same text.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns "redacted", as do the other formatting methods.
func (s Secret) String() string { return redacted }

// Format writes "redacted", whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "redacted", for every encoder that asks: JSON, YAML and
// XML among them.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "redacted".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
