package report

import (
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// field is one column of a table: its head, and what stands in it for a row.
type field[T any] struct {
	head string
	cell func(T) string
	kind kind
	hide bool
}

// kind says how a column is set, and how it gives way when a table is too wide.
type kind int

const (
	number kind = iota // to the right; never gives way
	name               // to the left; is cut in its middle
	prose              // to the left; goes on in the next line
)

// leastName and leastProse are the widths that these columns keep.
const (
	leastName  = 12
	leastProse = 40
)

// tabulate sets the rows under the heads of the fields and returns the lines,
// without spaces at their ends. They are no wider than width, unless there are
// too many columns for it: columns move closer together first, then prose and
// names give way.
func tabulate[T any](fields []field[T], rows []T, width int) []string {
	fields = slices.DeleteFunc(slices.Clone(fields), func(f field[T]) bool { return f.hide })
	head := make(table.Row, len(fields))
	body := make([]table.Row, len(rows))
	for i := range body {
		body[i] = make(table.Row, len(fields))
	}
	widths := make([]int, len(fields))
	for c, f := range fields {
		head[c] = f.head
		widths[c] = len(f.head)
		for r, row := range rows {
			cell := f.cell(row)
			body[r][c] = cell
			widths[c] = max(widths[c], text.StringWidthWithoutEscSequences(cell))
		}
	}
	gap := fit(fields, widths, width)

	w := table.NewWriter()
	w.SetStyle(table.Style{Box: table.BoxStyle{PaddingLeft: strings.Repeat(" ", gap)}})
	w.SuppressTrailingSpaces()
	configs := make([]table.ColumnConfig, len(fields))
	for c, f := range fields {
		config := &configs[c]
		config.Number = c + 1
		switch f.kind {
		case number:
			config.Align, config.AlignHeader = text.AlignRight, text.AlignRight
		case name:
			for r := range body {
				body[r][c] = shorten(body[r][c].(string), widths[c])
			}
		case prose:
			config.WidthMax, config.WidthMaxEnforcer = widths[c], wrap
		}
	}
	w.SetColumnConfigs(configs)
	w.AppendHeader(head)
	w.AppendRows(body)
	lines := strings.Split(w.Render(), "\n")
	for i, line := range lines {
		lines[i] = line[min(gap, len(line)):] // the first column needs no gap before it
	}
	return lines
}

// fit makes the widths of columns fit and returns the gap between them.
func fit[T any](fields []field[T], widths []int, width int) (gap int) {
	gap = 2
	over := gap*(len(widths)-1) - width
	for _, w := range widths {
		over += w
	}
	if over > 0 {
		gap = 1
		over -= len(widths) - 1
	}
	give := func(kind kind, least int) {
		for c, f := range fields {
			if f.kind == kind {
				given := max(0, min(over, widths[c]-least))
				widths[c] -= given
				over -= given
			}
		}
	}
	give(prose, leastProse)
	give(name, leastName)
	return gap
}

// ruled puts a rule across before each of the given lines, named by their
// numbers in ascending order.
func ruled(lines []string, before ...int) []string {
	width := 0
	for _, line := range lines {
		width = max(width, text.StringWidthWithoutEscSequences(line))
	}
	for _, i := range slices.Backward(before) {
		lines = slices.Insert(lines, i, strings.Repeat("-", width))
	}
	return lines
}
