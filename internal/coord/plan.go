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
	// time. Before the first there are no users, after the last as many as
	// there. Two at the same time are a step.
	Points []Point `json:"points,omitempty"`
	// SpawnRate is in users a second, for the whole swarm: how fast steps are
	// followed, and places filled after a worker was lost.
	SpawnRate float64 `json:"spawn_rate"`
	// Stop is when the leader stops the run, Until when the users are gone
	// even if no leader is there to stop them. Both are in µs since 1970; 0 is
	// never.
	Stop  int64 `json:"stop,omitempty"`
	Until int64 `json:"until,omitempty"`
	// Follow says that somebody else orders the users, and the plan only says
	// how many there are: workers that know whom to obey run them.
	Follow bool `json:"follow,omitempty"`
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
	return Turn([]Point{{At: start.UnixMicro()}}, start, users, rate)
}

// Turn returns the points with another course from a time on: from as many users
// as there are then, up or down to users at rate users a second. What was
// planned for later is left out.
func Turn(points []Point, from time.Time, users int, rate float64) []Point {
	at := from.UnixMicro()
	now := value(points, at)
	kept := slices.Clone(points[:sort.Search(len(points), func(i int) bool { return points[i].At >= at })])
	took := max(float64(users)-now, now-float64(users)) / rate * 1e6
	return append(kept, Point{At: at, Users: now}, Point{At: at + int64(took), Users: float64(users)})
}

// Users returns how many users run at a time of Redis: the numbers 0..n-1.
func (p Plan) Users(at time.Time) int {
	t := at.UnixMicro()
	if p.Phase != PhaseRunning && p.Phase != PhaseDraining || p.Until != 0 && t >= p.Until {
		return 0
	}
	return int(value(p.Points, t))
}

// Rate is how many users a second may start at a time of Redis, in the whole
// swarm: the spawn rate, or what the plan's own rise takes if that is more.
func (p Plan) Rate(at time.Time) float64 {
	t := at.UnixMicro()
	i := sort.Search(len(p.Points), func(i int) bool { return p.Points[i].At > t })
	if i == 0 || i == len(p.Points) {
		return p.SpawnRate
	}
	a, b := p.Points[i-1], p.Points[i]
	return max(p.SpawnRate, (b.Users-a.Users)/(float64(b.At-a.At)/1e6))
}

// value is the value of the function at t, in microseconds.
func value(points []Point, t int64) float64 {
	i := sort.Search(len(points), func(i int) bool { return points[i].At > t })
	switch i {
	case 0:
		return 0
	case len(points):
		return points[i-1].Users
	}
	a, b := points[i-1], points[i]
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
