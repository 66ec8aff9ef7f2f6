package provision

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/keyspace"
)

// WriteCSV writes accounts as ReadCSV reads them: username, password, role, and
// a column for every attribute that any of them has, sorted. Passwords are
// written in plain text, and nothing is changed for the sake of programs that
// take a text such as =1+1 for a formula; who may read the file is the caller's
// business. An attribute that is empty is written like one that is not there.
//
// When an account could not be read back as it is, the error names it, and
// nothing has been written.
func WriteCSV(w io.Writer, list []accounts.Account) error {
	all, seen := map[string]bool{}, map[string]bool{}
	for _, a := range list {
		err := readable(a)
		if seen[a.Username] {
			err = errors.New("it is there twice")
		}
		if err != nil {
			return fmt.Errorf("write accounts: account %q: %w", a.Username, err)
		}
		seen[a.Username] = true
		for attribute, value := range a.Attributes {
			if value != "" {
				all[attribute] = true
			}
		}
	}
	attributes := slices.Sorted(maps.Keys(all))
	rows := csv.NewWriter(w)
	_ = rows.Write(append([]string{csvUsername, csvPassword, csvRole}, attributes...)) // errors are kept for Error
	for _, a := range list {
		row := []string{a.Username, a.Password.Reveal(), a.Role}
		for _, attribute := range attributes {
			row = append(row, a.Attributes[attribute])
		}
		if err := rows.Write(row); err != nil {
			break
		}
	}
	rows.Flush()
	if err := rows.Error(); err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	return nil
}

// readable says why ReadCSV would not return the account as it is.
func readable(a accounts.Account) error {
	switch {
	case a.Username == "":
		return errors.New("it has no username")
	case a.Password.Reveal() == "":
		return errors.New("its password is empty")
	case keyspace.Check(a.Role) != nil:
		return fmt.Errorf("role: %w", keyspace.Check(a.Role))
	case !carried(a.Username):
		return errors.New("a CSV file cannot carry its username: " + notCarried)
	case !carried(a.Password.Reveal()):
		return errors.New("a CSV file cannot carry its password: " + notCarried)
	}
	for attribute, value := range a.Attributes {
		switch {
		case value == "":
		case attribute == "" || needed(attribute):
			return fmt.Errorf("its attribute %q cannot have a column of that name", attribute)
		case !carried(attribute), !carried(value):
			return fmt.Errorf("a CSV file cannot carry its attribute %q: %s", attribute, notCarried)
		}
	}
	return nil
}

const notCarried = "it is not UTF-8, or has a carriage return before a line feed"

// carried says whether a text survives: readers of CSV take the two bytes that
// end a line on some systems for one, also inside of quotes.
func carried(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\r\n") }
