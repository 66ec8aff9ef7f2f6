package accounts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/throng-load/throng/internal/keyspace"
)

const (
	// maxUsername is the longest username in bytes.
	maxUsername = 512
	// maxRecord is the longest record in bytes. A batch of the longest ones
	// still fits what Redis takes in one call.
	maxRecord = 16 << 10
)

// The first byte of a record says what the others are.
const (
	plainRecord  = 0x01
	sealedRecord = 0x02
)

// A plain record is, after its first byte: a byte of flags; username, password,
// role, target id and key, each with its length before it; the number of
// attributes, and then their names and values, likewise, sorted by name.
// Lengths are unsigned varints.
//
// It is read once for each lease, which is why it is no JSON: this takes a
// quarter of the time.

// createdFlag is set in the record of an account that this pool created.
const createdFlag = 0x01

var errRecord = errors.New("the record is not readable")

// codec turns accounts into records of one pool, and back.
type codec struct {
	// keys encrypts and decrypts; nil where records are not encrypted.
	keys *Keyring
	// pool is the pool's id, which an encrypted record is bound to.
	pool string
}

// encode returns the account's record. Unless there is a key, it must not reach
// a log or an error.
func (c codec) encode(a Account) string {
	text := encodePlain(a)
	if c.keys == nil {
		return string(text)
	}
	return c.keys.seal(text, c.pool)
}

// decode is encode's inverse. Its error does not quote the record: there is a
// password in it. It wraps ErrKey when the record needs a key that is not there.
func (c codec) decode(id, text string) (Account, error) {
	if text != "" && text[0] == sealedRecord {
		var err error
		if text, err = c.keys.open(text, c.pool); err != nil {
			return Account{}, err
		}
	}
	return decodePlain(id, text)
}

func encodePlain(a Account) []byte {
	password := a.Password.Reveal()
	text := make([]byte, 2, 32+len(a.Username)+len(password)+len(a.Role)+len(a.TargetID)+len(a.Key)+32*len(a.Attributes))
	text[0] = plainRecord
	if a.Created {
		text[1] |= createdFlag
	}
	field := func(s string) {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	for _, s := range [...]string{a.Username, password, a.Role, a.TargetID, a.Key} {
		field(s)
	}
	text = binary.AppendUvarint(text, uint64(len(a.Attributes)))
	for _, name := range slices.Sorted(maps.Keys(a.Attributes)) {
		field(name)
		field(a.Attributes[name])
	}
	return text
}

// decodePlain returns an account whose texts are parts of text, so that the
// record is all that is allocated.
func decodePlain(id, text string) (Account, error) {
	if len(text) < 2 || text[0] != plainRecord || text[1]&^createdFlag != 0 {
		return Account{}, errRecord
	}
	r := fields{rest: text[2:]}
	a := Account{ID: id, Created: text[1] == createdFlag}
	a.Username, a.Password = r.next(), NewSecret(r.next())
	a.Role, a.TargetID, a.Key = r.next(), r.next(), r.next()
	if n := r.number(); n > 0 && n <= uint64(len(r.rest))/2 {
		a.Attributes = make(map[string]string, n)
		for range n {
			name := r.next()
			a.Attributes[name] = r.next()
		}
		r.bad = r.bad || uint64(len(a.Attributes)) != n
	} else if n > 0 {
		r.bad = true
	}
	if r.bad || r.rest != "" || a.Username == "" || a.Role == "" {
		return Account{}, errRecord
	}
	return a, nil
}

// fields reads a record from left to right. After the first mistake it is bad
// and returns zero values.
type fields struct {
	rest string
	bad  bool
}

func (f *fields) number() (n uint64) {
	for i := range min(len(f.rest), binary.MaxVarintLen32) {
		b := f.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			f.rest = f.rest[i+1:]
			return n
		}
	}
	f.bad, f.rest = true, ""
	return 0
}

func (f *fields) next() string {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, ""
		return ""
	}
	s := f.rest[:n]
	f.rest = f.rest[n:]
	return s
}

// check says why an account cannot be part of a pool.
func check(a Account) error {
	switch {
	case a.Username == "":
		return errors.New("an account has no username")
	case len(a.Username) > maxUsername:
		return fmt.Errorf("username %.32q...: use at most %d bytes", a.Username, maxUsername)
	case !utf8.ValidString(a.Username), !utf8.ValidString(a.Password.Reveal()):
		return fmt.Errorf("account %q: username and password must be UTF-8", a.Username)
	case len(encodePlain(a)) > maxRecord:
		return fmt.Errorf("account %q: use at most %d bytes for its password and attributes", a.Username, maxRecord)
	}
	if err := checkRole(a.Role); err != nil {
		return fmt.Errorf("account %q: %w", a.Username, err)
	}
	return nil
}

func checkRole(role string) error {
	if err := keyspace.Check(role); err != nil {
		return fmt.Errorf("role: %w", err)
	}
	return nil
}

// maxNamed is how many problems one error names.
const maxNamed = 10

// checkAll says why accounts cannot be part of a pool. Of many problems it names
// the first few and counts the others.
func checkAll(accounts []Account) error {
	var problems []error
	n := 0
	for _, a := range accounts {
		err := check(a)
		if err == nil {
			continue
		}
		if n++; n <= maxNamed {
			problems = append(problems, err)
		}
	}
	if n > maxNamed {
		problems = append(problems, fmt.Errorf("and %d more", n-maxNamed))
	}
	return errors.Join(problems...)
}
