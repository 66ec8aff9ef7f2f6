package cmd

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pageRows is how many rows a table keeps before it writes them.
const pageRows = 200

// table prints rows in columns. It writes a page at a time, so that it can be of
// any length; a column never becomes narrower.
type table struct {
	w      io.Writer
	widths []int
	right  []bool // the column is right-aligned, as numbers are
	rows   [][]string
	begun  bool // there is a row beside the titles
}

// newTable returns a table with these titles; one that begins with ">" is that
// of a column of numbers.
func newTable(w io.Writer, titles ...string) *table {
	t := &table{w: w, widths: make([]int, len(titles)), right: make([]bool, len(titles))}
	for i, title := range titles {
		titles[i], t.right[i] = strings.CutPrefix(title, ">")
	}
	t.rows = append(t.rows, titles)
	return t
}

// row adds a row. What does not print in a cell is replaced: a username must not
// move the cursor.
func (t *table) row(cells ...string) error {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	t.rows, t.begun = append(t.rows, cells), true
	if len(t.rows) < pageRows {
		return nil
	}
	return t.flush()
}

// flush writes what was not written yet.
func (t *table) flush() error {
	for _, row := range t.rows {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
			line.WriteString("  ")
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(t.w, text.String())
	return err
}

// printable puts a question mark for every character that does not print.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
