package accounts

import "encoding/json"

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
}

// Leased is an account as its holder uses it: with the fencing token of its
// lease. Tokens of one account strictly increase from lease to lease, so a
// target that is told the token can tell a late request from a rightful one.
type Leased struct {
	Account
	Token int64
}

// Secret is text that must not be printed: every way of formatting or
// marshalling it shows "redacted". Reveal gives the text itself.
type Secret struct{ text string }

const redacted = "redacted"

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text. Call it only where the text leaves for the target
// or for Redis.
func (s Secret) Reveal() string { return s.text }

// String returns "redacted", as do the other formatting methods.
func (s Secret) String() string { return redacted }

// GoString returns "redacted".
func (s Secret) GoString() string { return redacted }

// MarshalText returns "redacted", for every encoder that asks.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "redacted" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
