package master

import (
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
	// mergeFor is how long a round may merge before it saves.
	mergeFor = roundTimeout / 4
	// saveEvery is how often what was merged is saved, at most.
	saveEvery = time.Second
	// lostAfter is how long a worker may be silent before its slots are given
	// to others.
	lostAfter = 3 * time.Second
	// probeSays is how long ago a probe may have lost its accounts when it is
	// heard to say so: it looks once a second and says so with a heartbeat.
	probeSays = 2 * time.Second
	// startDelay lets every worker learn of the plan before it begins, so
	// that all begin at once; editDelay is the same for a plan that changes.
	startDelay = 1500 * time.Millisecond
	editDelay  = time.Second
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
	// redisLimit is how long Redis may be away, beyond the dead man's switch,
	// before the run is given up.
	redisLimit = 30 * time.Second
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
	// Standby waits while another master leads, and takes its run over when it
	// dies.
	Standby bool
	// Follow makes the plan what workers run that obey a Locust master.
	Follow bool
	// Control, if set, is how front ends change the run; for Serve it must be.
	Control *Control
	// ReadSpec reads the text of a spec that another master has left; for Serve
	// alone, which needs it.
	ReadSpec func(text []byte) (*scenarios.Spec, error)
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
	// Observe, if set, is called with the state of things twice a second, from
	// the master's goroutine; Run calls it from when users are about to start.
	Observe func(*Snapshot)
	Log     *zap.Logger
}

// StartError says why a run could not start.
type StartError struct{ Text string }

func (e *StartError) Error() string { return e.Text }

var (
	// ErrInterrupted is returned for a run that was told to stop: with its
	// summary, or without one if it had not begun.
	ErrInterrupted = errors.New("interrupted")
	// ErrEndedElsewhere is returned to a standby whose master has brought the
	// run to its end.
	ErrEndedElsewhere = errors.New("the run has come to its end under the master that led it")
	// ErrRedisAway is wrapped when a run is given up because Redis is away.
	ErrRedisAway = errors.New("redis does not answer")
)

// Master is one run's master. It is made and driven by Run and Serve.
type Master struct {
	cfg    Config
	log    *zap.Logger
	leader *coord.Leader
	pool   *accounts.Pool

	run      coord.Run
	plan     coord.Plan
	load     Load // what the plan begins with, where there are no stages
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
	rolled      time.Time                // when that was, on this process's clock

	since       time.Time // when the phase began, on this process's clock
	answered    time.Time // when Redis last answered a whole round
	failing     time.Time // since when rounds fail; zero while they do not
	interrupted bool      // this process is to end
	told        bool      // a front end has ended the run
	trouble     string    // why the run came to no outcome
	waitingFor  string    // said last
	// lenientUntil is until when nobody is judged silent, on this process's
	// clock: after Redis was away, everybody has been silent.
	lenientUntil time.Time
	patient      bool      // it was said that leases are waited for
	aloneSince   time.Time // since when no worker is there; zero while one is
	assigned     time.Time // when slots were last shared out
	misassigned  bool      // Redis has another assignment than this master
	meter        *trust.Meter
	saved        coord.Saved // what was saved last
	savedAt      time.Time
	saves        int64 // by this master, for marks
}

func newMaster(cfg Config, leader *coord.Leader) *Master {
	return &Master{
		cfg: cfg, log: cfg.Log.Named("master"), leader: leader, totals: newTotals(cfg.Spec.Trust),
		workers: make(map[string]*coord.SlotSet), short: make(map[string]*report.Short),
		load: Load{Users: cfg.Spec.Load.Users, SpawnRate: cfg.Spec.Load.SpawnRate},
	}
}

// Run leads the swarm through one run and returns its summary. When ctx ends,
// the run is stopped early and the summary comes with ErrInterrupted; when Redis
// loses the swarm's data or stays away, with coord.ErrEmptied or ErrRedisAway.
// Without a summary the error is a *StartError (the run did not begin),
// coord.ErrLed (the swarm has a master), coord.ErrDeposed (another took over),
// ErrEndedElsewhere (a standby was not needed) or about Redis.
//
// A run that a master before has begun with the same spec, and whose workers
// are still there, is taken up where it was.
func Run(ctx context.Context, cfg Config) (*report.Summary, error) {
	m := newMaster(cfg, nil)
	if err := m.openPool(ctx); err != nil {
		return nil, err
	}
	if err := m.checkAccounts(ctx); err != nil {
		return nil, err
	}
	leader, err := m.campaign(ctx)
	if err != nil {
		return nil, err
	}
	m.leader = leader
	defer resign(ctx, leader, m.log)
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	return m.lead(ctx)
}

