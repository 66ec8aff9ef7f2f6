package accounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/throng-load/throng/internal/keyspace"
)

// maxUsername is the longest username in bytes.
const maxUsername = 512

// record is an account as Redis keeps it. The names are short because there is
// one record for every account.
type record struct {
	Username   string            `json:"u"`
	Password   string            `json:"p"`
	Role       string            `json:"r"`
	Attributes map[string]string `json:"a,omitempty"`
}

var errRecord = errors.New("the record is not readable")

// encode returns the record's text. It must not reach a log or an error.
func encode(a Account) (string, error) {
	text, err := json.Marshal(record{
		Username: a.Username, Password: a.Password.Reveal(), Role: a.Role, Attributes: a.Attributes,
	})
	return string(text), err
}

// decode is encode's inverse. Its error does not quote the text: there is a
// password in it.
func decode(id, text string) (Account, error) {
	var r record
	if json.Unmarshal([]byte(text), &r) != nil || r.Username == "" || r.Role == "" {
		return Account{}, errRecord
	}
	return Account{
		ID: id, Username: r.Username, Password: NewSecret(r.Password), Role: r.Role, Attributes: r.Attributes,
	}, nil
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
