package coord_test

import (
	"errors"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
)

// look is how long after a lease has run out, at the most, a candidate that
// watches has it.
const look = 310 * time.Millisecond

func TestLeaseOfTheDeadRunsOut(t *testing.T) {
	for name, standby := range map[string]bool{"candidate": false, "standby": true} {
		t.Run(name, func(t *testing.T) {
			on(t, func(b *bench) {
				first := b.elect()
				pass(700 * time.Millisecond)
				b.must("renew", first.Renew(b.Context()))
				died := time.Now()
				pass(400 * time.Millisecond)
				second := b.stand(b.rdb, standby)
				pass(time.Until(died.Add(coord.LeaderTTL - time.Millisecond)))
				if second.over() {
					b.Fatalf("%v after the last renewal the campaign is over: %v", second.at.Sub(died), second.err)
				}
				pass(look)
				if !second.over() || second.err != nil {
					b.Fatalf("the lease has run out, and the campaign is not won: %v", second.err)
				}
				if took := second.at.Sub(died); took < coord.LeaderTTL || took > coord.LeaderTTL+look {
					b.Errorf("taken over %v after the last renewal", took)
				}
				if second.leader.Epoch() <= first.Epoch() {
					b.Errorf("epoch %d after %d", second.leader.Epoch(), first.Epoch())
				}
			})
		})
	}
}

// A leader whose lease has run out leads on if nobody has taken it.
func TestRenewalAfterTheLeaseRanOut(t *testing.T) {
	on(t, func(b *bench) {
		leader := b.elect()
		epoch := leader.Epoch()
		pass(time.Minute)
		b.must("renew", leader.Renew(b.Context()))
		if leader.Epoch() != epoch {
			b.Errorf("epoch %d after %d", leader.Epoch(), epoch)
		}
		if second := b.stand(b.rdb, false); second.over() {
			b.Errorf("right after the renewal the campaign of another is over: %v", second.err)
		}
	})
}

func TestSecondIsRefusedWhileTheFirstRenews(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		began := time.Now()
		second := b.stand(b.rdb, false)
		b.renewFor(first, 2*time.Second)
		if !second.over() || !errors.Is(second.err, coord.ErrLed) {
			b.Fatalf("the second candidate: over %v, %v; want ErrLed", second.over(), second.err)
		}
		if took := second.at.Sub(began); took > 500*time.Millisecond+look {
			b.Errorf("it took %v to say so", took)
		}
	})
}

// A standby waits for as long as the leader lives, through any outage of Redis,
// and leads when the leader is dead.
func TestStandbyWaits(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		rdb, faults := b.another()
		standby := b.stand(rdb, true)
		b.renewFor(first, 2*time.Minute)
		for _, cut := range []func() *redistest.Fault{
			func() *redistest.Fault { return faults.Refuse(0, redistest.Any) },
			func() *redistest.Fault { return faults.LoseReplies(0, redistest.Any) },
		} {
			fault := cut()
			b.renewFor(first, 20*time.Second)
			fault.Lift()
			b.renewFor(first, 5*time.Second)
		}
		if standby.over() {
			b.Fatalf("the leader lives, and the standby's campaign is over: %v", standby.err)
		}
		died := time.Now()
		pass(coord.LeaderTTL + look)
		if !standby.over() || standby.err != nil {
			b.Fatalf("%v after the last renewal the standby does not lead: %v", time.Since(died), standby.err)
		}
		if !errors.Is(first.Renew(b.Context()), coord.ErrDeposed) {
			b.Error("the first leader was not deposed")
		}
	})
}

// With Redis away for both, whoever reaches it first, the leader stays the leader.
func TestStandbyBackBeforeTheLeader(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		rdb, faults := b.another()
		standby := b.stand(rdb, true)
		b.renewFor(first, 5*time.Second)
		fault := faults.Refuse(0, redistest.Any)
		pass(20 * time.Second) // its lease has run out
		fault.Lift()
		pass(2 * time.Second)
		b.renewFor(first, time.Minute)
		if standby.over() {
			b.Fatalf("the leader lives, and the standby's campaign is over: %v", standby.err)
		}
		// And one that does not come back is waited for no longer than that.
		fault = faults.Refuse(0, redistest.Any)
		pass(20 * time.Second)
		fault.Lift()
		pass(coord.LeaderTTL + 3*look)
		if !standby.over() || standby.err != nil {
			b.Fatalf("the leader is dead, and the standby does not lead: %v", standby.err)
		}
	})
}

// A standby is no candidate that hides a wrong address.
func TestStandbyThatNeverReachesRedis(t *testing.T) {
	on(t, func(b *bench) {
		rdb, faults := b.another()
		faults.Refuse(0, redistest.Any)
		if standby := b.stand(rdb, true); !standby.over() || standby.err == nil {
			b.Errorf("the campaign without Redis: over %v, %v", standby.over(), standby.err)
		}
	})
}

// A campaign can be given up at any time.
func TestCampaignEndsWithItsContext(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		standby := b.stand(b.rdb, true)
		b.renewFor(first, 5*time.Second)
		standby.stop()
		pass(time.Millisecond)
		if !standby.over() || standby.err == nil {
			b.Errorf("told to end, the campaign is over %v, with %v", standby.over(), standby.err)
		}
	})
}

func TestResigningHandsOverAtOnce(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		standby := b.stand(b.rdb, true)
		b.renewFor(first, 5*time.Second)
		resigned := time.Now()
		b.must("resign", first.Resign(b.Context()))
		pass(look)
		if !standby.over() || standby.err != nil {
			b.Fatalf("the standby does not lead: %v", standby.err)
		}
		if took := standby.at.Sub(resigned); took > look {
			b.Errorf("it took %v", took)
		}
		// Who comes too late takes nothing away.
		b.must("resign again", first.Resign(b.Context()))
		b.must("renew", standby.leader.Renew(b.Context()))
	})
}

