package master

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/trust"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

const (
	roundEvery   = 500 * time.Millisecond
	roundTimeout = 2 * time.Second
	// lostAfter is how long a worker may be silent before its slots are given
	// to others.
	lostAfter = 3 * time.Second
	// probeSays is how long ago a probe may have lost its accounts when it is
	// heard to say so: it looks once a second and says so with a heartbeat.
	probeSays = 2 * time.Second
	// startDelay lets every worker learn of the plan before it begins, so
	// that all begin at once.
	startDelay = 1500 * time.Millisecond
	// stopLimit is how long members may take, beyond the stop timeout, to
	// stop their users and have everything saved.
	stopLimit = 15 * time.Second
	// overtime is how much longer users stay than any run lasts whose master is
	// there, so that a master that is started again finds them.
	overtime = 10 * time.Second
	// drainLimit is how long the probe may take beyond its own timeout.
	drainLimit = 5 * time.Second
	// interruptedDrain is how long an interrupted run waits for the probe.
	interruptedDrain = time.Second
	// redisLimit is how long Redis may be away before the run is given up: as
	// long as the workers' users live without it.
	redisLimit = time.Minute
)

// Config says what to run and where. Redis, Swarm, Spec and Log must be set.
type Config struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
	Spec      *scenarios.Spec
	// Workers is how many workers must be there before users start.
	Workers int
	// WorkersWait is how long to wait for them; 0 is for ever.
	WorkersWait time.Duration
	// SharedMachine says that the target runs on the same machine, which is a
	// reason for a generator to be short of processor.
	SharedMachine bool
	// Begun, if set, is called once when the run has begun and workers are
	// waited for. Its error ends the run.
	Begun func() error
	// Keys read the pool's records; nil when they are not encrypted.
	Keys *accounts.Keyring
	// Keep looks after the pool while the run lasts, until ctx ends. Nothing
	// when nil.
	Keep func(ctx context.Context, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger)
	// Observe, if set, is called with the state of the run twice a second while
	// it runs, from the master's goroutine.
	Observe func(*report.Summary)
	Log     *zap.Logger
}

// StartError says why a run could not start.
type StartError struct{ Text string }

func (e *StartError) Error() string { return e.Text }

// ErrInterrupted is returned for a run that was told to stop: with its summary,
// or without one if it had not begun.
var ErrInterrupted = errors.New("interrupted")

// Master is one run's master. It is made and driven by Run.
type Master struct {
	cfg    Config
	log    *zap.Logger
	leader *coord.Leader
	pool   *accounts.Pool

	run      coord.Run
	plan     coord.Plan
	totals   *totals
	workers  map[string]*coord.SlotSet // the assignment
	members  []coord.Present           // the last roll
	accounts []accounts.RoleStats
	// reasons is why accounts are quarantined, by role, as of when quarantined
	// of them were.
	reasons     map[string][]report.Reason
	quarantined int64
	short       map[string]*report.Short // by role
	now         time.Time                // Redis's, at the last roll

	since       time.Time // when the phase began, on this process's clock
	answered    time.Time // when Redis last answered a whole round
	interrupted bool
	waitingFor  string // said last
	// lenientUntil is until when nobody is judged silent, on this process's
	// clock: after Redis was away, everybody has been silent.
	lenientUntil time.Time
	patient      bool      // it was said that leases are waited for
	aloneSince   time.Time // since when no worker is there; zero while one is
	meter        *trust.Meter
	saved        coord.Saved // what was saved last
}

