package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios"
)

const (
	roundEvery   = 500 * time.Millisecond
	roundTimeout = 2 * time.Second
	// campaignTimeout is how long a stand-in waits for the lease of a leader
	// that may be dead; then it says again that it is there.
	campaignTimeout = coord.LeaderTTL + 500*time.Millisecond
	// drainMore is how long a probe may take beyond its own timeout to be done,
	// and endLimit how long members may take to have ended a run.
	drainMore = 5 * time.Second
	endLimit  = 15 * time.Second
)

// Config says for whom to stand in. All but Namespace and Spec must be set.
type Config struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
	// Spec is what is run; nil if this worker has not read one: then it waits
	// for a master.
	Spec *scenarios.Spec
	// Orders returns what the Locust master wants now.
	Orders func() Orders
	// Keep looks after the pool of accounts until ctx ends: also between two
	// tests, when the accounts of a worker that has died come back. Nothing when
	// nil.
	Keep func(ctx context.Context)
	// Probe takes what the probe reports.
	Probe Reporter
	Log   *zap.Logger
}

// StandIn plays a master's part as long as its worker is the lowest-numbered
// bridged one and no master leads the swarm.
type StandIn struct {
	cfg   Config
	id    string
	ranks coord.Ranks
	log   *zap.Logger

	leader *coord.Leader // nil while somebody else leads
	// keeping ends Keep, and waits for that; nil while it does not go on.
	keeping func()
	spec    []byte
	run     coord.Run
	plan    coord.Plan
	stops   int64 // of the orders, when the run began
	saved   coord.Saved
	saves   int
	since   time.Time // when the phase began
	idle    bool      // there was nothing to lead when last looked
	// orphaned is since when a master\'s unfinished run waits for that; zero if
	// none does.
	orphaned time.Time
	tail     coord.Tail
	read     handedOn
	said     bool // that there is nothing to stand in with
}

