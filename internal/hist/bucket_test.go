package hist_test

import (
	"math/rand/v2"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/throng-load/throng/internal/hist"
)

// newHDR returns the library's histogram with our range and precision, in
// microseconds.
func newHDR() *hdr.Histogram { return hdr.New(1, time.Hour.Microseconds(), 3) }

// TestBuckets walks through all buckets up to one hour: they must follow each
// other without a gap, and have the library's bounds.
func TestBuckets(t *testing.T) {
	t.Parallel()
	lib := newHDR()
	if err := lib.RecordValue(time.Hour.Microseconds()); err != nil {
		t.Fatal(err)
	}
	next := time.Duration(0)
	bars := lib.Distribution() // ends with the bucket of one hour
	for i, bar := range bars {
		lower, upper := hist.BucketBounds(i)
		if lower != next || lower.Microseconds() != bar.From || upper.Microseconds() != bar.To {
			t.Fatalf("bucket %d: got [%v, %v], want it to begin at %v and to be [%d, %d] µs", i, lower, upper, next, bar.From, bar.To)
		}
		last := min(upper+time.Microsecond-1, time.Hour)
		if a, b := hist.BucketOf(lower), hist.BucketOf(last); a != i || b != i {
			t.Fatalf("bucket %d: got bucket %d for its first duration %v and %d for its last %v", i, a, lower, b, last)
		}
		next = upper + time.Microsecond
	}
	if next <= time.Hour {
		t.Errorf("%d buckets: got %v as the end, want one hour or more", len(bars), next)
	}
}

// TestBucketIndex compares the index itself, which the library shows only in
// its export.
func TestBucketIndex(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	lib := newHDR()
	ours := make([]int64, len(lib.Export().Counts))
	for range 200_000 {
		d := time.Duration(rnd.Int64N(int64(time.Hour)+1) >> rnd.IntN(42))
		if err := lib.RecordValue(d.Microseconds()); err != nil {
			t.Fatal(err)
		}
		ours[hist.BucketOf(d)]++
	}
	for i, want := range lib.Export().Counts {
		if ours[i] != want {
			t.Fatalf("bucket %d: got %d records, want %d", i, ours[i], want)
		}
	}
}
