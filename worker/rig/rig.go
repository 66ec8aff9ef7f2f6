// Package rig is what every process that takes part in a run needs, worker or
// probe: it joins the swarm, reads the run's spec from Redis, refuses what it
// lacks, and holds the driver, the pool's holder and the allow-list for the
// run.
//
// It knows the protocol, the pool and the spec. It knows no users and no
// routes: what is done in the run belongs to its caller.
package rig

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/trust"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// flushTimeout bounds how long a process that leaves waits for its last
// statistics to be saved.
const flushTimeout = 5 * time.Second

// registerEvery is how often a process that could not get into the pool tries.
const registerEvery = 500 * time.Millisecond

// redisGone is how long Redis may leave heartbeats unanswered before a process
// that leaves no longer waits for it.
const redisGone = 3 * time.Second

// Drivers maps the scheme of a target to what makes the driver for it.
type Drivers map[string]func(target *url.URL) (pubsub.Driver, error)

// Config says which swarm to join and what the process has. Redis and Swarm
// must be set.
type Config struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
	Scenarios []scenarios.Scenario
	Drivers   Drivers
	// Keys read the pool's records; nil when they are not encrypted.
	Keys *accounts.Keyring
	// Keep looks after the pool while a run lasts, until ctx ends: whatever
	// process of the swarm lives can do it. Nothing when nil.
	Keep func(ctx context.Context, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger)
	Log  *zap.Logger
}

// Rig is a process's equipment for one run.
type Rig struct {
	Run    string
	Spec   *scenarios.Spec
	Driver pubsub.Driver
	Holder *accounts.Holder
	Allow  *dial.Allow
	Meter  *trust.Meter
	Member *coord.Member
	Log    *zap.Logger
	// Redis, Namespace and Swarm are where the swarm meets, as configured.
	Redis     redis.UniversalClient
	Namespace string
	Swarm     string

	desk *desk
}

// Play takes part in one run. It returns when the plan's phase is ended, when
// another run has begun, or, having cleaned up, soon after ctx has ended. It
// keeps the state that others wait for through SetState, and its last report
// must be sent before it returns. The holder gives back what is still held
// after it has returned.
type Play func(ctx context.Context, r *Rig) error

// desk holds the state for the heartbeat.
type desk struct {
	mu    sync.Mutex
	state coord.State
}

func (d *desk) read() coord.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

func (d *desk) change(f func(*coord.State)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.state)
}

// Controlled says whether somebody controls the swarm: a living leader has been
// heard of within the spec's time for the dead man's switch.
func (r *Rig) Controlled() bool {
	return time.Since(r.Member.View().Led) < time.Duration(r.Spec.DeadMan)
}

// outOfTouch is how long Redis may leave heartbeats unanswered before nothing new
// is begun: by then the master gives this process's users to others.
const outOfTouch = 3 * time.Second

// InTouch says whether a view is recent enough for something new to be begun by it.
func (r *Rig) InTouch(view *coord.View) bool { return time.Since(view.Answered) < outOfTouch }

// LastAnswers returns a context that ends with bound, but a moment later if that
// was because the lease has run out: nothing more is written then, but the target
// has done what it was asked before, and its answers say so. A process that was
// paused finds them waiting when it goes on.
func (r *Rig) LastAnswers(bound context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(bound))
	detach := context.AfterFunc(bound, func() {
		cause := context.Cause(bound)
		if errors.Is(cause, accounts.ErrSuspended) || errors.Is(cause, accounts.ErrLost) {
			_ = scenarios.Sleep(ctx, r.Holder.Grace()) // or less, if the session is over
		}
		cancel(cause)
	})
	return ctx, func() {
		detach()
		cancel(nil)
	}
}

// NewReport returns the report of the time since the last one, with what every
// process reports of itself; until is when that ended, and moves on.
func (r *Rig) NewReport(until *time.Time) coord.Report {
	clock, from := r.Member.Clock(), *until
	*until = time.Now()
	sample := r.Meter.Sample()
	r.SetState(func(s *coord.State) { s.CPU, s.Memory, s.Held = sample.CPU, trust.Memory(), r.Holder.Held() })
	return coord.Report{
		From: clock.At(from).UnixMicro(), To: clock.At(*until).UnixMicro(),
		CPU: sample.CPU, SchedLag: r.Meter.LagP99().Seconds(), Overload: sample.Overload.Seconds(),
	}
}

// SetState changes what the next heartbeat says. Hurry the member if others
// wait for it.
func (r *Rig) SetState(f func(*coord.State)) { r.desk.change(f) }

// Run joins the swarm and plays one run after another until ctx ends or a plan
// says to leave. It returns an error if Redis does not answer at the start, or
// if a play fails.
func Run(ctx context.Context, cfg Config, kind coord.Kind, play Play) error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := fmt.Sprintf("%s:%d", host, os.Getpid())
	log := cfg.Log.With(zap.String("member", string(kind)+" "+name))
	member := coord.NewMember(coord.MemberConfig{
		Redis: cfg.Redis, Namespace: cfg.Namespace, Swarm: cfg.Swarm, Log: log,
	})
	d := &desk{state: coord.State{Kind: kind, Name: name, PID: os.Getpid()}}
	log.Info("joining", zap.String("swarm", cfg.Swarm))

	// The member goes on beating while the play cleans up, so it has a
	// context of its own that ends after the play.
	group := new(errgroup.Group)
	memberCtx, leave := context.WithCancel(context.WithoutCancel(ctx))
	playCtx, stop := context.WithCancel(ctx)
	group.Go(func() error {
		defer stop()
		return member.Run(memberCtx, d.read)
	})
	group.Go(func() error {
		defer leave()
		return playAll(playCtx, cfg, member, d, play, log)
	})
	return group.Wait()
}

