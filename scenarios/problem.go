package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one mistake in throng.yaml, or in what flags made of it.
type Problem struct {
	// File is the file's name as the caller gave it; empty when the mistake
	// does not stem from a file.
	File string
	// Line and Column count from 1, columns in characters. Both are 0 when
	// the place is not known.
	Line, Column int
	// Path is the key: "load.users", "thresholds[2]". It is empty when the
	// whole file is meant.
	Path string
	// Text says what is wrong, in one line.
	Text string
}

// String is the problem in one line:
//
//	throng.yaml:7:12: load.users: "ten" is not a whole number
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	// A text that begins with its own key reads as a sentence already.
	if p.Path != "" && !strings.HasPrefix(p.Text, p.Path+" ") {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// SpecError is every mistake of a spec, in the order of the file.
type SpecError struct {
	// Problems has at least one entry.
	Problems []Problem
}

// Error is one line per problem.
func (e *SpecError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems orders problems by their place in the file and drops repeated
// ones.
func sortProblems(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(problems)
}

// ParamError is a mistake in one parameter of a scenario. Behaviour.Validate
// returns one for each wrong parameter, joined by errors.Join.
type ParamError struct {
	// Param is the parameter's key under params, as in its yaml tag.
	Param string
	// Text says what is wrong with it, in one line.
	Text string
}

// Error is "param: text".
func (e *ParamError) Error() string { return e.Param + ": " + e.Text }

// maxQuoted is how much of a value is repeated in a message, in characters.
const maxQuoted = 40

// quote returns s quoted and, if it is long, cut: a message repeats what was
// written so that it can be found, not a whole payload.
func quote(s string) string { return strconv.Quote(cut(s)) }

// pathKey is a key from the file as it stands in a path: cut, and with what
// does not print escaped.
func pathKey(name string) string {
	quoted := quote(name)
	return quoted[1 : len(quoted)-1]
}

// oneLine keeps a text that others wrote, such as an error, to one line.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// cut shortens s to maxQuoted characters.
func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxQuoted {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// unknownName says that name is not one of the known names, what there is, and
// which of them was probably meant. What is the kind of thing that is named.
func unknownName(what, name string, known []string) string {
	text := "unknown " + what + " " + quote(name)
	if near, ok := nearest(name, known); ok {
		text += "; did you mean " + near + "?"
	}
	return text + " (there are " + strings.Join(known, ", ") + ")"
}

// unknownKey is what is wrong with a key that is not one of the known keys.
func unknownKey(key string, known []string) string {
	if near, ok := nearest(key, known); ok {
		return "unknown key; did you mean " + near + "?"
	}
	return "unknown key; there are " + strings.Join(known, ", ")
}

// nearest returns the known name that is a few slips of the pen away from name.
func nearest(name string, known []string) (string, bool) {
	if len(name) > 2*maxQuoted {
		return "", false
	}
	slips := 2 // letters changed, added or left out; a swap is two
	if len(name) < 4 {
		slips = 1
	}
	best, bestDistance := "", slips+1
	for _, k := range known {
		if d := editDistance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best, best != ""
}

// editDistance is the Levenshtein distance of a and b in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
