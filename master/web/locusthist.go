package web

import "github.com/throng-load/throng/internal/hist"

// times is a distribution in Locust's buckets, ascending.
type times struct {
	count   int64
	buckets []timeBucket
}

type timeBucket struct{ ms, count int64 }

func newTimes(h *hist.Histogram) times {
	var t times
	for d, n := range h.All() {
		t.count += n
		ms := hist.LocustBucket(d)
		if last := len(t.buckets) - 1; last >= 0 && t.buckets[last].ms == ms {
			t.buckets[last].count += n
			continue
		}
		t.buckets = append(t.buckets, timeBucket{ms, n})
	}
	return t
}

// percentile is Locust's: from the largest bucket down, the first at which no
// more than the fraction p of all is left uncounted.
func (t times) percentile(p float64) int64 {
	limit, counted := int64(float64(t.count)*p), int64(0)
	for i := len(t.buckets) - 1; i >= 0; i-- {
		counted += t.buckets[i].count
		if t.count-counted <= limit {
			return t.buckets[i].ms
		}
	}
	return 0
}
