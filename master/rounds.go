package master

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/trust"
	"github.com/throng-load/throng/master/report"
)

// rounds makes round after round until the run has ended.
func (m *Master) rounds(ctx context.Context) error {
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	stop := ctx.Done()
	var orders <-chan order
	if m.cfg.Control != nil {
		orders = m.cfg.Control.orders
	}
	for m.plan.Phase != coord.PhaseEnded {
		select {
		case <-stop:
			stop = nil
			m.interrupted = true
			at := m.now
			if start := m.startTime(); at.Before(start) {
				at = start // before users have started
			}
			m.totals.note(report.EventInterrupted, at, at, "told to stop before its time")
			m.log.Info("stopping")
		case o := <-orders:
			orderCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
			m.obey(orderCtx, o)
			cancel()
			continue
		case <-ticker.C:
		}
		roundCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
		err := m.round(roundCtx)
		cancel()
		if err := m.judgeRound(err); err != nil {
			return err
		}
		if m.cfg.Observe != nil && (m.plan.Phase != coord.PhaseWaiting || m.cfg.ReadSpec != nil) {
			m.cfg.Observe(m.snapshot())
		}
	}
	return nil
}

// judgeRound says whether the run goes on after a round.
func (m *Master) judgeRound(err error) error {
	var start *StartError
	switch {
	case err == nil:
		if !m.failing.IsZero() {
			m.log.Info("Redis answers again", zap.Duration("after", time.Since(m.failing).Round(time.Millisecond)))
		}
		m.answered, m.failing = time.Now(), time.Time{}
		return nil
	case errors.Is(err, coord.ErrDeposed), errors.Is(err, coord.ErrEmptied), errors.Is(err, accounts.ErrNoPool), errors.Is(err, ErrInterrupted), errors.As(err, &start):
		return err
	}
	if m.failing.IsZero() {
		// Once: an outage would otherwise say so twice a second.
		m.log.Warn("Redis does not answer: workers begin nothing new after 3 s, accounts are fenced when leases run out, users end with the dead man's switch; trying on",
			zap.Duration("dead man", time.Duration(m.cfg.Spec.DeadMan)), zap.Error(err))
		m.failing = time.Now()
	}
	limit := time.Duration(m.cfg.Spec.DeadMan) + redisLimit
	if m.interrupted {
		limit = 2 * roundTimeout
	}
	if time.Since(m.answered) > limit {
		return fmt.Errorf("%w for %v: %w", ErrRedisAway, limit, err)
	}
	return nil
}

// round is everything that a master does, once.
func (m *Master) round(ctx context.Context) error {
	if err := m.leader.Renew(ctx); err != nil {
		return err
	}
	if err := m.callRoll(ctx); err != nil {
		return err
	}
	if m.started() {
		m.measure()
	}
	if err := m.mergeAndSave(ctx); err != nil {
		return err
	}
	stats, err := m.pool.Stats(ctx)
	if err != nil {
		return err
	}
	m.accounts = m.totals.pool(stats)
	if err := m.learnReasons(ctx); err != nil {
		return err
	}
	if err := m.noteShortage(ctx); err != nil {
		return err
	}
	return m.step(ctx)
}

// mergeAndSave merges what has come in and saves it with its position. What has
// piled up while nobody led is merged over several rounds: one that took longer
// than a round may would save nothing, and what is not saved is sent again.
func (m *Master) mergeAndSave(ctx context.Context) error {
	const batch = 500
	for began := time.Now(); ; {
		entries, err := m.leader.Read(ctx, m.totals.position, batch)
		if entries == nil && err != nil {
			return err
		}
		if err != nil {
			m.log.Error("statistics that cannot be read are left out", zap.Error(err))
		}
		for _, entry := range entries {
			if !m.totals.merge(m.run.ID, entry, m.now) {
				m.log.Debug("entry skipped", zap.String("member", entry.Member), zap.Int64("number", entry.Number))
			}
		}
		if len(entries) < batch || time.Since(began) > mergeFor {
			break
		}
	}
	m.totals.settle(m.now)
	return m.save(ctx)
}

// save saves what was merged, at most once a second while users run: what is not
// saved is in the stream, and at the members.
func (m *Master) save(ctx context.Context) error {
	lost := m.saved.Mark != "" && m.saved.Mark != m.totals.found
	if !lost && m.started() && time.Since(m.savedAt) < saveEvery {
		return nil
	}
	m.totals.LastSeen = m.now
	saved, err := m.totals.saved(m.run.ID)
	if err != nil || !lost && saved.Position == m.saved.Position && bytes.Equal(saved.Body, m.saved.Body) {
		return err
	}
	if lost {
		m.log.Warn("Redis has lost what was saved last; saving it again")
	}
	m.saves++
	saved.Mark = fmt.Sprintf("%d.%d", m.leader.Epoch(), m.saves)
	if err := m.leader.Save(ctx, saved); err != nil {
		return err
	}
	m.saved, m.savedAt, m.totals.found = saved, time.Now(), saved.Mark
	return nil
}

// measure notes how this process itself fares, about once a second: in a run on
// one machine it is the target's host.
func (m *Master) measure() {
	if m.meter == nil {
		m.meter = trust.NewMeter(float64(m.cfg.Spec.Trust.CPU))
	} else if sample, ok := m.meter.SampleAfter(time.Second); ok {
		m.totals.generator("master", &coord.Report{
			To: m.now.UnixMicro(), CPU: sample.CPU, Overload: sample.Overload.Seconds(), SchedLag: m.meter.LagP99().Seconds(),
		})
	}
}

// redisNow is Redis's time now, as far as the last roll tells.
func (m *Master) redisNow() time.Time {
	if m.rolled.IsZero() {
		return m.now
	}
	return m.now.Add(time.Since(m.rolled))
}
