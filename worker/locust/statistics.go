package locust

import (
	"strings"
	"time"

	"github.com/myzhan/boomer"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

// add joins what happened to an operation to what is waiting.
func add(pending []opstats.Delta, op opstats.Delta) []opstats.Delta {
	if op.Count == 0 {
		return pending // cancelled ones are no requests to Locust
	}
	for i := range pending {
		if p := &pending[i]; p.Type == op.Type && p.Name == op.Name {
			p.Merge(op)
			return pending
		}
	}
	fresh := opstats.Delta{Type: op.Type, Name: op.Name}
	fresh.Merge(op)
	return append(pending, fresh)
}

// statistics is the content of a worker's report to a Locust master.
func statistics(operations []opstats.Delta, users map[string]int, now time.Time) map[string]any {
	var total opstats.Delta
	entries := make([]any, 0, len(operations))
	failures := make(map[string]any)
	for _, op := range operations {
		entries = append(entries, entry(op, now))
		for text, n := range op.Errors {
			failures[boomer.MD5(op.Type, op.Name, text)] = map[string]any{
				"method": valid(op.Type), "name": valid(op.Name), "error": valid(text), "occurrences": n,
			}
		}
		op.Errors = nil // what there is of each is said
		total.Merge(op)
	}
	total.Name = "Aggregated"
	count := 0
	for _, n := range users {
		count += n
	}
	return map[string]any{
		"stats": entries, "stats_total": entry(total, now), "errors": failures,
		"user_classes_count": users, "user_count": count,
	}
}

// entry is one row. Times are in milliseconds.
func entry(op opstats.Delta, now time.Time) map[string]any {
	second := now.Unix()
	took := op.Took
	if took == nil {
		took = new(hist.Histogram)
	}
	times := make(map[int64]int64)
	for d, n := range took.All() {
		times[hist.LocustBucket(d)] += n
	}
	row := map[string]any{
		"method": valid(op.Type), "name": valid(op.Name),
		"start_time": float64(now.UnixNano()) / 1e9, "last_request_timestamp": float64(now.UnixNano()) / 1e9,
		"num_requests": op.Count, "num_failures": op.Failures,
		// A message that was lost has no time.
		"num_none_requests":   op.Count - took.Count(),
		"total_response_time": hist.Milliseconds(took.Sum()), "max_response_time": hist.Milliseconds(took.Max()),
		"min_response_time": nil, "response_times": times, "total_content_length": op.Bytes,
		"num_reqs_per_sec": map[int64]int64{second: op.Count}, "num_fail_per_sec": map[int64]int64{},
	}
	if took.Count() > 0 {
		row["min_response_time"] = hist.Milliseconds(took.Min())
	}
	if op.Failures > 0 {
		row["num_fail_per_sec"] = map[int64]int64{second: op.Failures}
	}
	return row
}

// valid is a text that Locust can decode.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
