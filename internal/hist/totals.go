package hist

import (
	"math"
	"math/bits"
	"time"
)

// totals are the figures of a histogram that are kept beside its buckets.
type totals struct {
	count    int64
	sum      nanoseconds
	least    time.Duration // meaningless without a count
	greatest time.Duration
	clamped  int64
	mirrored int64
}

// totalsOf returns the totals of n records of the clipped duration d.
func totalsOf(d time.Duration, n int64, clamped, mirrored bool) totals {
	t := totals{count: n, least: d, greatest: d}
	t.sum.hi, t.sum.lo = bits.Mul64(uint64(d), uint64(n))
	if clamped {
		t.clamped = n
	}
	if mirrored {
		t.mirrored = n
	}
	return t
}

// merge adds o to t.
func (t *totals) merge(o totals) {
	if o.count == 0 {
		return
	}
	if t.count == 0 {
		*t = o
		return
	}
	t.count += o.count
	t.sum = t.sum.plus(o.sum)
	t.least = min(t.least, o.least)
	t.greatest = max(t.greatest, o.greatest)
	t.clamped += o.clamped
	t.mirrored += o.mirrored
}

// nanoseconds is a sum of durations in 128 bits: 64 are used up in 292 years,
// which 100,000 users waiting in long polls spend together in a day.
type nanoseconds struct{ hi, lo uint64 }

// plus returns s + o.
func (s nanoseconds) plus(o nanoseconds) nanoseconds {
	lo, carry := bits.Add64(s.lo, o.lo, 0)
	hi, _ := bits.Add64(s.hi, o.hi, carry)
	return nanoseconds{hi, lo}
}

// less says whether s < o.
func (s nanoseconds) less(o nanoseconds) bool {
	return s.hi < o.hi || s.hi == o.hi && s.lo < o.lo
}

// over returns s / n rounded down. The quotient must be a duration, as that of
// a sum and its count is.
func (s nanoseconds) over(n int64) time.Duration {
	quotient, _ := bits.Div64(s.hi, s.lo, uint64(n))
	return time.Duration(quotient)
}

// duration returns s, or the longest duration if s is longer.
func (s nanoseconds) duration() time.Duration {
	if s.hi > 0 || s.lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(s.lo)
}
