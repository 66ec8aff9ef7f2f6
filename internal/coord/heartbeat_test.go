package coord_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
)

// roundTrip is what a heartbeat may take on the fake clock.
const roundTrip = 5 * time.Millisecond

// member is a member that runs, with what it said and when.
type member struct {
	*coord.Member
	faults *redistest.Faults // of its connection
	stop   func()

	mu    sync.Mutex
	beats []time.Time
}

// join runs a member until the test ends, or its stop is called.
func (b *bench) join(state func() coord.State) *member {
	b.Helper()
	rdb, faults := b.another()
	m := &member{
		Member: coord.NewMember(coord.MemberConfig{Redis: rdb, Namespace: b.namespace, Swarm: swarm}),
		faults: faults,
	}
	if state == nil {
		state = ready
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := m.Run(ctx, func() coord.State {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.beats = append(m.beats, time.Now())
			return state()
		})
		if err != nil {
			b.Errorf("member: %v", err)
		}
	})
	m.stop = func() { cancel(); running.Wait() }
	b.Cleanup(m.stop)
	synctest.Wait()
	return m
}

// beaten returns when the member has made a heartbeat since the last call.
func (m *member) beaten() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	beats := m.beats
	m.beats = nil
	return beats
}

// operations is a report of n operations.
func operations(n int64) coord.Report {
	return coord.Report{Operations: []opstats.Delta{{Type: "PUBLISH", Name: "x", Count: n}}}
}

// merger is a leader that merges what comes in.
type merger struct {
	b      *bench
	leader *coord.Leader
	saved  coord.Saved
	total  int64
	saves  int
}

func (b *bench) merger(leader *coord.Leader) *merger {
	return &merger{b: b, leader: leader, saved: coord.Saved{Run: "run-1", Numbers: map[string]int64{}}}
}

// merge merges what is in the stream.
func (m *merger) merge() {
	m.b.Helper()
	entries, err := m.leader.Read(m.b.Context(), m.saved.Position, 1000)
	m.b.must("read", err)
	for _, e := range entries {
		m.saved.Position = e.ID
		if e.Number == m.saved.Numbers[e.Member]+1 {
			m.saved.Numbers[e.Member] = e.Number
			m.total += e.Report.Operations[0].Count
		}
	}
}

// save saves what was merged.
func (m *merger) save() {
	m.b.Helper()
	m.saves++
	m.saved.Body, m.saved.Mark = fmt.Append(nil, m.total), fmt.Sprint(m.saves)
	m.b.must("save", m.leader.Save(m.b.Context(), m.saved))
}

func TestOneHeartbeatASecond(t *testing.T) {
	on(t, func(b *bench) {
		m := b.join(nil)
		m.beaten()
		pass(time.Minute)
		beats := m.beaten()
		if len(beats) != 60 {
			b.Fatalf("%d heartbeats in a minute", len(beats))
		}
		for i := 1; i < len(beats); i++ {
			if gap := beats[i].Sub(beats[i-1]); (gap - time.Second).Abs() > roundTrip {
				b.Errorf("heartbeat %d came after %v", i, gap)
			}
		}
	})
}

// A nudge makes the next heartbeat sooner. Where nudges are lost the news come
// with the next one, a second later at the most.
func TestNudges(t *testing.T) {
	for name, tt := range map[string]struct {
		lost bool
		most time.Duration
	}{"heard": {false, roundTrip}, "lost": {true, time.Second + roundTrip}} {
		t.Run(name, func(t *testing.T) {
			on(t, func(b *bench) {
				leader := b.elect()
				plan := b.begin(leader, "run-1")
				m := b.join(nil)
				if tt.lost {
					// Whoever publishes reaches nobody: the channel is another's.
					leader = b.deaf(leader)
				}
				for i := range 20 {
					pass(time.Duration(i) * 97 * time.Millisecond) // anywhere between heartbeats
					plan.SpawnRate++
					version, err := leader.Publish(b.Context(), plan)
					b.must("publish", err)
					published := time.Now()
					for m.View().Plan.Version != version {
						if time.Since(published) > tt.most {
							b.Fatalf("%v after the plan was published it is not known", time.Since(published))
						}
						pass(time.Millisecond)
					}
				}
			})
		})
	}
}

