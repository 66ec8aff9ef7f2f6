package master

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/coord"
)

// alike is a scenario of one user class.
func alike(int) int { return 0 }

// Through any history of workers that come and go: every slot has exactly one
// owner, every prefix is shared evenly, and no more slots move than have to.
func TestShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shares := map[string]*coord.SlotSet{}
		steps := rapid.IntRange(1, 4).Draw(t, "steps")
		for step := range steps {
			var workers []string
			for i := range rapid.IntRange(1, 8).Draw(t, "workers") {
				if step == 0 || rapid.Bool().Draw(t, "present") {
					workers = append(workers, fmt.Sprint("w", i))
				}
			}
			if len(workers) == 0 {
				continue
			}
			before := shares
			shares = share(before, workers, alike, int64(step+1))
			checkShares(t, shares, workers)
			for id, set := range shares {
				if old := before[id]; old != nil && set.Version <= old.Version {
					t.Fatalf("version %d after %d", set.Version, old.Version)
				}
			}
		}
	})
}

func checkShares(t *rapid.T, shares map[string]*coord.SlotSet, workers []string) {
	if len(shares) != len(workers) {
		t.Fatalf("%d shares for %d workers", len(shares), len(workers))
	}
	counts := make(map[string]int)
	for slot := range coord.Slots {
		owners := 0
		for id, set := range shares {
			if set.Has(slot) {
				owners++
				counts[id]++
			}
		}
		if owners != 1 {
			t.Fatalf("slot %d has %d owners", slot, owners)
		}
		low, high := coord.Slots, 0
		for _, id := range workers {
			low, high = min(low, counts[id]), max(high, counts[id])
		}
		if high-low > slack+1 {
			t.Fatalf("the first %d users: one worker has %d, another %d", slot+1, low, high)
		}
	}
}

func TestShareMovesLittle(t *testing.T) {
	t.Parallel()
	first := share(nil, []string{"a", "b", "c", "d"}, alike, 1)
	lost := share(first, []string{"a", "b", "c"}, alike, 2)
	joined := share(first, []string{"a", "b", "c", "d", "e"}, alike, 2)
	moved := func(before, after map[string]*coord.SlotSet) int {
		n := 0
		for id, set := range before {
			set.All(func(slot int) bool {
				if !after[id].Has(slot) {
					n++
				}
				return true
			})
		}
		return n
	}
	if got, want := moved(first, lost), first["d"].Len(); got > want+want/20 {
		t.Errorf("losing a worker with %d slots moved %d", want, got)
	}
	if got, want := moved(first, joined), joined["e"].Len(); got > want+want/20 {
		t.Errorf("a worker that joined was given %d slots, and %d moved", want, got)
	}
}

// In the first assignment no worker has more of the users of a class than another, by
// more than one of those of which a group has one.
func TestClassesAreSharedEvenly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scenario := groups{rapid.IntRange(1, 40).Draw(t, "members")}
		workers := make([]string, rapid.IntRange(1, 33).Draw(t, "workers"))
		for i := range workers {
			workers[i] = fmt.Sprint("w", i)
		}
		shares := share(nil, workers, scenario.ClassOf, 1)
		users := rapid.IntRange(0, coord.Slots).Draw(t, "users")
		for class, most := range []int{1, 2} {
			low, high := users, 0
			for _, set := range shares {
				n := 0
				for i := range set.Count(users) {
					if scenario.ClassOf(set.Number(i)) == class {
						n++
					}
				}
				low, high = min(low, n), max(high, n)
			}
			if high-low > most {
				t.Fatalf("of class %d one worker has %d users, another %d", class, low, high)
			}
		}
	})
}
