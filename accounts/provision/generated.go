package provision

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"

	"github.com/throng-load/throng/accounts"
)

// generate makes up an account. The username is the role, a dash and 48 random
// bits: enough that no two runs, of whatever pools, meet in one target. The
// password has 144 random bits, in 24 letters that need no escape anywhere.
func generate(role string) accounts.Account {
	var random [6 + 18]byte
	// It never fails: without randomness the process ends.
	_, _ = rand.Read(random[:])
	return accounts.Account{
		Username: role + "-" + hex.EncodeToString(random[:6]),
		Password: accounts.NewSecret(base64.RawURLEncoding.EncodeToString(random[6:])),
		Role:     role,
	}
}