// deaf takes the lease over for a leader whose nudges nobody hears.
func (b *bench) deaf(leader *coord.Leader) *coord.Leader {
	b.Helper()
	b.must("resign", leader.Resign(b.Context()))
	rdb := redistest.Another(b.T, b.rdb)
	rdb.AddHook(mute{b.key("nudge")})
	deaf, err := coord.Campaign(b.Context(), coord.LeaderConfig{Redis: rdb, Namespace: b.namespace, Swarm: swarm})
	b.must("campaign", err)
	return deaf
}

// mute sends what is meant for a channel to another, where nobody listens.
type mute struct{ channel string }

func (m mute) DialHook(next redis.DialHook) redis.DialHook { return next }
func (m mute) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (m mute) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for i, arg := range cmd.Args() {
			if arg == m.channel {
				cmd.Args()[i] = m.channel + "-lost"
			}
		}
		return next(ctx, cmd)
	}
}

// Many nudges at once are one heartbeat or two, not many.
func TestNudgesAreJoined(t *testing.T) {
	on(t, func(b *bench) {
		leader := b.elect()
		plan := b.begin(leader, "run-1")
		m := b.join(nil)
		m.beaten()
		fault := m.faults.Hold(1, redistest.Any)
		m.Hurry()
		<-fault.Struck() // a heartbeat is under way
		for range 50 {
			_, err := leader.Publish(b.Context(), plan)
			b.must("publish", err)
		}
		synctest.Wait()
		fault.Lift()
		pass(100 * time.Millisecond)
		if got := len(m.beaten()); got > 2 {
			b.Errorf("50 nudges during a heartbeat led to %d heartbeats, want it and one more", got)
		}
	})
}

func TestUnansweredHeartbeatsAreRetried(t *testing.T) {
	for name, cut := range map[string]func(*redistest.Faults) *redistest.Fault{
		"refused":      func(f *redistest.Faults) *redistest.Fault { return f.Refuse(0, redistest.Any) },
		"no answer":    func(f *redistest.Faults) *redistest.Fault { return f.Hold(0, redistest.Any) },
		"answers lost": func(f *redistest.Faults) *redistest.Fault { return f.LoseReplies(0, redistest.Any) },
	} {
		t.Run(name, func(t *testing.T) {
			on(t, func(b *bench) {
				leader := b.elect()
				b.begin(leader, "run-1")
				m := b.join(nil)
				for _, outage := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 20 * time.Second} {
					b.renewFor(leader, 5*time.Second)
					fault := cut(m.faults)
					since := m.View().Answered
					m.beaten()
					b.renewFor(leader, outage)
					if got := m.View().Answered; !got.Equal(since) && outage > time.Second {
						b.Errorf("during an outage a heartbeat of %v counts as answered", got.Sub(since))
					}
					// Two seconds for an answer, and then the next.
					if got, want := len(m.beaten()), int(outage/(3*time.Second)); got < want {
						b.Errorf("%d heartbeats were tried in %v, want %d or more", got, outage, want)
					}
					if m.Touched(outage) {
						b.Errorf("an answer within the last %v, says the member", outage)
					}
					fault.Lift()
					b.renewFor(leader, 3*time.Second)
					if !m.Touched(time.Second + roundTrip) {
						b.Errorf("%v after the outage of %v nothing was answered", 3*time.Second, outage)
					}
				}
			})
		})
	}
}

