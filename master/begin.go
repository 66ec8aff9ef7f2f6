package master

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// checkAccounts refuses a run in which a role has no account at all, or the probe
// too few to measure. Users that are too many for their accounts take turns.
func (m *Master) checkAccounts(ctx context.Context) error {
	stats, err := m.pool.Stats(ctx)
	if err != nil {
		return err
	}
	m.accounts = stats
	usable, quarantined := make(map[string]int64), make(map[string]int64)
	for _, s := range stats {
		usable[s.Role] = s.Available + s.Leased + s.Resting
		quarantined[s.Role] = s.Quarantined
	}
	need := m.cfg.Spec.NeededAccounts()
	for _, role := range slices.Sorted(maps.Keys(need)) {
		have := usable[role]
		if have >= int64(need[role]) {
			continue
		}
		text := fmt.Sprintf("pool %q has %d usable accounts of role %q and the run needs %d: make more with `throng accounts create`",
			m.cfg.Spec.Accounts.Pool, have, role, need[role])
		if n := quarantined[role]; n > 0 {
			text += fmt.Sprintf(" (%d more are quarantined because the target refused them: see `throng accounts list`, or try them again with `throng accounts verify --quarantined`)", n)
		}
		if have == 0 || role == scenarios.RoleProbe {
			return &StartError{text}
		}
		if m.cfg.Follow {
			continue // how many users there will be, the Locust master says
		}
		m.log.Warn(fmt.Sprintf("pool %q has %d usable accounts of role %q and the run needs %d: until there are more, users wait for each other",
			m.cfg.Spec.Accounts.Pool, have, role, need[role]))
	}
	return nil
}

// begin takes up the run that is there, or begins a new one.
func (m *Master) begin(ctx context.Context) error {
	spec, err := m.cfg.Spec.Marshal()
	if err != nil {
		return fmt.Errorf("encode spec: %w", err)
	}
	m.answered, m.since = time.Now(), time.Now()
	if resumed, err := m.resume(ctx, spec); err != nil || resumed {
		return err
	}
	return m.beginAnew(ctx, spec)
}

// beginAnew begins a run, and drops what another has left.
func (m *Master) beginAnew(ctx context.Context, spec []byte) error {
	m.run = coord.Run{ID: uuid.NewString(), Protocol: coord.Protocol, Spec: spec}
	m.plan = coord.Plan{Run: m.run.ID, Phase: coord.PhaseWaiting, SpawnRate: m.load.SpawnRate, Leave: m.cfg.ReadSpec == nil && !m.cfg.Follow, Follow: m.cfg.Follow}
	m.totals = newTotals(m.cfg.Spec.Trust)
	m.totals.Processes = []report.Process{{Role: "master", PID: os.Getpid()}}
	for _, stats := range m.accounts {
		m.totals.Before[stats.Role] = stats
	}
	version, err := m.leader.Begin(ctx, m.run, m.plan)
	if err != nil {
		return err
	}
	m.plan.Version = version
	m.log.Info("run begins", zap.String("run", m.run.ID), zap.Int64("epoch", m.leader.Epoch()))
	return nil
}

// resume takes up an unfinished run of the same spec if somebody still works
// at it.
func (m *Master) resume(ctx context.Context, spec []byte) (bool, error) {
	run, plan, saved, err := m.leader.Load(ctx)
	if err != nil {
		m.log.Warn("what the last master left cannot be read; beginning anew", zap.Error(err))
		return false, nil
	}
	switch plan.Phase {
	case coord.PhaseRunning, coord.PhaseDraining, coord.PhaseStopping:
	default:
		return false, nil
	}
	// A bridged worker that stood in for a master has merged nothing.
	if run.ID == "" || plan.Run != run.ID || run.Protocol != coord.Protocol || plan.Follow != m.cfg.Follow || plan.Follow && len(saved.Body) == 0 {
		return false, nil
	}
	roll, assigned, alive, err := m.workedAt(ctx, run, plan.Follow)
	if err != nil {
		return false, err
	}
	if !alive {
		m.log.Info("the run before was left unfinished and nobody works at it any more; beginning anew", zap.String("run", run.ID))
		return false, nil
	}
	switch same := string(run.Spec) == string(spec); {
	case !same && m.cfg.Standby:
		return false, &StartError{fmt.Sprintf("the swarm is in the middle of run %s, whose file or flags differ from this standby's: start it with the same", run.ID)}
	case !same:
		m.log.Warn("an unfinished run of another file or other flags is given up for this one", zap.String("run", run.ID))
		return false, nil
	}
	if m.totals, err = loadTotals(saved, m.cfg.Spec.Trust); err != nil {
		return false, err
	}
	m.takeUp(run, plan, roll, assigned)
	return true, nil
}

// workedAt says whether somebody still works at a run, with who is there. Redis may
// have been away, so those who are silent have time to be heard of.
func (m *Master) workedAt(ctx context.Context, run coord.Run, follow bool) (coord.Roll, map[string]*coord.SlotSet, bool, error) {
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	for asked := time.Now(); ; {
		roll, assigned, err := m.who(ctx)
		if err != nil {
			return roll, assigned, false, err
		}
		silent := false
		for _, member := range roll.Members {
			// One that has only just come has no slots: it found the run, as we did.
			if member.State.Run != run.ID || assigned[member.ID] == nil && !(follow && member.State.Testing) {
				continue
			}
			if member.Silent < lostAfter {
				return roll, assigned, true, nil
			}
			silent = true
		}
		if !silent || time.Since(asked) > lostAfter {
			return roll, assigned, false, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return roll, assigned, false, context.Cause(ctx)
		}
		if err := m.leader.Renew(ctx); err != nil {
			return roll, assigned, false, err
		}
	}
}

// who returns who is there, and who has which slots.
func (m *Master) who(ctx context.Context) (coord.Roll, map[string]*coord.SlotSet, error) {
	roll, err := m.leader.Roll(ctx)
	if err != nil {
		return coord.Roll{}, nil, err
	}
	assigned, err := m.leader.Assigned(ctx)
	return roll, assigned, err
}

// takeUp goes on with a run where the last master was.
func (m *Master) takeUp(run coord.Run, plan coord.Plan, roll coord.Roll, assigned map[string]*coord.SlotSet) {
	m.run, m.plan, m.now, m.rolled, m.workers = run, plan, roll.Now, time.Now(), assigned
	// The last master may have died before it saved what it had shared out.
	m.totals.SlotVersion = max(m.totals.SlotVersion, roll.Slots)
	// Redis may have been away: nobody is lost for having been silent then.
	m.lenientUntil = time.Now().Add(lostAfter)
	m.totals.Processes = append(m.totals.Processes, report.Process{Role: "master", PID: os.Getpid()})
	from := m.totals.LastSeen
	if from.IsZero() {
		from = roll.Now
	}
	m.totals.note(report.EventMasterChanged, from, roll.Now, fmt.Sprintf("users went on; another master leads, of epoch %d", m.leader.Epoch()))
	m.log.Info("run taken up", zap.String("run", run.ID), zap.String("phase", string(plan.Phase)), zap.Int64("epoch", m.leader.Epoch()))
}