// NewStandIn returns a stand-in that does nothing yet.
func NewStandIn(cfg Config) (*StandIn, error) {
	s := &StandIn{
		cfg: cfg, id: uuid.NewString(), log: cfg.Log.Named("stand-in"),
		tail:  coord.Tail{Redis: cfg.Redis, Namespace: cfg.Namespace, Swarm: cfg.Swarm},
		ranks: coord.Ranks{Redis: cfg.Redis, Namespace: cfg.Namespace, Swarm: cfg.Swarm},
	}
	if cfg.Spec != nil {
		var err error
		if s.spec, err = cfg.Spec.Marshal(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run stands in until ctx ends. Then it ends the run if no other bridged worker
// is there to go on.
func (s *StandIn) Run(ctx context.Context) error {
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	failing := false
	for ctx.Err() == nil {
		orders := s.cfg.Orders()
		err := s.round(ctx, orders)
		switch {
		case err == nil:
			failing = false
		case ctx.Err() == nil && !failing:
			s.log.Warn("round not finished; trying on", zap.Error(err))
			failing = true
		}
		select {
		case <-ctx.Done():
		case <-orders.Changed:
		case <-ticker.C:
		}
	}
	leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
	defer cancel()
	if err := s.leave(leaveCtx); err != nil {
		s.log.Debug("left without a word", zap.Error(err))
	}
	return nil
}

// leave ends the run if nobody is there to go on, and gives the lease back.
func (s *StandIn) leave(ctx context.Context) error {
	s.unkeep()
	rank, err := s.ranks.Leave(ctx, s.id)
	if s.leader == nil || err != nil {
		return err
	}
	if rank.Others == 0 && s.begun() {
		err = s.enter(ctx, coord.PhaseEnded)
	}
	return errors.Join(err, s.resign(ctx))
}

func (s *StandIn) resign(ctx context.Context) error {
	leader := s.leader
	s.leader = nil
	return leader.Resign(ctx)
}

// keep looks after the pool until unkeep, if it does not already.
func (s *StandIn) keep(ctx context.Context) {
	if s.keeping != nil || s.cfg.Keep == nil || s.spec == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() { s.cfg.Keep(ctx) })
	s.keeping = func() {
		cancel()
		ended.Wait()
	}
}

func (s *StandIn) unkeep() {
	if s.keeping != nil {
		s.keeping()
		s.keeping = nil
	}
}

// on says that a test runs of which everything is known.
func on(o Orders) bool { return o.Joined && o.On && (o.Test != "" || o.Weights) }

func (s *StandIn) round(ctx context.Context, orders Orders) error {
	roundCtx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	rank, err := s.ranks.Say(roundCtx, s.id, orders.Joined)
	if err != nil {
		return err
	}
	if !rank.Lowest {
		s.idle = false
		s.unkeep()
		if s.leader != nil {
			return s.resign(roundCtx)
		}
		return nil
	}
	if s.leader == nil {
		if rank.Led {
			s.idle = false
			s.unkeep()
			return s.relay(roundCtx, "")
		}
		s.keep(ctx)
		if s.idle && !on(orders) {
			return s.relay(roundCtx, "") // what a master has left when it ended
		}
		if err := s.campaign(ctx, orders); s.leader == nil {
			return err
		}
	}
	err = s.lead(roundCtx, orders)
	if err == nil && !s.begun() {
		s.idle = true // until the next test: a master may come meanwhile
		return s.resign(roundCtx)
	}
	if errors.Is(err, coord.ErrDeposed) || errors.Is(err, coord.ErrEmptied) {
		s.leader = nil
	}
	return err
}

// campaign takes the lease, unless somebody else leads, and goes on where the
// one before has left the run.
func (s *StandIn) campaign(ctx context.Context, orders Orders) error {
	if s.spec == nil {
		if orders.On && !s.said {
			s.said = true
			s.log.Warn("no master leads the swarm and this worker has no throng.yaml, so it has no users to run if no other worker has: start it with -f throng.yaml")
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, campaignTimeout)
	defer cancel()
	// Not even for a moment without need: a master that comes just then would
	// find the swarm led.
	cfg := coord.LeaderConfig{Redis: s.cfg.Redis, Namespace: s.cfg.Namespace, Swarm: s.cfg.Swarm}
	_, plan, saved, err := coord.Peek(ctx, cfg)
	if err != nil {
		return err
	}
	unfinished := plan.Follow && plan.Phase != coord.PhaseEnded
	if !unfinished || len(saved.Body) == 0 {
		s.orphaned = time.Time{}
	} else if s.orphaned.IsZero() {
		s.orphaned = time.Now()
		s.log.Warn("the master that followed is gone: its run waits for it to be started again", zap.Duration("for", time.Duration(s.cfg.Spec.DeadMan)))
	}
	switch {
	case !s.orphaned.IsZero() && time.Since(s.orphaned) < time.Duration(s.cfg.Spec.DeadMan):
		return nil
	case !on(orders) && (!unfinished || !s.orphaned.IsZero()):
		s.idle = s.orphaned.IsZero()
		return nil
	}
	leader, err := coord.Campaign(ctx, cfg)
	if errors.Is(err, coord.ErrLed) {
		return nil
	}
	if err != nil {
		return err
	}
	run, plan, saved, err := leader.Load(ctx)
	if err != nil {
		return errors.Join(err, leader.Resign(ctx))
	}
	s.leader, s.run, s.plan, s.saved, s.stops, s.since = leader, run, plan, saved, orders.Stops, time.Now()
	if !plan.Follow || len(saved.Body) > 0 {
		s.plan.Phase = coord.PhaseEnded // a master's own, that is over
	}
	if s.begun() {
		s.log.Info("standing in for a master that there is not; the run goes on", zap.String("run", run.ID))
		return s.enter(ctx, plan.Phase) // with the new epoch
	}
	return nil
}

// begun says that there is a run that has not ended.
func (s *StandIn) begun() bool { return s.run.ID != "" && s.plan.Phase != coord.PhaseEnded }

// lead is everything that a stand-in does, once.
func (s *StandIn) lead(ctx context.Context, orders Orders) error {
	if err := s.leader.Renew(ctx); err != nil {
		return err
	}
	roll, err := s.leader.Roll(ctx)
	if err != nil {
		return err
	}
	if s.begun() && !(on(orders) && !s.same(orders)) { // otherwise another run begins
		if err := errors.Join(s.relay(ctx, s.run.ID), s.collect(ctx)); err != nil {
			return err
		}
	}
	return s.step(ctx, orders, roll.Members, roll.Now)
}

// same says that the run that goes on is of the test that is ordered.
func (s *StandIn) same(orders Orders) bool {
	return s.plan.Phase == coord.PhaseRunning && orders.Stops == s.stops && (orders.Test == "" || orders.Test == s.run.ID)
}

// step moves the run on: a test that was started is a run, and the probe waits
// for what is open when it is stopped.
func (s *StandIn) step(ctx context.Context, orders Orders, members []coord.Present, now time.Time) error {
	all := func(kind coord.Kind, is func(coord.State) bool) bool {
		for _, m := range members {
			if m.Silent < coord.LeaderTTL && m.State.Run == s.run.ID && m.State.Refusal == "" && (kind == "" || m.State.Kind == kind) && !is(m.State) {
				return false
			}
		}
		return true
	}
	switch in := time.Since(s.since); {
	case on(orders) && !(s.begun() && s.same(orders)):
		return s.begin(ctx, orders, now)
	case !s.begun() || orders.Joined && orders.On:
		return nil
	case s.plan.Phase == coord.PhaseRunning:
		return s.enter(ctx, coord.PhaseDraining)
	case s.plan.Phase == coord.PhaseDraining:
		limit := time.Duration(s.cfg.Spec.Probe.Timeout) + drainMore
		if in > limit || all(coord.KindProbe, func(state coord.State) bool { return state.Drained }) {
			return s.enter(ctx, coord.PhaseStopping)
		}
	case in > endLimit || all("", func(state coord.State) bool { return state.Done }):
		return s.enter(ctx, coord.PhaseEnded)
	}
	return nil
}

func (s *StandIn) begin(ctx context.Context, orders Orders, now time.Time) error {
	id := orders.Test
	if id == "" || id == s.run.ID {
		id = uuid.NewString()
	}
	run := coord.Run{ID: id, Protocol: coord.Protocol, Spec: s.spec}
	plan := coord.Plan{
		Run: id, Phase: coord.PhaseRunning, Follow: true, SpawnRate: 1,
		Points: []coord.Point{{At: now.UnixMicro()}},
	}
	if _, err := s.leader.Begin(ctx, run, plan); err != nil {
		return err
	}
	s.run, s.plan, s.stops, s.since = run, plan, orders.Stops, time.Now()
	s.saved = coord.Saved{Run: id, Numbers: make(map[string]int64)}
	s.log.Info("the Locust master has started a test; standing in for a master that there is not", zap.String("run", id))
	return nil
}

func (s *StandIn) enter(ctx context.Context, phase coord.Phase) error {
	plan := s.plan
	plan.Phase = phase
	if _, err := s.leader.Publish(ctx, plan); err != nil {
		return err
	}
	s.plan, s.since = plan, time.Now()
	s.log.Debug("phase", zap.String("run", s.run.ID), zap.String("phase", string(phase)))
	return nil
}
