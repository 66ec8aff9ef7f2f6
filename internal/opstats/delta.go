package opstats

import (
	"strings"
	"unicode/utf8"

	"github.com/throng-load/throng/internal/hist"
)

const (
	// maxErrors is how many different error texts a Delta keeps apart, and
	// otherErrors what those beyond it are counted under.
	maxErrors   = 100
	otherErrors = "(other errors)"

	// maxErrorLength is the length of an error text in characters.
	maxErrorLength = 200
)

// Delta is what happened to one operation in a span of time. It travels as
// CBOR and is saved as JSON, with the same names; fields that are zero are left
// out.
type Delta struct {
	// Type and Name are the operation: "PUBLISH" and "class/progress".
	Type string `json:"type"`
	Name string `json:"name"`

	// Count is the number of operations that succeeded or failed, Failures
	// the number of those that failed. Cancelled ones are in neither.
	Count     int64 `json:"count,omitzero"`
	Failures  int64 `json:"failures,omitzero"`
	Cancelled int64 `json:"cancelled,omitzero"`

	// Bytes is the sum over the operations in Count.
	Bytes int64 `json:"bytes,omitzero"`

	// Took has the durations of the operations in Count. It is nil if there
	// are none.
	Took *hist.Histogram `json:"took,omitzero"`

	// Errors has the number of failures for each error text. They add up to
	// Failures. It is nil if there are none.
	Errors map[string]int64 `json:"errors,omitzero"`
}

// Merge adds o to d, whatever their operations are called. It keeps nothing of
// o, and at most 100 different error texts; the rest it counts together.
func (d *Delta) Merge(o Delta) {
	d.Count += o.Count
	d.Failures += o.Failures
	d.Cancelled += o.Cancelled
	d.Bytes += o.Bytes
	if o.Took != nil {
		if d.Took == nil {
			d.Took = new(hist.Histogram)
		}
		d.Took.Merge(o.Took)
	}
	for text, n := range o.Errors {
		d.Errors = countError(d.Errors, text, n)
	}
}

// Since returns what happened after d was as earlier, which must be an earlier state of
// d, is; a nil earlier is empty.
func (d *Delta) Since(earlier *Delta) *Delta {
	if earlier == nil {
		return d
	}
	now := &Delta{
		Type: d.Type, Name: d.Name, Count: d.Count - earlier.Count, Failures: d.Failures - earlier.Failures,
		Cancelled: d.Cancelled - earlier.Cancelled, Bytes: d.Bytes - earlier.Bytes, Took: d.Took.Since(earlier.Took),
	}
	for text, n := range d.Errors {
		if n -= earlier.Errors[text]; n > 0 {
			now.Errors = countError(now.Errors, text, n)
		}
	}
	return now
}

// countError adds n failures with a text to errors, which may be nil, and
// returns it.
func countError(errors map[string]int64, text string, n int64) map[string]int64 {
	if errors == nil {
		errors = make(map[string]int64)
	}
	if _, known := errors[text]; !known && distinct(errors) >= maxErrors {
		text = otherErrors
	}
	errors[text] += n
	return errors
}

// distinct returns the number of texts in errors that are kept apart.
func distinct(errors map[string]int64) int {
	if _, ok := errors[otherErrors]; ok {
		return len(errors) - 1
	}
	return len(errors)
}

// errorText returns the text of err as it is counted: valid UTF-8, as JSON
// wants it, and not longer than allowed.
func errorText(err error) string {
	text := strings.ToValidUTF8(err.Error(), string(utf8.RuneError))
	characters := 0
	for i := range text {
		if characters == maxErrorLength {
			return strings.Clone(text[:i]) // lets go of the rest
		}
		characters++
	}
	return text
}
