package worker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
)

// What users do while Redis or the master is away. In most of these tests only
// heartbeats go unanswered, and accounts can be leased: a user that does not
// begin then was kept from it by the rule, not by a lack.

const (
	// untouched is after how long without an answer nothing begins, and accuracy
	// how exactly that is kept.
	untouched = 3 * time.Second
	accuracy  = 2 * tick
)

// heartbeats matches the heartbeats of a swarm's members.
func (b *bench) heartbeats(cmd redis.Cmder) bool {
	return slices.Contains(cmd.Args(), any(b.namespace+":{swarm:swarm}:members"))
}

// silence loses all heartbeats of a worker from now on. It returns when the last
// answered one was sent.
func (p *process) silence() (fault *redistest.Fault, since time.Time) {
	p.b.Helper()
	fault = p.faults.Refuse(0, p.b.heartbeats)
	roll, err := p.b.leader.Roll(p.b.Context())
	p.b.must("roll", err)
	for _, m := range roll.Members {
		if m.ID == p.id {
			since = roll.Now.Add(-m.Silent)
		}
	}
	return fault, since
}

// begun returns when sessions began after a moment, in order.
func (s *users) begun(after time.Time) (times []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range s.began {
		for _, at := range all {
			if at.After(after) {
				times = append(times, at)
			}
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// atRate checks that of what began, no more did in any second than a rate allows:
// that, a quarter of a second's worth at once, and one.
func (b *bench) atRate(what string, began []time.Time, rate float64) {
	b.Helper()
	most := int(rate*1.25) + 2
	for i := range began {
		if j := i + most; j < len(began) && began[j].Sub(began[i]) < time.Second {
			b.Fatalf("%s: %d sessions began within %v, at a spawn rate of %v", what, most+1, began[j].Sub(began[i]), rate)
		}
	}
}

// Out of touch no session begins and no user starts; sessions that go on go on.
func TestOutOfTouchNothingBegins(t *testing.T) {
	on(t, config{size: 100, rate: 5, session: lasts(700 * time.Millisecond)}, func(b *bench) {
		p := b.startWorker()
		b.assign(1, func(int) *process { return p })
		b.ramp(50)
		b.goOn(5 * time.Second)
		fault, since := p.silence()
		b.goOn(8 * time.Second)
		began := b.users.begun(since.Add(untouched - accuracy))
		if len(began) > 0 && began[len(began)-1].Sub(since) > untouched+accuracy {
			b.Errorf("a session began %v after the last answer", began[len(began)-1].Sub(since))
		}
		if before := b.users.begun(since); len(before) < 30 {
			b.Errorf("after the last answer and before %v only %d sessions began", untouched, len(before))
		}
		for _, e := range b.users.ended() {
			if e.cause != nil {
				b.Errorf("a session of user %d was cut short: %v", e.number, e.cause)
			}
		}
		if got := b.users.running(); got != nil {
			b.Errorf("all sessions should be over by now, and these run: %v", got)
		}
		fault.Lift()
		b.goOn(13 * time.Second)
		if got := p.state().Users; got != 50 {
			b.Errorf("%d users run 13 s later, want 50", got)
		}
		if got := b.users.doubled(); got != nil {
			b.Errorf("ran twice at once: %v", got)
		}
		p.leave()
	})
}

// A session that waits for its account when touch is lost does not begin with an
// account that comes then.
func TestOutOfTouchWaitingUsersDoNotBegin(t *testing.T) {
	const long = 4500 * time.Millisecond
	one(t, config{size: 1, session: lasts(long)}, 2, func(b *bench, p *process) {
		b.until("a session", time.Second, func() bool { return b.users.total() == 1 })
		pass(200 * time.Millisecond)
		fault, since := p.silence()
		b.goOn(7 * time.Second)
		for _, at := range b.users.begun(since.Add(untouched + accuracy)) {
			b.Errorf("a session began %v after the last answer", at.Sub(since))
		}
		fault.Lift()
		b.until("the other session", 3*time.Second, func() bool { return b.users.total() == 2 })
		b.merge()
	})
}

// Back in touch the users start as on any other day: at the spawn rate.
func TestBackInTouchAtTheSpawnRate(t *testing.T) {
	const users, rate = 80, 20
	one(t, config{size: users + 20, rate: rate, session: lasts(time.Second)}, users, func(b *bench, p *process) {
		b.goOn(2 * time.Second)
		fault, _ := p.silence()
		b.goOn(8 * time.Second)
		if got := b.users.running(); got != nil {
			b.Fatalf("out of touch these run: %v", got)
		}
		fault.Lift()
		back := time.Now()
		b.goOn(8 * time.Second)
		firsts := make(map[int]bool)
		var began []time.Time
		for number := range users {
			for _, at := range b.users.sessions(number) {
				if at.After(back) && !firsts[number] {
					firsts[number] = true
					began = append(began, at)
				}
			}
		}
		slices.SortFunc(began, time.Time.Compare)
		b.atRate("back in touch", began, rate)
		if len(began) != users {
			b.Errorf("%d of %d users are back after 8 s", len(began), users)
		}
		if got := b.users.doubled(); got != nil {
			b.Errorf("ran twice at once: %v", got)
		}
	})
}

// Whose slots were given away while it was out of touch begins nothing of what is
// another's now, and is a late worker like any other.
func TestBackInTouchWithoutSlots(t *testing.T) {
	on(t, config{size: 60, rate: 50, session: lasts(300 * time.Millisecond)}, func(b *bench) {
		cut, other := b.startWorker(), b.startWorker()
		half := func(slot int) *process { return []*process{cut, other}[slot%2] }
		b.assign(1, half)
		b.ramp(20)
		b.goOn(4 * time.Second)
		version := int64(1)
		for _, outage := range []time.Duration{3500 * time.Millisecond, 5 * time.Second} {
			before := len(b.users.doubled()) // giving slots back, sessions in progress overlap
			fault, since := cut.silence()
			// What a master does: the silent is struck off, its slots are shared out.
			// By then its last sessions are over.
			b.goOn(time.Until(since.Add(untouched + 400*time.Millisecond)))
			b.must("remove", b.leader.Remove(b.Context(), cut.id))
			version++
			b.assign(version, func(int) *process { return other })
			b.goOn(time.Until(since.Add(outage)))
			fault.Lift()
			back := time.Now()
			b.goOn(3 * time.Second)
			if got := cut.state().Users; got != 0 {
				b.Errorf("back in touch %v and without slots it has %d users", time.Since(back), got)
			}
			if got := b.users.doubled()[before:]; len(got) > 0 {
				b.Fatalf("after an outage of %v these ran twice at once: %v", outage, got)
			}
			version++
			b.assign(version, half)
			b.goOn(4 * time.Second)
			if got := cut.state().Users; got != 10 {
				b.Errorf("given its slots again it has %d users, want 10", got)
			}
		}
		cut.leave()
		other.leave()
	})
}

// A load that nobody controls ends: not before the dead man's switch, and by then.
func TestDeadMan(t *testing.T) {
	const deadMan = 6 * time.Second
	for name, tt := range map[string]struct {
		spec string
		stop time.Duration // what sessions have left
		cut  func(b *bench, p *process) (undo func(), since time.Time)
		late time.Duration // by how much the switch may be later than since + deadMan
	}{
		// A heartbeat may have found the lease of the dead still alive.
		"no master": {"dead_man: 6s", 0, func(b *bench, _ *process) (func(), time.Time) {
			b.must("renew", b.leader.Renew(b.Context()))
			return func() { b.must("renew", b.leader.Renew(b.Context())) }, time.Now()
		}, coord.LeaderTTL},
		"no heartbeat": {"dead_man: 6s", 0, func(b *bench, p *process) (func(), time.Time) {
			fault, since := p.silence()
			return fault.Lift, since
		}, 0},
		"no heartbeat, with a stop timeout": {"dead_man: 6s\nload: { stop_timeout: 2s }", 2 * time.Second, func(b *bench, p *process) (func(), time.Time) {
			fault, since := p.silence()
			return fault.Lift, since
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			one(t, config{size: 40, rate: 20, spec: tt.spec}, 20, func(b *bench, p *process) {
				b.goOn(2 * time.Second)
				undo, since := tt.cut(b, p)
				pass(time.Until(since.Add(deadMan + tt.stop - accuracy)))
				if got := b.users.running(); !slices.Equal(got, upTo(20)) {
					b.Errorf("%v before the switch run %v", accuracy, got)
				}
				pass(tt.late + 2*accuracy)
				if got := b.users.running(); got != nil {
					b.Errorf("after the switch run %v", got)
				}
				pass(10 * time.Second)
				if before := b.users.total(); before != 20 {
					b.Errorf("%d sessions of 20 users", before)
				}
				undo()
				back := time.Now()
				b.goOn(5 * time.Second)
				if got := b.users.running(); !slices.Equal(got, upTo(20)) {
					b.Errorf("with somebody in control again run %v", got)
				}
				b.atRate("in control again", b.users.begun(back), 20)
				if got := b.users.doubled(); got != nil {
					b.Errorf("ran twice at once: %v", got)
				}
			})
		})
	}
}

// The switch is not reached by a master that is away for less, and a standby that
// takes over in time finds everybody.
func TestMasterAwayForLessThanTheDeadMan(t *testing.T) {
	one(t, config{size: 20, rate: 20, spec: "dead_man: 6s"}, 20, func(b *bench, p *process) {
		for range 3 {
			b.goOn(time.Second)
			pass(5900 * time.Millisecond) // nobody renews
			leader, err := coord.Campaign(b.Context(), coord.LeaderConfig{Redis: b.rdb, Namespace: b.namespace, Swarm: "swarm"})
			b.must("campaign", err)
			b.leader = leader
			pass(time.Second)
			if got := b.users.running(); !slices.Equal(got, upTo(20)) {
				b.Fatalf("with the new master run %v", got)
			}
		}
		if got := b.users.total(); got != 20 {
			b.Errorf("%d sessions of 20 users: some were ended", got)
		}
	})
}

// A worker that is told to end says so at once, so that others take its users
// over, begins nothing more and lets its sessions end.
func TestLeavingGivesItsUsersAway(t *testing.T) {
	on(t, config{size: 100, rate: 50, session: lasts(2 * time.Second), spec: "load: { stop_timeout: 5s }"}, func(b *bench) {
		leaving, other := b.startWorker(), b.startWorker()
		b.assign(1, func(slot int) *process { return []*process{leaving, other}[slot%2] })
		b.ramp(40)
		b.goOn(4 * time.Second)
		leaving.cancel()
		told := time.Now()
		pass(accuracy)
		if s := leaving.state(); !s.Leaving {
			b.Errorf("%v after it was told to end the worker says %+v", accuracy, s)
		}
		b.assign(2, func(int) *process { return other })
		leaving.wait()
		if took := time.Since(told); took > 4*time.Second {
			b.Errorf("sessions of 2 s, and leaving took %v", took)
		}
		b.goOn(2 * time.Second)
		if got := b.users.running(); len(got) < 38 || other.state().Users != 40 {
			b.Errorf("the other worker has %d users, and %d run", other.state().Users, len(got))
		}
		for _, e := range b.users.ended() {
			if e.cause != nil {
				b.Errorf("a session of user %d was cut short: %v", e.number, e.cause)
			}
		}
		other.leave()
	})
}
