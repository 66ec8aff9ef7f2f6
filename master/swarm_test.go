package master_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// These tests run whole masters against real members of the protocol on a fake
// clock, which is the server's too. The members run no users.

// A master looks twice a second. What it decides is known at once to everybody
// whom the nudge reaches.
const (
	lostAfter = 3 * time.Second
	aRound    = 500*time.Millisecond + 10*time.Millisecond
)

// swarm is Redis with masters and workers that come and go.
type swarm struct {
	*testing.T
	rdb       redis.UniversalClient
	namespace string
	spec      *scenarios.Spec
	workers   []*worker
}

// pass lets fake time pass, and everything happen that happens until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// on runs a test in a bubble.
func on(t *testing.T, spec string, test func(s *swarm)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &swarm{T: t, spec: parse(t, spec+"\nprobe: { routes: [] }\ntrust: { excluded: 100% }")}
		_, s.rdb, s.namespace = redistest.Piped(t)
		fill(t, s.rdb, s.namespace, s.spec, 8)
		test(s)
	})
}

func (s *swarm) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// another returns a connection of somebody's own, with the faults that break it.
func (s *swarm) another() (redis.UniversalClient, *redistest.Faults) {
	faults := new(redistest.Faults)
	rdb := redistest.Another(s.T, s.rdb)
	rdb.AddHook(faults)
	return rdb, faults
}

// leading is a master that runs.
type leading struct {
	faults  *redistest.Faults
	control *master.Control
	stop    context.CancelFunc
	ended   chan struct{}
	summary *report.Summary
	err     error
}

// lead starts a master.
func (s *swarm) lead(workers int, standby bool) *leading {
	rdb, faults := s.another()
	ctx, stop := context.WithCancel(context.Background())
	l := &leading{faults: faults, control: master.NewControl(), stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		l.summary, l.err = master.Run(ctx, master.Config{
			Redis: rdb, Namespace: s.namespace, Swarm: "s", Spec: s.spec, Workers: workers, Standby: standby, Control: l.control, Log: zap.NewNop(),
		})
	}()
	s.Cleanup(func() { stop(); <-l.ended })
	synctest.Wait()
	return l
}

// kill makes a master dead to everybody else.
func (l *leading) kill() {
	l.faults.Refuse(0, redistest.Any)
	l.stop()
}

// result waits for a master's end.
func (s *swarm) result(l *leading, limit time.Duration) *report.Summary {
	s.Helper()
	select {
	case <-l.ended:
	case <-time.After(limit):
		s.Fatalf("after %v the master has not ended", limit)
	}
	return l.summary
}

// worker is a member that has as many users as the plan and its slots say.
type worker struct {
	fakeWorker
	faults *redistest.Faults
	stop   func()

	mu      sync.Mutex
	leaving bool
}