// What a view says of the leader and of answers is true of the last answered
// heartbeat.
func TestViewSaysWhoLeads(t *testing.T) {
	on(t, func(b *bench) {
		m := b.join(nil)
		check := func(what string, left time.Duration, led, answered time.Time) {
			b.Helper()
			v := m.View()
			if d := v.LeaderFor - left; d.Abs() > roundTrip {
				b.Errorf("%s: the leader's lease has %v left, want %v", what, v.LeaderFor, left)
			}
			if d := v.Led.Sub(led); d.Abs() > roundTrip {
				b.Errorf("%s: led at %v after what is right", what, d)
			}
			if d := v.Answered.Sub(answered); d.Abs() > roundTrip {
				b.Errorf("%s: answered at %v after what is right", what, d)
			}
		}
		hurried := func() time.Time {
			m.Hurry()
			synctest.Wait()
			return time.Now()
		}
		never := time.Time{}
		check("before there is a leader", 0, never, hurried())

		leader := b.elect()
		now := hurried()
		check("at once", coord.LeaderTTL, now, now)
		pass(900 * time.Millisecond)
		now = hurried()
		check("later", coord.LeaderTTL-900*time.Millisecond, now, now)

		// The leader dies: it was heard of last by the last heartbeat before its
		// lease ran out.
		pass(2*time.Second + 99*time.Millisecond)
		led := hurried()
		check("at the last moment", time.Millisecond, led, led)
		pass(2 * time.Millisecond)
		check("after the lease ran out", 0, led, hurried())
		pass(time.Minute)
		check("much later", 0, led, hurried())

		// Redis away: what was last known stands.
		b.must("renew", leader.Renew(b.Context()))
		now = hurried()
		fault := m.faults.Refuse(0, redistest.Any)
		pass(time.Minute)
		check("out of touch", coord.LeaderTTL, now, now)
		fault.Lift()
		pass(1100 * time.Millisecond)
		check("back in touch", 0, now, hurried())
	})
}

// Members are told when a leader comes or goes, and when anything that they
// follow changes, but not with every heartbeat.
func TestChanged(t *testing.T) {
	on(t, func(b *bench) {
		m := b.join(nil)
		changed := func() bool {
			select {
			case <-m.Changed():
				return true
			default:
				return false
			}
		}
		expect := func(what string, want bool) {
			b.Helper()
			m.Hurry()
			synctest.Wait()
			if got := changed(); got != want {
				b.Errorf("%s: changed %v, want %v", what, got, want)
			}
		}
		expect("nothing yet", false)
		leader := b.elect()
		expect("a leader", true)
		expect("nothing", false)
		plan := b.begin(leader, "run-1")
		expect("a run", true)
		_, err := leader.Publish(b.Context(), plan)
		b.must("publish", err)
		expect("a plan", true)
		set := &coord.SlotSet{Version: 1}
		set.Add(7)
		b.must("assign", leader.Assign(b.Context(), 1, map[string]*coord.SlotSet{m.ID(): set}))
		expect("slots", true)
		expect("nothing again", false)
		b.must("assign", leader.Assign(b.Context(), 2, nil))
		expect("no slots", true)
		b.must("resign", leader.Resign(b.Context()))
		expect("no leader", true)
	})
}

// With Redis emptied a member forgets the run, and is there for the next one.
func TestMemberOfAnEmptiedRedis(t *testing.T) {
	on(t, func(b *bench) {
		b.begin(b.elect(), "run-1")
		m := b.join(nil)
		b.empty()
		pass(time.Second + roundTrip)
		if v := m.View(); v.Run.ID != "" || v.Plan.Version != 0 || v.Slots != nil || v.LeaderFor != 0 {
			b.Errorf("after Redis was emptied the member knows %+v", v)
		}
		leader := b.elect()
		b.begin(leader, "run-2")
		pass(time.Second + roundTrip)
		if v := m.View(); v.Run.ID != "run-2" || v.Plan.Run != "run-2" || v.LeaderFor == 0 {
			b.Errorf("the member does not know of the new run: %+v", v)
		}
		roll, err := leader.Roll(b.Context())
		b.must("roll", err)
		if len(roll.Members) != 1 || roll.Members[0].Silent > time.Second+roundTrip {
			b.Errorf("roll %+v", roll)
		}
	})
}

