package provision

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/keyspace"
)

// The columns that every file has.
const (
	csvUsername = "username"
	csvPassword = "password"
	csvRole     = "role"
)

// maxRowProblems is how many problems of a file are kept.
const maxRowProblems = 1000

// byteOrderMark is how some programs begin a file in UTF-8.
const byteOrderMark = "\ufeff"

// RowProblem is what is wrong with one row of a file. It quotes nothing of the
// row: in a broken row a password may stand anywhere.
type RowProblem struct {
	// Line is where the row begins, counted from 1.
	Line int
	// Column is the header's name of the column, "" when it is about the row.
	Column string
	// Reason is one line.
	Reason string
}

// String is the problem in one line.
func (p RowProblem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Reason)
	}
	return fmt.Sprintf("line %d, column %q: %s", p.Line, p.Column, p.Reason)
}

// RowProblems are what is wrong with the rows of a file.
type RowProblems struct {
	// First are the first ones, in the order of the file; at most 1,000.
	First []RowProblem
	// Rows counts all rows that are wrong. Each has one problem.
	Rows int
}

func (p *RowProblems) add(problem RowProblem) {
	p.Rows++
	if len(p.First) < maxRowProblems {
		p.First = append(p.First, problem)
	}
}

// ReadCSV reads accounts from a file: comma-separated, in UTF-8, with a first
// row that names the columns. Username, password and role are needed, in any
// order and in upper or lower case; every other column is an attribute of that
// name, and an account has it where the row is not empty. Texts are taken as
// they are, spaces included. Rows that are wrong are left out of the list; of
// several rows with one username all but the first are wrong.
//
// The error says that the file as a whole cannot be read, and the list is empty
// then. The name is how errors call the file.
func ReadCSV(r io.Reader, name string) (list []accounts.Account, problems RowProblems, err error) {
	text := bufio.NewReader(r)
	if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = text.Discard(len(mark))
	}
	rows := csv.NewReader(text)
	rows.FieldsPerRecord = -1 // this file says it better
	header, err := readHeader(rows)
	if err != nil {
		return nil, RowProblems{}, fmt.Errorf("read accounts: %s: %w", name, err)
	}
	seen := map[string]int{} // username -> line
	for {
		row, err := rows.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return list, problems, nil
		case errors.As(err, &broken):
			problems.add(header.broken(broken, len(row)))
			continue
		case err != nil:
			return nil, RowProblems{}, fmt.Errorf("read accounts: %s: %w", name, err)
		}
		line, _ := rows.FieldPos(0)
		a, problem := header.account(row)
		if problem.Reason == "" {
			if before, ok := seen[a.Username]; ok {
				problem = RowProblem{Column: header.columns[header.username], Reason: fmt.Sprintf("the same username is on line %d", before)}
			} else {
				seen[a.Username] = line
			}
		}
		if problem.Reason != "" {
			problem.Line = line
			problems.add(problem)
			continue
		}
		list = append(list, a)
	}
}

// csvHeader is a file's first row.
type csvHeader struct {
	columns                  []string
	username, password, role int
}

func readHeader(rows *csv.Reader) (csvHeader, error) {
	const want = "the first row must name the columns username, password and role, and one for each attribute"
	columns, err := rows.Read()
	var broken *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return csvHeader{}, errors.New("it is empty; " + want)
	case errors.As(err, &broken):
		return csvHeader{}, fmt.Errorf("line %d: %w; %s", broken.Line, broken.Err, want)
	case err != nil:
		return csvHeader{}, err
	}
	h := csvHeader{columns: columns}
	var problems []string
	for _, needed := range []struct {
		name string
		at   *int
	}{{csvUsername, &h.username}, {csvPassword, &h.password}, {csvRole, &h.role}} {
		*needed.at = slices.IndexFunc(columns, func(column string) bool { return strings.EqualFold(column, needed.name) })
		if *needed.at < 0 {
			problems = append(problems, "there is no column "+needed.name)
		}
	}
	if len(columns) == 1 && strings.ContainsAny(columns[0], ";\t") {
		problems = append(problems, "columns must be separated by commas")
	}
	// A row without those names may be an account, of which nothing is quoted.
	if len(problems) == 0 {
		problems = h.strange()
	}
	if len(problems) > 0 {
		return csvHeader{}, fmt.Errorf("line 1: %s; %s", strings.Join(problems, "; "), want)
	}
	return h, nil
}

// strange says what is wrong with the names of columns.
func (h csvHeader) strange() (problems []string) {
	for i, column := range h.columns {
		switch {
		case column == "":
			problems = append(problems, fmt.Sprintf("column %d has no name", i+1))
		case !utf8.ValidString(column):
			problems = append(problems, fmt.Sprintf("the name of column %d is not UTF-8", i+1))
		case slices.ContainsFunc(h.columns[:i], func(before string) bool {
			return before == column || needed(column) && strings.EqualFold(before, column)
		}):
			problems = append(problems, fmt.Sprintf("column %q is there twice", column))
		}
	}
	return problems
}

// needed says whether a column is one that every file has.
func needed(column string) bool {
	return strings.EqualFold(column, csvUsername) || strings.EqualFold(column, csvPassword) || strings.EqualFold(column, csvRole)
}

// account reads a row, or says what is wrong with it.
func (h csvHeader) account(row []string) (accounts.Account, RowProblem) {
	wrong := func(i int, reason string) (accounts.Account, RowProblem) {
		return accounts.Account{}, RowProblem{Column: h.columns[i], Reason: reason}
	}
	switch {
	case len(row) < len(h.columns):
		return wrong(len(row), fmt.Sprintf("missing: the row has %d fields, not %d", len(row), len(h.columns)))
	case len(row) > len(h.columns):
		return accounts.Account{}, RowProblem{Reason: fmt.Sprintf("the row has %d fields, not %d; a text with a comma needs quotes", len(row), len(h.columns))}
	}
	for i, field := range row {
		if !utf8.ValidString(field) {
			return wrong(i, "it is not UTF-8")
		}
	}
	a := accounts.Account{Username: row[h.username], Password: accounts.NewSecret(row[h.password]), Role: row[h.role]}
	switch {
	case a.Username == "":
		return wrong(h.username, "it is empty")
	case a.Password.Reveal() == "":
		return wrong(h.password, "it is empty")
	case a.Role == "":
		return wrong(h.role, "it is empty")
	case keyspace.Check(a.Role) != nil: // its error quotes the text
		return wrong(h.role, "a role has 1 to 64 letters, digits, dots, dashes and underscores")
	}
	for i, field := range row {
		if field == "" || i == h.username || i == h.password || i == h.role {
			continue
		}
		if a.Attributes == nil {
			a.Attributes = map[string]string{}
		}
		a.Attributes[h.columns[i]] = field
	}
	return a, RowProblem{}
}

// broken says what is wrong with a row that could not be taken apart behind so
// many fields.
func (h csvHeader) broken(err *csv.ParseError, fields int) RowProblem {
	p := RowProblem{Line: err.StartLine, Reason: fmt.Sprintf("%v", err.Err)}
	if fields < len(h.columns) {
		p.Column = h.columns[fields]
	}
	switch {
	case errors.Is(err.Err, csv.ErrBareQuote):
		p.Reason = `there is a " in it; put the text in quotes and double each " inside`
	case errors.Is(err.Err, csv.ErrQuote):
		p.Reason = `its quotes are not closed, or a " inside is not doubled`
		if err.Line > err.StartLine {
			p.Reason += fmt.Sprintf("; the row goes on to line %d", err.Line)
		}
	}
	return p
}
