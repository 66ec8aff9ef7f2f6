package coord

import (
	"slices"
	"sort"
	"time"
)

// Phase is where a run is.
type Phase string

// A run goes through the phases in this order and never back.
const (
	PhaseWaiting  Phase = "waiting"  // for workers
	PhaseRunning  Phase = "running"  // users as the plan's points say
	PhaseDraining Phase = "draining" // the same users; the probe sends nothing more and waits for what is open
	PhaseStopping Phase = "stopping" // no users
	PhaseEnded    Phase = "ended"    // no users; everything is reported, members may leave
)

// Plan is the load as a function of Redis's time. Every member computes from
// it; the leader alone writes it.
type Plan struct {
	Run     string `json:"run"`
	Epoch   int64  `json:"epoch"`
	Version int64  `json:"-"` // kept beside the plan in Redis, which counts it
	Phase   Phase  `json:"phase"`
	// Points are the corners of the piecewise-linear function, in order of
	// time. Before the first there are no users, after the last as many as there.
	Points []Point `json:"points,omitempty"`
	// SpawnRate is in users a second, for the whole swarm: also for filling
	// up after a worker was lost.
	SpawnRate float64 `json:"spawn_rate"`
	// Leave tells members to leave when the run has ended, rather than to
	// wait for the next.
	Leave bool `json:"leave,omitempty"`
}

// Point is one corner of a plan: Users at a time in microseconds since 1970.
type Point struct {
	At    int64   `json:"at"`
	Users float64 `json:"users"`
}

// Ramp returns the points of a rise from 0 to users at rate users a second,
// beginning at start.
func Ramp(start time.Time, users int, rate float64) []Point {
	at := start.UnixMicro()
	return []Point{
		{At: at, Users: 0},
		{At: at + int64(float64(users)/rate*1e6), Users: float64(users)},
	}
}

// Drop returns the points with a fall to no users at end. What was planned for
// later is left out.
func Drop(points []Point, end time.Time) []Point {
	at := end.UnixMicro()
	users := Plan{Phase: PhaseRunning, Points: points}.at(at)
	kept := points[:sort.Search(len(points), func(i int) bool { return points[i].At >= at })]
	return append(slices.Clone(kept), Point{At: at, Users: users}, Point{At: at, Users: 0})
}

// Users returns how many users run at a time of Redis: the numbers 0..n-1.
func (p Plan) Users(at time.Time) int {
	if p.Phase != PhaseRunning && p.Phase != PhaseDraining {
		return 0
	}
	return int(p.at(at.UnixMicro()))
}

// at is the value of the function at t, in microseconds.
func (p Plan) at(t int64) float64 {
	i := sort.Search(len(p.Points), func(i int) bool { return p.Points[i].At > t })
	switch i {
	case 0:
		return 0
	case len(p.Points):
		return p.Points[i-1].Users
	}
	a, b := p.Points[i-1], p.Points[i]
	share := float64(t-a.At) / float64(b.At-a.At)
	return a.Users + share*(b.Users-a.Users)
}

// Peak is the largest number of users that the plan reaches.
func (p Plan) Peak() int {
	peak := 0.0
	for _, point := range p.Points {
		peak = max(peak, point.Users)
	}
	return int(peak)
}
