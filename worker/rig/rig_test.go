package rig_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
	"github.com/throng-load/throng/worker/rig"
)

const good = "scenario: fake\ntarget: fake://127.0.0.1:1\naccounts: { pool: pool }\n"

// behaviour is a scenario whose users do nothing.
type behaviour struct{}

func (*behaviour) Validate() error          { return nil }
func (*behaviour) ClassOf(int) int          { return 0 }
func (*behaviour) Crowd() scenarios.Channel { return scenarios.Channel{Name: "room", Pattern: "room"} }
func (*behaviour) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "User", Role: "user", Weight: 1}}
}

// driver speaks to nobody.
type driver struct{ target string }

func (driver) Connect(context.Context, accounts.Leased, pubsub.Dialer) (pubsub.Conn, error) {
	return nil, errors.New("nobody is there")
}

// bench is a swarm with one process, on a fake clock; the test is the master.
type bench struct {
	*testing.T
	rdb       redis.UniversalClient
	namespace string
	leader    *coord.Leader
	faults    *redistest.Faults // of the process's connection

	stop  context.CancelFunc
	ended chan struct{}
	err   error // what rig.Run returned, once ended is closed

	mu     sync.Mutex
	played []*rig.Rig
	over   []string // runs whose play has returned
}

// on runs a test in a bubble. A nil play waits for its run's end.
func on(t *testing.T, play rig.Play, test func(b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, faults: new(redistest.Faults), ended: make(chan struct{})}
		_, b.rdb, b.namespace = redistest.Piped(t)
		_, err := accounts.Create(t.Context(), accounts.Config{Redis: b.rdb, Namespace: b.namespace, Name: "pool"}, accounts.Settings{})
		b.must(err)
		b.leader, err = coord.Campaign(t.Context(), coord.LeaderConfig{Redis: b.rdb, Namespace: b.namespace, Swarm: "swarm"})
		b.must(err)
		if play == nil {
			play = untilOver
		}
		b.start(play)
		test(b)
	})
}

// untilOver is a play that does nothing until its run has ended.
func untilOver(ctx context.Context, r *rig.Rig) error {
	r.SetState(func(s *coord.State) { s.Ready = true })
	r.Member.Hurry()
	for {
		if v := r.Member.View(); v.Run.ID != r.Run || v.Plan.Phase == coord.PhaseEnded {
			return nil
		}
		if err := scenarios.Sleep(ctx, 20*time.Millisecond); err != nil {
			return nil
		}
	}
}

func (b *bench) start(play rig.Play) {
	b.Helper()
	rdb := redistest.Another(b.T, b.rdb)
	rdb.AddHook(b.faults)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() {
		defer close(b.ended)
		b.err = rig.Run(ctx, rig.Config{
			Redis: rdb, Namespace: b.namespace, Swarm: "swarm", Log: zap.NewNop(),
			Scenarios: []scenarios.Scenario{{Name: "fake", New: func() scenarios.Behaviour { return new(behaviour) }}},
			Drivers: rig.Drivers{
				"fake":   func(target *url.URL) (pubsub.Driver, error) { return driver{target.String()}, nil },
				"broken": func(*url.URL) (pubsub.Driver, error) { return nil, errors.New("the driver lacks something") },
			},
		}, coord.KindProbe, func(ctx context.Context, r *rig.Rig) error {
			b.mu.Lock()
			b.played = append(b.played, r)
			b.mu.Unlock()
			defer func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.over = append(b.over, r.Run)
			}()
			return play(ctx, r)
		})
	}()
	b.Cleanup(func() { cancel(); <-b.ended })
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// begin begins a run.
func (b *bench) begin(id, spec string) {
	b.Helper()
	b.must(b.leader.Renew(b.Context())) // a plan that nobody leads is not played
	_, err := b.leader.Begin(b.Context(), coord.Run{ID: id, Spec: []byte(spec)}, coord.Plan{Run: id, Phase: coord.PhaseWaiting})
	b.must(err)
}

// end ends a run.
func (b *bench) end(id string, leave bool) {
	b.Helper()
	_, err := b.leader.Publish(b.Context(), coord.Plan{Run: id, Phase: coord.PhaseEnded, Leave: leave})
	b.must(err)
}

// state is what the process says of itself; false if it is not on the roll.
func (b *bench) state() (coord.State, bool) {
	b.Helper()
	roll, err := b.leader.Roll(b.Context())
	b.must(err)
	if len(roll.Members) == 0 {
		return coord.State{}, false
	}
	return roll.Members[0].State, true
}

// pass lets fake time pass, and everything happen that happens until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// runs returns what was played, and what of it is over.
func (b *bench) runs() (played, over string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, r := range b.played {
		ids = append(ids, r.Run)
	}
	return strings.Join(ids, " "), strings.Join(b.over, " ")
}

