package master

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/master/report"
)

// callRoll learns who is there, takes the silent off the roll, and shares the
// slots out anew when the workers are others than before.
func (m *Master) callRoll(ctx context.Context) error {
	members, now, err := m.leader.Roll(ctx)
	if err != nil {
		return err
	}
	m.now = now
	if away := time.Since(m.answered); away > lostAfter {
		m.event(report.EventRedisAway, now.Add(-away), now, "everybody was out of touch")
	}
	if time.Since(m.answered) > 2*roundEvery {
		m.lenientUntil = time.Now().Add(lostAfter)
	}
	lenient := time.Now().Before(m.lenientUntil)
	var lost []coord.Present
	m.members = m.members[:0]
	for _, member := range members {
		if member.Silent < lostAfter || lenient {
			m.members = append(m.members, member)
		} else {
			lost = append(lost, member)
		}
	}
	if err := m.strike(ctx, lost); err != nil {
		return err
	}
	if m.plan.Phase == coord.PhaseWaiting {
		return nil
	}
	m.totals.note(m.members, m.run.ID)
	if m.started() {
		m.watchWorkers()
		m.watchProbe()
	}
	return m.assign(ctx)
}

// strike takes members off the roll that have been silent for too long. One
// that is alive comes back with its next heartbeat.
func (m *Master) strike(ctx context.Context, lost []coord.Present) error {
	if len(lost) == 0 {
		return nil
	}
	ids := make([]string, len(lost))
	for i, member := range lost {
		ids[i] = member.ID
		m.log.Warn("member lost", zap.String("kind", string(member.State.Kind)), zap.String("member", member.State.Name), zap.Duration("silent", member.Silent))
		if member.State.Run != m.run.ID || !m.started() && m.plan.Phase != coord.PhaseStopping {
			continue
		}
		kind, detail := report.EventWorkerLost, fmt.Sprintf("%s with %d users; what it counted last is missing", member.State.Name, member.State.Users)
		if member.State.Kind == coord.KindProbe {
			kind, detail = report.EventProbeLost, member.State.Name
		}
		m.event(kind, m.now.Add(-member.Silent), m.now, detail)
	}
	return m.leader.Remove(ctx, ids...)
}

// watchWorkers notices when no worker is left, and none has come in the time in
// which one that is alive would have been heard of.
func (m *Master) watchWorkers() {
	switch {
	case len(m.ready(coord.KindWorker)) > 0:
		m.aloneSince = time.Time{}
	case m.aloneSince.IsZero():
		m.aloneSince = time.Now()
	case time.Since(m.aloneSince) > lostAfter && !m.totals.LostAll:
		m.totals.LostAll = true
		m.exclude("no worker was left", 2*lostAfter)
	}
}

// present says whether a member of the kind is on the roll, ready or not.
func (m *Master) present(kind coord.Kind) bool {
	return slices.ContainsFunc(m.members, func(member coord.Present) bool {
		return member.State.Kind == kind && member.State.Run == m.run.ID
	})
}

// exclude opens a window that does not count. It may have begun so long ago.
func (m *Master) exclude(reason string, ago time.Duration) {
	from := m.now.Add(-ago)
	if start := m.startTime(); from.Before(start) {
		from = start
	}
	m.totals.Excluded = append(m.totals.Excluded, report.Window{From: from.UTC(), Reason: reason})
}

// watchProbe keeps the windows in which nobody measures delivery.
func (m *Master) watchProbe() {
	if !m.cfg.Spec.UsesProbe() {
		return
	}
	windows := m.totals.Excluded
	open := len(windows) > 0 && windows[len(windows)-1].To.IsZero()
	there := len(m.ready(coord.KindProbe)) > 0
	switch {
	case !there && !open && m.present(coord.KindProbe):
		m.exclude("the probe had no accounts: delivery was not measured", probeSays)
	case !there && !open:
		m.exclude("no probe: delivery was not measured", lostAfter)
	case there && open:
		windows[len(windows)-1].To = m.now.UTC()
	}
}

// started says that users have been started and not yet told to stop.
func (m *Master) started() bool {
	return m.plan.Phase == coord.PhaseRunning || m.plan.Phase == coord.PhaseDraining
}

// ready returns the members of a kind that could take part in the run.
func (m *Master) ready(kind coord.Kind) []coord.Present {
	var ready []coord.Present
	for _, member := range m.members {
		if s := member.State; s.Kind == kind && s.Run == m.run.ID && s.Ready && s.Refusal == "" {
			ready = append(ready, member)
		}
	}
	return ready
}

// assign shares the slots out among the workers that are ready, if they are
// others than before.
func (m *Master) assign(ctx context.Context) error {
	if !m.started() {
		return nil
	}
	var ids []string
	for _, worker := range m.ready(coord.KindWorker) {
		ids = append(ids, worker.ID)
	}
	slices.Sort(ids)
	same := len(ids) == len(m.workers)
	for _, id := range ids {
		same = same && m.workers[id] != nil
	}
	if same {
		return nil
	}
	// Never a version that a worker may have seen, also when nobody had slots
	// in between.
	m.totals.SlotVersion++
	shares := share(m.workers, ids, m.totals.SlotVersion)
	if err := m.leader.Assign(ctx, shares); err != nil {
		return err
	}
	first := len(m.totals.Workers) == 0
	for _, worker := range m.ready(coord.KindWorker) {
		if !m.totals.Workers[worker.ID] {
			m.totals.Workers[worker.ID] = true
			if !first {
				m.event(report.EventWorkerJoined, m.now, m.now, worker.State.Name)
			}
		}
	}
	m.workers = shares
	m.log.Info("slots shared out", zap.Int("workers", len(ids)))
	return nil
}
