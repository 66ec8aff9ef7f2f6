package scenarios

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Ratio is a share from 0 to 1. Its text is a percentage (1%) or a number
// (0.01).
type Ratio float64

// ParseRatio reads the text form of a Ratio. The error shows valid forms.
func ParseRatio(s string) (Ratio, error) {
	number, percent := strings.CutSuffix(s, "%")
	v, ok := parseNumber(number)
	if percent && ok {
		v, ok = parsePercent(number)
	}
	if !ok {
		return 0, fmt.Errorf("%s is not a ratio: write a percentage such as 1%%, or a number from 0 to 1 such as 0.01", quote(s))
	}
	if v > 1 {
		return 0, fmt.Errorf("%s is above 100%%: write a percentage such as 1%%, or a number from 0 to 1 such as 0.01", quote(s))
	}
	return Ratio(v), nil
}

// String is the text form, a percentage if that is exact with at most four
// decimals. ParseRatio reads it back to exactly the same ratio.
func (r Ratio) String() string {
	percent := strconv.FormatFloat(math.Round(float64(r)*1e6)/1e4, 'f', -1, 64)
	if v, ok := parsePercent(percent); ok && v == float64(r) {
		return percent + "%"
	}
	return strconv.FormatFloat(float64(r), 'f', -1, 64)
}

// parsePercent reads a number as percent. The decimal point moves in the text:
// dividing by 100 would make 99.9% something else than 0.999.
func parsePercent(number string) (float64, bool) {
	v, err := strconv.ParseFloat(number+"e-2", 64)
	return v, err == nil
}

// MarshalText returns the text form. It refuses what ParseRatio would refuse.
func (r Ratio) MarshalText() ([]byte, error) {
	if !(r >= 0 && r <= 1) {
		return nil, fmt.Errorf("marshal ratio %v: it must be from 0 to 1", float64(r))
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads the text form.
func (r *Ratio) UnmarshalText(text []byte) error {
	v, err := ParseRatio(string(text))
	if err != nil {
		return err
	}
	*r = v
	return nil
}

// Set reads the text form: with String and Type it makes a flag's value.
func (r *Ratio) Set(s string) error { return r.UnmarshalText([]byte(s)) }

// Type names the kind of value in a flag's help.
func (r *Ratio) Type() string { return "ratio" }