// campaign takes the leader's lease. A standby waits for it.
func (m *Master) campaign(ctx context.Context) (*coord.Leader, error) {
	waited := false
	leader, err := coord.Campaign(ctx, coord.LeaderConfig{
		Redis: m.cfg.Redis, Namespace: m.cfg.Namespace, Swarm: m.cfg.Swarm, Standby: m.cfg.Standby,
		Watch: func() {
			if !waited && m.cfg.Standby {
				m.log.Info("standing by: another master leads the swarm")
			}
			waited = true
		},
	})
	if err != nil || !waited || !m.cfg.Standby {
		return leader, err
	}
	m.log.Info("the master that led is gone; taking over", zap.Int64("epoch", leader.Epoch()))
	if m.cfg.Control != nil && m.cfg.ReadSpec != nil {
		return leader, nil // of a master that serves, no run is the last
	}
	if _, plan, _, err := leader.Load(ctx); err == nil && plan.Phase == coord.PhaseEnded {
		resign(ctx, leader, m.log)
		return nil, ErrEndedElsewhere
	}
	return leader, nil
}

// resign gives the lease back, so that the next master need not wait.
func resign(ctx context.Context, leader *coord.Leader, log *zap.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
	defer cancel()
	if err := leader.Resign(ctx); err != nil {
		log.Debug("the lease was not given back; it runs out by itself", zap.Error(err))
	}
}

func (m *Master) openPool(ctx context.Context) error {
	var err error
	m.pool, err = accounts.Open(ctx, accounts.Config{
		Redis: m.cfg.Redis, Namespace: m.cfg.Namespace, Name: m.cfg.Spec.Accounts.Pool, Keys: m.cfg.Keys, Log: m.cfg.Log,
	})
	if errors.Is(err, accounts.ErrNoPool) {
		return &StartError{fmt.Sprintf("there is no pool %q of accounts in Redis: make it with `throng accounts create`", m.cfg.Spec.Accounts.Pool)}
	}
	return err
}

// lead leads a run that has begun to its end.
func (m *Master) lead(ctx context.Context) (*report.Summary, error) {
	if m.cfg.Begun != nil {
		if err := m.cfg.Begun(); err != nil {
			return nil, err
		}
	}
	// The reclaimer goes on until the run is over, whatever becomes of ctx:
	// the accounts of workers that died must come back first.
	group := new(errgroup.Group)
	reclaimCtx, stopReclaiming := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return accounts.NewReclaimer(m.pool).Run(reclaimCtx) })
	if m.cfg.Keep != nil {
		group.Go(func() error {
			m.cfg.Keep(reclaimCtx, m.pool, m.cfg.Spec, m.cfg.Log)
			return nil
		})
	}
	err := m.rounds(ctx)
	stopReclaiming()
	if rerr := group.Wait(); err == nil {
		err = rerr
	}
	switch {
	case err == nil && m.interrupted:
		return m.summary(), ErrInterrupted
	case err == nil:
		return m.summary(), nil
	case errors.Is(err, accounts.ErrNoPool):
		// Whoever has deleted the pool may have deleted everything.
		err = fmt.Errorf("%w: %w", coord.ErrEmptied, err)
		fallthrough
	case errors.Is(err, coord.ErrEmptied), errors.Is(err, ErrRedisAway):
		if !m.started() && m.plan.Phase != coord.PhaseStopping {
			return nil, err
		}
		// What was known of the run is still worth having.
		m.totals.Broken = "Redis lost the swarm's data"
		if errors.Is(err, ErrRedisAway) {
			m.totals.Broken = "Redis was away for too long"
		}
		lastHeard := m.redisNow().Add(-time.Since(m.answered))
		m.totals.begin(report.EventRedisAway, report.EventRedisAway, lastHeard, m.totals.Broken)
		return m.summary(), err
	}
	return nil, err
}
