package hist

import (
	"math"
	"time"
)

// Milliseconds is a duration in milliseconds.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// LocustBucket is the bucket, in milliseconds, in which Locust counts a response time:
// it is rounded to 1 ms below 100 ms, to 10 below 1000, to 100 below 10,000 and to 1000
// above, exact halves to the even neighbour (seen on Locust 2.46).
func LocustBucket(d time.Duration) int64 {
	ms, step := Milliseconds(d), 1.0
	switch {
	case ms >= 10_000:
		step = 1000
	case ms >= 1000:
		step = 100
	case ms >= 100:
		step = 10
	}
	return int64(math.RoundToEven(ms/step) * step)
}
