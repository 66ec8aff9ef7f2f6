package accounts

import (
	"testing"
	"time"
)

// The larger of two clocks counts: neither a machine that was suspended nor a
// wall clock that was set back prolongs trust.
func TestTermBelievesTheClockThatSaysMore(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		monotonic, wall time.Duration
		want            time.Duration
	}{
		{"just sent", 0, 0, 10 * time.Second},
		{"both agree", 4 * time.Second, 4 * time.Second, 6 * time.Second},
		{"suspended: the monotonic clock stood still", time.Second, 9 * time.Second, time.Second},
		{"set back: the wall clock ran backwards", 9 * time.Second, -time.Hour, time.Second},
		{"set forward: fenced early", time.Second, time.Hour, 10*time.Second - time.Hour},
		{"over", 10 * time.Second, 10 * time.Second, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := term{length: 10 * time.Second}.remaining(test.monotonic, test.wall)
			if got != test.want {
				t.Errorf("left: got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFenceWithoutTermTrustsNothing(t *testing.T) {
	t.Parallel()
	var f fence
	if left := f.left(); left > 0 {
		t.Errorf("left: got %v, want none", left)
	}
}

// The wall clock is really looked at: a term whose wall clock reading is old
// is over, however young its monotonic reading.
func TestFenceLooksAtTheWallClock(t *testing.T) {
	t.Parallel()
	var f fence
	f.renew(time.Now(), time.Minute)
	if f.left() <= 0 {
		t.Fatal("a new term is over")
	}
	// Without its monotonic reading, a Time is compared by the wall clock.
	f.renew(time.Now().Round(0).Add(-time.Hour), time.Minute)
	if f.left() > 0 {
		t.Fatal("a term of an hour ago is trusted")
	}
}

func TestTrustEndsBeforeExpiry(t *testing.T) {
	t.Parallel()
	tests := []struct{ ttl, trust, renewal, timeout, pass time.Duration }{
		{30 * time.Second, 26700 * time.Millisecond, 5 * time.Second, time.Second, 500 * time.Millisecond},
		{5 * time.Second, 4450 * time.Millisecond, 5 * time.Second / 6, 500 * time.Millisecond, 500 * time.Millisecond},
		{time.Second, 890 * time.Millisecond, time.Second / 6, 250 * time.Millisecond, 100 * time.Millisecond},
	}
	for _, test := range tests {
		s := Settings{LeaseTTL: test.ttl}
		if s.trust() != test.trust || s.renewal() != test.renewal || s.callTimeout() != test.timeout || s.pass() != test.pass {
			t.Errorf("TTL %v: got trust %v, renewal %v, timeout %v, pass %v; want %+v",
				test.ttl, s.trust(), s.renewal(), s.callTimeout(), s.pass(), test)
		}
	}
}
