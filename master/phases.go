package master

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
)

// step moves on to the next phase when it is time.
func (m *Master) step(ctx context.Context) error {
	switch m.plan.Phase {
	case coord.PhaseWaiting:
		return m.wait(ctx)
	case coord.PhaseRunning:
		if m.cfg.Follow {
			if err := m.follow(ctx); err != nil {
				return err
			}
		}
		over := m.cfg.Follow && m.testOver() || m.plan.Stop != 0 && m.now.UnixMicro() >= m.plan.Stop
		switch {
		case m.totals.LostAll:
			return m.enter(ctx, coord.PhaseStopping)
		case m.interrupted, m.told, over:
			return m.enter(ctx, coord.PhaseDraining)
		}
	case coord.PhaseDraining:
		limit := time.Duration(m.cfg.Spec.Probe.Timeout) + drainLimit
		if m.interrupted || m.told {
			limit = interruptedDrain
		}
		drained := true
		for _, probe := range m.ready(coord.KindProbe) {
			drained = drained && probe.State.Drained
		}
		if drained || m.totals.LostAll || time.Since(m.since) > limit {
			return m.enter(ctx, coord.PhaseStopping)
		}
	case coord.PhaseStopping:
		done := true
		for _, member := range m.members {
			if member.State.Run == m.run.ID && member.State.Refusal == "" {
				done = done && member.State.Done
			}
		}
		overdue := time.Since(m.since) > time.Duration(m.cfg.Spec.Load.StopTimeout)+stopLimit
		if overdue && !done {
			m.log.Warn("members have not finished in time; their last statistics are missing")
		}
		if !done && !overdue {
			return nil
		}
		if m.accountsAreBack() {
			return m.enter(ctx, coord.PhaseEnded)
		}
		if !m.patient {
			m.patient = true
			settings := m.pool.Settings()
			m.log.Info("waiting for the leases of the dead to run out", zap.Duration("at most", settings.LeaseTTL+settings.LockDelay+time.Second))
		}
	}
	return nil
}

// wait starts the run once everybody is there.
func (m *Master) wait(ctx context.Context) error {
	if m.cfg.Follow {
		return m.awaitTest(ctx)
	}
	workers, probes := len(m.ready(coord.KindWorker)), len(m.ready(coord.KindProbe))
	needProbe := 0
	if m.cfg.Spec.UsesProbe() {
		needProbe = 1
	}
	if workers < m.cfg.Workers || probes < needProbe {
		missing := m.missing(workers, probes, needProbe)
		if m.interrupted {
			return fmt.Errorf("%w while waiting for %s", ErrInterrupted, missing)
		}
		if m.told {
			return m.enter(ctx, coord.PhaseEnded)
		}
		if limit := m.cfg.WorkersWait; limit > 0 && time.Since(m.since) > limit {
			return &StartError{fmt.Sprintf("after %v the swarm %q still waits for %s", limit, m.cfg.Swarm, missing)}
		}
		if missing != m.waitingFor {
			m.waitingFor = missing
			m.log.Info("waiting for " + missing)
		}
		return nil
	}
	start := m.now.Add(startDelay)
	load := m.cfg.Spec.Load
	load.Users, load.SpawnRate = m.load.Users, m.load.SpawnRate
	m.plan.Points, m.plan.SpawnRate = course(load, start), load.SpawnRate
	length := load.Length()
	if m.load.RunTime > 0 {
		length = m.load.RunTime
	}
	if length > 0 {
		m.setEnd(&m.plan, start.Add(length))
	}
	return m.enter(ctx, coord.PhaseRunning)
}

// missing says who is not there yet, and who is but refuses.
func (m *Master) missing(workers, probes, needProbe int) string {
	var parts []string
	if n := m.cfg.Workers; workers < n {
		parts = append(parts, fmt.Sprintf("workers (%d of %d are ready)", workers, n))
	}
	if probes < needProbe {
		come := slices.IndexFunc(m.members, func(member coord.Present) bool {
			return member.State.Kind == coord.KindProbe && member.State.Run == m.run.ID && member.State.Refusal == ""
		})
		if come < 0 {
			parts = append(parts, "a probe (start one with `throng probe`, or set `probe: {routes: []}` to do without)")
		} else {
			parts = append(parts, fmt.Sprintf("probe %s to get its accounts and log in (its log says what keeps it)", m.members[come].State.Name))
		}
	}
	for _, member := range m.members {
		if member.State.Refusal != "" && member.State.Run == m.run.ID {
			parts = append(parts, fmt.Sprintf("%s %s, which refuses: %s", member.State.Kind, member.State.Name, member.State.Refusal))
		}
	}
	return strings.Join(parts, " and ")
}

// enter publishes the plan with the next phase, and shares the slots out when
// users are about to start: there is time until the plan's first point.
func (m *Master) enter(ctx context.Context, phase coord.Phase) error {
	next := m.plan
	next.Phase = phase
	if err := m.publish(ctx, next); err != nil {
		return err
	}
	m.since = time.Now()
	m.log.Info("phase", zap.String("phase", string(phase)))
	if phase == coord.PhaseStopping {
		m.totals.Stopped = m.now
	}
	if phase == coord.PhaseRunning {
		return m.assign(ctx)
	}
	return nil
}

// publish replaces the plan.
func (m *Master) publish(ctx context.Context, next coord.Plan) error {
	version, err := m.leader.Publish(ctx, next)
	if err != nil {
		return err
	}
	m.plan, m.plan.Version = next, version
	return nil
}

// startTime is when the first user starts, by Redis's clock.
func (m *Master) startTime() time.Time {
	if len(m.plan.Points) == 0 {
		return m.now
	}
	return time.UnixMicro(m.plan.Points[0].At)
}

// accountsAreBack says that nothing is leased any more, or that it has been
// long enough for everything of the dead to be reclaimed.
func (m *Master) accountsAreBack() bool {
	leased := int64(0)
	for _, stats := range m.accounts {
		leased += stats.Leased
	}
	if leased == 0 {
		return true
	}
	settings := m.pool.Settings()
	if time.Since(m.since) <= settings.LeaseTTL+settings.LockDelay+time.Second {
		return false
	}
	m.log.Warn("accounts are still leased; leaving them to the next reclaimer", zap.Int64("leased", leased))
	return true
}
