package hist

import (
	"iter"
	"time"
)

// Buckets yields a duration and how many records are near it, in ascending
// order, within the precision of the histogram and never beyond Min and Max. The
// histogram must not change meanwhile.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		if h.totals.count == 0 {
			return
		}
		first, last := h.span()
		for k := first; k <= last; k++ {
			if h.blocks[k] == nil {
				continue
			}
			for i, n := range h.blocks[k] {
				if n == 0 {
					continue
				}
				lower, upper := bucketBounds(k<<blockBits + i)
				if d := min(max((lower+upper)/2, h.totals.least), h.totals.greatest); !yield(d, n) {
					return
				}
			}
		}
	}
}
