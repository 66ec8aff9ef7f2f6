package master

import (
	"slices"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// Snapshot is how things stand at one moment. It is never changed, and may be
// kept.
type Snapshot struct {
	// Summary is what is known of the run, or of the last one; nil before there
	// was one.
	Summary *report.Summary
	// Operations are the whole run's, with their distributions.
	Operations []*opstats.Delta
	// Routes are the probe's, with their distributions.
	Routes []*coord.Route
	// Spec is what runs or is to run.
	Spec *scenarios.Spec
	// Plan is zero before there was a run. Wanted is how many users it has now.
	Plan   coord.Plan
	Wanted int
	// Members are the processes that are there, of whatever run.
	Members []coord.Present
	// Now is Redis's time.
	Now time.Time
	// Idle says that nothing runs: what is shown is the last run, whatever its
	// phase, and Trouble is why it came to no outcome, if it did not.
	Idle    bool
	Trouble string
}

// snapshot is how the run stands.
func (m *Master) snapshot() *Snapshot {
	summary, whole := m.summarize()
	return &Snapshot{
		Summary: summary, Operations: whole.Operations, Routes: whole.Routes, Spec: m.cfg.Spec, Plan: m.plan, Wanted: m.plan.Users(m.now),
		Members: slices.Clone(m.members), Now: m.now,
	}
}