// Run leads the swarm through one run and returns its summary. When ctx ends,
// the run is stopped early and the summary comes with ErrInterrupted. Without
// a summary the error is a *StartError (the run did not begin),
// coord.ErrLed (the swarm has a master), coord.ErrDeposed (another took over)
// or about Redis.
//
// A run that a master before has begun with the same spec, and whose workers
// are still there, is taken up where it was.
func Run(ctx context.Context, cfg Config) (*report.Summary, error) {
	m := &Master{cfg: cfg, log: cfg.Log.Named("master"), workers: make(map[string]*coord.SlotSet), short: make(map[string]*report.Short)}
	var err error
	m.pool, err = accounts.Open(ctx, accounts.Config{Redis: cfg.Redis, Namespace: cfg.Namespace, Name: cfg.Spec.Accounts.Pool, Keys: cfg.Keys, Log: cfg.Log})
	if errors.Is(err, accounts.ErrNoPool) {
		return nil, &StartError{fmt.Sprintf("there is no pool %q of accounts in Redis: make it with `throng accounts create`", cfg.Spec.Accounts.Pool)}
	}
	if err != nil {
		return nil, err
	}
	if err := m.checkAccounts(ctx); err != nil {
		return nil, err
	}
	m.leader, err = coord.Campaign(ctx, coord.LeaderConfig{Redis: cfg.Redis, Namespace: cfg.Namespace, Swarm: cfg.Swarm})
	if err != nil {
		return nil, err
	}
	defer func() {
		resignCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
		defer cancel()
		if err := m.leader.Resign(resignCtx); err != nil {
			m.log.Debug("the lease was not given back; it runs out by itself", zap.Error(err))
		}
	}()
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if cfg.Begun != nil {
		if err := cfg.Begun(); err != nil {
			return nil, err
		}
	}

	// The reclaimer goes on until the run is over, whatever becomes of ctx:
	// the accounts of workers that died must come back first.
	group := new(errgroup.Group)
	reclaimCtx, stopReclaiming := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return accounts.NewReclaimer(m.pool).Run(reclaimCtx) })
	if cfg.Keep != nil {
		group.Go(func() error {
			cfg.Keep(reclaimCtx, m.pool, cfg.Spec, cfg.Log)
			return nil
		})
	}
	err = m.lead(ctx)
	stopReclaiming()
	if rerr := group.Wait(); err == nil && rerr != nil {
		err = rerr
	}
	if err != nil {
		return nil, err
	}
	summary := m.summary()
	if m.interrupted {
		return summary, ErrInterrupted
	}
	return summary, nil
}

// lead makes round after round until the run has ended.
func (m *Master) lead(ctx context.Context) error {
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	stop := ctx.Done()
	for m.plan.Phase != coord.PhaseEnded {
		select {
		case <-stop:
			stop = nil
			m.interrupted = true
			at := m.now
			if start := m.startTime(); at.Before(start) {
				at = start // before users have started
			}
			m.event(report.EventInterrupted, at, at, "told to stop before its time")
			m.log.Info("stopping")
		case <-ticker.C:
		}
		roundCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
		err := m.round(roundCtx)
		cancel()
		var start *StartError
		switch {
		case err == nil:
			m.answered = time.Now()
		case errors.Is(err, coord.ErrDeposed), errors.Is(err, coord.ErrEmptied), errors.Is(err, accounts.ErrNoPool), errors.Is(err, ErrInterrupted), errors.As(err, &start):
			return err
		case time.Since(m.answered) > redisLimit:
			return fmt.Errorf("redis has not answered for %v: %w", redisLimit, err)
		case m.interrupted && time.Since(m.answered) > 2*roundTimeout:
			return fmt.Errorf("interrupted while Redis does not answer: %w", err)
		default:
			m.log.Warn("round not finished; trying again", zap.Error(err))
		}
		if m.cfg.Observe != nil && m.plan.Phase != coord.PhaseWaiting {
			m.cfg.Observe(m.summary())
		}
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

// mergeAndSave merges what has come in and saves it with its position.
func (m *Master) mergeAndSave(ctx context.Context) error {
	const batch = 500
	for {
		entries, err := m.leader.Read(ctx, m.totals.position, batch)
		if entries == nil && err != nil {
			return err
		}
		if err != nil {
			m.log.Error("statistics that cannot be read are left out", zap.Error(err))
		}
		for _, entry := range entries {
			if !m.totals.merge(m.run.ID, entry) {
				m.log.Debug("entry skipped", zap.String("member", entry.Member), zap.Int64("number", entry.Number))
			}
		}
		if len(entries) < batch {
			break
		}
	}
	saved, err := m.totals.saved(m.run.ID)
	if err != nil || saved.Position == m.saved.Position && bytes.Equal(saved.Body, m.saved.Body) {
		return err
	}
	if err := m.leader.Save(ctx, saved); err != nil {
		return err
	}
	m.saved = saved
	return nil
}

// measure notes how this process itself fares, about once a second: in a run on
// one machine it is the target's host.
func (m *Master) measure() {
	if m.meter == nil {
		m.meter = trust.NewMeter(float64(m.cfg.Spec.Trust.CPU))
	} else if sample, ok := m.meter.SampleAfter(time.Second); ok {
		m.totals.generator("master", sample.CPU, sample.Overload.Seconds(), sample.SchedLag)
	}
}

// event puts something into the run's timeline.
func (m *Master) event(kind string, from, to time.Time, detail string) {
	m.totals.Events = append(m.totals.Events, report.Event{Kind: kind, From: from.UTC(), To: to.UTC(), Detail: detail})
}
