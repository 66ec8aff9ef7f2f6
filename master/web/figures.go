package web

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

// What Locust lists at most.
const (
	maxRows   = 500
	maxErrors = 500
)

// aggregated is the name of the row that sums the others up.
const aggregated = "Aggregated"

// row is one row of /stats/requests.
type row struct {
	Method           string  `json:"method"`
	Name             string  `json:"name"`
	NumRequests      int64   `json:"num_requests"`
	NumFailures      int64   `json:"num_failures"`
	MinResponseTime  int64   `json:"min_response_time"`
	MaxResponseTime  int64   `json:"max_response_time"`
	AvgResponseTime  float64 `json:"avg_response_time"`
	Median           int64   `json:"median_response_time"`
	P95              int64   `json:"response_time_percentile_0.95"`
	P99              int64   `json:"response_time_percentile_0.99"`
	CurrentRPS       float64 `json:"current_rps"`
	CurrentFailRate  float64 `json:"current_fail_per_sec"`
	TotalRPS         float64 `json:"total_rps"`
	TotalFailRate    float64 `json:"total_fail_per_sec"`
	AvgContentLength float64 `json:"avg_content_length"`

	times times
}

// errorRow is one entry of errors.
type errorRow struct {
	Method      string   `json:"method"`
	Name        string   `json:"name"`
	Error       string   `json:"error"`
	Occurrences int64    `json:"occurrences"`
	FirstSeen   *float64 `json:"first_seen"`
	LastSeen    *float64 `json:"last_seen"`
}

// workerRow is one entry of workers.
type workerRow struct {
	ID          string      `json:"id"`
	State       MemberState `json:"state"`
	UserCount   int         `json:"user_count"`
	CPUUsage    float64     `json:"cpu_usage"` // percent
	MemoryUsage int64       `json:"memory_usage"`
}

// percentiles are the current ones; nil before any sample.
type percentiles struct {
	P50 *int64 `json:"response_time_percentile_0.5"`
	P95 *int64 `json:"response_time_percentile_0.95"`
}

// requests is the answer of /stats/requests.
type requests struct {
	State           State       `json:"state"`
	UserCount       int         `json:"user_count"`
	Stats           []row       `json:"stats"`
	Errors          []errorRow  `json:"errors"`
	CurrentRPS      float64     `json:"current_rps"`
	CurrentFailRate float64     `json:"current_fail_per_sec"`
	TotalRPS        float64     `json:"total_rps"`
	TotalFailRate   float64     `json:"total_fail_per_sec"`
	FailRatio       float64     `json:"fail_ratio"`
	Current         percentiles `json:"current_response_time_percentiles"`
	Workers         []workerRow `json:"workers"`
	WorkerCount     int         `json:"worker_count"`
}

// figures is everything that is computed from one view. It does not change.
type figures struct {
	view *View
	requests
	rows   []row // all of them, Aggregated last
	errors []errorRow
	// body is the answer of /stats/requests.
	body []byte
}

// total is the row Aggregated.
func (f *figures) total() row { return f.rows[len(f.rows)-1] }

// key names an operation.
type key struct{ kind, name string }

// tally computes figures from one view after the other. It belongs to whoever
// holds Server.mu.
type tally struct {
	run    string
	window window
	since  time.Time // of the last reset of the run
	// base is what was counted until then.
	base map[key]*opstats.Delta
	// rows are the operations that there were in the run: a reset zeroes their
	// rows and keeps them.
	rows   map[key]bool
	errors map[errorKey]*seen
	// workers are those that were heard of in the last minute.
	workers map[string]heard
	// last is the newest total and since when it has been that: the time of the
	// last request.
	last   int64
	lastAt time.Time
}

type errorKey struct {
	key
	text string
}

// seen is when an error was counted first and last, to a view's exactness.
type seen struct {
	count       int64
	first, last time.Time
}

// reset leaves out from now on what a view has counted.
func (t *tally) reset(view *View) {
	*t = tally{run: t.run, rows: t.rows, workers: t.workers, base: make(map[key]*opstats.Delta)}
	if view == nil {
		return
	}
	t.since = view.Now
	for _, op := range view.Operations {
		t.base[key{op.Type, op.Name}] = op
	}
}

// missingFor is how long a worker that is not heard of any more is listed.
const missingFor = time.Minute

// heard is a worker as it was last heard of, and when.
type heard struct {
	worker Member
	at     time.Time
}

// roll lists the workers, those too that went missing lately, and says how many
// are there.
func (t *tally) roll(view *View) (rows []workerRow, present int) {
	rows = []workerRow{}
	if view == nil {
		return rows, 0
	}
	if t.workers == nil {
		t.workers = make(map[string]heard)
	}
	for _, m := range view.Members {
		if m.Worker && m.State != MemberMissing {
			present++
			t.workers[m.ID] = heard{m, view.Now}
		}
	}
	for id, h := range t.workers {
		if silent := view.Now.Sub(h.at); silent > missingFor {
			delete(t.workers, id)
			continue
		} else if silent > 0 {
			h.worker.State, h.worker.Users, h.worker.CPU = MemberMissing, 0, 0
		}
		w := h.worker
		rows = append(rows, workerRow{ID: w.Name, State: w.State, UserCount: w.Users,
			CPUUsage: math.Round(w.CPU*1000) / 10, MemoryUsage: w.Memory})
	}
	slices.SortFunc(rows, func(a, b workerRow) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.State, b.State)) })
	return rows, present
}