// Of several standbys one leads at a time, each with a higher epoch than all
// before it.
func TestEpochsRise(t *testing.T) {
	on(t, func(b *bench) {
		last := b.elect().Epoch()
		var standing []*candidacy
		for range 5 {
			standing = append(standing, b.stand(b.rdb, true))
		}
		for len(standing) > 0 {
			pass(coord.LeaderTTL + look)
			var left []*candidacy
			for _, c := range standing {
				if !c.over() {
					left = append(left, c)
					continue
				}
				if c.err != nil || c.leader.Epoch() <= last {
					b.Fatalf("epoch %d after %d, %v", c.leader.Epoch(), last, c.err)
				}
				last = c.leader.Epoch()
			}
			if len(left) != len(standing)-1 {
				b.Fatalf("%d of %d standbys came to lead at once", len(standing)-len(left), len(standing))
			}
			standing = left
		}
	})
}

// deposed checks that whatever a leader writes is refused, and that nothing in
// Redis is changed by it.
func (b *bench) deposed(leader *coord.Leader, member string) {
	b.Helper()
	before := b.contents()
	for what, write := range map[string]func() error{
		"renew":   func() error { return leader.Renew(b.Context()) },
		"begin":   func() error { _, err := leader.Begin(b.Context(), coord.Run{ID: "late"}, coord.Plan{}); return err },
		"publish": func() error { _, err := leader.Publish(b.Context(), coord.Plan{Run: "late"}); return err },
		"assign": func() error {
			return leader.Assign(b.Context(), 99, map[string]*coord.SlotSet{"late": {Version: 99}})
		},
		"save": func() error {
			return leader.Save(b.Context(), coord.Saved{Run: "late", Body: []byte("{}"), Mark: "late"})
		},
		"remove": func() error { return leader.Remove(b.Context(), member) },
	} {
		if err := write(); !errors.Is(err, coord.ErrDeposed) {
			b.Errorf("%s of a deposed leader: %v, want ErrDeposed", what, err)
		}
	}
	b.must("resign", leader.Resign(b.Context()))
	for key, text := range b.contents() {
		if before[key] != text {
			b.Errorf("a deposed leader has changed %s from %s to %s", key, before[key], text)
		}
	}
}

// contents is everything that Redis has of the swarm.
func (b *bench) contents() map[string]string {
	b.Helper()
	all := make(map[string]string)
	for _, name := range []string{"leader", "run", "plan", "states", "slots", "saved"} {
		fields, err := b.rdb.HGetAll(b.Context(), b.key(name)).Result()
		b.must("read "+name, err)
		for field, text := range fields {
			all[name+" "+field] = text
		}
	}
	members, err := b.rdb.ZRange(b.Context(), b.key("members"), 0, -1).Result()
	b.must("read members", err)
	for _, id := range members {
		all["member "+id] = "there"
	}
	return all
}

func TestWritesOfTheDeposedAreRefused(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		b.begin(first, "run-1")
		member := b.join(nil)
		pass(coord.LeaderTTL)
		second := b.elect()
		b.deposed(first, member.ID())
		pass(coord.LeaderTTL)
		third := b.elect()
		b.deposed(first, member.ID())
		b.deposed(second, member.ID())
		b.must("renew", third.Renew(b.Context()))
	})
}

func TestEmptiedRedis(t *testing.T) {
	on(t, func(b *bench) {
		leader := b.elect()
		b.begin(leader, "run-1")
		b.empty()
		if err := leader.Renew(b.Context()); !errors.Is(err, coord.ErrEmptied) {
			b.Errorf("renewing: %v, want ErrEmptied", err)
		}
	})
}

// A Redis that came back as it was long ago, with an older leader in it, is as
// good as empty to those that came after it.
func TestRedisFromBeforeTheLeader(t *testing.T) {
	on(t, func(b *bench) {
		b.elect()
		old := b.rdb.HGetAll(b.Context(), b.key("leader")).Val()
		pass(coord.LeaderTTL)
		leader := b.elect()
		b.must("restore", b.rdb.HSet(b.Context(), b.key("leader"), old).Err())
		if err := leader.Renew(b.Context()); !errors.Is(err, coord.ErrEmptied) {
			b.Errorf("renewing: %v, want ErrEmptied", err)
		}
	})
}

// A standby knows of the leader that it has watched: in a Redis without it there
// is nothing to take over, and the leader itself has the figures.
func TestStandbyOfAnEmptiedRedis(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		b.begin(first, "run-1")
		standby := b.stand(b.rdb, true)
		b.renewFor(first, 2*time.Second)
		b.empty()
		pass(look) // before the leader's next renewal
		if !standby.over() || !errors.Is(standby.err, coord.ErrEmptied) {
			b.Errorf("the standby's campaign: over %v, %v; want ErrEmptied", standby.over(), standby.err)
		}
		if err := first.Renew(b.Context()); !errors.Is(err, coord.ErrEmptied) {
			b.Errorf("the leader's renewal: %v, want ErrEmptied", err)
		}
	})
}

// Who comes to an emptied Redis gets an epoch that there was before. What the
// leader from before still writes is refused all the same.
func TestSameEpochOfTwoLeaders(t *testing.T) {
	on(t, func(b *bench) {
		first := b.elect()
		b.begin(first, "run-1")
		b.empty()
		second := b.elect()
		b.begin(second, "run-2")
		member := b.join(nil)
		b.deposed(first, member.ID())
	})
}