// Silence is counted by Redis's clock from the last heartbeat; a member that was
// struck off comes back with the next one, and one that leaves is gone at once.
func TestRollTellsWhoIsSilent(t *testing.T) {
	on(t, func(b *bench) {
		leader := b.elect()
		m, other := b.join(nil), b.join(nil)
		there := func() map[string]time.Duration {
			b.Helper()
			roll, err := leader.Roll(b.Context())
			b.must("roll", err)
			silent := make(map[string]time.Duration)
			for _, p := range roll.Members {
				silent[p.ID] = p.Silent
			}
			return silent
		}
		fault := m.faults.Refuse(0, redistest.Any)
		last := m.View().Answered
		pass(10 * time.Second)
		silent := there()
		if d := silent[m.ID()] - time.Since(last); d.Abs() > roundTrip {
			b.Errorf("silent for %v, and its last heartbeat was %v ago", silent[m.ID()], time.Since(last))
		}
		if silent[other.ID()] > time.Second+roundTrip {
			b.Errorf("the other member is silent for %v", silent[other.ID()])
		}
		b.must("remove", leader.Remove(b.Context(), m.ID()))
		if _, there := there()[m.ID()]; there {
			b.Error("removed, and still on the roll")
		}
		fault.Lift()
		pass(2 * time.Second)
		if _, there := there()[m.ID()]; !there {
			b.Error("alive, and not back on the roll")
		}
		m.stop()
		if all := there(); len(all) != 1 {
			b.Errorf("one has left, and on the roll are %v", all)
		}
	})
}

// Whatever Redis loses of the stream, a member sends again what is not saved.
func TestReportsAreSentAgain(t *testing.T) {
	for name, lose := range map[string]func(b *bench, entries []string){
		"the tail": func(b *bench, entries []string) {
			b.must("lose", b.rdb.XDel(b.Context(), b.key("stats"), entries[len(entries)/2:]...).Err())
		},
		"everything": func(b *bench, _ []string) { b.must("lose", b.rdb.Del(b.Context(), b.key("stats")).Err()) },
		"the middle": func(b *bench, entries []string) {
			b.must("lose", b.rdb.XDel(b.Context(), b.key("stats"), entries[1]).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, func(b *bench) {
				leader := b.elect()
				b.begin(leader, "run-1")
				m := b.join(nil)
				for i := range int64(6) {
					m.Send("run-1", operations(1<<i))
					b.renewFor(leader, time.Second)
				}
				entries, err := b.rdb.XRange(b.Context(), b.key("stats"), "-", "+").Result()
				b.must("read", err)
				if len(entries) != 6 || m.Unsaved() != 6 {
					b.Fatalf("%d entries in the stream, %d kept", len(entries), m.Unsaved())
				}
				var ids []string
				for _, e := range entries {
					ids = append(ids, e.ID)
				}
				lose(b, ids)
				merger := b.merger(leader)
				for range 12 {
					merger.merge()
					merger.save()
					b.renewFor(leader, time.Second)
				}
				if merger.total != 63 || m.Unsaved() != 0 {
					b.Errorf("merged %d of 63 operations, %d reports are kept", merger.total, m.Unsaved())
				}
			})
		})
	}
}

// While no master lives, nobody saves: nothing is sent again and again.
func TestNothingIsSentAgainWithoutALeader(t *testing.T) {
	on(t, func(b *bench) {
		b.begin(b.elect(), "run-1")
		m := b.join(nil)
		m.Send("run-1", operations(1))
		pass(time.Minute)
		if n := b.rdb.XLen(b.Context(), b.key("stats")).Val(); n != 1 || m.Unsaved() != 1 {
			b.Errorf("%d entries of one report in the stream; %d kept", n, m.Unsaved())
		}
	})
}

