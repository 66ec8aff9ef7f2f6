package hist

import (
	"iter"
	"math/bits"
	"time"
)

// All yields each bucket that is not empty, in ascending order: the duration it
// stands for (its upper bound, but never less than Min nor more than Max, as
// with Quantile) and its count.
func (h *Histogram) All() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		if h == nil || h.totals.count == 0 {
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
				_, upper := bucketBounds(k<<blockBits + i)
				if !yield(min(max(upper, h.totals.least), h.totals.greatest), n) {
					return
				}
			}
		}
	}
}

// Since returns what was recorded after h was as earlier, which must be an
// earlier state of h, is; a nil earlier is empty. Count, Sum and Mean are exact;
// Min and Max are known to a bucket's width unless they have changed since.
func (h *Histogram) Since(earlier *Histogram) *Histogram {
	d := new(Histogram)
	if h == nil {
		return d
	}
	d.Merge(h)
	if earlier == nil || earlier.totals.count == 0 {
		return d
	}
	first, last := earlier.span()
	for k := first; k <= last; k++ {
		from, into := earlier.blocks[k], d.blocks[k]
		if from == nil || into == nil {
			continue
		}
		for i, n := range from {
			into[i] -= n
		}
	}
	d.totals.count -= earlier.totals.count
	d.totals.sum = d.totals.sum.minus(earlier.totals.sum)
	d.totals.clamped -= earlier.totals.clamped
	d.totals.mirrored -= earlier.totals.mirrored
	if d.totals.count == 0 {
		d.totals = totals{}
		return d
	}
	d.narrow(earlier.totals)
	return d
}

// narrow brings least and greatest to the buckets that are left, unless they are
// new: a least below the earlier one was recorded since.
func (h *Histogram) narrow(earlier totals) {
	first, last := h.span()
	low, high := -1, -1
	for k := first; k <= last; k++ {
		if h.blocks[k] == nil {
			continue
		}
		for i, n := range h.blocks[k] {
			if n == 0 {
				continue
			}
			if low < 0 {
				low = k<<blockBits + i
			}
			high = k<<blockBits + i
		}
	}
	if h.totals.least == earlier.least {
		lower, _ := bucketBounds(low)
		h.totals.least = max(h.totals.least, lower)
	}
	if h.totals.greatest == earlier.greatest {
		_, upper := bucketBounds(high)
		h.totals.greatest = min(h.totals.greatest, upper)
	}
	h.totals.greatest = max(h.totals.greatest, h.totals.least)
}

// minus returns s - o, which must not be less than 0.
func (s nanoseconds) minus(o nanoseconds) nanoseconds {
	lo, borrow := bits.Sub64(s.lo, o.lo, 0)
	hi, _ := bits.Sub64(s.hi, o.hi, borrow)
	return nanoseconds{hi, lo}
}
