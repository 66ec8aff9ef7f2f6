package opstats_test

import (
	"maps"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
)

func TestSince(t *testing.T) {
	t.Parallel()
	took := func(durations ...time.Duration) *hist.Histogram {
		h := new(hist.Histogram)
		for _, d := range durations {
			h.Record(d)
		}
		return h
	}
	first := opstats.Delta{Count: 3, Failures: 2, Cancelled: 1, Bytes: 30, Took: took(1, 2, 3), Errors: map[string]int64{"503": 1, "reset": 1}}
	second := opstats.Delta{Count: 2, Failures: 1, Bytes: 5, Took: took(time.Second, time.Minute), Errors: map[string]int64{"503": 1}}
	earlier, now := opstats.Delta{Type: "PUBLISH", Name: "x"}, opstats.Delta{Type: "PUBLISH", Name: "x"}
	earlier.Merge(first)
	now.Merge(first)
	now.Merge(second)

	got := now.Since(&earlier)
	if got.Type != "PUBLISH" || got.Name != "x" || got.Count != 2 || got.Failures != 1 || got.Cancelled != 0 || got.Bytes != 5 || !maps.Equal(got.Errors, second.Errors) {
		t.Errorf("got %+v, want what came second", got)
	}
	if got.Took.Count() != 2 || got.Took.Sum() != second.Took.Sum() {
		t.Errorf("%d durations of %v, want the two that came second", got.Took.Count(), got.Took.Sum())
	}
	if nothing := now.Since(&now); nothing.Count != 0 || nothing.Took.Count() != 0 || nothing.Errors != nil {
		t.Errorf("since now: %+v", nothing)
	}
	if now.Since(nil).Count != 5 {
		t.Error("since nothing is not everything")
	}
}
