package accounts

import (
	"maps"
	"math/bits"
	"slices"
	"time"
)

// WaitBuckets is how many buckets a Waits has.
const WaitBuckets = 22

// Waits counts how long accounts of a role were waited for, those included that
// did not come in time. Bucket 0 is less than a millisecond, bucket i from
// 2^(i-1) ms to less than 2^i ms, the last one also everything longer (17 min).
type Waits [WaitBuckets]int64

// bucketOf is the bucket of a wait.
func bucketOf(d time.Duration) int {
	return min(bits.Len64(uint64(max(d, 0).Milliseconds())), WaitBuckets-1)
}

// Upper is the bound below which the waits of a bucket are.
func (Waits) Upper(bucket int) time.Duration { return time.Millisecond << bucket }

// Count is the number of waits.
func (w Waits) Count() (n int64) {
	for _, c := range w {
		n += c
	}
	return n
}

// Quantile is a bound below which the share q, from 0 to 1, of the waits is; it
// is at most twice what they were. It is 0 when nothing was waited for.
func (w Waits) Quantile(q float64) time.Duration {
	left := q * float64(w.Count())
	for bucket, n := range w {
		if left -= float64(n); n > 0 && left <= 0 {
			return w.Upper(bucket)
		}
	}
	return 0
}

// note counts a wait for an account of the role. mu must be held.
func (h *Holder) note(role string, d time.Duration) {
	w := h.waits[role]
	if w == nil {
		w = new(Waits)
		h.waits[role] = w
	}
	w[bucketOf(d)]++
}

// takeWaits returns what is to be told of the waits: what could not be told
// before, or, now and then or when it must be now, everything since.
func (h *Holder) takeWaits(now time.Time, must bool) []waited {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.telling != nil || now.Before(h.tellAt) && !must {
		return h.telling
	}
	for _, role := range slices.Sorted(maps.Keys(h.waits)) {
		for bucket, n := range h.waits[role] {
			if n > 0 {
				h.telling = append(h.telling, waited{role: role, bucket: bucket, n: n})
			}
		}
	}
	clear(h.waits)
	h.tellAt = now.Add(h.pool.settings.renewal())
	return h.telling
}

// toldWaits is called when what takeWaits returned has been told.
func (h *Holder) toldWaits() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.telling = nil
}
