package hist

import "time"

// Histogram is a distribution of durations. The zero value is empty and ready.
// It holds up to 2^63-1 records, in 8 KB for each doubling of the duration
// that it has met (188 KB if it has met all), allocated when first met and
// kept by Reset. It is not safe for concurrent use, and must not be copied
// once it has been used.
type Histogram struct {
	totals totals
	// Buckets outside of [bucketOf(least), bucketOf(greatest)] are zero.
	blocks [blockCount]*[blockLen]int64
	// packed is what was decoded, in place of blocks: see UnmarshalBinary.
	packed pairs
}

// Record adds one duration.
func (h *Histogram) Record(d time.Duration) { h.RecordN(d, 1) }

// RecordN adds the same duration n times. An n below 1 adds nothing.
func (h *Histogram) RecordN(d time.Duration, n int64) {
	if n < 1 {
		return
	}
	h.unpack()
	d, clamped, mirrored := clip(d)
	h.totals.merge(totalsOf(d, n, clamped, mirrored))
	h.add(bucketOf(d), n)
}

// add counts n in bucket i and leaves the totals to the caller, who has called
// unpack.
func (h *Histogram) add(i int, n int64) {
	b := h.blocks[i>>blockBits]
	if b == nil {
		b = new([blockLen]int64)
		h.blocks[i>>blockBits] = b
	}
	b[i%blockLen] += n
}

// Merge adds everything in o, which stays as it is. A nil o is empty.
func (h *Histogram) Merge(o *Histogram) {
	if o == nil || o.totals.count == 0 {
		return
	}
	h.unpack()
	if o.packed != nil {
		h.addPairs(o.packed)
		h.totals.merge(o.totals)
		return
	}
	first, last := o.span()
	for k := first; k <= last; k++ {
		from := o.blocks[k]
		if from == nil {
			continue
		}
		if h.blocks[k] == nil {
			h.blocks[k] = new([blockLen]int64)
		}
		into := h.blocks[k]
		for i, n := range from {
			into[i] += n
		}
	}
	h.totals.merge(o.totals)
}

// Reset empties the histogram and keeps its memory.
func (h *Histogram) Reset() {
	if h.totals.count == 0 {
		return
	}
	first, last := h.span()
	for k := first; k <= last; k++ {
		if b := h.blocks[k]; b != nil {
			clear(b[:])
		}
	}
	h.totals, h.packed = totals{}, nil
}

// span returns the first and the last block that can hold a count. The
// histogram must not be empty.
func (h *Histogram) span() (first, last int) {
	return bucketOf(h.totals.least) >> blockBits, bucketOf(h.totals.greatest) >> blockBits
}

// Count returns the number of records.
func (h *Histogram) Count() int64 { return h.totals.count }

// Sum returns the sum of all records, or the longest time.Duration (292 years)
// if it is longer. Mean does not suffer from that limit.
func (h *Histogram) Sum() time.Duration { return h.totals.sum.duration() }

// Min returns the least record, 0 when empty.
func (h *Histogram) Min() time.Duration { return h.totals.least }

// Max returns the greatest record, 0 when empty.
func (h *Histogram) Max() time.Duration { return h.totals.greatest }

// Mean returns the mean of all records rounded down to a nanosecond, 0 when
// empty.
func (h *Histogram) Mean() time.Duration {
	if h.totals.count == 0 {
		return 0
	}
	return h.totals.sum.over(h.totals.count)
}

// Clamped returns how many records were longer than 1 h and count as 1 h.
func (h *Histogram) Clamped() int64 { return h.totals.clamped }

// Mirrored returns how many records were negative and count as their absolute
// value.
func (h *Histogram) Mirrored() int64 { return h.totals.mirrored }

// Quantile returns the duration below or at which the fraction q of all
// records lies: the upper bound of its bucket in whole microseconds, but never
// less than Min nor more than Max. It is 0 when empty, Min for a q of 0 or
// less, Max for a q of 1 or more.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.totals.count == 0 || !(q > 0) {
		return h.totals.least
	}
	rank := rankOf(q, h.totals.count)
	if rank >= h.totals.count {
		return h.totals.greatest
	}
	bucket := 0
	if h.packed != nil {
		bucket = h.packed.find(rank)
	} else {
		bucket = h.find(rank)
	}
	_, upper := bucketBounds(bucket)
	return min(max(upper, h.totals.least), h.totals.greatest)
}

// find returns the bucket of a record, counted from 1 in ascending order, which
// must be one of those that the histogram has, in its blocks.
func (h *Histogram) find(rank int64) int {
	first, last := h.span()
	for k := first; k <= last; k++ {
		if h.blocks[k] == nil {
			continue
		}
		for i, n := range h.blocks[k] {
			if rank -= n; rank <= 0 {
				return k<<blockBits + i
			}
		}
	}
	return bucketOf(h.totals.greatest) // not reached: the buckets add up to the count
}

// rankOf returns which record, counted from 1 in ascending order, is the
// quantile q. It rounds as HdrHistogram does, by way of the percentile, so
// that both agree on every tie.
func rankOf(q float64, count int64) int64 {
	rank := q*100/100*float64(count) + 0.5
	if rank >= float64(count) {
		return count
	}
	return max(int64(rank), 1)
}
