package web

import (
	"context"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// Load is what a running swarm can be told to change.
type Load struct {
	Users     int
	SpawnRate float64
	// RunTime counts from the change; 0 leaves the end as it was.
	RunTime time.Duration
}

// Swarm is what the page drives. Its methods are safe for concurrent use. An
// error's text is shown to whoever asked, and nothing has changed then.
type Swarm interface {
	// Start begins a run; what the one before left is forgotten.
	Start(ctx context.Context, spec *scenarios.Spec) error
	// Edit changes the run that goes on.
	Edit(ctx context.Context, load Load) error
	// Stop ends the run that goes on, if any, and does not wait for that.
	Stop(ctx context.Context) error
}

// View is the state of the swarm at one moment. Neither it nor what it points to
// changes once it is handed to Observe.
type View struct {
	// Summary is of the run that goes on, or else of the last one; nil before
	// the first.
	Summary *report.Summary
	// Operations has the load's merged statistics of that run.
	Operations []*opstats.Delta
	// Latencies are those of the run's delivery: of the probe's routes by their
	// names, and under LoadRoute of what the load itself received.
	Latencies map[string]*hist.Histogram
	// Spec is what the run was started with; nil before the first.
	Spec *scenarios.Spec
	// Target is how many users the run will have when all are started.
	Target  int
	Members []Member
	// Now is Redis's time.
	Now time.Time
	// Idle says that nothing runs, whatever phase the last run was in.
	Idle bool
	// Trouble is why the last run came to no outcome; empty if it did.
	Trouble string
}

// Member is a process that takes part in the swarm.
type Member struct {
	ID     string
	Name   string // for people: host:pid
	Worker bool   // and not a probe
	State  MemberState
	Users  int
	Held   int     // accounts
	CPU    float64 // share of its cores, 0 to 1
	Memory int64   // bytes
}

// LoadRoute is what the load's own view of delivery is called among the routes.
const LoadRoute = "load"

// MemberState is a worker's state as Locust names it.
type MemberState string

// The states of members.
const (
	MemberReady    MemberState = "ready"
	MemberSpawning MemberState = "spawning"
	MemberRunning  MemberState = "running"
	MemberMissing  MemberState = "missing" // not heard of for a while
)

// The phases of a run, as Summary.Run.State has them.
const (
	phaseWaiting  = "waiting"
	phaseRunning  = "running"
	phaseDraining = "draining"
	phaseStopping = "stopping"
	phaseEnded    = "ended"
)

// State is the swarm's state as Locust names it.
type State string

// The states of a swarm. A run that stops is reported as running until it has
// ended: the page ceases to ask after any other state.
const (
	StateReady    State = "ready" // there was no run yet
	StateSpawning State = "spawning"
	StateRunning  State = "running"
	StateStopped  State = "stopped"
)

func (v *View) state() State {
	if v == nil || v.Summary == nil {
		return StateReady
	}
	if v.Idle || v.Summary.Run.State == phaseEnded {
		return StateStopped
	}
	switch v.Summary.Run.State {
	case phaseWaiting:
		return StateSpawning
	case phaseRunning:
		if v.Summary.Run.Users != v.Target {
			return StateSpawning
		}
	}
	return StateRunning
}

func (v *View) runID() string {
	if v == nil || v.Summary == nil {
		return ""
	}
	return v.Summary.Run.ID
}