// work starts a worker.
func (s *swarm) work() *worker {
	s.Helper()
	rdb, faults := s.another()
	w := &worker{fakeWorker: fakeWorker{coord.NewMember(coord.MemberConfig{Redis: rdb, Namespace: s.namespace, Swarm: "s"})}, faults: faults}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := w.Run(ctx, func() coord.State {
			state := w.state()
			w.mu.Lock()
			defer w.mu.Unlock()
			state.Leaving = w.leaving
			return state
		})
		if err != nil {
			s.Errorf("worker: %v", err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	s.Cleanup(w.stop)
	s.workers = append(s.workers, w)
	synctest.Wait()
	return w
}

// leave says that the worker is about to end.
func (w *worker) leave() {
	w.mu.Lock()
	w.leaving = true
	w.mu.Unlock()
	w.Hurry()
	synctest.Wait()
}

// begin leads a run with so many workers, and returns when its users run.
func (s *swarm) begin(workers int) (*leading, []*worker) {
	s.Helper()
	l := s.lead(workers, false)
	for range workers {
		s.work()
	}
	pass(4 * time.Second)
	s.shared(s.workers...)
	return l, slices.Clone(s.workers)
}

// shared checks that these workers have all slots between them, evenly, none
// twice, and that the others have none.
func (s *swarm) shared(owners ...*worker) {
	s.Helper()
	s.notTwice()
	total := 0
	for _, w := range s.workers {
		n := w.View().Slots.Len()
		total += n
		switch has := slices.Contains(owners, w); {
		case has && (n < coord.Slots/len(owners)-2 || n > coord.Slots/len(owners)+2):
			s.Errorf("one of %d workers has %d slots", len(owners), n)
		case !has && n > 0:
			s.Errorf("a worker that should have none has %d slots", n)
		}
	}
	if total != coord.Slots {
		s.Errorf("the workers have %d slots between them, and there are %d", total, coord.Slots)
	}
}

// notTwice checks that of the workers who know the same assignment no two have
// the same slot.
func (s *swarm) notTwice() {
	s.Helper()
	owners := make(map[int64]map[int]int)
	for i, w := range s.workers {
		set := w.View().Slots
		if set == nil {
			continue
		}
		if owners[set.Version] == nil {
			owners[set.Version] = make(map[int]int)
		}
		for slot := range set.All {
			if j, taken := owners[set.Version][slot]; taken {
				s.Fatalf("workers %d and %d both have slot %d in version %d of the assignment", j, i, slot, set.Version)
			}
			owners[set.Version][slot] = i
		}
	}
}

// key is the full name of a key of the swarm.
func (s *swarm) key(name string) string { return s.namespace + ":{swarm:s}:" + name }

// version is that of the assignment that Redis has; 0 for none.
func (s *swarm) version() int64 {
	s.Helper()
	fields, err := s.rdb.HVals(s.Context(), s.key("slots")).Result()
	s.must("read slots", err)
	if len(fields) == 0 {
		return 0
	}
	text, _, _ := strings.Cut(fields[0], ":")
	version, err := strconv.ParseInt(text, 10, 64)
	s.must("read version", err)
	return version
}

// snapshot returns what sets Redis back to how it is now: all that came after is
// lost, as with an append-only file that is written once a second.
func (s *swarm) snapshot() (restore func()) {
	s.Helper()
	ctx := s.Context()
	hashes := make(map[string]map[string]string)
	for _, name := range []string{"leader", "run", "plan", "states", "slots", "saved"} {
		hashes[name] = s.rdb.HGetAll(ctx, s.key(name)).Val()
	}
	members := s.rdb.ZRangeWithScores(ctx, s.key("members"), 0, -1).Val()
	entries := s.rdb.XRange(ctx, s.key("stats"), "-", "+").Val()
	return func() {
		s.Helper()
		// One by one: nobody else does anything before the test waits.
		for name, fields := range hashes {
			s.must("delete", s.rdb.Del(ctx, s.key(name)).Err())
			if len(fields) > 0 {
				s.must("restore", s.rdb.HSet(ctx, s.key(name), fields).Err())
			}
		}
		s.must("delete", s.rdb.Del(ctx, s.key("members"), s.key("stats")).Err())
		if len(members) > 0 {
			s.must("restore", s.rdb.ZAdd(ctx, s.key("members"), members...).Err())
		}
		for _, e := range entries {
			s.must("restore", s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: s.key("stats"), ID: e.ID, Values: e.Values}).Err())
		}
	}
}

const load = "load: { users: 4, spawn_rate: 100, run_time: 10m }"

// A silent worker has its slots for 3 s, and no longer than until the next look.
func TestSilentWorkerLosesItsSlots(t *testing.T) {
	on(t, load, func(s *swarm) {
		_, workers := s.begin(4)
		for len(workers) > 1 {
			lost, rest := workers[0], workers[1:]
			lost.faults.Refuse(0, redistest.Any)
			silent := lost.View().Answered
			before := rest[0].View().Slots
			pass(time.Until(silent.Add(lostAfter - 2*time.Millisecond)))
			if got := rest[0].View().Slots; got != before {
				s.Fatalf("silent for less than %v, and another has %d slots after %d", lostAfter, got.Len(), before.Len())
			}
			pass(aRound)
			if n := rest[0].View().Slots.Len(); n <= before.Len() {
				s.Fatalf("silent for more than %v, and another has still %d slots", lostAfter, n)
			}
			s.workers = rest
			s.shared(rest...)
			// What the survivors had they keep.
			for slot := range before.All {
				if len(rest) == 1 && !rest[0].View().Slots.Has(slot) {
					s.Fatalf("slot %d was taken from a survivor", slot)
				}
			}
			workers = rest
		}
	})
}

// A worker that comes later has its share soon. So has one that was out of touch
// and is back: whatever it had is another's.
func TestLateWorkerHasAShare(t *testing.T) {
	on(t, load, func(s *swarm) {
		_, workers := s.begin(2)
		late := s.work()
		pass(time.Second + aRound)
		s.shared(append(workers, late)...)

		fault := late.faults.Refuse(0, redistest.Any)
		pass(10 * time.Second)
		for range 40 {
			if fault != nil && s.version() > 2 {
				fault.Lift()
				fault = nil
			}
			pass(100 * time.Millisecond)
			s.notTwice()
		}
		s.shared(append(workers, late)...)
	})
}

