package master

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
)

// totals is everything that is known of a run from the reports of its members
// and from the roll: what is saved, and what the summary is made from. It
// belongs to the master's goroutine.
type totals struct {
	Operations []*opstats.Delta           `json:"operations"`
	Routes     []*coord.Route             `json:"routes"`
	Waits      map[string]*hist.Histogram `json:"waits"`      // by role
	Generators map[string]*generator      `json:"generators"` // by member
	UsersPeak  int                        `json:"users_peak"`
	Workers    map[string]bool            `json:"workers"` // ids of workers that had slots
	Processes  []report.Process           `json:"processes"`
	Seen       map[string]bool            `json:"seen"` // ids of the members in Processes
	Events     []report.Event             `json:"events"`
	// Excluded are the windows that do not count. The last is still open while
	// its end is zero.
	Excluded []report.Window `json:"excluded"`
	LostAll  bool            `json:"lost_all"` // no worker was left
	// SlotVersion is the version of the newest assignment.
	SlotVersion int64 `json:"slot_version"`
	// Stopped is when users were told to stop, by Redis's clock; zero before.
	Stopped time.Time `json:"stopped"`
	// Before is how the pool stood when the run began, PeakLeased the most that
	// rounds have found leased since, both by role.
	Before     map[string]accounts.RoleStats `json:"before"`
	PeakLeased map[string]int64              `json:"peak_leased"`

	// What follows is saved beside the rest, where scripts can read it.
	numbers  map[string]int64 // last merged report of each member
	position string           // last entry of the stream that was read
}

// generator is how one process of the load generator fared.
type generator struct {
	SchedLag *hist.Histogram `json:"sched_lag"`
	CPUMax   float64         `json:"cpu_max"`
	// Overload is the longest unbroken time, in seconds, that it was over its
	// limit.
	Overload float64 `json:"overload"`
}

func newTotals() *totals {
	return &totals{
		Waits: make(map[string]*hist.Histogram), Generators: make(map[string]*generator),
		Before: make(map[string]accounts.RoleStats), PeakLeased: make(map[string]int64),
		Workers: make(map[string]bool), Seen: make(map[string]bool), numbers: make(map[string]int64),
	}
}

// loadTotals takes up what a master before has saved.
func loadTotals(saved coord.Saved) (*totals, error) {
	t := newTotals()
	if len(saved.Body) > 0 {
		if err := json.Unmarshal(saved.Body, t); err != nil {
			return nil, fmt.Errorf("read saved statistics: %w", err)
		}
	}
	t.numbers, t.position = saved.Numbers, saved.Position
	return t, nil
}

// saved is the form to save.
func (t *totals) saved(run string) (coord.Saved, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return coord.Saved{}, fmt.Errorf("encode statistics: %w", err)
	}
	return coord.Saved{Run: run, Body: body, Position: t.position, Numbers: t.numbers}, nil
}

// merge takes one entry of the stream and says whether it counted. An entry
// that is not the member's next one does not: it was merged before, or Redis
// lost the one before it and the member will send both again.
func (t *totals) merge(run string, e coord.Entry) bool {
	t.position = e.ID
	if e.Run != run || e.Number != t.numbers[e.Member]+1 {
		return false
	}
	t.numbers[e.Member] = e.Number
	r := &e.Report
	for i := range r.Operations {
		t.operation(&r.Operations[i])
	}
	for i := range r.Routes {
		t.route(&r.Routes[i])
	}
	for role, wait := range r.Waits {
		if t.Waits[role] == nil {
			t.Waits[role] = new(hist.Histogram)
		}
		t.Waits[role].Merge(wait)
	}
	t.generator(e.Member, r.CPU, r.Overload, r.SchedLag)
	return true
}

func (t *totals) generator(member string, cpu, overload float64, lag *hist.Histogram) {
	g := t.Generators[member]
	if g == nil {
		g = &generator{SchedLag: new(hist.Histogram)}
		t.Generators[member] = g
	}
	g.CPUMax = max(g.CPUMax, cpu)
	g.Overload = max(g.Overload, overload)
	if lag != nil {
		g.SchedLag.Merge(lag)
	}
}

func (t *totals) operation(d *opstats.Delta) {
	for _, row := range t.Operations {
		if row.Type == d.Type && row.Name == d.Name {
			row.Merge(*d)
			return
		}
	}
	row := &opstats.Delta{Type: d.Type, Name: d.Name}
	row.Merge(*d)
	t.Operations = append(t.Operations, row)
}

func (t *totals) route(r *coord.Route) {
	for _, row := range t.Routes {
		if row.Route == r.Route {
			row.Merge(r)
			return
		}
	}
	row := &coord.Route{Route: r.Route}
	row.Merge(r)
	t.Routes = append(t.Routes, row)
}

// pool takes the counts of the pool as they stand and returns them as of this
// run. The pool counts on over runs; its own peak is exact, and this run's if it
// has grown since the run began.
func (t *totals) pool(stats []accounts.RoleStats) []accounts.RoleStats {
	run := make([]accounts.RoleStats, len(stats))
	for i, s := range stats {
		before := t.Before[s.Role]
		t.PeakLeased[s.Role] = max(t.PeakLeased[s.Role], s.Leased)
		if s.PeakLeased <= before.PeakLeased {
			s.PeakLeased = t.PeakLeased[s.Role]
		}
		s.Leases -= before.Leases
		s.Releases -= before.Releases
		s.Reclaimed -= before.Reclaimed
		s.Created -= before.Created
		s.Failed -= before.Failed
		for bucket := range s.Waits {
			s.Waits[bucket] -= before.Waits[bucket]
		}
		run[i] = s
	}
	return run
}

// note remembers the processes that the roll shows.
func (t *totals) note(members []coord.Present, run string) {
	users := 0
	for _, m := range members {
		if m.State.Run != run {
			continue
		}
		users += m.State.Users
		if !t.Seen[m.ID] {
			t.Seen[m.ID] = true
			t.Processes = append(t.Processes, report.Process{Role: string(m.State.Kind), PID: m.State.PID})
		}
	}
	t.UsersPeak = max(t.UsersPeak, users)
}
