package report_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// screen is as much of a terminal as a Live needs: a window of 24 rows with 100
// columns that scrolls over all rows there are. It knows characters that are
// one column wide.
type screen struct {
	t    *testing.T
	rows [][]rune
	row  int // of the cursor
	col  int
	cut  bool // what is too wide is cut instead of going on in the next row
}

const screenRows, screenColumns = 24, 100

func newScreen(t *testing.T) *screen { return &screen{t: t, rows: make([][]rune, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.write(string(p))
	return len(p), nil
}

func (s *screen) write(p string) {
	command := regexp.MustCompile(`^\x1b\[(\??\d*)([A-Za-z])`)
	for p != "" {
		if match := command.FindStringSubmatch(p); match != nil {
			s.command(match[1], match[2])
			p = p[len(match[0]):]
			continue
		}
		r := []rune(p)[0]
		s.put(r)
		p = p[len(string(r)):]
	}
	if s.cut {
		s.t.Error("the terminal is left cutting lines")
	}
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.col = 0
		return
	case '\n':
		s.next()
		return
	}
	if s.col == screenColumns {
		if s.cut {
			s.col--
		} else {
			s.next()
		}
	}
	line := s.rows[s.row]
	for len(line) <= s.col {
		line = append(line, ' ')
	}
	line[s.col] = r
	s.rows[s.row] = line
	s.col++
}

func (s *screen) next() {
	s.col = 0
	s.row++
	if s.row == len(s.rows) {
		s.rows = append(s.rows, nil)
	}
}

func (s *screen) command(argument, letter string) {
	clearLine := func() { s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))] }
	switch argument + letter {
	case "K":
		clearLine()
	case "J":
		clearLine()
		// The window does not move, so neither do rows go away.
		for i := range s.rows[s.row+1:] {
			s.rows[s.row+1+i] = nil
		}
	case "?7l":
		s.cut = true
	case "?7h":
		s.cut = false
	default:
		n, err := strconv.Atoi(argument)
		if letter != "A" || err != nil {
			s.t.Fatalf("unknown command %q", argument+letter)
		}
		s.row = max(s.row-n, len(s.rows)-screenRows, 0)
	}
}

// text is all rows, also those that have scrolled out, down to the last that is
// not empty.
func (s *screen) text() string {
	var lines []string
	for _, row := range s.rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines, "\n") + "\n"
}

// showsOnly checks that there is one block, that it begins so, and that it is
// in the window with the cursor below it.
func (s *screen) showsOnly(head string) {
	s.t.Helper()
	isHead := func(line string) bool { return strings.HasPrefix(line, "elapsed ") }
	lines := strings.Split(strings.TrimSuffix(s.text(), "\n"), "\n")
	first := slices.IndexFunc(lines, isHead)
	switch {
	case first < 0 || !strings.HasPrefix(lines[first], head):
		s.t.Errorf("want a block that begins with %q:\n%s", head, s.text())
	case slices.ContainsFunc(lines[first+1:], isHead):
		s.t.Errorf("there is more than one block:\n%s", s.text())
	case first < len(s.rows)-screenRows:
		s.t.Errorf("the block's first line is out of the window:\n%s", s.text())
	case s.row != len(lines) || s.col != 0:
		s.t.Errorf("the cursor is in row %d, column %d, want row %d, column 0:\n%s", s.row, s.col, len(lines), s.text())
	}
}
