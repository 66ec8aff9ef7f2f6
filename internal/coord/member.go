package coord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

const (
	beatEvery   = time.Second
	beatTimeout = 2 * time.Second
	// resendAfter is how long saving may stand still, while a leader lives,
	// before the entries that were sent count as lost by Redis.
	resendAfter = 5 * time.Second
	// sendAtOnce bounds the entries of one heartbeat.
	sendAtOnce = 20
	// leaveTimeout bounds the farewell.
	leaveTimeout = 2 * time.Second
)

// MemberConfig says who joins which swarm. Redis and Swarm must be set.
type MemberConfig struct {
	Redis     redis.UniversalClient
	Namespace string // empty means keyspace.Namespace
	Swarm     string
	Log       *zap.Logger // nil is fine
}

// Member is a worker's or a probe's part of the protocol. Its methods are safe
// for concurrent use.
type Member struct {
	cfg   MemberConfig
	id    string
	keys  keys
	clock *Clock
	log   *zap.Logger

	view    atomic.Pointer[View]
	changed chan struct{} // capacity 1: something in the view has changed
	kick    chan struct{} // capacity 1: do not wait for the next second
	outbox  outbox
}

// View is what a member knows of its swarm, as of the last answered heartbeat.
// It is never changed once published.
type View struct {
	Run   Run  // zero before there is one
	Plan  Plan // zero before there is one
	Slots *SlotSet
	// Answered is the instant of this process at which the last answered
	// heartbeat was sent; zero when none was.
	Answered time.Time
	// LeaderFor is what remained of the leader's lease then; 0 without leader.
	LeaderFor time.Duration
	// Led is the instant of this process at which a heartbeat was sent whose
	// answer knew of a living leader, the last such; zero when none did.
	Led time.Time
}

// NewMember returns a member that joins with the first heartbeat of Run. Its id
// is new, so it never takes up what another had begun.
func NewMember(cfg MemberConfig) *Member {
	log := cfg.Log
	if log == nil {
		log = zap.NewNop()
	}
	m := &Member{
		cfg: cfg, id: uuid.NewString(), keys: newKeys(cfg.Namespace, cfg.Swarm), clock: NewClock(), log: log,
		changed: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
	m.view.Store(&View{})
	return m
}

// ID identifies the member in its swarm.
func (m *Member) ID() string { return m.id }

// Clock is the member's estimate of Redis's time.
func (m *Member) Clock() *Clock { return m.clock }

// View returns the newest view.
func (m *Member) View() *View { return m.view.Load() }

// Changed yields after the run, the plan or the slots have changed, or a leader
// has come or gone. It never closes; it has one reader.
func (m *Member) Changed() <-chan struct{} { return m.changed }

// Send keeps a report of a run until it is saved, and sends it with a heartbeat
// at once: what a process that dies had counted and not sent is lost. It never
// blocks. A report of a run that another has replaced is
// dropped.
func (m *Member) Send(run string, r Report) {
	if err := m.outbox.add(run, r); err != nil {
		m.log.Error("a report is lost", zap.Error(err)) // a coding mistake: reports can be encoded
	}
	m.Hurry()
}

// Unsaved is how many reports are not saved yet.
func (m *Member) Unsaved() int {
	n, _ := m.outbox.waiting()
	return n
}

// Hurry makes the next heartbeat sooner, for a state that others wait for.
func (m *Member) Hurry() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// Touched says that a heartbeat was answered within the last d.
func (m *Member) Touched(d time.Duration) bool {
	return time.Since(m.View().Answered) < d
}

// Run beats once a second with what state returns until ctx ends, then leaves
// the swarm and returns nil. It returns an error only if the very first
// heartbeat fails: a wrong address should not look like an outage.
func (m *Member) Run(ctx context.Context, state func() State) error {
	if err := m.beat(ctx, state()); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("join swarm %s: %w", m.cfg.Swarm, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.listen(ctx) })
	group.Go(func() error { return m.beatOn(ctx, state) })
	err := group.Wait()

	leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if lerr := leaveScript.Run(leaveCtx, m.cfg.Redis, []string{m.keys.members(), m.keys.states()}, m.id).Err(); lerr != nil {
		m.log.Debug("not unregistered; the master will notice", zap.Error(lerr))
	}
	return err
}

// listen turns nudges into kicks. go-redis reconnects by itself; a nudge that
// is lost costs at most a second.
func (m *Member) listen(ctx context.Context) error {
	sub := m.cfg.Redis.Subscribe(ctx, m.keys.nudge())
	defer func() { _ = sub.Close() }() // nothing to lose
	nudges := sub.Channel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-nudges:
			m.Hurry()
		}
	}
}

