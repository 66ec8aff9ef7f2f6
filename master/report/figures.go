package report

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"
)

// notMeasured stands where a figure is missing: 0 would be a claim.
const notMeasured = "-"

// figure shows a time in milliseconds or a rate with about three digits that
// count, and whole numbers whole.
func figure(v float64) string {
	decimals := 0
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return notMeasured
	case v == 0:
		return "0"
	case size < 0.0005:
		return "<0.001"
	case size < 0.0995:
		decimals = 3
	case size < 9.995:
		decimals = 2
	case size < 99.95:
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// rounded shows a number with at most so many digits that count, without
// exponent and without zeros at the end.
func rounded(v float64, digits int) string {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return notMeasured
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// percent shows a ratio.
func percent(ratio float64, digits int) string {
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return notMeasured
	}
	return rounded(100*ratio, digits) + "%"
}

// measured formats a figure that may be missing.
func measured(v *float64, format func(float64) string) string {
	if v == nil {
		return notMeasured
	}
	return format(*v)
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// count shows how many there are of something: "1 worker", "2 workers".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return whole(n) + " " + noun + "s"
}

// elapsed shows a length of time in seconds: 31.4s, 10m0s.
func elapsed(seconds float64) string {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return notMeasured
	}
	d := time.Duration(seconds * float64(time.Second))
	if d.Abs() < time.Minute-50*time.Millisecond {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return d.Round(time.Second).String()
}

// thresholdValue shows the value of a threshold in the unit of its metric,
// which the metric's name tells: p95, min, mean and max are times, failures is
// a ratio, everything else is counted.
func thresholdValue(t Threshold) string {
	if t.Value == nil || math.IsNaN(*t.Value) || math.IsInf(*t.Value, 0) {
		return notMeasured
	}
	v := *t.Value
	metric, _, _ := strings.Cut(t.Expr, " ")
	metric = metric[strings.LastIndex(metric, ".")+1:]
	digits, isPercentile := strings.CutPrefix(metric, "p")
	_, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case metric == "failures":
		return percent(v, 6) // enough to tell a crossed limit from a kept one
	case isPercentile && err == nil, metric == "min", metric == "mean", metric == "max":
		if math.Abs(v) < 1 {
			return rounded(1000*v, 4) + "ms"
		}
		return rounded(v, 4) + "s"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// plain makes one harmless line of a text from outside: names and errors come
// from targets, and what a target sends must neither break a table nor command
// a terminal.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return unicode.ReplacementChar
	}, s)
	return strings.TrimSpace(s)
}

// omission marks where something was cut out.
const omission = ".."

// shorten cuts a text in its middle to the given width on the screen: names
// that share a beginning ("class/progress started") differ at their end.
func shorten(s string, width int) string {
	if text.StringWidthWithoutEscSequences(s) <= width {
		return s
	}
	room := max(0, width-len(omission))
	head := text.Trim(s, (room+1)/2)
	room -= text.StringWidthWithoutEscSequences(head)
	runes := []rune(s)
	start := len(runes)
	for start > 0 && room >= text.RuneWidth(runes[start-1]) {
		start--
		room -= text.RuneWidth(runes[start])
	}
	return head + omission + string(runes[start:])
}

// wrap breaks a text between words into lines of at most the given width on the
// screen, and a word only if it is wider than that alone. The library's own
// wrapping lets a line grow too wide by half a wide character.
func wrap(s string, width int) string {
	var out strings.Builder
	used := 0
	for word := range strings.FieldsSeq(s) {
		size := text.StringWidthWithoutEscSequences(word)
		switch {
		case used == 0:
		case used+1+size <= width:
			out.WriteByte(' ')
			used++
		default:
			out.WriteByte('\n')
			used = 0
		}
		for size > width {
			part := text.Trim(word, max(width, 2)) // 2 has room for any character
			out.WriteString(part + "\n")
			word = word[len(part):]
			size = text.StringWidthWithoutEscSequences(word)
		}
		out.WriteString(word)
		used += size
	}
	return out.String()
}
