package provision

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/throng-load/throng/accounts"
)

// DefaultUsername is what usernames of new accounts look like unless a Config
// says otherwise.
const DefaultUsername = "{role}-{random}"

// generate makes up an account. In the pattern of its username {role} is the
// role and {random} 48 random bits: enough that no two runs, of whatever pools,
// meet in one target. The password has 144 random bits, in 24 letters that need
// no escape anywhere.
func generate(pattern, role string) accounts.Account {
	if pattern == "" {
		pattern = DefaultUsername
	}
	var random [6 + 18]byte
	// It never fails: without randomness the process ends.
	_, _ = rand.Read(random[:])
	return accounts.Account{
		Username: strings.NewReplacer("{role}", role, "{random}", hex.EncodeToString(random[:6])).Replace(pattern),
		Password: accounts.NewSecret(base64.RawURLEncoding.EncodeToString(random[6:])),
		Role:     role,
	}
}

// Generated is the Source of accounts that the target needs not be told of,
// because it accepts any: creating, verifying and deleting always succeed and do
// nothing.
type Generated struct{}

// Create implements Source.
func (Generated) Create(context.Context, accounts.Account) (Receipt, error) { return Receipt{}, nil }

// Verify implements Source.
func (Generated) Verify(context.Context, accounts.Account) error { return nil }

// Delete implements Source.
func (Generated) Delete(context.Context, accounts.Account) error { return nil }
