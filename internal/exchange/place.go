package exchange

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

// Place says where in a JSON answer a value stands: keys and, in lists, numbers
// from 0, with dots between them, such as data.users.0.id. The zero Place finds
// nothing.
type Place struct{ text string }

// ParsePlace reads a place; "" is the zero Place. A key that
// holds anything but letters, digits, dashes, underscores, colons and dollar
// signs cannot be named.
func ParsePlace(text string) (Place, error) {
	if text == "" {
		return Place{}, nil
	}
	for part := range strings.SplitSeq(text, ".") {
		plain := part != "" && strings.IndexFunc(part, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_:$", r)
		}) < 0
		if !plain {
			return Place{}, fmt.Errorf("%.60q is not a path into an answer such as data.user.id or errors.0.message", text)
		}
	}
	return Place{text: text}, nil
}

// IsZero says whether the place finds nothing whatever the answer.
func (p Place) IsZero() bool { return p.text == "" }

// String is the place as it was written.
func (p Place) String() string { return p.text }

// Text returns the text, or the number as it is written, that stands at the
// path in a JSON answer. It is false when there is none, when it is empty, and
// when the answer is not JSON.
func (p Place) Text(answer []byte) (string, bool) {
	if p.IsZero() || !gjson.ValidBytes(answer) {
		return "", false
	}
	found := gjson.GetBytes(answer, p.text)
	switch found.Type {
	case gjson.String:
		return found.Str, found.Str != ""
	case gjson.Number: // as written: an id may be too long for a float
		return found.Raw, true
	}
	return "", false
}

// Count returns the whole number from 0 that stands at the path.
func (p Place) Count(answer []byte) (int, bool) {
	text, ok := p.Text(answer)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}
