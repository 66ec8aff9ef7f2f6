package hist_test

import (
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

func TestBucketsYieldWhatWasRecorded(t *testing.T) {
	t.Parallel()
	var h hist.Histogram
	for range h.Buckets() {
		t.Fatal("an empty histogram has a bucket")
	}
	h.RecordN(0, 2)
	h.RecordN(1500*time.Microsecond, 3)
	h.Record(2 * time.Minute)
	total, last := int64(0), time.Duration(-1)
	var got []time.Duration
	for d, n := range h.Buckets() {
		if d <= last {
			t.Errorf("%v after %v", d, last)
		}
		last = d
		total += n
		got = append(got, d)
	}
	if total != 6 || len(got) != 3 || got[0] != 0 || (got[1]-1500*time.Microsecond).Abs() > 2*time.Microsecond || got[2] != 2*time.Minute {
		t.Errorf("%d records at %v", total, got)
	}
}