// holders is how many processes are registered with the pool.
func (b *bench) holders() (int64, error) {
	return b.rdb.ZCard(b.Context(), b.namespace+":{pool:pool}:holders").Result()
}

func (b *bench) gone() bool {
	select {
	case <-b.ended:
		return true
	default:
		return false
	}
}

// left waits until the process has left, and returns how long that took.
func (b *bench) left() time.Duration {
	b.Helper()
	start := time.Now()
	select {
	case <-b.ended:
	case <-time.After(time.Minute):
		b.Fatal("it has not left")
	}
	return time.Since(start)
}

// A process that lacks what a run needs says so, plays nothing, and takes part
// in the next run that it can.
func TestRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		spec string
		want []string
	}{
		"unknown scenario":  {strings.Replace(good, "scenario: fake", "scenario: mine", 1), []string{"mine", "fake"}},
		"unknown parameter": {good + "params: { rooms: 3 }\n", []string{"rooms"}},
		"unknown scheme":    {strings.Replace(good, "target: fake", "target: mqtt", 1), []string{"mqtt", "broken, fake"}},
		"unusable driver":   {strings.Replace(good, "target: fake", "target: broken", 1), []string{"the driver lacks something"}},
		"no such pool":      {strings.Replace(good, "pool: pool", "pool: lake", 1), []string{"lake"}},
		"a newer key":       {good + "weather: fine\n", []string{"weather"}},
		"not a spec at all": {"]", []string{"syntax"}},
		"every mistake":     {"scenario: mine\ntarget: mqtt://h\n", []string{"mine", "mqtt"}},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, nil, func(b *bench) {
				b.begin("run-1", tt.spec)
				pass(1100 * time.Millisecond)
				state, _ := b.state()
				for _, want := range tt.want {
					if !strings.Contains(state.Refusal, want) {
						b.Errorf("the refusal is %q, want %q in it", state.Refusal, want)
					}
				}
				if played, _ := b.runs(); played != "" || state.Ready || state.Run != "run-1" {
					b.Errorf("played %q, state %+v", played, state)
				}
				b.end("run-1", false)
				b.begin("run-2", good)
				pass(1100 * time.Millisecond)
				state, _ = b.state()
				if played, _ := b.runs(); played != "run-2" || state.Refusal != "" || !state.Ready || state.Run != "run-2" {
					b.Errorf("then played %q, state %+v", played, state)
				}
			})
		})
	}
}

func TestRefusesAnotherProtocol(t *testing.T) {
	on(t, nil, func(b *bench) {
		// Only another version of the master would write that.
		run := b.namespace + ":{swarm:swarm}:run"
		held := b.faults.Hold(0, redistest.Any) // not to see it half written
		b.begin("run-1", "whatever: a spec may be by then\n")
		b.must(b.rdb.HSet(b.Context(), run, "protocol", coord.Protocol+1).Err())
		held.Lift()
		pass(1100 * time.Millisecond)
		state, _ := b.state()
		if played, _ := b.runs(); played != "" || !strings.Contains(state.Refusal, fmt.Sprintf("version %d of the protocol", coord.Protocol+1)) {
			b.Errorf("played %q, refusal %q", played, state.Refusal)
		}
		if b.gone() {
			b.Error("it left")
		}
		// It leaves with the others when that run is over.
		b.end("run-1", true)
		if took := b.left(); took > 2*time.Second || b.err != nil {
			b.Errorf("left after %v, %v", took, b.err)
		}
	})
}

func TestPlaysOneRunAfterAnother(t *testing.T) {
	on(t, nil, func(b *bench) {
		pass(3 * time.Second)
		if state, there := b.state(); !there || state.Kind != coord.KindProbe || state.PID != os.Getpid() || state.Run != "" {
			b.Errorf("before the first run it says %+v", state)
		}
		b.begin("run-1", good+"safety: { allow: [ 192.0.2.0/24 ] }\n")
		pass(time.Second)
		if played, over := b.runs(); played != "run-1" || over != "" {
			b.Fatalf("played %q, over %q", played, over)
		}
		r := b.played[0]
		if d, ok := r.Driver.(driver); !ok || d.target != "fake://127.0.0.1:1" || r.Spec.Scenario != "fake" {
			b.Errorf("equipped with %+v for %q", r.Driver, r.Spec.Scenario)
		}
		for addr, want := range map[string]bool{"192.0.2.7": true, "127.0.0.1": true, "198.51.100.1": false} {
			if err := r.Allow.Check(netip.MustParseAddr(addr)); (err == nil) != want {
				b.Errorf("traffic to %s: %v", addr, err)
			}
		}
		if n, err := b.holders(); err != nil || n != 1 {
			b.Errorf("%d holders are registered, %v", n, err)
		}
		// An ended run that does not tell to leave: it waits for the next.
		b.end("run-1", false)
		pass(5 * time.Second)
		if played, over := b.runs(); played != "run-1" || over != "run-1" || b.gone() {
			b.Errorf("played %q, over %q, gone %v", played, over, b.gone())
		}
		if n, err := b.holders(); err != nil || n != 0 {
			b.Errorf("after the run %d holders are registered, %v", n, err)
		}
		b.begin("run-2", good)
		pass(time.Second)
		// Another run takes over in the middle of this one.
		b.begin("run-3", good)
		pass(2 * time.Second)
		if played, over := b.runs(); played != "run-1 run-2 run-3" || over != "run-1 run-2" {
			b.Errorf("played %q, over %q", played, over)
		}
		if state, _ := b.state(); !state.Ready || state.Run != "run-3" {
			b.Errorf("it says %+v", state)
		}
		b.end("run-3", true)
		if took := b.left(); took > 2*time.Second || b.err != nil {
			b.Errorf("left after %v, %v", took, b.err)
		}
		if _, there := b.state(); there {
			b.Error("it has left and is still on the roll")
		}
	})
}

