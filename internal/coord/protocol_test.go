package coord_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

const swarm = "s"

// lead returns a leader of a new swarm with a run that has begun.
func lead(t *testing.T, rdb redis.UniversalClient, namespace string) *coord.Leader {
	t.Helper()
	leader, err := coord.Campaign(t.Context(), coord.LeaderConfig{Redis: rdb, Namespace: namespace, Swarm: swarm})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Begin(t.Context(), coord.Run{ID: "run-1", Spec: []byte("spec")}, coord.Plan{Run: "run-1", Phase: coord.PhaseWaiting}); err != nil {
		t.Fatal(err)
	}
	return leader
}

// join runs a member until the test ends.
func join(t *testing.T, rdb redis.UniversalClient, namespace string, state func() coord.State) *coord.Member {
	t.Helper()
	member := coord.NewMember(coord.MemberConfig{Redis: rdb, Namespace: namespace, Swarm: swarm})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- member.Run(ctx, state) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("member ended: %v", err)
		}
	})
	return member
}

// until waits for a condition, hurrying the member so that the test need not
// wait for the next second.
func until(t *testing.T, what string, member *coord.Member, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		if member != nil {
			member.Hurry()
		}
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-ticker.C:
		}
	}
}

func ready() coord.State { return coord.State{Kind: coord.KindWorker, Name: "w", Ready: true} }

func TestMemberLearnsOfRunPlanAndSlots(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		leader := lead(t, rdb, namespace)
		member := join(t, rdb, namespace, ready)
		until(t, "the run", member, func() bool { return member.View().Run.ID == "run-1" })
		if got := string(member.View().Run.Spec); got != "spec" {
			t.Errorf("spec %q", got)
		}
		roll, err := leader.Roll(t.Context())
		if err != nil || len(roll.Members) != 1 || roll.Members[0].ID != member.ID() || !roll.Members[0].State.Ready {
			t.Fatalf("roll %+v, %v", roll, err)
		}
		if off := member.Clock().Now().Sub(roll.Now).Abs(); off > 2*time.Second {
			t.Errorf("the member's clock is off by %v", off)
		}
		set := &coord.SlotSet{Version: 1}
		for slot := range coord.Slots {
			set.Add(slot)
		}
		if err := leader.Assign(t.Context(), 1, map[string]*coord.SlotSet{member.ID(): set}); err != nil {
			t.Fatal(err)
		}
		version, err := leader.Publish(t.Context(), coord.Plan{Run: "run-1", Phase: coord.PhaseRunning, Points: coord.Ramp(roll.Now, 10, 100)})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "plan and slots", member, func() bool {
			v := member.View()
			return v.Plan.Version == version && v.Plan.Phase == coord.PhaseRunning && v.Slots.Len() == coord.Slots
		})
		// A worker that is not in the next assignment has no slots.
		if err := leader.Assign(t.Context(), 2, map[string]*coord.SlotSet{"other": set}); err != nil {
			t.Fatal(err)
		}
		until(t, "the loss of its slots", member, func() bool { return member.View().Slots.Len() == 0 })
	})
}

func TestStatisticsArriveOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		leader := lead(t, rdb, namespace)
		member := join(t, rdb, namespace, ready)
		until(t, "the run", member, func() bool { return member.View().Run.ID == "run-1" })
		for range 3 {
			member.Send("run-1", coord.Report{Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: 1}}})
		}
		var entries []coord.Entry
		until(t, "three entries", member, func() bool {
			var err error
			if entries, err = leader.Read(t.Context(), "", 100); err != nil {
				t.Fatal(err)
			}
			return len(entries) == 3
		})
		for i, e := range entries {
			if e.Run != "run-1" || e.Member != member.ID() || e.Number != int64(i+1) || e.Report.Operations[0].Count != 1 {
				t.Errorf("entry %d is %+v", i, e)
			}
		}
		if member.Unsaved() != 3 {
			t.Errorf("%d reports are kept, want all 3 until they are saved", member.Unsaved())
		}
		err := leader.Save(t.Context(), coord.Saved{Run: "run-1", Body: []byte("{}"), Position: entries[2].ID, Numbers: map[string]int64{member.ID(): 3}})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the member to forget what is saved", member, func() bool { return member.Unsaved() == 0 })
		if n := rdb.XLen(t.Context(), namespace+":{swarm:"+swarm+"}:stats").Val(); n != 0 {
			t.Errorf("%d entries are left in the stream after saving, want none", n)
		}
	})
}

func TestSecondLeader(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient, namespace string) {
		cfg := coord.LeaderConfig{Redis: rdb, Namespace: namespace, Swarm: swarm}
		first := lead(t, rdb, namespace)

		// While the first renews, a second is refused.
		ctx, stop := context.WithCancel(t.Context())
		renewing := make(chan error, 1)
		go func() {
			ticker := time.NewTicker(100 * time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					renewing <- nil
					return
				case <-ticker.C:
					if err := first.Renew(context.WithoutCancel(ctx)); err != nil {
						renewing <- err
						return
					}
				}
			}
		}()
		if _, err := coord.Campaign(t.Context(), cfg); !errors.Is(err, coord.ErrLed) {
			t.Errorf("second leader beside the first: %v, want ErrLed", err)
		}
		stop()
		if err := <-renewing; err != nil {
			t.Fatal(err)
		}

		// When the first falls silent, the second takes over, and everything
		// that the first writes is refused.
		second, err := coord.Campaign(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if second.Epoch() <= first.Epoch() {
			t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
		}
		for what, write := range map[string]func() error{
			"renew":  func() error { return first.Renew(t.Context()) },
			"begin":  func() error { _, err := first.Begin(t.Context(), coord.Run{ID: "x"}, coord.Plan{}); return err },
			"plan":   func() error { _, err := first.Publish(t.Context(), coord.Plan{}); return err },
			"assign": func() error { return first.Assign(t.Context(), 3, nil) },
			"save":   func() error { return first.Save(t.Context(), coord.Saved{Run: "run-1"}) },
		} {
			if err := write(); !errors.Is(err, coord.ErrDeposed) {
				t.Errorf("%s of the deposed leader: %v, want ErrDeposed", what, err)
			}
		}
		run, plan, _, err := second.Load(t.Context())
		if err != nil || run.ID != "run-1" || plan.Phase != coord.PhaseWaiting {
			t.Errorf("the second leader finds run %q in phase %q, %v", run.ID, plan.Phase, err)
		}
		if err := second.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		third, err := coord.Campaign(t.Context(), cfg)
		if err != nil || third.Epoch() <= second.Epoch() {
			t.Errorf("after the second resigned: %v", err)
		}
	})
}
