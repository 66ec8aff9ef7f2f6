package master

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// totals is everything that is known of a run from the reports of its members
// and from the roll: what is saved, and what the summary is made from. It
// belongs to the master's goroutine.
type totals struct {
	ledger
	timeline
	Waits      map[string]*hist.Histogram `json:"waits"`      // by role
	Generators map[string]*generator      `json:"generators"` // by member
	UsersPeak  int                        `json:"users_peak"`
	Workers    map[string]bool            `json:"workers"` // ids of workers that had slots
	Processes  []report.Process           `json:"processes"`
	Seen       map[string]bool            `json:"seen"` // ids of the members in Processes
	// Struck are the members that fell silent, and when; they may come back.
	Struck  map[string]time.Time `json:"struck"`
	LostAll bool                 `json:"lost_all"` // no worker was left
	// Broken says what broke the run off; "" for nothing.
	Broken string `json:"broken"`
	// SlotVersion is the version of the newest assignment.
	SlotVersion int64 `json:"slot_version"`
	// Stopped is when users were told to stop, LastSeen when a master last saved,
	// by Redis's clock; zero before.
	Stopped  time.Time `json:"stopped"`
	LastSeen time.Time `json:"last_seen"`
	// Before is how the pool stood when the run began, PeakLeased the most that
	// rounds have found leased since, both by role.
	Before     map[string]accounts.RoleStats `json:"before"`
	PeakLeased map[string]int64              `json:"peak_leased"`

	// What follows is saved beside the rest, where scripts can read it.
	numbers  map[string]int64 // last merged report of each member
	position string           // last entry of the stream that was read

	names    map[string]string // of members, for people
	overload time.Duration     // for how long a process may use too much of its cores
	// found is the mark of what Redis has saved, as the last roll found it.
	found string
}

// generator is how one process of the load generator fared.
type generator struct {
	// SchedLag is how long its goroutines have waited for a processor, in
	// seconds: 99 % no longer.
	SchedLag float64 `json:"sched_lag"`
	CPUMax   float64 `json:"cpu_max"`
	// Overload is the longest unbroken time, in seconds, that it was over its
	// limit.
	Overload float64 `json:"overload"`
}

func newTotals(trust scenarios.TrustSpec) *totals {
	return &totals{
		names: make(map[string]string), overload: time.Duration(trust.CPUFor),
		Waits: make(map[string]*hist.Histogram), Generators: make(map[string]*generator),
		Before: make(map[string]accounts.RoleStats), PeakLeased: make(map[string]int64),
		Workers: make(map[string]bool), Seen: make(map[string]bool), Struck: make(map[string]time.Time),
		numbers: make(map[string]int64),
	}
}

// loadTotals takes up what a master before has saved.
func loadTotals(saved coord.Saved, trust scenarios.TrustSpec) (*totals, error) {
	t := newTotals(trust)
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

// merge takes one entry of the stream, at a time of Redis, and says whether it
// counted. An entry that is not the member's next one does not: it was merged
// before, or Redis lost the one before it and the member will send both again.
// It does count if the member no longer has those before it: then they were
// saved, and lost together with a master.
func (t *totals) merge(run string, e coord.Entry, now time.Time) bool {
	t.position = e.ID
	next := t.numbers[e.Member] + 1
	if e.Run != run || e.Number < next || e.Number > next && e.Number > e.Oldest {
		return false
	}
	r := &e.Report
	if e.Number > next {
		from := time.UnixMicro(r.From)
		t.note(report.EventStatisticsLost, from, from, fmt.Sprintf("%d reports of a member: Redis lost them after they were saved, and the master that had merged them died", e.Number-next))
	}
	t.numbers[e.Member] = e.Number
	t.ledger.add(r, now)
	for role, wait := range r.Waits {
		if t.Waits[role] == nil {
			t.Waits[role] = new(hist.Histogram)
		}
		t.Waits[role].Merge(wait)
	}
	t.generator(e.Member, r)
	return true
}

// generator notes how a process fared, and when it was overloaded.
func (t *totals) generator(member string, r *coord.Report) {
	g := t.Generators[member]
	if g == nil {
		g = new(generator)
		t.Generators[member] = g
	}
	g.CPUMax = max(g.CPUMax, r.CPU)
	g.Overload = max(g.Overload, r.Overload)
	if r.SchedLag > 0 {
		g.SchedLag = r.SchedLag
	}
	to := time.UnixMicro(r.To)
	if r.Overload >= t.overload.Seconds() {
		name := cmp.Or(t.names[member], member)
		t.begin(report.EventOverloaded, member, to.Add(-time.Duration(r.Overload*float64(time.Second))), name+" used more of its cores than trust.cpu allows")
	} else {
		t.end(report.EventOverloaded, member, to)
	}
}

// settle decides which figures count that are old enough for that, and notes
// when the target refused most of what was asked of it.
func (t *totals) settle(now time.Time) {
	t.ledger.settle(now, func(second int64, of *tally) {
		count, failures := of.load()
		at := time.Unix(second, 0)
		switch {
		case count >= fewestOperations && 2*failures >= count:
			t.begin(report.EventTargetRefused, "target", at, "at least half of all operations of a second failed")
		case count > 0:
			t.end(report.EventTargetRefused, "target", at)
		}
	})
}

// fewestOperations is how many operations of a second say something about the target.
const fewestOperations = 5

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

// notice remembers the processes that the roll shows, those that come back, and
// those that are about to leave.
func (t *totals) notice(members []coord.Present, run string, now time.Time) {
	users := 0
	for _, m := range members {
		if m.State.Run != run {
			continue
		}
		users += m.State.Users
		t.names[m.ID] = string(m.State.Kind) + " " + m.State.Name
		if !t.Seen[m.ID] {
			t.Seen[m.ID] = true
			t.Processes = append(t.Processes, report.Process{Role: string(m.State.Kind), PID: m.State.PID})
		}
		if since, struck := t.Struck[m.ID]; struck {
			delete(t.Struck, m.ID)
			t.note(report.EventMemberBack, since, now, fmt.Sprintf("%s %s was out of touch and is back; what it counted meanwhile comes", m.State.Kind, m.State.Name))
			if m.State.Kind == coord.KindProbe {
				t.end(report.EventProbeLost, m.ID, now)
			}
		}
		if m.State.Leaving && m.State.Kind == coord.KindWorker && !t.had(report.EventWorkerLeft, m.ID) {
			t.begin(report.EventWorkerLeft, m.ID, now, m.State.Name+" was told to end and hands its users over")
		}
	}
	t.UsersPeak = max(t.UsersPeak, users)
}
