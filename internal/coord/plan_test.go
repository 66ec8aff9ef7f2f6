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

func TestDrop(t *testing.T) {
	t.Parallel()
	start := time.UnixMicro(1_700_000_000_000_000)
	for _, tt := range []struct {
		end, at time.Duration
		want    int
	}{
		{10 * time.Second, 4 * time.Second, 200},
		{10 * time.Second, 10*time.Second - time.Microsecond, 200},
		{10 * time.Second, 10 * time.Second, 0},
		{10 * time.Second, time.Hour, 0},
		{2 * time.Second, time.Second, 50}, // in the middle of the ramp
		{2 * time.Second, 2*time.Second - time.Millisecond, 99},
		{2 * time.Second, 3 * time.Second, 0},
	} {
		plan := coord.Plan{Phase: coord.PhaseRunning, Points: coord.Drop(coord.Ramp(start, 200, 50), start.Add(tt.end))}
		if got := plan.Users(start.Add(tt.at)); got != tt.want {
			t.Errorf("dropped after %v: %d users after %v, want %d", tt.end, got, tt.at, tt.want)
		}
	}
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
