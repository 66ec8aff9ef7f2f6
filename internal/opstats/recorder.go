// Package opstats counts operations by type and name in one process: how many,
// how many failed or were cancelled, how long they took, and which errors
// there were. A Recorder counts, and hands over what has changed as Deltas,
// which whoever receives them merges.
//
// It knows nothing of users, scenarios and protocols, nor of how a Delta
// travels or who merges it.
package opstats

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxOperations is how many operations a process keeps apart, and other
	// the name, in an extremity also the type, of those beyond.
	maxOperations = 500
	other         = "(other)"
)

// Recorder counts operations. It keeps 500 of them apart, in the order in which
// they turn up; later ones are counted under the name "(other)" of their type,
// or if the type is new then, under the type and name "(other)". So a scenario
// that puts an identifier into its names costs neither memory nor the run.
//
// Recording a success takes no lock and, once the operation is known, allocates
// nothing; nothing is kept for each user. Failures of one operation share a
// lock.
//
// It is safe for concurrent use. NewRecorder is the only way to make one.
type Recorder struct {
	// known is replaced, never changed, so that finding a row is a look-up
	// in a map that stands still.
	known atomic.Pointer[table]

	// adding is held while known is being replaced.
	adding sync.Mutex
}

// operation is what tells rows apart.
type operation struct{ kind, name string }

// table is all rows, by operation and in order.
type table struct {
	rows   map[operation]*row
	sorted []*row
}

// NewRecorder returns a Recorder that knows no operation.
func NewRecorder() *Recorder {
	r := new(Recorder)
	r.known.Store(new(table))
	return r
}

// Record counts one operation of a type (kind) and name, the time it took and
// the bytes it moved. It is a success if err is nil, and cancelled if err wraps
// context.Canceled: then only that is counted. Any other error is a failure: it
// counts like a success and besides as a failure with its text.
func (r *Recorder) Record(kind, name string, took time.Duration, bytes int, err error) {
	w := r.row(operation{kind, name})
	switch {
	case err == nil:
		w.succeeded.RecordSized(took, int64(bytes))
	case errors.Is(err, context.Canceled):
		w.cancel()
	default:
		w.fail(took, bytes, errorText(err))
	}
}

// Take returns what was recorded since the last Take, ordered by type and name,
// without the operations of which nothing was. Each record is in exactly one
// Delta; one that is made meanwhile is in this Take or the next. The Deltas
// are the caller's.
func (r *Recorder) Take() []Delta {
	var deltas []Delta
	for _, w := range r.known.Load().sorted {
		if d := w.take(); d.Count > 0 || d.Cancelled > 0 {
			deltas = append(deltas, d)
		}
	}
	return deltas
}

// row returns the row that an operation is counted in.
func (r *Recorder) row(op operation) *row {
	t := r.known.Load()
	if w, ok := t.rows[op]; ok {
		return w
	}
	if w := t.overflow(op); w != nil {
		return w
	}
	return r.add(op)
}

// overflow returns the row of an unknown operation when there are too many
// already, or nil if it has to be added.
func (t *table) overflow(op operation) *row {
	if len(t.rows) < maxOperations {
		return nil
	}
	if w, ok := t.rows[operation{op.kind, other}]; ok {
		return w
	}
	return t.rows[operation{other, other}]
}

// add makes a row for op, or where there are too many, the rows that all others
// are counted in: one for each type there is, and one for types to come.
func (r *Recorder) add(op operation) *row {
	r.adding.Lock()
	defer r.adding.Unlock()
	t := r.known.Load()
	if w, ok := t.rows[op]; ok {
		return w
	}
	if w := t.overflow(op); w != nil {
		return w
	}
	grown := &table{rows: maps.Clone(t.rows)}
	if grown.rows == nil {
		grown.rows = make(map[operation]*row)
	}
	// The strings may be parts of larger ones.
	op = operation{strings.Clone(op.kind), strings.Clone(op.name)}
	grown.rows[op] = newRow(op)
	if len(grown.rows) == maxOperations {
		grown.addOverflow()
	}
	grown.sorted = slices.SortedFunc(maps.Values(grown.rows), func(a, b *row) int {
		return cmp.Or(strings.Compare(a.op.kind, b.op.kind), strings.Compare(a.op.name, b.op.name))
	})
	r.known.Store(grown)
	return grown.rows[op]
}

// addOverflow adds the rows for the operations that are not kept apart.
func (t *table) addOverflow() {
	ops := []operation{{other, other}}
	for op := range t.rows {
		ops = append(ops, operation{op.kind, other})
	}
	for _, op := range ops {
		if t.rows[op] == nil {
			t.rows[op] = newRow(op)
		}
	}
}
