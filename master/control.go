package master

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// Load is what a front end can change while a run goes on.
type Load struct {
	// Users is how many there are to be; 0 is fine.
	Users int
	// SpawnRate is how many start or end a second; above 0.
	SpawnRate float64
	// RunTime ends the run so long from now; 0 leaves its end as it is.
	RunTime time.Duration
}

// Errors of a Control.
var (
	// ErrNoRun says that nothing runs that could be changed.
	ErrNoRun = errors.New("master: no run is going on")
	// ErrRunning says that a run is going on.
	ErrRunning = errors.New("master: a run is going on")
)

// Control is how a front end drives a master. Each call waits until the master
// has obeyed or refused. It is safe for concurrent use.
type Control struct{ orders chan order }

// NewControl returns a control for one master.
func NewControl() *Control { return &Control{make(chan order)} }

// order is what a front end wants: one of the functions, which runs on the
// master's goroutine.
type order struct {
	start *scenarios.Spec
	// change is for the run that is going on, or the last one.
	change func(ctx context.Context, m *Master) error
	answer chan error // capacity 1
}

func (c *Control) send(ctx context.Context, o order) error {
	o.answer = make(chan error, 1)
	select {
	case c.orders <- o:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-o.answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Start begins a run of the spec. Of a master that is made for one run, or while
// one goes on, it returns ErrRunning; a *StartError says what is missing.
func (c *Control) Start(ctx context.Context, spec *scenarios.Spec) error {
	return c.send(ctx, order{start: spec})
}

// Edit changes the load of the run that is going on, from a second later on.
func (c *Control) Edit(ctx context.Context, load Load) error {
	return c.send(ctx, order{change: func(ctx context.Context, m *Master) error { return m.edit(ctx, load) }})
}

// Adjust changes the number of users by so many, at the spawn rate.
func (c *Control) Adjust(ctx context.Context, by int) error {
	return c.send(ctx, order{change: func(ctx context.Context, m *Master) error {
		return m.edit(ctx, Load{Users: max(0, m.goal()+by), SpawnRate: m.plan.SpawnRate})
	}})
}

// Stop ends the run that is going on, as if its time were over. It does not wait
// for that.
func (c *Control) Stop(ctx context.Context) error {
	return c.send(ctx, order{change: func(_ context.Context, m *Master) error {
		if !m.goesOn() {
			return ErrNoRun
		}
		m.told = true
		return nil
	}})
}

// obey carries out what is asked of a run.
func (m *Master) obey(ctx context.Context, o order) {
	if o.start != nil {
		o.answer <- ErrRunning
		return
	}
	o.answer <- o.change(ctx, m)
}

// goesOn says that the run has not been told to stop.
func (m *Master) goesOn() bool {
	return (m.plan.Phase == coord.PhaseWaiting || m.plan.Phase == coord.PhaseRunning) && !m.told && !m.interrupted
}

// goal is how many users the plan leads to.
func (m *Master) goal() int {
	if n := len(m.plan.Points); n > 0 {
		return int(m.plan.Points[n-1].Users)
	}
	return m.load.Users
}

// edit changes the course of the plan. Nothing is changed if it is refused.
func (m *Master) edit(ctx context.Context, load Load) error {
	if !m.goesOn() {
		return ErrNoRun
	}
	if m.cfg.Follow {
		return errFollows
	}
	most := m.cfg.Spec.Safety.MaxUsers
	switch {
	case load.Users < 0:
		return fmt.Errorf("%d users: give 0 or more", load.Users)
	case load.Users > most:
		return fmt.Errorf("%d users are above safety.max_users %d: raise that if you mean it", load.Users, most)
	case !(load.SpawnRate > 0) || math.IsInf(load.SpawnRate, 0):
		return fmt.Errorf("a spawn rate of %v: give a number above 0", load.SpawnRate)
	case load.RunTime < 0:
		return fmt.Errorf("a run time of %v: give 0 or more", load.RunTime)
	}
	if m.plan.Phase == coord.PhaseWaiting {
		m.load = load
		return nil
	}
	before := m.goal()
	next := m.plan
	from := m.redisNow().Add(editDelay)
	next.Points = coord.Turn(m.plan.Points, from, load.Users, load.SpawnRate)
	next.SpawnRate = load.SpawnRate
	if load.RunTime > 0 {
		m.setEnd(&next, from.Add(load.RunTime))
	}
	if err := m.publish(ctx, next); err != nil {
		return err
	}
	m.totals.note(report.EventPlanChanged, from, from, fmt.Sprintf("from %d to %d users at %v a second", before, load.Users, load.SpawnRate))
	m.log.Info("plan changed", zap.Int("users", load.Users), zap.Float64("spawn rate", load.SpawnRate))
	return nil
}

// setEnd makes a plan end at a time, and its users go soon after that even
// if no master is there to end them.
func (m *Master) setEnd(plan *coord.Plan, at time.Time) {
	plan.Stop = at.UnixMicro()
	plan.Until = at.Add(time.Duration(m.cfg.Spec.Probe.Timeout) + drainLimit + overtime).UnixMicro()
}