// Who is about to leave gives its slots away with the next look, while it is still
// there.
func TestLeavingWorkerLosesItsSlotsAtOnce(t *testing.T) {
	on(t, load, func(s *swarm) {
		_, workers := s.begin(3)
		workers[0].leave()
		pass(aRound)
		s.shared(workers[1:]...)
		workers[0].stop()
		pass(10 * time.Second)
		s.shared(workers[1:]...)
	})
}

// Workers that come one after the other do not move slots with each.
func TestOneAssignmentASecond(t *testing.T) {
	on(t, load, func(s *swarm) {
		s.begin(1)
		last, changed := s.version(), time.Time{}
		changes := 0
		for i := range 160 {
			if i%5 == 0 && len(s.workers) < 16 {
				s.work() // four a second
			}
			pass(50 * time.Millisecond)
			version := s.version()
			if version == last {
				continue
			}
			if gap := time.Since(changed); gap < time.Second-50*time.Millisecond {
				s.Errorf("version %d of the assignment came %v after the one before", version, gap)
			}
			last, changed = version, time.Now()
			changes++
			s.notTwice()
		}
		if changes < 4 || changes > 8 {
			s.Errorf("%d assignments in 8 s, for workers that came within 4 s", changes)
		}
		s.shared(s.workers...)
	})
}

// A master that dies right after it has shared slots out has not saved that. The
// next one must not give that version to another assignment: workers that know it
// would keep what they have.
func TestMasterDiesRightAfterAnAssignment(t *testing.T) {
	for name, offset := range map[string]time.Duration{"and saves with it": 0, "and saves with the next look": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			on(t, load, func(s *swarm) {
				first, workers := s.begin(2)
				second := s.lead(2, true)
				pass(offset)
				before := s.version()
				late := s.work()
				for s.version() == before {
					pass(time.Millisecond)
				}
				first.kill()
				pass(5 * time.Second)
				workers[0].stop() // leaves
				s.workers = s.workers[1:]
				for range 30 {
					pass(100 * time.Millisecond)
					s.notTwice()
				}
				s.shared(workers[1], late)
				second.kill()
			})
		})
	}
}

// Redis goes down with its data for longer than a lease lasts and comes back. The
// standby may be first to see it; everybody has been silent then, and the run is
// not over for that.
func TestRunSurvivesAnOutageWithAStandby(t *testing.T) {
	for name, first := range map[string]bool{"the master is first": true, "the standby is first": false} {
		t.Run(name, func(t *testing.T) {
			on(t, load, func(s *swarm) {
				leader, workers := s.begin(3)
				standby := s.lead(3, true)
				pass(5 * time.Second)
				run := workers[0].View().Run.ID
				workers[0].publish(5)
				pass(time.Second)

				var away, masters []*redistest.Fault
				for _, w := range workers {
					away = append(away, w.faults.Refuse(0, redistest.Any))
				}
				masters = append(masters, leader.faults.Refuse(0, redistest.Any), standby.faults.Refuse(0, redistest.Any))
				pass(20 * time.Second)
				workers[1].publish(7)
				if first {
					slices.Reverse(masters)
				}
				masters[1].Lift()
				pass(600 * time.Millisecond)
				masters[0].Lift()
				for _, fault := range away {
					fault.Lift() // a heartbeat comes within a second
				}
				for range 20 {
					pass(200 * time.Millisecond)
					s.notTwice()
				}
				pass(2 * time.Second)
				if got := workers[0].View().Run.ID; got != run {
					s.Fatalf("after the outage there is another run")
				}
				s.shared(workers...)
				standby.stop()
				leader.stop()
				pass(20 * time.Second)
				// A standby that is first leaves the lease to the master, which lives.
				got := s.result(leader, time.Second)
				if got == nil || !counted(12)(got) {
					s.Errorf("the summary is %+v, want 12 operations", got)
				}
			})
		})
	}
}

