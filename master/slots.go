package master

import (
	"slices"

	"github.com/throng-load/throng/internal/coord"
)

// slack is by how many slots a worker may be ahead of the one with fewest, in
// any prefix, before slots are taken from it. Without it the loss of a worker
// would make the survivors exchange slots, and sessions would be interrupted.
const slack = 1

// share returns the assignment of all slots to the workers, under a version,
// given the one before (nil for none). Workers that are gone lose their slots, new ones get
// theirs, and no other slot moves without need.
//
// Users are the lowest numbers, so what must be even is not only the total but
// every prefix: it walks the slots in order and counts what each worker has
// so far. A slot stays with its worker unless that worker is ahead of the one
// with fewest by more than slack; otherwise it goes to that one. So at every
// prefix no two workers differ by more than slack + 1, and by no more than 1 in
// the first assignment.
//
// Of several with fewest it goes to that with fewest of the slot's user class, so
// that no worker has all those that cost most: without it two workers with groups of
// ten would have all first members at one. classOf is the class of a user, by number.
func share(before map[string]*coord.SlotSet, workers []string, classOf func(number int) int, version int64) map[string]*coord.SlotSet {
	if len(workers) == 0 {
		return map[string]*coord.SlotSet{}
	}
	workers = slices.Sorted(slices.Values(workers)) // the same workers, the same shares
	var owner [coord.Slots]int                      // index in workers + 1; 0 is nobody
	sets := make([]*coord.SlotSet, len(workers))
	for i, id := range workers {
		sets[i] = &coord.SlotSet{Version: version}
		before[id].All(func(slot int) bool {
			owner[slot] = i + 1
			return true
		})
	}
	fewest := newFewest(len(workers))
	ofClass := make(map[int][]int) // by class, what each worker has so far
	for slot := range coord.Slots {
		class := classOf(slot)
		if ofClass[class] == nil {
			ofClass[class] = make([]int, len(workers))
		}
		to := owner[slot] - 1
		if to < 0 || fewest.count(to) > fewest.least()+slack {
			to = fewest.best(ofClass[class])
		}
		sets[to].Add(slot)
		fewest.add(to)
		ofClass[class][to]++
	}
	shares := make(map[string]*coord.SlotSet, len(workers))
	for i, id := range workers {
		shares[id] = sets[i]
	}
	return shares
}

// fewest keeps counts and knows the smallest without looking at all of them:
// counts only grow by one, so the least moves up when nobody is left there.
type fewest struct {
	counts []int
	low    int
	at     int // how many have the count low
}

func newFewest(n int) *fewest { return &fewest{counts: make([]int, n), at: n} }

func (f *fewest) count(i int) int { return f.counts[i] }
func (f *fewest) least() int      { return f.low }

// best returns that index with the least count for which other is least.
func (f *fewest) best(other []int) int {
	best := -1
	for i, n := range f.counts {
		if n == f.low && (best < 0 || other[i] < other[best]) {
			best = i
		}
	}
	return best
}

func (f *fewest) add(i int) {
	if f.counts[i] == f.low {
		f.at--
	}
	f.counts[i]++
	for f.at == 0 {
		f.low++
		for _, n := range f.counts {
			if n == f.low {
				f.at++
			}
		}
	}
}
