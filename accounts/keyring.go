package accounts

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

const (
	// keySize is AES-256's.
	keySize = 32
	// maxKeyID is the longest id of a key.
	maxKeyID = 16
	// maxKeys is how many keys a keyring can hold.
	maxKeys = 16
)

// Keyring encrypts the records of a pool with its first key, and decrypts with
// any of its keys. It never shows a key, however it is printed. It is safe for
// concurrent use.
//
// An encrypted record is, after its first byte: the length of the key's id, the
// id, a random nonce, and what AES-256-GCM makes of the plain record, with the
// pool's id as additional data: a record that is moved to another pool cannot be
// read there.
type Keyring struct{ keys []key }

type key struct {
	id   string
	aead cipher.AEAD
}

// ParseKeyring reads keys as THRONG_ACCOUNTS_KEY has them: "id:key", several
// separated by commas, the one that encrypts first. An id is 1 to 16 of a-z, 0-9
// and '-'; a key is the base64 of 32 bytes. A key without an id gets one that is
// made from its hash. The keyring of an empty text is nil. No error shows a part
// of the text but ids.
func ParseKeyring(text string) (*Keyring, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	entries := strings.Split(text, ",")
	if len(entries) > maxKeys {
		return nil, fmt.Errorf("keys of the accounts: there are %d; use at most %d", len(entries), maxKeys)
	}
	k := &Keyring{}
	for i, entry := range entries {
		next, err := parseKey(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("keys of the accounts: key %d of %d: %w", i+1, len(entries), err)
		}
		if k.find(next.id) != nil {
			return nil, fmt.Errorf("keys of the accounts: key %d of %d: another one has the id %q too", i+1, len(entries), next.id)
		}
		k.keys = append(k.keys, next)
	}
	return k, nil
}

// GenerateKey returns a new random key, as ParseKeyring reads it.
func GenerateKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	return hashedID(raw) + ":" + base64.StdEncoding.EncodeToString(raw)
}

func parseKey(entry string) (key, error) {
	id, text, found := strings.Cut(entry, ":")
	if !found {
		id, text = "", entry
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	switch {
	case err != nil:
		return key{}, fmt.Errorf("it is not base64; use the base64 of %d random bytes", keySize)
	case len(raw) != keySize:
		return key{}, fmt.Errorf("it is the base64 of %d bytes; use %d", len(raw), keySize)
	case !found:
		id = hashedID(raw)
	case !validKeyID(id):
		// It may be the key itself, in the wrong place.
		return key{}, fmt.Errorf("its id is not 1 to %d of a-z, 0-9 and '-'", maxKeyID)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCM(block)
	return key{id: id, aead: aead}, err
}

func hashedID(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:4])
}

func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID {
		return false
	}
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

// IDs returns the ids of the keys, that of the key that encrypts first. A nil
// keyring has none.
func (k *Keyring) IDs() []string {
	if k == nil {
		return nil
	}
	ids := make([]string, len(k.keys))
	for i := range k.keys {
		ids[i] = k.keys[i].id
	}
	return ids
}

// String names the ids of the keys.
func (k *Keyring) String() string {
	if k == nil {
		return "no keys"
	}
	return "keys " + strings.Join(k.IDs(), ", ") + " (" + redacted + ")"
}

// Format writes what String returns, whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText returns what String returns, for every encoder that asks.
func (k *Keyring) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// first returns the id of the key that encrypts; "" when there is none.
func (k *Keyring) first() string {
	if k == nil {
		return ""
	}
	return k.keys[0].id
}

func (k *Keyring) find(id string) cipher.AEAD {
	if k == nil {
		return nil
	}
	for i := range k.keys {
		if k.keys[i].id == id {
			return k.keys[i].aead
		}
	}
	return nil
}

// missingKey is the error of a key that was not given.
func missingKey(id string) error {
	return fmt.Errorf("%w: key %q; set THRONG_ACCOUNTS_KEY to a list that has it", ErrKey, id)
}

// seal encrypts a plain record of the pool.
func (k *Keyring) seal(plain []byte, pool string) string {
	first := &k.keys[0]
	size := 2 + len(first.id) + first.aead.NonceSize()
	text := make([]byte, size, size+len(plain)+first.aead.Overhead())
	text[0], text[1] = sealedRecord, byte(len(first.id))
	copy(text[2:], first.id)
	nonce := text[2+len(first.id):]
	_, _ = rand.Read(nonce) // never fails
	return string(first.aead.Seal(text, nonce, plain, []byte(pool)))
}

// open decrypts a record that seal has encrypted for the same pool.
func (k *Keyring) open(text, pool string) (string, error) {
	id, ok := sealedWith(text)
	if !ok {
		return "", errRecord
	}
	aead := k.find(id)
	if aead == nil {
		return "", missingKey(id)
	}
	rest := []byte(text[2+len(id):])
	if len(rest) < aead.NonceSize() {
		return "", errRecord
	}
	nonce, sealed := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	plain, err := aead.Open(sealed[:0], nonce, sealed, []byte(pool))
	if err != nil {
		return "", fmt.Errorf("%w: it is not what key %q has encrypted for this pool", errRecord, id)
	}
	return string(plain), nil
}

// sealedWith returns the id of the key that a record is encrypted with; not ok
// when it is not an encrypted one.
func sealedWith(text string) (id string, ok bool) {
	if len(text) < 2 || text[0] != sealedRecord || len(text) < 2+int(text[1]) {
		return "", false
	}
	id = text[2 : 2+int(text[1])]
	return id, validKeyID(id)
}
