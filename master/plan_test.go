package master

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios"
)

// drawStages draws stages that a file may have.
func drawStages(t *rapid.T) []scenarios.Stage {
	users := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 30_000))
	var stages []scenarios.Stage
	before := 0
	for range rapid.IntRange(1, 6).Draw(t, "stages") {
		stage := scenarios.Stage{
			For:   scenarios.Duration(rapid.Int64Range(0, 120_000).Draw(t, "for, ms") * int64(time.Millisecond)),
			Users: users.Draw(t, "users"),
		}
		change := max(stage.Users-before, before-stage.Users)
		if least := float64(change) / time.Duration(stage.For).Seconds(); stage.For > 0 && rapid.Bool().Draw(t, "at a rate") {
			stage.SpawnRate = max(least, 1e-3) * rapid.Float64Range(1.0001, 50).Draw(t, "rate")
		}
		stages = append(stages, stage)
		before = stage.Users
	}
	return stages
}

// naive is the value of stages at a time since their start, exactly: step after
// step as they are written.
func naive(stages []scenarios.Stage, at time.Duration) *big.Rat {
	users := new(big.Rat)
	seconds := func(d time.Duration) *big.Rat { return big.NewRat(int64(d), int64(time.Second)) }
	if at < 0 {
		return users
	}
	for _, stage := range stages {
		to := big.NewRat(int64(stage.Users), 1)
		length := seconds(time.Duration(stage.For))
		ramp := length
		if stage.SpawnRate > 0 {
			change := new(big.Rat).Abs(new(big.Rat).Sub(to, users))
			ramp = change.Quo(change, new(big.Rat).SetFloat64(stage.SpawnRate))
		}
		gone := seconds(at)
		switch {
		case at >= time.Duration(stage.For): // it is over
		case gone.Cmp(ramp) >= 0:
			return to // on its plateau
		default:
			part := gone.Quo(gone, ramp)
			return users.Add(users, part.Mul(part, to.Sub(to, users)))
		}
		at -= time.Duration(stage.For)
		users = to
	}
	return users
}

// floor is the largest whole number that is not above r.
func floor(r *big.Rat) int { return int(new(big.Int).Div(r.Num(), r.Denom()).Int64()) }

// At every moment there are as many users as the stages say, to the microsecond
// to which times are written down.
func TestStagesAreFollowedExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stages := drawStages(t)
		load := scenarios.LoadSpec{Stages: stages, SpawnRate: 10}
		start := time.UnixMilli(1_700_000_000_123)
		plan := coord.Plan{Phase: coord.PhaseRunning, Points: course(load, start), SpawnRate: load.SpawnRate}
		for i := 1; i < len(plan.Points); i++ {
			if plan.Points[i].At < plan.Points[i-1].At {
				t.Fatalf("corner %d of %v is before the one before it", i, plan.Points)
			}
		}
		moments := []time.Duration{-time.Second, -time.Microsecond, 0, time.Microsecond, load.Length() + time.Hour}
		end := time.Duration(0)
		for _, stage := range stages {
			end += time.Duration(stage.For)
			moments = append(moments, end-time.Microsecond, end, end+time.Microsecond)
		}
		for range 20 {
			moments = append(moments, time.Duration(rapid.Int64Range(0, int64(end/time.Microsecond)+1000).Draw(t, "at, µs"))*time.Microsecond)
		}
		for _, at := range moments {
			got := plan.Users(start.Add(at))
			a, b := floor(naive(stages, at-time.Microsecond)), floor(naive(stages, at+time.Microsecond))
			// A step lies within the microsecond; a ramp that is steep passes
			// several users in one.
			if exact := floor(naive(stages, at)); got != exact && (got < min(a, b, exact) || got > max(a, b, exact)) {
				t.Fatalf("%d users at %v, want %d", got, at, exact)
			}
		}
		// Where a stage ends there is nothing to round.
		end = 0
		for i, stage := range stages {
			end += time.Duration(stage.For)
			if last := i == len(stages)-1 || stages[i+1].For > 0; last && plan.Users(start.Add(end)) != stage.Users {
				t.Fatalf("stage %d ends with %d users, want %d", i, plan.Users(start.Add(end)), stage.Users)
			}
		}
		if plan.Peak() != peak(stages) {
			t.Fatalf("peak %d, want %d", plan.Peak(), peak(stages))
		}
	})
}

func peak(stages []scenarios.Stage) (most int) {
	for _, stage := range stages {
		most = max(most, stage.Users)
	}
	return most
}

// groups is a scenario of leaders and members, as classroom is one.
type groups struct{ members int }

func (groups) Validate() error          { return nil }
func (groups) Crowd() scenarios.Channel { return scenarios.Channel{Name: "all", Pattern: "all"} }
func (b groups) ClassOf(number int) int { return min(number%(b.members+1), 1) }
func (b groups) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "Leader", Role: "leader", Weight: 1}, {Name: "Member", Role: "member", Weight: b.members}}
}

// Through any history of workers and any course of the load: each number runs at
// one worker, each worker's numbers are the lowest of its slots, and the users of
// each class are together as many as a pool is sized for.
func TestClassesAreSharedExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scenario := groups{rapid.IntRange(1, 40).Draw(t, "members")}
		shares := map[string]*coord.SlotSet(nil)
		for step := range rapid.IntRange(1, 3).Draw(t, "histories") {
			var workers []string
			for i := range rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(1, 1500)).Draw(t, "workers") {
				workers = append(workers, fmt.Sprint("worker ", i*(step+1)))
			}
			shares = share(shares, workers, scenario.ClassOf, int64(step+1))
		}
		for range 3 {
			n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 3*coord.Slots)).Draw(t, "users")
			got := make(map[string]int)
			ran := make([]bool, n)
			for id, set := range shares {
				last := -1
				for i := range set.Count(n) {
					number := set.Number(i)
					if number <= last || number >= n || ran[number] || !set.Has(number) {
						t.Fatalf("of %d users %s runs number %d after %d; run elsewhere: %v", n, id, number, last, number < n && ran[number])
					}
					last, ran[number] = number, true
					got[scenario.Classes()[scenario.ClassOf(number)].Role]++
				}
			}
			want := scenarios.PeakByRole(scenario, n)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("of %d users there are %v, want %v", n, got, want)
			}
		}
	})
}

// However workers come and go, slots move only from who is gone, to who is new, and
// few beside those.
func TestFewSlotsMove(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var all []string
		for i := range 30 {
			all = append(all, fmt.Sprintf("worker-%02d", i))
		}
		n := rapid.IntRange(2, 29).Draw(t, "workers")
		before := share(nil, all[:n], alike, 1)
		after, moved, need := before, 0, 0
		if rapid.Bool().Draw(t, "one more") {
			after = share(before, all[:n+1], alike, 2)
			need = after[all[n]].Len()
		} else {
			gone := rapid.IntRange(0, n-1).Draw(t, "gone")
			rest := append(append([]string{}, all[:gone]...), all[gone+1:n]...)
			after = share(before, rest, alike, 2)
			need = before[all[gone]].Len()
		}
		for id, set := range before {
			for slot := range set.All {
				if !after[id].Has(slot) {
					moved++
				}
			}
		}
		if moved > need+need/10+2 {
			t.Fatalf("%d slots moved among %d workers, where %d have to", moved, n, need)
		}
	})
}
