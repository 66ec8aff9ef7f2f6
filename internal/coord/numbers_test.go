package coord_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
)

// holder takes numbers of which every tenth is of class 0 and the others of
// class 1.
func holder(rdb redis.UniversalClient, namespace, id string) *coord.Numbers {
	return coord.NewNumbers(coord.NumbersConfig{
		Redis: rdb, Namespace: namespace, Swarm: swarm, Run: "run-1", ID: id, Classes: 2, Max: 10_000,
		ClassOf: func(number int) int { return min(1, number%10) },
	})
}

func exchange(t *testing.T, n *coord.Numbers, back []int, take coord.Take) []int {
	t.Helper()
	taken, lost, err := n.Exchange(t.Context(), back, take)
	if err != nil || len(lost) > 0 {
		t.Fatalf("exchange: error %v, lost %v", err, lost)
	}
	slices.Sort(taken)
	return taken
}

func want(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestNumbersAreTheLowestThatAreFree(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		a, b := holder(rdb, namespace, "a"), holder(rdb, namespace, "b")
		want(t, "any", exchange(t, a, nil, coord.Take{Any: 3}), 0, 1, 2)
		want(t, "any beside another's", exchange(t, b, nil, coord.Take{Any: 3}), 3, 4, 5)
		want(t, "of the first class", exchange(t, b, nil, coord.Take{Of: []int{2, 0}}), 10, 20)
		want(t, "of both", exchange(t, a, nil, coord.Take{Of: []int{1, 2}}), 6, 7, 30)
		want(t, "what was given back", exchange(t, b, []int{4, 10}, coord.Take{Any: 2}), 4, 8)
		want(t, "by the other", exchange(t, a, nil, coord.Take{Of: []int{1, 0}}), 10)
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, "what one that left had", exchange(t, b, nil, coord.Take{Any: 4}), 0, 1, 2, 6)
	})
}

func TestManyNumbers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		a, b := holder(rdb, namespace, "a"), holder(rdb, namespace, "b")
		seen := make(map[int]bool)
		for _, n := range []*coord.Numbers{a, b} {
			for had := 0; had < 2500; {
				taken := exchange(t, n, nil, coord.Take{Of: []int{max(0, 250-had/10), 2250 - had*9/10}})
				for _, number := range taken {
					if seen[number] {
						t.Fatalf("%d was given twice", number)
					}
					seen[number] = true
				}
				if had += len(taken); len(taken) == 0 {
					t.Fatalf("no more after %d", had)
				}
			}
		}
		for number := range 5000 {
			if !seen[number] {
				t.Fatalf("%d was left out", number)
			}
		}
		// The limit is for all together.
		if got := len(exchange(t, a, nil, coord.Take{Of: []int{0, 9000}})); got > 5000 {
			t.Errorf("took %d beyond the limit", got)
		}
	})
}

// A holder that was away finds its numbers as long as nobody has wanted them.
func TestNumbersOfSilentHolders(t *testing.T) {
	t.Parallel()
	rdb, namespace := redistest.Real(t)
	a, b := holder(rdb, namespace, "a"), holder(rdb, namespace, "b")
	exchange(t, a, nil, coord.Take{Any: 4})
	exchange(t, b, nil, coord.Take{Any: 2}) // 4, 5
	holders := fmt.Sprintf("%s:{swarm:%s}:numbers:run-1:holders", namespace, swarm)
	silence := func() {
		past := float64(time.Now().Add(-time.Second).UnixMilli())
		if err := rdb.ZAdd(t.Context(), holders, redis.Z{Member: "a", Score: past}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	silence()
	want(t, "of a silent holder", exchange(t, b, nil, coord.Take{Any: 1}), 0)
	taken, lost, err := a.Exchange(t.Context(), nil, coord.Take{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "lost", lost, 0)
	want(t, "taken instead", taken)
	want(t, "what it kept is not given", exchange(t, b, nil, coord.Take{Any: 1}), 6)
	silence()
	want(t, "nothing was reclaimed meanwhile", exchange(t, a, nil, coord.Take{Any: 1}), 7)
}

func TestRanks(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		ranks := coord.Ranks{Redis: rdb, Namespace: namespace, Swarm: swarm}
		say := func(id string, inTouch bool, number int, lowest bool, others int) {
			t.Helper()
			got, err := ranks.Say(t.Context(), id, inTouch)
			if err != nil {
				t.Fatal(err)
			}
			if want := (coord.Rank{Number: number, Lowest: lowest, Others: others, Led: false}); got != want {
				t.Errorf("%s: got %+v, want %+v", id, got, want)
			}
		}
		say("a", true, 0, true, 0)
		say("b", true, 1, false, 1)
		say("a", false, 0, false, 1)
		say("b", true, 1, true, 0)
		say("b", false, 1, false, 0)
		say("a", false, 0, true, 0)
		if _, err := ranks.Leave(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		say("c", true, 0, true, 0)
	})
}

// Who reads beside the leader gets each entry once, also those that the leader
// has saved and would trim.
func TestTailBesideTheLeader(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		leader := lead(t, rdb, namespace)
		member := join(t, rdb, namespace, ready)
		until(t, "the run", member, func() bool { return member.View().Run.ID == "run-1" })
		tail := coord.Tail{Redis: rdb, Namespace: namespace, Swarm: swarm}
		take := func() (n int) {
			entries, _, err := tail.Take(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		if n := take(); n != 0 {
			t.Fatalf("%d entries before there are any", n)
		}
		for range 3 {
			member.Send("run-1", coord.Report{})
		}
		var entries []coord.Entry
		until(t, "three entries", member, func() (enough bool) {
			var err error
			if entries, err = leader.Read(t.Context(), "", 10); err != nil {
				t.Fatal(err)
			}
			return len(entries) == 3
		})
		last := entries[2]
		if err := leader.Save(t.Context(), coord.Saved{Run: "run-1", Body: []byte{}, Position: last.ID, Numbers: map[string]int64{last.Member: last.Number}}); err != nil {
			t.Fatal(err)
		}
		if n := take() + take(); n != 3 {
			t.Errorf("%d entries, want each of 3 once", n)
		}
	})
}
