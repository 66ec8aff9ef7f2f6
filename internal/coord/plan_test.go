package coord_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/coord"
)

func TestPlanUsers(t *testing.T) {
	t.Parallel()
	start := time.UnixMicro(1_700_000_000_000_000)
	plan := coord.Plan{Phase: coord.PhaseRunning, Points: coord.Ramp(start, 200, 50)}
	for _, tt := range []struct {
		phase coord.Phase
		after time.Duration
		want  int
	}{
		{coord.PhaseRunning, -time.Second, 0},
		{coord.PhaseRunning, 0, 0},
		{coord.PhaseRunning, 20 * time.Millisecond, 1},
		{coord.PhaseRunning, time.Second, 50},
		{coord.PhaseRunning, 4 * time.Second, 200},
		{coord.PhaseRunning, time.Hour, 200},
		{coord.PhaseDraining, time.Hour, 200},
		{coord.PhaseWaiting, time.Hour, 0},
		{coord.PhaseStopping, time.Hour, 0},
		{coord.PhaseEnded, time.Hour, 0},
	} {
		plan.Phase = tt.phase
		if got := plan.Users(start.Add(tt.after)); got != tt.want {
			t.Errorf("%s after %v: %d users, want %d", tt.phase, tt.after, got, tt.want)
		}
	}
}

// Without a master the users are gone in the end, wherever the plan was.
func TestPlanUntil(t *testing.T) {
	t.Parallel()
	start := time.UnixMicro(1_700_000_000_000_000)
	for _, tt := range []struct {
		until, at time.Duration
		want      int
	}{
		{10 * time.Second, 4 * time.Second, 200},
		{10 * time.Second, 10*time.Second - time.Microsecond, 200},
		{10 * time.Second, 10 * time.Second, 0},
		{10 * time.Second, time.Hour, 0},
		{2 * time.Second, time.Second, 50}, // in the middle of the ramp
		{2 * time.Second, 2*time.Second - time.Millisecond, 99},
		{2 * time.Second, 3 * time.Second, 0},
	} {
		plan := coord.Plan{Phase: coord.PhaseRunning, Points: coord.Ramp(start, 200, 50), Until: start.Add(tt.until).UnixMicro()}
		if got := plan.Users(start.Add(tt.at)); got != tt.want {
			t.Errorf("until %v: %d users after %v, want %d", tt.until, got, tt.at, tt.want)
		}
	}
}

// A turn changes nothing before it, jumps nowhere, and arrives at the rate that
// it was given.
func TestTurn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		users := rapid.IntRange(0, 5000)
		rate := rapid.Float64Range(0.5, 1000)
		start := time.UnixMicro(1_700_000_000_000_000)
		at := func(d time.Duration) time.Time { return start.Add(d) }
		points := coord.Ramp(start, users.Draw(t, "users"), rate.Draw(t, "rate"))
		from := time.Duration(0)
		for range rapid.IntRange(1, 5).Draw(t, "turns") {
			from += time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "after"))
			before := coord.Plan{Phase: coord.PhaseRunning, Points: points}
			target, r := users.Draw(t, "users"), rate.Draw(t, "rate")
			points = coord.Turn(points, at(from), target, r)
			after := coord.Plan{Phase: coord.PhaseRunning, Points: points, SpawnRate: r}
			for share := range 5 {
				d := from * time.Duration(share) / 5
				if got, want := after.Users(at(d)), before.Users(at(d)); got != want && d < from {
					t.Fatalf("%d users at %v, before the turn at %v, want %d as planned", got, d, from, want)
				}
			}
			then := before.Users(at(from))
			if got := after.Users(at(from)); got < then-1 || got > then+1 {
				t.Fatalf("%d users at the turn, want %d", got, then)
			}
			took := time.Duration(float64(max(target-then, then-target)+1)/r*1e9) + time.Millisecond
			if got := after.Users(at(from + took)); got != target {
				t.Fatalf("%d users %v after the turn from %d at %v a second, want %d", got, took, then, r, target)
			}
			if got := after.Rate(at(from + took/2)); got < r || got > r*1.001 {
				t.Fatalf("users may start at %v a second, want %v", got, r)
			}
		}
	})
}

// The shares of the workers add up to the users of the plan, at every moment
// and however the slots lie.
func TestSharesAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 9).Draw(t, "workers")
		sets := make([]*coord.SlotSet, workers)
		for i := range sets {
			sets[i] = new(coord.SlotSet)
		}
		owners := rapid.SliceOfN(rapid.IntRange(0, workers-1), 97, 97).Draw(t, "owners")
		for slot := range coord.Slots {
			sets[owners[slot%len(owners)]].Add(slot)
		}
		n := rapid.IntRange(0, 5*coord.Slots).Draw(t, "users")
		sum := 0
		for i, set := range sets {
			count := set.Count(n)
			sum += count
			if count == 0 {
				continue
			}
			last := set.Number(count - 1)
			if last >= n || !set.Has(last) {
				t.Fatalf("worker %d: its %d users of %d end with number %d", i, count, n, last)
			}
			if set.Number(count) < n {
				t.Fatalf("worker %d: number %d is below %d and was left out", i, set.Number(count), n)
			}
		}
		if sum != n {
			t.Fatalf("shares add up to %d, want %d", sum, n)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	clock := coord.NewClock()
	sent := time.Now()
	received := sent.Add(10 * time.Millisecond)
	server := time.UnixMicro(1_700_000_000_000_000)
	clock.Observe(sent, received, server)
	if got := clock.At(sent.Add(5 * time.Millisecond)); !got.Equal(server) {
		t.Errorf("in the middle of the round trip it is %v, want the server's %v", got, server)
	}
	if got := clock.Bound(); got != 5*time.Millisecond {
		t.Errorf("bound %v, want half the round trip, 5ms", got)
	}
	// A worse sample does not spoil the estimate.
	clock.Observe(sent, sent.Add(time.Second), server.Add(time.Second))
	if got := clock.Bound(); got != 5*time.Millisecond {
		t.Errorf("bound after a slow heartbeat %v, want still 5ms", got)
	}
}
