package web

import (
	"math"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

// millis is a duration in milliseconds.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// bucketed rounds a response time to a bucket of Locust's histogram, in whole
// milliseconds: to 1 ms below 100, to 10 below 1000, to 100 below 10000, to
// 1000 above. Exact halves go to the even neighbour.
func bucketed(d time.Duration) int64 {
	ms, step := millis(d), 1.
	switch {
	case ms >= 10000:
		step = 1000
	case ms >= 1000:
		step = 100
	case ms >= 100:
		step = 10
	}
	return int64(math.RoundToEven(ms/step) * step)
}

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
		ms := bucketed(d)
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