// What an earlier run said about leaving is not meant for who comes later.
func TestIgnoresARunThatHasEnded(t *testing.T) {
	on(t, nil, func(b *bench) {
		b.begin("run-0", good)
		b.end("run-0", true)
		b.stop()
		b.left()
		b.ended = make(chan struct{})
		b.mu.Lock()
		b.played, b.over = nil, nil
		b.mu.Unlock()
		b.start(untilOver)
		pass(5 * time.Second)
		if played, _ := b.runs(); played != "" || b.gone() {
			b.Fatalf("played %q, gone %v", played, b.gone())
		}
		b.begin("run-1", good)
		pass(time.Second)
		if played, _ := b.runs(); played != "run-1" {
			b.Errorf("played %q", played)
		}
	})
}

// A process that is stopped cleans up first, and keeps its heartbeat meanwhile.
func TestStop(t *testing.T) {
	cleanUp := func(ctx context.Context, r *rig.Rig) error {
		<-ctx.Done()
		<-time.After(4 * time.Second)
		return nil
	}
	on(t, cleanUp, func(b *bench) {
		b.begin("run-1", good)
		pass(time.Second)
		b.stop()
		pass(3500 * time.Millisecond)
		roll, err := b.leader.Roll(b.Context())
		if err != nil || len(roll.Members) != 1 || roll.Members[0].Silent > 1100*time.Millisecond {
			b.Errorf("while it cleans up the roll is %+v, %v", roll.Members, err)
		}
		if took := b.left(); took > time.Second || b.err != nil {
			b.Errorf("left after %v more, %v", took, b.err)
		}
		if _, there := b.state(); there {
			b.Error("it has left and is still on the roll")
		}
	})
}

func TestAPlayThatFailsEndsTheProcess(t *testing.T) {
	errPlay := errors.New("no more")
	on(t, func(context.Context, *rig.Rig) error { return errPlay }, func(b *bench) {
		b.begin("run-1", good)
		if b.left(); !errors.Is(b.err, errPlay) {
			b.Errorf("ended with %v", b.err)
		}
	})
}

// Statistics that nobody saves, or that Redis does not take, hold nobody back
// for long.
func TestLeavesWithStatisticsUnsaved(t *testing.T) {
	sends := func(ctx context.Context, r *rig.Rig) error {
		<-ctx.Done()
		r.Member.Send(r.Run, coord.Report{CPU: 0.5})
		return nil
	}
	for name, tt := range map[string]struct {
		cut, save bool
		limit     time.Duration
	}{
		"saved":     {save: true, limit: 1200 * time.Millisecond}, // the next heartbeat says so
		"no master": {limit: 6 * time.Second},
		// The heartbeat and the farewell time out, and so does the holder.
		"no Redis": {cut: true, limit: 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, sends, func(b *bench) {
				b.begin("run-1", good)
				pass(time.Second)
				if tt.cut {
					b.faults.Refuse(0, redistest.Any)
				}
				b.stop()
				start := time.Now()
				for !b.gone() && time.Since(start) < time.Minute {
					entries, err := b.leader.Read(b.Context(), "", 10)
					b.must(err)
					if len(entries) > 0 && tt.save {
						e := entries[len(entries)-1]
						b.must(b.leader.Save(b.Context(), coord.Saved{Run: "run-1", Body: []byte("{}"), Position: e.ID, Numbers: map[string]int64{e.Member: e.Number}}))
					}
					pass(50 * time.Millisecond)
				}
				if took := time.Since(start); took > tt.limit || b.err != nil {
					b.Errorf("left after %v, %v", took, b.err)
				}
			})
		})
	}
}

// A wrong address is an error, not an outage to wait for.
func TestRedisMissing(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer rdb.Close()
	err := rig.Run(t.Context(), rig.Config{Redis: rdb, Swarm: "swarm", Log: zap.NewNop()}, coord.KindWorker, func(context.Context, *rig.Rig) error {
		t.Error("it plays")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "join swarm") {
		t.Errorf("got %v", err)
	}
}