// take computes the figures of a view.
func (t *tally) take(view *View, state State) *figures {
	if run := view.runID(); run != t.run {
		*t = tally{run: run, workers: t.workers}
	}
	f := &figures{view: view}
	f.State = state
	f.Workers, f.WorkerCount = t.roll(view)
	f.Errors, f.errors = []errorRow{}, []errorRow{}
	if view == nil || view.Summary == nil {
		f.rows = []row{{Name: aggregated}}
		f.finish()
		return f
	}
	f.UserCount = view.Summary.Run.Users

	sum := opstats.Delta{Name: aggregated, Took: new(hist.Histogram)}
	ops := t.operations(view)
	slices.SortFunc(ops, func(a, b *opstats.Delta) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	now := sample{at: view.Now, counts: make(map[key]counts)}
	for _, op := range ops {
		k := key{op.Type, op.Name}
		now.counts[k] = counts{op.Count, op.Failures}
		f.rows = append(f.rows, newRow(op))
		for text, n := range op.Errors {
			f.errors = append(f.errors, t.error(errorKey{k, text}, n, view.Now))
		}
		plain := *op
		plain.Errors = nil // they would be merged for nothing
		sum.Merge(plain)
	}
	now.counts[key{name: aggregated}] = counts{sum.Count, sum.Failures}
	now.took = sum.Took
	f.rows = append(f.rows, newRow(&sum))
	if sum.Count != t.last || t.lastAt.IsZero() {
		t.last, t.lastAt = sum.Count, view.Now
	}
	started := view.Summary.Run.StartedAt
	if t.since.After(started) {
		started = t.since
	}
	t.window.add(now, state != StateStopped)
	f.rates(&t.window, t.lastAt.Sub(started).Seconds())
	slices.SortFunc(f.errors, func(a, b errorRow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Method, b.Method), cmp.Compare(b.Occurrences, a.Occurrences), cmp.Compare(a.Error, b.Error))
	})
	f.finish()
	return f
}

// error is the row of an error that was counted n times so far.
func (t *tally) error(k errorKey, n int64, now time.Time) errorRow {
	if t.errors == nil {
		t.errors = make(map[errorKey]*seen)
	}
	s := t.errors[k]
	if s == nil {
		s = &seen{first: now}
		t.errors[k] = s
	}
	if s.count != n {
		s.count, s.last = n, now
	}
	first, last := unix(s.first), unix(s.last)
	return errorRow{Method: k.kind, Name: k.name, Error: k.text, Occurrences: n, FirstSeen: &first, LastSeen: &last}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// rates fills in what is per second. The run has lasted for so many seconds, up
// to its last request.
func (f *figures) rates(w *window, seconds float64) {
	for i := range f.rows {
		r := &f.rows[i]
		r.CurrentRPS, r.CurrentFailRate = w.rate(key{r.Method, r.Name})
		if seconds > 0 {
			r.TotalRPS, r.TotalFailRate = float64(r.NumRequests)/seconds, float64(r.NumFailures)/seconds
		}
	}
	if recent := newTimes(w.recent()); recent.count > 0 {
		p50, p95 := recent.percentile(0.5), recent.percentile(0.95)
		f.Current = percentiles{&p50, &p95}
	}
}

// finish fills in what follows from the rest.
func (f *figures) finish() {
	total := f.total()
	f.CurrentRPS, f.CurrentFailRate = total.CurrentRPS, total.CurrentFailRate
	f.TotalRPS, f.TotalFailRate = total.TotalRPS, total.TotalFailRate
	if total.NumRequests > 0 {
		f.FailRatio = float64(total.NumFailures) / float64(total.NumRequests)
	}
	f.Stats, f.Errors = f.rows, f.errors
	if len(f.rows) > maxRows+1 {
		f.Stats = append(slices.Clone(f.rows[:maxRows]), total)
	}
	if len(f.errors) > maxErrors {
		f.Errors = f.errors[:maxErrors]
	}
	f.body = encode(f.requests)
}

// encode is the JSON of a value that has one.
func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type without a JSON form, or not a number
	}
	return append(body, '\n')
}

// operations are the view's without what was counted until the last reset. Rows that
// were there stay.
func (t *tally) operations(view *View) []*opstats.Delta {
	if t.rows == nil {
		t.rows = make(map[key]bool)
	}
	ops, there := slices.Clone(view.Operations), make(map[key]bool)
	for i, op := range ops {
		k := key{op.Type, op.Name}
		t.rows[k], there[k] = true, true
		// A master that took over may have less for a moment.
		if base := t.base[k]; base != nil && op.Count >= base.Count {
			ops[i] = op.Since(base)
		}
	}
	for k := range t.rows {
		if !there[k] {
			ops = append(ops, &opstats.Delta{Type: k.kind, Name: k.name})
		}
	}
	return ops
}

// newRow is an operation's row without what is per second.
func newRow(d *opstats.Delta) row {
	r := row{Method: d.Type, Name: d.Name, NumRequests: d.Count, NumFailures: d.Failures, times: newTimes(d.Took)}
	if d.Count == 0 || d.Took == nil {
		return r
	}
	least, greatest := hist.Milliseconds(d.Took.Min()), hist.Milliseconds(d.Took.Max())
	r.MinResponseTime, r.MaxResponseTime = int64(math.RoundToEven(least)), int64(math.RoundToEven(greatest))
	r.AvgResponseTime = hist.Milliseconds(d.Took.Mean())
	r.Median = min(max(r.times.percentile(0.5), r.MinResponseTime), r.MaxResponseTime)
	r.P95, r.P99 = r.times.percentile(0.95), r.times.percentile(0.99)
	r.AvgContentLength = float64(d.Bytes) / float64(d.Count)
	return r
}
