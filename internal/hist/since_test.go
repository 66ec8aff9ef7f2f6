package hist_test

import (
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

func TestSinceIsWhatWasRecordedAfterwards(t *testing.T) {
	t.Parallel()
	h, earlier, later := new(hist.Histogram), new(hist.Histogram), new(hist.Histogram)
	for _, d := range []time.Duration{3 * time.Millisecond, 70 * time.Millisecond, 2 * time.Second} {
		h.Record(d)
		earlier.Record(d)
	}
	for _, d := range []time.Duration{40 * time.Millisecond, 41 * time.Millisecond, 900 * time.Millisecond} {
		h.Record(d)
		later.Record(d)
	}
	got := h.Since(earlier)
	if got.Count() != 3 || got.Sum() != later.Sum() || got.Mean() != later.Mean() {
		t.Errorf("Since: %d records of %v in all, want %d of %v", got.Count(), got.Sum(), later.Count(), later.Sum())
	}
	for _, q := range []float64{0, 0.5, 1} {
		if g, w := got.Quantile(q), later.Quantile(q); g < w-w/500 || g > w+w/500 {
			t.Errorf("quantile %v since: got %v, want about %v", q, g, w)
		}
	}
	if n := h.Since(h).Count(); n != 0 {
		t.Errorf("since itself: got %d records, want none", n)
	}
	if h.Count() != 6 || h.Max() != 2*time.Second {
		t.Errorf("Since changed its receiver: %d records up to %v", h.Count(), h.Max())
	}
}

func TestSinceKeepsNewExtremes(t *testing.T) {
	t.Parallel()
	h, earlier := new(hist.Histogram), new(hist.Histogram)
	h.Record(50 * time.Millisecond)
	earlier.Record(50 * time.Millisecond)
	h.Record(1234567 * time.Nanosecond)
	h.Record(7654321 * time.Microsecond)
	got := h.Since(earlier)
	if got.Min() != 1234567*time.Nanosecond || got.Max() != 7654321*time.Microsecond {
		t.Errorf("got %v to %v, want the exact new ones", got.Min(), got.Max())
	}
}

func TestAllYieldsEveryRecordOnce(t *testing.T) {
	t.Parallel()
	h := new(hist.Histogram)
	h.RecordN(12*time.Millisecond, 3)
	h.RecordN(4*time.Second, 2)
	var n int64
	last := time.Duration(-1)
	for d, count := range h.All() {
		if d <= last {
			t.Errorf("%v comes after %v", d, last)
		}
		last, n = d, n+count
	}
	if n != 5 || last != 4*time.Second {
		t.Errorf("got %d records up to %v, want 5 up to 4s", n, last)
	}
	for range (*hist.Histogram)(nil).All() {
		t.Error("nil is not empty")
	}
}
