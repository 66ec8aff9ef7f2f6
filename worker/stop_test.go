package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios"
)

// deaf is a session that ends only when its connection does.
func deaf(_ context.Context, u *scenarios.User) error {
	for u.Conn.(*conn).isOpen() {
		<-time.After(10 * time.Millisecond)
	}
	return errCut
}

// publishes is a session that publishes all the time and stops when told to.
func publishes(ctx context.Context, u *scenarios.User) error {
	for {
		if err := u.Publish(ctx, room, struct{}{}); err != nil {
			return err
		}
	}
}

// When the plan says stop, users finish the operation under way, log out and
// give their accounts back; all that was done is saved before the worker says
// that it is done; and it leaves when told to.
func TestStop(t *testing.T) {
	one(t, config{size: 20, session: publishes, publishing: 300 * time.Millisecond}, 20, func(b *bench, p *process) {
		for range 5 {
			pass(700 * time.Millisecond)
			b.merge()
		}
		b.enter(coord.PhaseDraining)
		pass(time.Second)
		if got := b.users.running(); !slices.Equal(got, upTo(20)) {
			b.Errorf("while the probe drains run %v", got)
		}
		b.enter(coord.PhaseStopping)
		stopped := time.Now()
		b.until("the end of all sessions", time.Second, func() bool { return len(b.users.running()) == 0 })
		if took := time.Since(stopped); took > 350*time.Millisecond {
			b.Errorf("users stopped after %v, where an operation takes 300 ms", took)
		}
		// Nothing is saved, so the worker is not done, however long it takes.
		pass(3 * time.Second)
		if s := p.state(); s.Done || s.Users != 0 {
			b.Errorf("before its statistics are saved the worker says %+v", s)
		}
		b.merge()
		b.until("the worker to be done", 5*time.Second, func() bool { return p.state().Done })
		if got := b.count("PUBLISH room"); got.Count != int64(b.target.accepted()) || got.Cancelled != 0 || got.Failures != 0 {
			b.Errorf("when it is done %+v is saved, and the target has accepted %d", got, b.target.accepted())
		}
		if got := b.count("LOGIN user"); got.Count != 20 {
			b.Errorf("log-ins %+v", got)
		}
		if got := b.stats(); got.Leased != 0 || got.Available != 20 {
			b.Errorf("when it is done the pool has %+v", got)
		}
		before := b.users.total()
		b.enter(coord.PhaseEnded)
		p.wait()
		if b.users.total() != before {
			b.Error("sessions began after the stop")
		}
		if _, there := b.roll()[p.id]; there {
			b.Error("the worker has left and is still on the roll")
		}
	})
}

// Sessions may end by themselves for the stop timeout; then they are stopped.
func TestStopTimeout(t *testing.T) {
	session := func(ctx context.Context, u *scenarios.User) error {
		if u.Number%2 == 0 {
			return scenarios.Sleep(ctx, 2*time.Second)
		}
		return scenarios.Sleep(ctx, time.Hour)
	}
	one(t, config{size: 10, session: session, spec: "load: { stop_timeout: 4s }"}, 10, func(b *bench, p *process) {
		pass(time.Second)
		before := len(b.users.ended())
		b.enter(coord.PhaseStopping)
		stopped := time.Now()
		b.until("the end of all sessions", 10*time.Second, func() bool { return len(b.users.running()) == 0 })
		ends := b.users.ended()[before:]
		if len(ends) != 10 {
			b.Fatalf("%d sessions ended, want one of each user", len(ends))
		}
		for _, e := range ends {
			after := e.at.Sub(stopped)
			switch {
			case e.number%2 == 0 && (e.cause != nil || after > 2*time.Second):
				b.Errorf("user %d was cut short after %v: %v", e.number, after, e.cause)
			case e.number%2 == 1 && (e.cause == nil || (after-4*time.Second).Abs() > 2*tick):
				b.Errorf("user %d ended after %v with %v, want to be stopped after 4s", e.number, after, e.cause)
			}
		}
	})
}

// A user that does not react loses its connections after the grace.
func TestAbortAfterTheGrace(t *testing.T) {
	for name, tt := range map[string]struct {
		spec string
		stop func(b *bench, p *process)
		want time.Duration
	}{
		"told by the plan":     {"", func(b *bench, _ *process) { b.enter(coord.PhaseStopping) }, 5 * time.Second},
		"after a stop timeout": {"load: { stop_timeout: 3s }", func(b *bench, _ *process) { b.enter(coord.PhaseStopping) }, 8 * time.Second},
		// Sessions may end by themselves also when the process is to end, but not
		// for longer than nobody may control them.
		"told by a signal": {"load: { stop_timeout: 10m }\ndead_man: 4s", func(_ *bench, p *process) { p.cancel() }, 9 * time.Second},
		"told by a signal while the plan stops": {"load: { stop_timeout: 10m }", func(b *bench, p *process) {
			b.enter(coord.PhaseStopping)
			pass(time.Second)
			p.cancel()
		}, 66 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			one(t, config{size: 3, session: deaf, spec: tt.spec}, 3, func(b *bench, p *process) {
				pass(time.Second)
				stopped := time.Now()
				tt.stop(b, p)
				b.until("the end of all sessions", 15*time.Minute, func() bool { return len(b.users.running()) == 0 })
				if took := time.Since(stopped); (took - tt.want).Abs() > 3*tick {
					b.Errorf("deaf users were cut after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// A worker that is told to leave gives everything back and sends its last
// statistics, whatever its users are doing.
func TestLeave(t *testing.T) {
	login := func(ctx context.Context, a accounts.Leased) error {
		if a.Username == "user-000" {
			return scenarios.Sleep(ctx, 700*time.Millisecond) // under way when it is told
		}
		return nil
	}
	one(t, config{size: 6, session: publishes, login: login, publishing: 200 * time.Millisecond}, 8, func(b *bench, p *process) { // two wait for an account
		pass(200 * time.Millisecond)
		if took := p.leave(); took > 1500*time.Millisecond {
			b.Errorf("leaving took %v", took)
		}
		if got := b.count("PUBLISH room"); got.Count != int64(b.target.accepted()) || got.Count == 0 {
			b.Errorf("%+v is saved, and the target has accepted %d", got, b.target.accepted())
		}
		if got := b.count("LOGIN user"); got.Count != 6 || got.Failures != 0 || got.Cancelled != 0 {
			b.Errorf("log-ins %+v, want 6: the one under way is finished", got)
		}
		if got := b.count("LEASE user"); got.Count != 0 {
			b.Errorf("giving up a wait was counted: %+v", got)
		}
	})
}

// Without anybody who saves, a worker that leaves does not wait for ever.
func TestLeaveWithoutAMaster(t *testing.T) {
	one(t, config{size: 3, session: publishes, publishing: 100 * time.Millisecond}, 3, func(b *bench, p *process) {
		pass(time.Second)
		start := time.Now()
		p.cancel()
		<-p.ended
		if took := time.Since(start); took > 8*time.Second || p.err != nil {
			b.Errorf("leaving took %v, %v", took, p.err)
		}
	})
}
