package worker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/coord"
)

// tick is how finely a worker follows the plan, and what a lease may take.
const tick = 20*time.Millisecond + 5*time.Millisecond

func TestRampFollowsThePlan(t *testing.T) {
	for name, tt := range map[string]struct {
		users int
		rate  float64
	}{
		"slow": {5, 0.5}, "one a tick": {100, 50}, "uneven": {40, 7.3}, "fast": {300, 400},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, config{size: tt.users, rate: tt.rate}, func(b *bench) {
				p := b.startWorker()
				b.assign(1, func(int) *process { return p })
				start := b.ramp(tt.users)
				pass(time.Until(start.Add(time.Duration(float64(tt.users)/tt.rate*float64(time.Second)) + time.Second)))
				if got := b.users.running(); !slices.Equal(got, upTo(tt.users)) {
					b.Fatalf("%d users run, want %d", len(got), tt.users)
				}
				for i := range tt.users {
					// Plan.Users reaches i+1 then.
					due := start.Add(time.Duration(float64(i+1) / tt.rate * float64(time.Second)))
					began := b.users.sessions(i)
					if late := began[0].Sub(due); len(began) != 1 || late < -time.Millisecond || late > tick {
						b.Errorf("user %d began %v after it was due, in %d sessions", i, late, len(began))
					}
				}
				p.leave()
			})
		})
	}
}

// Each of two workers computes its own part, and together they are the plan.
func TestTwoWorkersShareTheNumbers(t *testing.T) {
	on(t, config{size: 60, rate: 20}, func(b *bench) {
		even, odd := b.startWorker(), b.startWorker()
		b.assign(1, func(slot int) *process { return []*process{even, odd}[slot%2] })
		start := b.ramp(60)
		for i := range 60 {
			due := start.Add(time.Duration(i+1) * time.Second / 20)
			pass(time.Until(due.Add(tick)))
			if got := b.users.running(); !slices.Equal(got, upTo(i+1)) {
				b.Fatalf("when %d are due, these run: %v", i+1, got)
			}
		}
		pass(time.Second)
		if e, o := even.state().Users, odd.state().Users; e != 30 || o != 30 {
			b.Errorf("the workers say that they run %d and %d users", e, o)
		}
		even.leave()
		odd.leave()
		if got := b.users.doubled(); got != nil {
			b.Errorf("ran twice at once: %v", got)
		}
	})
}

// A plan can go down: the highest numbers end, each when its session does if that
// is within the stop timeout.
func TestPlanGoesDown(t *testing.T) {
	on(t, config{size: 20, rate: 20, session: lasts(3 * time.Second), spec: "load: { stop_timeout: 3s }"}, func(b *bench) {
		p := b.startWorker()
		b.assign(1, func(int) *process { return p })
		start := time.Now().Add(1500 * time.Millisecond)
		b.publish(func(p *coord.Plan) {
			p.Phase = coord.PhaseRunning
			for _, c := range []struct {
				after time.Duration
				users float64
			}{{0, 0}, {time.Second, 20}, {10 * time.Second, 20}, {12 * time.Second, 5}} {
				p.Points = append(p.Points, coord.Point{At: start.Add(c.after).UnixMicro(), Users: c.users})
			}
		})
		pass(time.Until(start.Add(10 * time.Second)))
		if got := len(b.users.running()); got != 20 {
			b.Errorf("%d users run at the peak, want 20", got)
		}
		pass(time.Until(start.Add(12*time.Second + 3*time.Second + tick)))
		if got := b.users.running(); !slices.Equal(got, upTo(5)) {
			b.Errorf("then run %v, want 0 to 4", got)
		}
		for _, e := range b.users.ended() {
			if e.cause != nil {
				b.Errorf("a session of user %d was cut short: %v", e.number, e.cause)
			}
		}
		p.leave()
	})
}

func TestSlotsLostAndRegained(t *testing.T) {
	const long = 10 * time.Second
	on(t, config{size: 20, rate: 20, session: lasts(long)}, func(b *bench) {
		p := b.startWorker()
		all := func(int) *process { return p }
		even := func(slot int) *process {
			if slot%2 == 0 {
				return p
			}
			return nil
		}
		b.assign(1, all)
		start := b.ramp(10)
		pass(time.Until(start.Add(2 * time.Second)))
		b.assign(2, even)
		pass(time.Second)
		// What is lost goes on until its session ends, and no further.
		if got := b.users.running(); !slices.Equal(got, upTo(10)) {
			b.Fatalf("right after the loss run %v", got)
		}
		pass(long)
		if got := b.users.running(); !slices.Equal(got, []int{0, 2, 4, 6, 8}) {
			b.Fatalf("when the lost sessions are over run %v", got)
		}
		// Back and gone and back within one session: still one at a time.
		b.assign(3, all)
		pass(2 * time.Second)
		b.assign(4, even)
		pass(time.Second)
		b.assign(5, all)
		pass(time.Second)
		if got := b.users.running(); !slices.Equal(got, upTo(10)) {
			b.Fatalf("when the slots are back run %v", got)
		}
		pass(2 * long)
		if got := b.users.running(); !slices.Equal(got, upTo(10)) {
			b.Errorf("later run %v: a number that was told to finish did not start anew", got)
		}
		// Everything is taken away.
		b.assign(6, func(int) *process { return nil })
		pass(long + time.Second)
		if got := b.users.running(); got != nil {
			b.Errorf("without slots run %v", got)
		}
		if got := b.users.doubled(); got != nil {
			b.Errorf("ran twice at once: %v", got)
		}
		for _, e := range b.users.ended() {
			if e.cause != nil {
				b.Errorf("a session of user %d was cut short: %v", e.number, e.cause)
			}
		}
		p.leave()
	})
}

// A survivor that is given many numbers at once starts them at its share of
// the spawn rate, and not all at once.
func TestFillingUpKeepsToTheSpawnRate(t *testing.T) {
	const users, rate = 200, 40
	on(t, config{size: users, rate: rate}, func(b *bench) {
		p := b.startWorker()
		b.assign(1, func(slot int) *process {
			if slot%2 == 0 {
				return p
			}
			return nil
		})
		start := b.ramp(users)
		pass(time.Until(start.Add(users*time.Second/rate + time.Second)))
		if got := len(b.users.running()); got != users/2 {
			b.Fatalf("with half of the slots run %d users", got)
		}
		b.assign(2, func(int) *process { return p })
		given := time.Now()
		for after := time.Duration(0); after <= 3*time.Second; after += 100 * time.Millisecond {
			pass(time.Until(given.Add(after)))
			got := float64(len(b.users.running()) - users/2)
			// A quarter of a second's worth may come at once.
			low, high := min(rate*(after-tick).Seconds()-1, users/2), rate*(after.Seconds()+0.25)+1
			if got < low || got > high {
				b.Errorf("%v after it was given the slots it has started %v users, want %.1f to %.1f", after, got, low, high)
			}
		}
		p.leave()
	})
}
