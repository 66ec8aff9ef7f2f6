package scenarios

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rate is how often something happens, per second. Its text is a number with
// /s, /m or /h (20/s, 1000/m, 5/h); a plain number is per second.
type Rate float64

// The units of a rate in text, as rates.
const (
	perSecond Rate = 1
	perMinute Rate = 1. / 60
	perHour   Rate = 1. / 3600
)

// maxRate keeps the time between two events at a nanosecond or more.
const maxRate Rate = 1e9

// ParseRate reads the text form of a Rate. The error shows valid forms.
func ParseRate(s string) (Rate, error) {
	number, unit, given := strings.Cut(s, "/")
	seconds := 1.
	switch {
	case !given, unit == "s":
	case unit == "m":
		seconds = 60
	case unit == "h":
		seconds = 3600
	default:
		number = "" // no number: the error below
	}
	v, ok := parseNumber(number)
	if !ok {
		return 0, fmt.Errorf("%s is not a rate: write a number with /s, /m or /h, such as 20/s or 1000/m", quote(s))
	}
	r := Rate(v / seconds)
	if r > maxRate {
		return 0, fmt.Errorf("%s is above the highest rate, %s", quote(s), maxRate)
	}
	return r, nil
}

// String is the text form, in the unit that gives a whole number if there is
// one. ParseRate reads it back to exactly the same rate.
func (r Rate) String() string {
	v := float64(r)
	for _, unit := range [...]struct {
		seconds float64
		name    string
	}{{1, "/s"}, {60, "/m"}, {3600, "/h"}} {
		if n := math.Round(v * unit.seconds); n/unit.seconds == v {
			return strconv.FormatFloat(n, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64) + "/s"
}

// MarshalText returns the text form. It refuses what ParseRate would refuse.
func (r Rate) MarshalText() ([]byte, error) {
	if !(r >= 0 && r <= maxRate) {
		return nil, fmt.Errorf("marshal rate %v: it must be from 0 to %s", float64(r), maxRate)
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads the text form.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = v
	return nil
}

// Set reads the text form: with String and Type it makes a flag's value.
func (r *Rate) Set(s string) error { return r.UnmarshalText([]byte(s)) }

// Type names the kind of value in a flag's help.
func (r *Rate) Type() string { return "rate" }

// parseNumber reads a decimal number without sign and exponent, such as 20 or
// 0.5. It is stricter than strconv, which also takes 0x1p4, 1_000 and Inf.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}