func (m *Member) beatOn(ctx context.Context, state func() State) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	stuck := time.Now() // since when nothing was saved though it could have been
	var away time.Time  // since when Redis does not answer; zero while it does
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-m.kick:
			ticker.Reset(beatEvery)
		}
		unsent := m.sendReports(ctx)
		before, _ := m.outbox.waiting()
		err := errors.Join(unsent, m.beat(ctx, state()))
		switch {
		case err == nil && !away.IsZero():
			m.log.Info("Redis answers again", zap.Duration("after", time.Since(away).Round(time.Millisecond)))
			away = time.Time{}
		case err != nil && ctx.Err() == nil && away.IsZero():
			// Once: an outage would otherwise say so every second.
			m.log.Warn("Redis does not answer; trying on", zap.Error(err))
			away = time.Now()
		}
		if err != nil {
			stuck = time.Now()
			continue
		}
		after, someSent := m.outbox.waiting()
		if after < before || !someSent || m.View().LeaderFor == 0 {
			stuck = time.Now()
		} else if time.Since(stuck) > resendAfter {
			m.log.Warn("statistics are not being saved; sending them again", zap.Int("reports", after))
			m.outbox.resend()
			stuck = time.Now()
		}
	}
}

// sendReports appends what is not in the stream yet, in order: an entry goes
// out only when the one before it was acknowledged.
func (m *Member) sendReports(ctx context.Context) error {
	run, reports := m.outbox.next(sendAtOnce)
	if run == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	for _, k := range reports {
		err := m.cfg.Redis.XAdd(ctx, &redis.XAddArgs{Stream: m.keys.stats(), Values: []any{
			"run", run, "member", m.id, "number", k.number, "oldest", k.oldest, "body", k.body,
		}}).Err()
		if err != nil {
			return fmt.Errorf("send report %d: %w", k.number, err)
		}
		m.outbox.acknowledged(run, k.number)
	}
	return nil
}

var errReply = errors.New("coord: unexpected answer of a script")

// beat makes one heartbeat and publishes the view that it leads to.
func (m *Member) beat(ctx context.Context, state State) error {
	body, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	old := m.view.Load()
	slotsVersion := ""
	if old.Slots != nil {
		slotsVersion = strconv.FormatInt(old.Slots.Version, 10)
	}
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	k := m.keys
	sent := time.Now()
	reply, err := beatScript.Run(ctx, m.cfg.Redis,
		[]string{k.members(), k.states(), k.plan(), k.slots(), k.leader(), k.saved(), k.run()},
		m.id, body, old.Plan.Version, slotsVersion, old.Run.ID).Slice()
	received := time.Now()
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	next, number, at, err := m.read(old, reply, sent, received)
	if err != nil {
		return err
	}
	if next.Run.ID != old.Run.ID {
		m.outbox.reset(next.Run.ID)
	}
	m.outbox.saved(next.Run.ID, number, at)
	m.view.Store(next)
	led := next.LeaderFor > 0
	if next.Run.ID != old.Run.ID || next.Plan.Version != old.Plan.Version || next.Slots != old.Slots || led != (old.LeaderFor > 0) {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// read turns the answer of the heartbeat script into a view, the number of the last
// report that is saved, and Redis's time.
func (m *Member) read(old *View, reply []any, sent, received time.Time) (*View, int64, time.Time, error) {
	if len(reply) != 9 {
		return nil, 0, time.Time{}, fmt.Errorf("%w: %d fields", errReply, len(reply))
	}
	micros, err1 := parseInt(reply[0])
	version, err2 := parseInt(reply[1])
	remaining, err3 := parseInt(reply[4])
	number, err4 := parseInt(reply[5])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, 0, time.Time{}, err
	}
	at := time.UnixMicro(micros)
	m.clock.Observe(sent, received, at)

	next := *old
	next.Answered = sent
	next.LeaderFor = time.Duration(remaining) * time.Millisecond
	if next.LeaderFor > 0 {
		next.Led = sent
	}
	if version == 0 {
		next.Plan = Plan{} // Redis has forgotten it
	}
	if body, ok := reply[2].(string); ok {
		var plan Plan
		if err := json.Unmarshal([]byte(body), &plan); err != nil {
			return nil, 0, time.Time{}, fmt.Errorf("decode plan: %w", err)
		}
		plan.Version = version
		next.Plan = plan
	}
	if text, ok := reply[3].(string); ok {
		next.Slots = nil
		if text != "" {
			slots, err := decodeSlots(text)
			if err != nil {
				return nil, 0, time.Time{}, err
			}
			next.Slots = slots
		}
	}
	if id, _ := reply[6].(string); id != old.Run.ID {
		next.Run = Run{}
		if id != "" { // otherwise Redis has forgotten the run
			protocol, err := parseInt(reply[7])
			if err != nil {
				return nil, 0, time.Time{}, err
			}
			spec, _ := reply[8].(string)
			next.Run = Run{ID: id, Protocol: int(protocol), Spec: []byte(spec)}
		}
	}
	return &next, number, at, nil
}

func parseInt(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %q", errReply, v)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%w: %T", errReply, v)
}
