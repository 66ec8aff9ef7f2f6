package master

import (
	"cmp"
	"slices"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/master/report"
)

// summary says what is known of the run now.
func (m *Master) summary() *report.Summary {
	s, _ := m.summarize()
	return s
}

// summarize also returns the figures of the whole run that the summary is made
// from.
func (m *Master) summarize() (*report.Summary, *tally) {
	t, spec := m.totals, m.cfg.Spec
	end := m.now
	if !t.Stopped.IsZero() {
		end = t.Stopped // what comes after the users is no part of the run
	}
	whole, counted := t.figures()
	windows := t.windows(end)
	s := &report.Summary{
		Schema: report.Schema,
		Run: report.Run{
			ID: m.run.ID, Swarm: m.cfg.Swarm, Scenario: spec.Scenario, Target: spec.Target,
			StartedAt: m.startTime().UTC(), DurationS: m.duration().Seconds(),
			UsersPeak: t.UsersPeak, Workers: len(t.Workers), Processes: slices.Clone(t.Processes),
			State: string(m.plan.Phase), Events: t.events(end),
		},
		Delivery:   report.Delivery{Probe: routeRows(whole)},
		Accounts:   []report.Account{},
		Thresholds: counted.judgeThresholds(spec.Thresholds),
		Generator:  t.judgeGenerator(whole.Routes, spec, m.cfg.SharedMachine),
		Errors:     []report.Error{},
	}
	for _, member := range m.members {
		if member.State.Run == m.run.ID {
			s.Run.Users += member.State.Users
		}
	}
	s.Operations = operationRows(whole, s.Run.DurationS)
	for _, op := range whole.Operations {
		for text, n := range op.Errors {
			s.Errors = append(s.Errors, report.Error{Type: op.Type, Name: op.Name, Error: text, Occurrences: n})
		}
	}
	slices.SortFunc(s.Errors, func(a, b report.Error) int {
		return cmp.Or(cmp.Compare(b.Occurrences, a.Occurrences), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Error, b.Error))
	})
	if len(windows) > 0 {
		excluded, _ := covered(windows)
		remains := max(0, s.Run.DurationS-excluded.Seconds())
		s.Undamaged = &report.Undamaged{
			DurationS: remains, Operations: operationRows(counted, remains), Delivery: report.Delivery{Probe: routeRows(counted)},
		}
	}
	m.addAccounts(s)
	m.judge(s, whole, windows)
	return s, whole
}

// operationRows are the rows of operations over so many seconds.
func operationRows(t *tally, seconds float64) []report.Operation {
	rows := []report.Operation{}
	for _, op := range t.Operations {
		rows = append(rows, report.Operation{
			Type: op.Type, Name: op.Name, Count: op.Count, Failures: op.Failures, Cancelled: op.Cancelled,
			RPS: float64(op.Count) / max(seconds, 1e-9), Bytes: op.Bytes, Times: times(op.Took),
		})
	}
	slices.SortFunc(rows, func(a, b report.Operation) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

// routeRows are the rows of the probe's routes.
func routeRows(t *tally) []report.Route {
	rows := []report.Route{}
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
		rows = append(rows, route)
	}
	slices.SortFunc(rows, func(a, b report.Route) int { return cmp.Compare(a.Route, b.Route) })
	return rows
}

// addAccounts adds the state of the pool.
func (m *Master) addAccounts(s *report.Summary) {
	t := m.totals
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
			ms := hist.Milliseconds(wait.Quantile(0.99))
			row.WaitP99MS = &ms
		}
		s.Accounts = append(s.Accounts, row)
	}
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
