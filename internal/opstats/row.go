package opstats

import (
	"sync"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

// row counts one operation. What is frequent, success, goes to a recorder
// without a lock; what is not, to plain figures under one.
type row struct {
	op        operation
	succeeded *hist.Recorder

	// mu guards the figures below, which take empties all at once: so a
	// Delta's failures, their durations and their texts are the same ones.
	mu        sync.Mutex
	failed    hist.Histogram
	bytes     int64 // of failures
	cancelled int64
	errors    map[string]int64
}

func newRow(op operation) *row {
	return &row{op: op, succeeded: hist.NewRecorder()}
}

// fail counts one failure.
func (w *row) fail(took time.Duration, bytes int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed.Record(took)
	w.bytes += int64(bytes)
	w.errors = countError(w.errors, text, 1)
}

// cancel counts one cancelled operation.
func (w *row) cancel() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancelled++
}

// take returns everything counted since the last take.
func (w *row) take() Delta {
	took := new(hist.Histogram)
	d := Delta{Type: w.op.kind, Name: w.op.name}
	d.Bytes = w.succeeded.Take(took)

	w.mu.Lock()
	defer w.mu.Unlock()
	took.Merge(&w.failed)
	d.Failures = w.failed.Count()
	d.Cancelled = w.cancelled
	d.Bytes += w.bytes
	d.Errors = w.errors
	w.failed.Reset()
	w.cancelled, w.bytes, w.errors = 0, 0, nil

	if d.Count = took.Count(); d.Count > 0 {
		d.Took = took
	}
	return d
}
