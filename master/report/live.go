package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// plainWidth is how wide a block is where there is no terminal.
const plainWidth = 120

// What a terminal is told. Lines that are wider than the window are cut by it:
// one that went on in a next line would make the block taller than counted.
const (
	cursorUp  = "\r\x1b[%dA"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
	noWrap    = "\x1b[?7l"
	autoWrap  = "\x1b[?7h"
)

// operationKey is what tells operations apart.
type operationKey struct{ kind, name string }

// Live shows a run while it goes on: on a terminal one block that is redrawn in
// its place, elsewhere one block after another. It is used by one goroutine at
// a time. NewLive is the only way to make one.
type Live struct {
	w     io.Writer
	size  func() (columns, lines int) // nil where there is no terminal
	every time.Duration

	shown  time.Time // when the last block was written
	counts map[operationKey]int64
	lines  int // of the last block
	closed bool
}

// NewLive returns a Live that writes a block to w as often as every says. Size
// tells how large the terminal at w is, and is nil if w is none; whoever else
// writes to a terminal then, until Close, must call Interrupt first.
func NewLive(w io.Writer, size func() (columns, lines int), every time.Duration) *Live {
	return &Live{w: w, size: size, every: every}
}

// Show shows the state of the run if it is time for the next block, and
// otherwise does nothing; it may be called at any rate. The requests a second
// are those since the block before, everything else counts from the beginning.
// The summary is not kept. That w cannot be written to does not concern a run,
// so it goes unsaid.
func (l *Live) Show(s *Summary) {
	now := time.Now()
	first := l.shown.IsZero()
	since := now.Sub(l.shown)
	// A caller's ticker is never exact; a tenth too early is in time.
	if l.closed || !first && since < l.every-l.every/10 {
		return
	}
	rows := l.rows(s, first, since)
	l.shown = now

	var out strings.Builder
	if l.size != nil {
		// A block must be seen whole, with the cursor in the line below it:
		// of what has scrolled out at the top, nothing can be redrawn.
		columns, lines := l.size()
		block := liveBlock(s, rows, min(columns, plainWidth), max(1, lines-1))
		if l.lines > 0 {
			fmt.Fprintf(&out, cursorUp, l.lines)
		}
		out.WriteString(noWrap)
		for _, line := range block {
			out.WriteString(line + clearLine + "\n")
		}
		out.WriteString(clearRest + autoWrap)
		l.lines = len(block)
	} else {
		if !first {
			out.WriteString("\n")
		}
		for _, line := range liveBlock(s, rows, plainWidth, math.MaxInt) {
			out.WriteString(line + "\n")
		}
	}
	_, _ = io.WriteString(l.w, out.String()) // one write: no half a block is seen
}

// Interrupt leaves the last block where it is, so that something else can be
// written below it; the next block comes below that.
func (l *Live) Interrupt() { l.lines = 0 }

// Close leaves the last block where it is and an empty line below it. Show does
// nothing from then on, nor does a second Close.
func (l *Live) Close() {
	if !l.closed && !l.shown.IsZero() {
		_, _ = io.WriteString(l.w, "\n")
	}
	l.closed = true
}

// rows returns the load's operations with their rates since the last block, and
// remembers their counts for the next. Operations of the probe are left out:
// its routes say more.
func (l *Live) rows(s *Summary, first bool, since time.Duration) []operationRow {
	counts := make(map[operationKey]int64, len(s.Operations))
	rows := make([]operationRow, len(s.Operations))
	for i, o := range s.Operations {
		key := operationKey{o.Type, o.Name}
		counts[key] = o.Count
		rows[i] = operationRow{Operation: o, rate: math.NaN()}
		if !first {
			rows[i].rate = float64(o.Count-l.counts[key]) / since.Seconds()
		}
	}
	l.counts = counts
	load, _ := split(rows)
	return load
}

// liveBlock returns the lines of a block, at most so many. Operations give way
// first: their total stays.
func liveBlock(s *Summary, load []operationRow, width, limit int) []string {
	r := &s.Run
	head := fmt.Sprintf("elapsed %s | %s | users %d (peak %d) | workers %d | times in ms",
		elapsed(r.DurationS), plain(r.State), r.Users, r.UsersPeak, r.Workers)
	var rest []string
	if len(s.Delivery.Probe) > 0 {
		rest = append(rest, "")
		rest = append(rest, tabulate(routeFields(s.Delivery.Probe, false), s.Delivery.Probe, width)...)
	}
	if len(s.Accounts) > 0 {
		rest = append(rest, "")
		rest = append(rest, tabulate(liveAccountFields(s.Accounts), s.Accounts, width)...)
	}
	if g := &s.Generator; g.Trust != "" && g.Trust != TrustOK {
		rest = append(rest, "", shorten(generatorState(g), width))
	}

	lines := []string{shorten(head, width)}
	if len(load) > 0 {
		lines = append(lines, "")
		lines = append(lines, operationLines(load, width, limit-len(lines)-len(rest))...)
	}
	lines = append(lines, rest...)
	return lines[:min(limit, len(lines))]
}

// operationLines is the table of operations with their total, in at most limit
// lines if that leaves room for any.
func operationLines(load []operationRow, width, limit int) []string {
	rows := append(slices.Clone(load), totalRow(load))
	lines := tabulate(operationFields(rows, false), rows, width)
	if len(lines) <= limit {
		return lines
	}
	const around = 3 // the head, the line that speaks of the others, the total
	kept := max(0, limit-around)
	others := fmt.Sprintf("(and %s)", count(int64(len(load)-kept), "more operation"))
	return slices.Replace(lines, 1+kept, len(lines)-1, others)
}

// liveAccountFields are the columns for the accounts of a run that goes on.
func liveAccountFields(all []Account) []field[Account] {
	created := slices.ContainsFunc(all, func(a Account) bool { return a.Created > 0 })
	return []field[Account]{
		{head: "Role", kind: name, cell: func(a Account) string { return plain(a.Role) }},
		{head: "known", cell: func(a Account) string { return whole(a.Known) }},
		{head: "available", cell: func(a Account) string { return whole(a.Available) }},
		{head: "leased", cell: func(a Account) string { return whole(a.Leased) }},
		{head: "waiting", cell: func(a Account) string { return whole(a.Waiting) }},
		{head: "resting", cell: func(a Account) string { return whole(a.Resting) }},
		{head: "quarantined", cell: func(a Account) string { return whole(a.Quarantined) }},
		{head: "created", cell: func(a Account) string { return whole(a.Created) }, hide: !created},
		{head: "leases", cell: func(a Account) string { return whole(a.Leases) }},
		{head: "wait p99", cell: func(a Account) string { return measured(a.WaitP99MS, figure) }},
	}
}
