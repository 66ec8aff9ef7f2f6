package scenarios

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as flags and throng.yaml write it: whole
// seconds (300), or whole numbers with the units h, m, s and ms in this order,
// each at most once (20s, 1h30m, 1s500ms). It is never negative in text.
type Duration time.Duration

// durationUnit is one unit of a duration's text.
type durationUnit struct {
	name string
	size time.Duration
}

// durationUnits lists the units in the order in which they must stand.
func durationUnits() [4]durationUnit {
	return [4]durationUnit{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}
}

// ParseDuration reads the text form of a Duration. The error shows valid forms.
func ParseDuration(s string) (time.Duration, error) {
	text := s
	if isDigits(text) {
		text += "s" // a plain number counts seconds
	}
	total, units := time.Duration(0), durationUnits()
	for next := 0; ; {
		digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
		name, rest := unitName(text[digits:])
		found := false
		for i := next; i < len(units) && !found; i++ {
			found = units[i].name == name
			next = i + 1
		}
		if digits == 0 || !found {
			return 0, fmt.Errorf("%s is not a duration: write whole numbers with h, m, s, ms in this order, "+
				"such as 20s, 1h30m or 500ms, or whole seconds such as 300", quote(s))
		}
		n, err := strconv.ParseInt(text[:digits], 10, 64)
		size := units[next-1].size
		if err != nil || n > int64((math.MaxInt64-total)/size) {
			return 0, fmt.Errorf("%s is too long for a duration", quote(s))
		}
		total += time.Duration(n) * size
		if rest == "" {
			return total, nil
		}
		text = rest
	}
}

// unitName splits text after its leading letters.
func unitName(text string) (name, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool { return r < 'a' || r > 'z' })
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// isDigits says whether s consists of decimal digits, at least one.
func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// String is the text form: 1m30s. What has no text form, such as a part of a
// millisecond, prints as the standard library prints it.
func (d Duration) String() string {
	if d < 0 || time.Duration(d)%time.Millisecond != 0 {
		return time.Duration(d).String()
	}
	if d == 0 {
		return "0s"
	}
	var text []byte
	rest := time.Duration(d)
	for _, u := range durationUnits() {
		if n := rest / u.size; n > 0 {
			text = append(strconv.AppendInt(text, int64(n), 10), u.name...)
			rest -= n * u.size
		}
	}
	return string(text)
}

// MarshalText returns the text form. It refuses what has none: a negative
// duration, or one with a part of a millisecond.
func (d Duration) MarshalText() ([]byte, error) {
	if d < 0 || time.Duration(d)%time.Millisecond != 0 {
		return nil, fmt.Errorf("marshal duration %v: it must be whole milliseconds and not negative", time.Duration(d))
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads the text form.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Set reads the text form: with String and Type it makes a flag's value.
func (d *Duration) Set(s string) error { return d.UnmarshalText([]byte(s)) }

// Type names the kind of value in a flag's help.
func (d *Duration) Type() string { return "duration" }
