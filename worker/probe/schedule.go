package probe

import (
	"math"
	"time"
)

// schedule is when the messages of a route are to be sent, in time since the
// route's origin. It never depends on what has been sent:
//
//	route 0   0         1         2         3      at(i) = start + i / rate
//	route 1        0         1         2           start later by interval / routes
//	          +----+----+----+----+----+----+----> time
//
// Each instant is computed from i, so that rounding does not add up.
type schedule struct {
	start time.Duration // of message 0
	rate  float64       // messages a second; above 0
	// end is when it ends by itself; 0 is never.
	end time.Duration
}

// farthest keeps very slow schedules within what a time.Duration can hold.
const farthest = 1 << 61

// newSchedule returns the schedule of route k of n: their messages never
// coincide.
func newSchedule(start time.Duration, rate float64, k, n int) schedule {
	offset := float64(k) / float64(n) / rate * float64(time.Second)
	return schedule{start: start + time.Duration(min(offset, farthest)), rate: rate}
}

// at is when message i, from 0, is to be sent.
func (s schedule) at(i int64) time.Duration {
	since := math.Round(float64(i) / s.rate * float64(time.Second))
	return s.start + time.Duration(min(since, farthest))
}

// over says whether nothing is to be sent at an instant of the schedule or
// after it.
func (s schedule) over(at time.Duration) bool { return s.end > 0 && at >= s.end }

// first is the first message that is to be sent at now or later.
func (s schedule) first(now time.Duration) int64 {
	if now <= s.start {
		return 0
	}
	i := int64((now - s.start).Seconds() * s.rate) // exact but for the rounding
	for i > 0 && s.at(i-1) >= now {
		i--
	}
	for s.at(i) < now {
		i++
	}
	return i
}
