package probe

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScheduleComputesEachInstantFromItsNumber(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		rate  float64
		k, n  int
		i     int64
		after time.Duration // since the start
	}{
		{"first", 20, 0, 1, 0, 0},
		{"second", 20, 0, 1, 1, 50 * ms},
		{"second route begins half an interval later", 20, 1, 2, 0, 25 * ms},
		{"second route keeps the distance", 20, 1, 2, 4, 225 * ms},
		{"thirds do not add up an error", 3, 0, 1, 3_000_000, 1_000_000 * time.Second},
		{"once an hour", 1. / 3600, 0, 1, 2, 2 * time.Hour},
		{"beyond the end of time", 1. / 3600, 0, 1, math.MaxInt64, farthest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := 7 * time.Second
			if got := newSchedule(start, c.rate, c.k, c.n).at(c.i) - start; got != c.after {
				t.Errorf("message %d of route %d of %d at %v/s: %v after the start, want %v", c.i, c.k, c.n, c.rate, got, c.after)
			}
		})
	}
}

func TestScheduleFirstIsTheNextMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(
			time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "start")),
			rapid.Float64Range(1./3600, maxRate).Draw(t, "rate"),
			rapid.IntRange(0, 1).Draw(t, "k"), 2)
		now := time.Duration(rapid.Int64Range(-1e13, 1e15).Draw(t, "now"))
		i := s.first(now)
		if i < 0 || s.at(i) < now {
			t.Fatalf("first(%v) = %d, which is at %v", now, i, s.at(i))
		}
		if i > 0 && s.at(i-1) >= now {
			t.Fatalf("first(%v) = %d, but %d is at %v", now, i, i-1, s.at(i-1))
		}
		if s.at(i+1) <= s.at(i) {
			t.Fatalf("message %d at %v is not after message %d at %v", i+1, s.at(i+1), i, s.at(i))
		}
	})
}

func TestScheduleEnds(t *testing.T) {
	t.Parallel()
	s := newSchedule(time.Second, 10, 0, 1)
	if s.over(time.Hour) {
		t.Error("a schedule without an end is over")
	}
	s.end = 2 * time.Second
	if s.over(s.at(9)) || !s.over(s.at(10)) {
		t.Errorf("over at %v: %v, at %v: %v; want false and true", s.at(9), s.over(s.at(9)), s.at(10), s.over(s.at(10)))
	}
}
