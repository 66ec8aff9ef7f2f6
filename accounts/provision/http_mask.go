package provision

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// redacted is what stands for a secret.
	redacted = "redacted"
	// withheld stands for a text that quotes a secret in other letters.
	withheld = "(not shown: it quotes a secret)"
)

// What escapes look like; they do not change.
var (
	percentEscape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	slashEscape   = regexp.MustCompile(`\\u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})?|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}|\\[abfnrtv]|\\`)
)

// mask lists what must not be shown of a request.
type mask []string

// newMask hides the secrets that are not empty.
func newMask(secrets ...string) mask {
	var m mask
	for _, secret := range secrets {
		if secret != "" {
			m = append(m, secret)
		}
	}
	return m
}

// line returns text as one short line without the secrets. One that stands there
// as it is, is replaced. A target may also quote it escaped, for JSON, a URL or
// HTML, and more than once: then nothing of the text is returned.
func (m mask) line(text string) string {
	text = printable(text)
	for _, secret := range m {
		text = strings.ReplaceAll(text, printable(secret), redacted)
	}
	plain := unescaped(text)
	for _, secret := range m {
		if s := unescaped(secret); s != "" && strings.Contains(plain, s) {
			return withheld
		}
	}
	if utf8.RuneCountInString(text) > maxReason {
		text = string([]rune(text)[:maxReason]) + "..."
	}
	return text
}

// printable puts a space for every character that does not print.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// unescaped undoes every escape there is in a text, as often as it takes, and
// leaves out what escapes are made of. It is for comparing alone: two texts that
// differ may come out the same.
func unescaped(text string) string {
	const enough = 8 // rounds, and so escapes within escapes
	for range enough {
		once := percentEscape.ReplaceAllStringFunc(text, func(s string) string {
			b, err := strconv.ParseUint(s[1:], 16, 8)
			if err != nil {
				return s
			}
			return string([]byte{byte(b)})
		})
		once = html.UnescapeString(unslashed(once))
		if once == text {
			break
		}
		text = once
	}
	return strings.Map(func(r rune) rune {
		if r == '+' || r == '\\' || r == ' ' || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// unslashed undoes escapes with a backslash, as JSON and Go have them. What is
// no escape loses its backslash alone.
func unslashed(text string) string {
	return slashEscape.ReplaceAllStringFunc(text, func(s string) string {
		if len(s) <= 2 { // what it stands for does not print
			return ""
		}
		digits := strings.Split(s[2:], `\u`)
		codes := make([]rune, len(digits))
		for i, d := range digits {
			n, err := strconv.ParseUint(d, 16, 32)
			if err != nil {
				return s
			}
			codes[i] = rune(n)
		}
		switch {
		case s[1] == 'x':
			return string([]byte{byte(codes[0])})
		case len(codes) == 2 && utf16.IsSurrogate(codes[0]):
			return string(utf16.DecodeRune(codes[0], codes[1]))
		}
		return string(codes)
	})
}