func playAll(ctx context.Context, cfg Config, member *coord.Member, d *desk, play Play, log *zap.Logger) error {
	played := ""
	for {
		view := member.View()
		ended := view.Plan.Phase == coord.PhaseEnded
		switch {
		case ctx.Err() != nil:
			return nil
		case view.Run.ID == "" || view.Plan.Run != view.Run.ID:
		case view.Run.ID == played:
			if ended && view.Plan.Leave {
				return nil
			}
		case !ended && view.LeaderFor > 0: // a plan that nobody leads is a leftover
			played = view.Run.ID
			if err := playOne(ctx, cfg, member, d, view.Run, play, log); err != nil {
				return err
			}
			continue // the view may have moved on meanwhile
		}
		select {
		case <-ctx.Done():
		case <-member.Changed():
		}
	}
}

func playOne(ctx context.Context, cfg Config, member *coord.Member, d *desk, run coord.Run, play Play, log *zap.Logger) error {
	d.change(func(s *coord.State) {
		*s = coord.State{Kind: s.Kind, Name: s.Name, PID: s.PID, Run: run.ID}
	})
	r, err := equip(cfg, run, log)
	var pool *accounts.Pool
	if err == nil {
		pool, r.Holder, err = register(ctx, cfg, member, r, d.read().Name)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		// The master says so to whoever started the run; this process waits
		// for a run that it can take part in.
		log.Error("cannot take part in the run", zap.String("run", run.ID), zap.Error(err))
		d.change(func(s *coord.State) { s.Refusal = err.Error() })
		member.Hurry()
		return nil
	}
	r.Member, r.desk = member, d
	r.Redis, r.Namespace, r.Swarm = cfg.Redis, cfg.Namespace, cfg.Swarm
	log.Info("taking part", zap.String("run", run.ID), zap.String("scenario", r.Spec.Scenario), zap.String("target", r.Spec.Target))
	defer func() { log.Info("the run is over here", zap.String("run", run.ID)) }()

	group := new(errgroup.Group)
	holderCtx, give := context.WithCancel(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		defer stop() // without its holder the play has no accounts
		return r.Holder.Run(holderCtx)
	})
	group.Go(func() error {
		defer give()
		return play(ctx, r)
	})
	if cfg.Keep != nil {
		group.Go(func() error {
			cfg.Keep(ctx, pool, r.Spec, log)
			return nil
		})
	}
	err = group.Wait()
	r.flush(ctx)
	if errors.Is(err, accounts.ErrNoPool) || errors.Is(err, accounts.ErrKey) {
		log.Error("the pool is of no more use in this run", zap.Error(err))
		return nil // perhaps the next run finds one
	}
	return err
}

// register opens the pool and a holder in it. A Redis that does not answer just
// now is no reason to miss the run.
func register(ctx context.Context, cfg Config, member *coord.Member, r *Rig, name string) (*accounts.Pool, *accounts.Holder, error) {
	retry := time.NewTicker(registerEvery)
	defer retry.Stop()
	for {
		pool, err := accounts.Open(ctx, accounts.Config{Redis: cfg.Redis, Namespace: cfg.Namespace, Name: r.Spec.Accounts.Pool, Keys: cfg.Keys, Log: r.Log})
		var holder *accounts.Holder
		if err == nil {
			holder, err = pool.Register(ctx, name)
		}
		final := errors.Is(err, accounts.ErrNoPool) || errors.Is(err, accounts.ErrVersion) ||
			errors.Is(err, accounts.ErrRedis) || errors.Is(err, accounts.ErrKey)
		if err == nil || final || member.View().Run.ID != r.Run {
			return pool, holder, err
		}
		r.Log.Warn("no place in the pool yet; trying again", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-retry.C:
		}
	}
}

// equip gathers what the run needs of this process, or says what it lacks.
func equip(cfg Config, run coord.Run, log *zap.Logger) (*Rig, error) {
	if run.Protocol != coord.Protocol {
		return nil, fmt.Errorf("the master speaks version %d of the protocol, this process %d: use the same version of throng everywhere", run.Protocol, coord.Protocol)
	}
	schemes := slices.Sorted(maps.Keys(cfg.Drivers)) // the same refusal from every process
	spec, err := scenarios.ParseSpec("spec of run "+run.ID, run.Spec, scenarios.ParseEnv{Scenarios: cfg.Scenarios, Schemes: schemes})
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(spec.Target)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	driver, err := cfg.Drivers[target.Scheme](target)
	if err != nil {
		return nil, err
	}
	return &Rig{
		Run: run.ID, Spec: spec, Driver: driver,
		Allow: dial.NewAllow(spec.Safety.Allow), Meter: trust.NewMeter(float64(spec.Trust.CPU)), Log: log,
	}, nil
}

// flush waits until the last statistics are saved, or until nobody is there to
// save them.
func (r *Rig) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	began := time.Now()
	r.Member.Hurry()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for r.Member.Unsaved() > 0 {
		view := r.Member.View()
		why := ""
		switch {
		case view.Run.ID != r.Run:
			return // another run has replaced this one
		case time.Since(view.Answered) > redisGone:
			why = "Redis does not answer"
		case ctx.Err() != nil, view.Answered.After(began) && view.LeaderFor == 0:
			why = "no master saves them"
		}
		if why != "" {
			r.Log.Info("left with statistics unsaved: "+why, zap.Int("reports", r.Member.Unsaved()))
			return
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