// A save that Redis has lost shows in the roll: its mark is an older one.
func TestLostSaveIsNoticed(t *testing.T) {
	on(t, func(b *bench) {
		leader := b.elect()
		b.begin(leader, "run-1")
		mark := func() string {
			roll, err := leader.Roll(b.Context())
			b.must("roll", err)
			return roll.Saved
		}
		if got := mark(); got != "" {
			b.Errorf("before a save the mark is %q", got)
		}
		merger := b.merger(leader)
		merger.save()
		before := b.rdb.HGetAll(b.Context(), b.key("saved")).Val()
		merger.save()
		if got := mark(); got != "2" {
			b.Errorf("mark %q after save 2", got)
		}
		b.must("lose the save", b.rdb.HSet(b.Context(), b.key("saved"), before).Err())
		if got := mark(); got != "1" {
			b.Errorf("mark %q with save 2 lost", got)
		}
		b.begin(leader, "run-2")
		if got := mark(); got != "" {
			b.Errorf("mark %q of a run of which nothing is saved", got)
		}
	})
}

// However long Redis or the master is away, a member keeps a bounded number of
// reports, Redis a bounded number of entries, and no count is lost.
func TestOutboxIsBounded(t *testing.T) {
	const reports, most = 200, 120
	for name, away := range map[string]func(m *member) *redistest.Fault{
		"Redis":  func(m *member) *redistest.Fault { return m.faults.Refuse(0, redistest.Any) },
		"master": func(*member) *redistest.Fault { return nil },
	} {
		t.Run(name+" away", func(t *testing.T) {
			on(t, func(b *bench) {
				leader := b.elect()
				b.begin(leader, "run-1")
				m := b.join(nil)
				fault := away(m)
				for range reports {
					m.Send("run-1", operations(1))
					pass(time.Second)
				}
				if n := m.Unsaved(); n > most {
					b.Errorf("%d reports are kept", n)
				}
				if n := b.rdb.XLen(b.Context(), b.key("stats")).Val(); n > most/2 {
					b.Errorf("%d entries wait in Redis", n)
				}
				if fault != nil {
					fault.Lift()
				}
				merger := b.merger(leader)
				for range 30 {
					b.renewFor(leader, time.Second)
					merger.merge()
					merger.save()
				}
				if merger.total != reports || m.Unsaved() != 0 {
					b.Errorf("merged %d of %d operations, %d reports are kept", merger.total, reports, m.Unsaved())
				}
				if n := b.rdb.XLen(b.Context(), b.key("stats")).Val(); n != 0 {
					b.Errorf("%d entries are left in the stream", n)
				}
			})
		})
	}
}

// A plan or an assignment that came after writes which Redis has lost is
// another one than that which members know, whatever Redis counts.
func TestPlanAfterAPlanThatRedisLost(t *testing.T) {
	on(t, func(b *bench) {
		leader := b.elect()
		plan := b.begin(leader, "run-1")
		m := b.join(nil)
		before := b.rdb.HGetAll(b.Context(), b.key("plan")).Val()
		plan.SpawnRate = 2
		lost, err := leader.Publish(b.Context(), plan)
		b.must("publish", err)
		synctest.Wait()
		if got := m.View().Plan.Version; got != lost {
			b.Fatalf("the member knows plan %d, want %d", got, lost)
		}
		b.must("lose the plan", b.rdb.HSet(b.Context(), b.key("plan"), before).Err())
		plan.SpawnRate = 3
		version, err := leader.Publish(b.Context(), plan)
		b.must("publish", err)
		pass(2 * time.Second)
		if version <= lost {
			b.Errorf("version %d after %d", version, lost)
		}
		if got := m.View().Plan.SpawnRate; got != 3 {
			b.Errorf("the member goes by the plan that Redis has lost: spawn rate %v, want 3", got)
		}
	})
}
