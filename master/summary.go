package master

import (
	"cmp"
	"slices"
	"time"

	"github.com/throng-load/throng/master/report"
)

// summary says what is known of the run now.
func (m *Master) summary() *report.Summary {
	t, spec := m.totals, m.cfg.Spec
	s := &report.Summary{
		Schema: report.Schema,
		Run: report.Run{
			ID: m.run.ID, Swarm: m.cfg.Swarm, Scenario: spec.Scenario, Target: spec.Target,
			StartedAt: m.startTime().UTC(), DurationS: m.duration().Seconds(),
			UsersPeak: t.UsersPeak, Workers: len(t.Workers), Processes: t.Processes,
			State: string(m.plan.Phase), Events: append([]report.Event{}, t.Events...),
		},
		Operations: []report.Operation{},
		Delivery:   report.Delivery{Probe: []report.Route{}},
		Accounts:   []report.Account{},
		Thresholds: t.judgeThresholds(spec.Thresholds),
		Generator:  t.judgeGenerator(spec, m.cfg.SharedMachine),
		Errors:     []report.Error{},
	}
	for _, member := range m.members {
		if member.State.Run == m.run.ID {
			s.Run.Users += member.State.Users
		}
	}
	seconds := max(s.Run.DurationS, 1e-9)
	for _, op := range t.Operations {
		s.Operations = append(s.Operations, report.Operation{
			Type: op.Type, Name: op.Name, Count: op.Count, Failures: op.Failures, Cancelled: op.Cancelled,
			RPS: float64(op.Count) / seconds, Bytes: op.Bytes, Times: times(op.Took),
		})
		for text, n := range op.Errors {
			s.Errors = append(s.Errors, report.Error{Type: op.Type, Name: op.Name, Error: text, Occurrences: n})
		}
	}
	slices.SortFunc(s.Operations, func(a, b report.Operation) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.Errors, func(a, b report.Error) int {
		return cmp.Or(cmp.Compare(b.Occurrences, a.Occurrences), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Error, b.Error))
	})
	for _, r := range t.Routes {
		received := r.OnTime + r.Late
		route := report.Route{
			Route: r.Route, Sent: r.Sent, Received: received, Open: r.Sent - received - r.Lost,
			OnTime: r.OnTime, Late: r.Late, Lost: r.Lost, AfterTimeout: r.AfterTimeout,
			Duplicated: r.Duplicated, Reordered: r.Reordered, Unexpected: r.Unexpected, Times: times(r.Latency),
		}
		if route.Times != nil {
			route.P90MS = 0 // not part of a route's figures
		}
		s.Delivery.Probe = append(s.Delivery.Probe, route)
	}
	slices.SortFunc(s.Delivery.Probe, func(a, b report.Route) int { return cmp.Compare(a.Route, b.Route) })
	for _, a := range m.accounts {
		row := report.Account{
			Pool: m.pool.Name(), Role: a.Role, Known: a.Known, Available: a.Available, Leased: a.Leased, Resting: a.Resting,
			Quarantined: a.Quarantined, Retired: a.Retired, Leases: a.Leases, Releases: a.Releases,
			Reclaimed: a.Reclaimed, PeakLeased: a.PeakLeased, Waiting: a.Waiting, Created: a.Created, Failed: a.Failed,
			Uses: a.Uses(), Reasons: m.reasons[a.Role], Short: m.short[a.Role],
		}
		for bucket, n := range a.Waits {
			if n > 0 {
				row.Waits = append(row.Waits, report.Wait{BelowMS: a.Waits.Upper(bucket).Milliseconds(), Count: n})
			}
		}
		if wait := t.Waits[a.Role]; wait != nil && wait.Count() > 0 {
			ms := milliseconds(wait.Quantile(0.99))
			row.WaitP99MS = &ms
		}
		s.Accounts = append(s.Accounts, row)
	}
	m.judge(s)
	return s
}

// duration is how long users have been there: until now, or until they were
// told to stop.
func (m *Master) duration() time.Duration {
	end := m.totals.Stopped
	if end.IsZero() {
		end = m.now
	}
	return max(0, end.Sub(m.startTime()))
}
