package master

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/coord"
)

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
			shares = share(before, workers, int64(step+1))
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
	first := share(nil, []string{"a", "b", "c", "d"}, 1)
	lost := share(first, []string{"a", "b", "c"}, 2)
	joined := share(first, []string{"a", "b", "c", "d", "e"}, 2)
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
