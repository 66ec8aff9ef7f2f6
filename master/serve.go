package master

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
)

// Serve leads the swarm until ctx ends, through one run after another as the
// config's Control orders them. In between it shows the last run, which a master
// that was started again finds in Redis, as it finds one that goes on. A run that
// goes on when ctx ends is stopped first.
//
// It returns nil at the end of ctx, coord.ErrLed, coord.ErrDeposed, or what Redis
// said at the start.
func Serve(ctx context.Context, cfg Config) error {
	m := newMaster(cfg, nil)
	leader, err := m.campaign(ctx)
	if err != nil {
		return err
	}
	m.leader = leader
	defer func() { resign(ctx, m.leader, m.log) }()
	goesOn, err := m.find(ctx)
	if err != nil {
		return err
	}
	for {
		if goesOn {
			_, err := m.lead(ctx)
			switch {
			case errors.Is(err, coord.ErrDeposed):
				return err
			case err != nil && !errors.Is(err, ErrInterrupted):
				m.log.Error("the run has ended badly", zap.Error(err))
				m.trouble = err.Error()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		next, err := m.idle(ctx)
		if err != nil || next == nil {
			return err
		}
		m, goesOn = next, true
	}
}

// find takes up what a master before has left: a run that goes on, or one that
// can be shown.
func (m *Master) find(ctx context.Context) (goesOn bool, err error) {
	m.answered, m.since = time.Now(), time.Now()
	run, plan, saved, err := m.leader.Load(ctx)
	if err != nil || run.ID == "" || plan.Run != run.ID || run.Protocol != coord.Protocol {
		return false, nil // whatever there is cannot be read: the next run replaces it
	}
	spec, err := m.cfg.ReadSpec(run.Spec)
	if err != nil {
		m.log.Warn("the last run is of a scenario that this executable lacks", zap.String("run", run.ID), zap.Error(err))
		return false, nil
	}
	totals, err := loadTotals(saved, spec.Trust)
	if err != nil {
		m.log.Warn("what was saved of the last run cannot be read", zap.String("run", run.ID), zap.Error(err))
		return false, nil
	}
	roll, assigned, err := m.who(ctx)
	if err != nil {
		return false, err
	}
	m.cfg.Spec, m.totals = spec, totals
	if err := m.openPool(ctx); err != nil {
		m.log.Warn("the last run's pool of accounts is gone", zap.Error(err))
		plan.Phase = coord.PhaseEnded
	}
	if plan.Phase == coord.PhaseEnded {
		m.run, m.plan, m.now, m.rolled = run, plan, totals.LastSeen, time.Now()
		return false, nil
	}
	m.takeUp(run, plan, roll, assigned)
	return true, nil
}

// idle waits for the order to start a run, and returns the master of it; nil when
// ctx has ended.
func (m *Master) idle(ctx context.Context) (*Master, error) {
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	last := m.snapshotOfLast()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case o := <-m.cfg.Control.orders:
			if o.start == nil {
				o.answer <- o.change(ctx, m)
				last = m.snapshotOfLast()
				continue
			}
			cfg := m.cfg
			cfg.Spec = o.start
			next := newMaster(cfg, m.leader)
			err := next.startAnew(ctx)
			o.answer <- err
			if err == nil {
				return next, nil
			}
			continue
		case <-ticker.C:
		}
		roundCtx, cancel := context.WithTimeout(ctx, roundTimeout)
		err := m.watch(roundCtx, last)
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, coord.ErrDeposed):
			return nil, err
		case errors.Is(err, coord.ErrEmptied):
			m.log.Warn("Redis has lost the swarm's data: leading anew")
			leader, err := m.campaign(ctx)
			if err != nil {
				return nil, err
			}
			m.leader = leader
		default:
			if err := m.judgeRound(err); err != nil && !errors.Is(err, ErrRedisAway) {
				return nil, err
			}
		}
	}
}

// watch keeps the lease while nothing runs, and shows who is there.
func (m *Master) watch(ctx context.Context, last *Snapshot) error {
	if err := m.leader.Renew(ctx); err != nil {
		return err
	}
	roll, err := m.leader.Roll(ctx)
	if err != nil {
		return err
	}
	if err := m.judgeRound(nil); err != nil {
		return err
	}
	var lost []string
	shown := *last
	shown.Members, shown.Now = nil, roll.Now
	for _, member := range roll.Members {
		if member.Silent < lostAfter {
			shown.Members = append(shown.Members, member)
		} else {
			lost = append(lost, member.ID)
		}
	}
	if len(lost) > 0 {
		if err := m.leader.Remove(ctx, lost...); err != nil {
			return err
		}
	}
	if m.cfg.Observe != nil {
		m.cfg.Observe(&shown)
	}
	return nil
}

// snapshotOfLast is the last run as it ended; without figures if there was none.
func (m *Master) snapshotOfLast() *Snapshot {
	if m.run.ID == "" {
		return &Snapshot{Spec: m.cfg.Spec, Idle: true}
	}
	last := m.snapshot()
	last.Idle, last.Trouble = true, m.trouble
	return last
}

// startAnew begins a run, or says what it lacks.
func (m *Master) startAnew(ctx context.Context) error {
	if err := m.openPool(ctx); err != nil {
		return err
	}
	if err := m.checkAccounts(ctx); err != nil {
		return err
	}
	spec, err := m.cfg.Spec.Marshal()
	if err != nil {
		return err
	}
	m.answered, m.since = time.Now(), time.Now()
	return m.beginAnew(ctx, spec)
}