// What Redis loses of its last second the master knows, and puts back.
func TestRedisLosesItsLastWrites(t *testing.T) {
	t.Run("an assignment", func(t *testing.T) {
		on(t, load, func(s *swarm) {
			_, workers := s.begin(2)
			restore := s.snapshot()
			late := s.work()
			for late.View().Slots == nil {
				pass(10 * time.Millisecond)
			}
			restore()
			for range 40 {
				pass(100 * time.Millisecond)
				s.notTwice()
			}
			s.shared(append(workers, late)...)
		})
	})
	t.Run("a plan", func(t *testing.T) {
		on(t, load, func(s *swarm) {
			l, workers := s.begin(2)
			restore := s.snapshot()
			s.must("edit", l.control.Edit(s.Context(), master.Load{Users: 7, SpawnRate: 100}))
			pass(10 * time.Millisecond)
			restore()
			pass(4 * time.Second)
			for _, w := range workers {
				if got := w.View().Plan.Users(w.Clock().Now()); got != 7 {
					s.Errorf("a worker goes by a plan of %d users, want 7", got)
				}
			}
		})
	})
	t.Run("the end", func(t *testing.T) {
		on(t, "load: { users: 4, spawn_rate: 100, run_time: 5s }", func(s *swarm) {
			l, workers := s.begin(2)
			restore := s.snapshot()
			for workers[0].View().Plan.Phase == coord.PhaseRunning {
				pass(10 * time.Millisecond)
				if workers[0].View().Plan.Phase == coord.PhaseRunning {
					restore = s.snapshot()
				}
			}
			restore()
			s.result(l, 10*time.Second)
			pass(2 * time.Second)
			for _, w := range workers {
				if plan := w.View().Plan; plan.Phase != coord.PhaseEnded || !plan.Leave {
					s.Errorf("the run has ended, and a worker knows %+v", plan)
				}
			}
		})
	})
	t.Run("what was saved", func(t *testing.T) {
		on(t, "load: { users: 4, spawn_rate: 100, run_time: 20s }", func(s *swarm) {
			l, workers := s.begin(2)
			restores := []func(){s.snapshot()}
			for i := range 100 {
				workers[i%2].publish(1)
				pass(100 * time.Millisecond)
				restores = append(restores, s.snapshot())
				if i%30 == 29 {
					restores[len(restores)-10]()
				}
			}
			if got := s.result(l, time.Minute); !counted(100)(got) {
				s.Errorf("the summary is %+v, want 100 operations", got.Operations)
			}
		})
	})
}

// With Redis emptied the run is over, whoever leads it: its figures are kept, and
// nobody begins another.
func TestEmptiedRedisEndsTheRun(t *testing.T) {
	for name, standby := range map[string]bool{"alone": false, "with a standby": true} {
		t.Run(name, func(t *testing.T) {
			on(t, load, func(s *swarm) {
				l, workers := s.begin(2)
				var other *leading
				if standby {
					other = s.lead(2, true)
				}
				workers[0].publish(3)
				pass(3 * time.Second)
				s.must("empty Redis", s.rdb.FlushAll(s.Context()).Err())
				emptied := time.Now()
				got := s.result(l, 10*time.Second)
				if !errors.Is(l.err, coord.ErrEmptied) || got == nil || got.Run.ExitCode != master.ExitInvalid || !counted(3)(got) {
					s.Errorf("%v after Redis was emptied the master ended with %v and %+v", time.Since(emptied), l.err, got)
				}
				if !standby {
					return
				}
				s.result(other, 10*time.Second)
				if !errors.Is(other.err, coord.ErrEmptied) {
					s.Errorf("the standby ended with %v", other.err)
				}
				if keys := s.rdb.Exists(s.Context(), s.key("run")).Val(); keys != 0 {
					s.Error("another run has begun")
				}
			})
		})
	}
}

// The users of a plan are shared exactly at every moment, whoever comes and goes:
// workers that know the same assignment have each number once.
func TestSharesAreExactWhileWorkersComeAndGo(t *testing.T) {
	on(t, load, func(s *swarm) {
		s.begin(3)
		for step := range 40 {
			switch {
			case step%7 == 3:
				s.work()
			case step%11 == 5:
				s.workers[step%len(s.workers)].leave()
			}
			pass(200 * time.Millisecond)
			s.notTwice()
			known := make(map[int64][]*coord.SlotSet)
			for _, w := range s.workers {
				if set := w.View().Slots; set != nil {
					known[set.Version] = append(known[set.Version], set)
				}
			}
			owners := len(s.rdb.HKeys(s.Context(), s.key("slots")).Val())
			sets := known[s.version()]
			if len(sets) != owners {
				continue // not all of them know it yet
			}
			for _, n := range []int{0, 1, 2, 3, 31, 1000, coord.Slots, coord.Slots + 5, 100_000} {
				sum, low, high := 0, n+1, -1
				for _, set := range sets {
					count := set.Count(n)
					sum += count
					low, high = min(low, count), max(high, count)
				}
				if sum != n || high-low > 2*(n/coord.Slots+1) {
					s.Fatalf("%d workers share %d users as %d, from %d to %d each", len(sets), n, sum, low, high)
				}
			}
		}
	})
}
