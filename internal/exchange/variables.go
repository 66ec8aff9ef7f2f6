package exchange

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Expand replaces every ${NAME} in text by what lookup says of NAME: an
// environment variable, for what must not stand in a file. Any other dollar
// sign is itself. A variable that is missing, or empty, is an error that
// names it.
func Expand(text string, lookup func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	var missing []string
	for {
		before, after, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			break
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			return "", errors.New("${ must begin the name of an environment variable, such as ${API_TOKEN}")
		}
		value, ok := lookup(name)
		if (!ok || value == "") && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		b.WriteString(value)
		text = rest
	}
	if len(missing) == 1 {
		return "", fmt.Errorf("the environment variable %s is not set", missing[0])
	} else if len(missing) > 1 {
		return "", fmt.Errorf("the environment variables %s are not set", strings.Join(missing, ", "))
	}
	return b.String(), nil
}

// HasVariable says whether text has a ${NAME}, well written or not.
func HasVariable(text string) bool { return strings.Contains(text, "${") }

// CheckVariables says whether every ${NAME} in text is well written.
func CheckVariables(text string) error {
	_, err := Expand(text, func(string) (string, bool) { return "x", true })
	return err
}

func isVariable(name string) bool {
	const digits, letters = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	return name != "" && strings.Trim(name, digits+letters) == "" && !strings.ContainsRune(digits, rune(name[0]))
}
