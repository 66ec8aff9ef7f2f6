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
	roll, err := m.leader.Roll(ctx)
	if err != nil {
		return err
	}
	m.now, m.rolled, m.totals.found = roll.Now, time.Now(), roll.Saved
	m.noteAbsence()
	if err := m.putBack(ctx, roll); err != nil {
		return err
	}
	lenient := time.Now().Before(m.lenientUntil)
	var lost []coord.Present
	m.members = m.members[:0]
	for _, member := range roll.Members {
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
	m.totals.notice(m.members, m.run.ID, m.now)
	if m.started() {
		m.watchWorkers()
		m.watchProbe()
		if err := m.watchPool(ctx); err != nil {
			return err
		}
	}
	return m.assign(ctx)
}

// putBack sees to it that Redis has the plan and the assignment that this master
// goes by: it may lose its last second when it goes down, and whoever does not hear
// that a write was done goes by an older one.
func (m *Master) putBack(ctx context.Context, roll coord.Roll) error {
	m.misassigned = roll.Slots != m.totals.SlotVersion
	if roll.Plan == m.plan.Version {
		return nil
	}
	m.log.Warn("Redis has another plan than this master; publishing it again", zap.Int64("has", roll.Plan), zap.Int64("want", m.plan.Version))
	return m.publish(ctx, m.plan)
}

// noteAbsence notes that Redis was away, or this process, since the last round.
func (m *Master) noteAbsence() {
	away := time.Since(m.answered)
	if away <= 3*roundEvery {
		return
	}
	m.lenientUntil = time.Now().Add(lostAfter)
	from := m.now.Add(-away)
	switch {
	case !m.started():
	case m.failing.IsZero():
		m.totals.span(report.EventMasterPaused, from, m.now, "this process stood still; users went on")
	default:
		m.totals.span(report.EventRedisAway, from, m.now, "everybody was out of touch; users went on with what they had")
		if away > lostAfter {
			m.totals.open(keyUsers, "Redis was away: workers began nothing new", from, false)
		}
	}
}

// The conditions that damage a window.
const (
	keyUsers  = "users"  // fewer users than planned
	keyFrozen = "frozen" // no accounts are leased
	keyProbe  = "probe"  // delivery is not measured
)

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
		from := m.now.Add(-member.Silent)
		m.totals.Struck[member.ID] = from
		if member.State.Kind == coord.KindProbe {
			m.totals.begin(report.EventProbeLost, member.ID, from, member.State.Name)
			continue
		}
		m.totals.begin(report.EventWorkerLost, member.ID, from, fmt.Sprintf(
			"%s with %d users: if it is dead, what it counted last is missing; if only cut off, its users go on beside those that take over until its leases end", member.State.Name, member.State.Users))
		// A second before: what it had not reported is missing there.
		m.totals.open(keyUsers, "worker "+member.State.Name+" was lost: its users were missing", from.Add(-time.Second), false)
	}
	return m.leader.Remove(ctx, ids...)
}

// watchWorkers notices when users are missing, and when no worker is left and
// none has come in the time in which one that is alive would have been heard of.
func (m *Master) watchWorkers() {
	if m.full() {
		m.totals.close(keyUsers, m.now)
		m.totals.endAll(report.EventWorkerLost, m.now)
		m.totals.endAll(report.EventWorkerLeft, m.now)
	}
	switch {
	case len(m.ready(coord.KindWorker)) > 0:
		m.aloneSince = time.Time{}
	case m.aloneSince.IsZero():
		m.aloneSince = time.Now()
	case time.Since(m.aloneSince) > lostAfter && !m.totals.LostAll:
		m.totals.LostAll = true
		m.exclude(keyUsers, "no worker was left", 2*lostAfter, false)
	}
}

// full says whether as many users run as are planned. Heartbeats are a second
// old: during a ramp it is those of a moment ago.
func (m *Master) full() bool {
	users := 0
	for _, member := range m.members {
		if member.State.Run == m.run.ID {
			users += member.State.Users
		}
	}
	return users >= min(m.plan.Users(m.now), m.plan.Users(m.now.Add(-2*time.Second)))
}

// present says whether a member of the kind is on the roll, ready or not.
func (m *Master) present(kind coord.Kind) bool {
	return slices.ContainsFunc(m.members, func(member coord.Present) bool {
		return member.State.Kind == kind && member.State.Run == m.run.ID
	})
}

// exclude opens a window that does not count. It may have begun so long ago.
func (m *Master) exclude(key, reason string, ago time.Duration, delivery bool) {
	from := m.now.Add(-ago)
	if start := m.startTime(); from.Before(start) {
		from = start
	}
	m.totals.open(key, reason, from, delivery)
}

// watchProbe keeps the windows in which nobody measures delivery.
func (m *Master) watchProbe() {
	switch {
	case !m.cfg.Spec.UsesProbe():
	case len(m.ready(coord.KindProbe)) > 0:
		m.totals.close(keyProbe, m.now)
	case m.present(coord.KindProbe):
		m.exclude(keyProbe, "the probe had no accounts, or nobody controlled it: delivery was not measured", probeSays, true)
	default:
		m.exclude(keyProbe, "no probe: delivery was not measured", lostAfter, true)
	}
}

// watchPool keeps the windows in which no accounts are leased because Redis was
// restarted: users that need one wait.
func (m *Master) watchPool(ctx context.Context) error {
	frozen, err := m.pool.Frozen(ctx)
	switch {
	case err != nil:
		return err
	case frozen > 0:
		settings := m.pool.Settings()
		since := settings.LeaseTTL + settings.LockDelay + settings.ReplicaLag - frozen
		m.exclude(keyFrozen, "Redis was restarted: no account was leased until it was sure that nobody uses it", since, false)
	default:
		m.totals.close(keyFrozen, m.now)
	}
	return nil
}

// started says that users have been started and not yet told to stop.
func (m *Master) started() bool {
	return m.plan.Phase == coord.PhaseRunning || m.plan.Phase == coord.PhaseDraining
}

// ready returns the members of a kind that could take part in the run.
func (m *Master) ready(kind coord.Kind) []coord.Present {
	var ready []coord.Present
	for _, member := range m.members {
		if s := member.State; s.Kind == kind && s.Run == m.run.ID && s.Ready && s.Refusal == "" && !s.Leaving {
			ready = append(ready, member)
		}
	}
	return ready
}

// assignEvery keeps workers that come one after the other from moving slots
// with each.
const assignEvery = time.Second

// assign shares the slots out among the workers that are ready, if they are
// others than before or Redis has lost how they were shared.
func (m *Master) assign(ctx context.Context) error {
	if !m.started() || m.cfg.Follow {
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
	if same && !m.misassigned || time.Since(m.assigned) < assignEvery {
		return nil
	}
	// Never a version that a worker may have seen, also when nobody had slots
	// in between.
	m.totals.SlotVersion++
	shares := share(m.workers, ids, m.cfg.Spec.Acting().ClassOf, m.totals.SlotVersion)
	if err := m.leader.Assign(ctx, m.totals.SlotVersion, shares); err != nil {
		return err
	}
	first := len(m.totals.Workers) == 0
	for _, worker := range m.ready(coord.KindWorker) {
		if !m.totals.Workers[worker.ID] {
			m.totals.Workers[worker.ID] = true
			if !first {
				m.totals.note(report.EventWorkerJoined, m.now, m.now, worker.State.Name)
			}
		}
	}
	m.workers, m.assigned, m.misassigned = shares, time.Now(), false
	m.log.Info("slots shared out", zap.Int("workers", len(ids)))
	return nil
}
