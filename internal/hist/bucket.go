package hist

import (
	"math/bits"
	"time"
)

const (
	// highest is the longest duration that is recorded as it is.
	highest = time.Hour

	// blockLen is the number of buckets in a block. Blocks are what memory is
	// allocated in and what a drain skips: beyond the second one, each covers
	// one doubling of the duration.
	blockBits = 10
	blockLen  = 1 << blockBits

	// blockCount is the number of blocks up to highest.
	blockCount = 23
)

// bucketOf returns the index of the bucket of a duration in [0, highest].
func bucketOf(d time.Duration) int {
	us := uint64(d / time.Microsecond)
	// The bits beyond the first eleven are what the bucket cannot tell apart.
	shift := bits.Len64(us|(2*blockLen-1)) - (blockBits + 1)
	return shift<<blockBits + int(us>>shift)
}

// bucketBounds returns the least and the greatest whole number of microseconds
// that fall into bucket i.
func bucketBounds(i int) (lower, upper time.Duration) {
	shift := max(i>>blockBits-1, 0)
	us := int64(i-shift<<blockBits) << shift
	return time.Duration(us) * time.Microsecond, time.Duration(us+1<<shift-1) * time.Microsecond
}

// clip brings d into [0, highest] and says what it had to do.
func clip(d time.Duration) (clipped time.Duration, clamped, mirrored bool) {
	if d < 0 {
		mirrored = true
		d = -d // stays negative for the least int64
	}
	if d < 0 || d > highest {
		return highest, true, mirrored
	}
	return d, false, mirrored
}
