package scenarios_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// fakeConn is a connection that notes what it is told to do.
type fakeConn struct {
	// publish and subscribe, if set, say what comes of it. They are given the
	// operation's context.
	publish   func(ctx context.Context) error
	subscribe func(ctx context.Context) error

	mu       sync.Mutex
	payloads [][]byte
	channels []string
	handlers map[string]pubsub.Handler
}

func (c *fakeConn) Publish(ctx context.Context, channel string, payload []byte) error {
	c.mu.Lock()
	c.payloads = append(c.payloads, append([]byte(nil), payload...))
	c.channels = append(c.channels, channel)
	c.mu.Unlock()
	if c.publish != nil {
		return c.publish(ctx)
	}
	return nil
}

func (c *fakeConn) Subscribe(ctx context.Context, channel string, handler pubsub.Handler) (pubsub.Subscription, error) {
	if c.subscribe != nil {
		if err := c.subscribe(ctx); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handlers == nil {
		c.handlers = make(map[string]pubsub.Handler)
	}
	c.handlers[channel] = handler
	return c, nil
}

func (c *fakeConn) Close() error { return nil }

// sent returns the envelopes of what was published.
func (c *fakeConn) sent(t *testing.T) []pubsub.Envelope {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []pubsub.Envelope
	for _, payload := range c.payloads {
		e, err := pubsub.ParsePayload(payload)
		if err != nil {
			t.Fatalf("payload %s: %v", payload, err)
		}
		all = append(all, e)
	}
	return all
}

// aheadBy is a swarm's clock that is ahead of the process's.
type aheadBy time.Duration

func (c aheadBy) Now() time.Time               { return c.At(time.Now()) }
func (c aheadBy) At(local time.Time) time.Time { return local.Add(time.Duration(c)) }

// outcome is one recorded operation.
type outcome struct {
	kind, name string
	took       time.Duration
	bytes      int
	err        error
}

// cancelled says whether statistics count the operation as given up.
func (o outcome) cancelled() bool { return errors.Is(o.err, context.Canceled) }

// notes is a recorder that keeps everything.
type notes struct {
	mu  sync.Mutex
	all []outcome
}

func (n *notes) Record(kind, name string, took time.Duration, bytes int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, outcome{kind, name, took, bytes, err})
}

// of returns what was recorded of a kind.
func (n *notes) of(kind string) []outcome {
	n.mu.Lock()
	defer n.mu.Unlock()
	var some []outcome
	for _, o := range n.all {
		if o.kind == kind {
			some = append(some, o)
		}
	}
	return some
}

const (
	userRun   = "run-1"
	userAhead = aheadBy(90 * time.Minute)
)

var (
	errBusy = errors.New("503 busy")
	room    = scenarios.Channel{Name: "room/7", Pattern: "room"}
)

func newUser(conn *fakeConn) (*scenarios.User, *notes) {
	recorded := new(notes)
	return scenarios.NewUser(scenarios.UserConfig{
		Run: userRun, Number: 4711, Conn: conn, Rand: rand.New(rand.NewPCG(1, 2)), Clock: userAhead, Recorder: recorded,
		Account: accounts.Leased{Account: accounts.Account{Username: "ann"}, Token: 42},
	}), recorded
}

func TestPublishSendsTheEnvelope(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := &fakeConn{publish: func(ctx context.Context) error { return scenarios.Sleep(ctx, 30*time.Millisecond) }}
		u, recorded := newUser(conn)
		start := time.Now()
		if err := u.Publish(t.Context(), room, map[string]string{"text": "hello"}); err != nil {
			t.Fatal(err)
		}
		want := pubsub.Envelope{
			Run: userRun, Source: pubsub.SourceLoad, Publisher: "4711/42", Sequence: 1, Channel: "room/7",
			At: start.Add(time.Duration(userAhead)).UnixMicro(),
		}
		if got := conn.sent(t); len(got) != 1 || got[0] != want {
			t.Errorf("sent %+v, want %+v", got, want)
		}
		if conn.channels[0] != "room/7" {
			t.Errorf("sent to %q", conn.channels[0])
		}
		var body struct{ Text string }
		if err := json.Unmarshal(conn.payloads[0], &body); err != nil || body.Text != "hello" {
			t.Errorf("the event arrived as %s", conn.payloads[0])
		}
		got := recorded.of(scenarios.OpPublish)
		if len(got) != 1 || got[0] != (outcome{scenarios.OpPublish, "room", 30 * time.Millisecond, len(conn.payloads[0]), nil}) {
			t.Errorf("recorded %+v", got)
		}
	})
}

// A gap in the sequence is a message that was lost, so only what was sent may
// have a number.
func TestSequenceHasNoGaps(t *testing.T) {
	t.Parallel()
	fail := false
	conn := &fakeConn{publish: func(context.Context) error {
		if fail {
			return errBusy
		}
		return nil
	}}
	u, recorded := newUser(conn)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, step := range []struct {
		ctx   context.Context
		event any
		fail  bool
		ok    bool
	}{
		{t.Context(), struct{}{}, false, true},
		{t.Context(), make(chan int), false, false},        // does not marshal
		{t.Context(), "not an object", false, false},       // cannot carry an envelope
		{t.Context(), []int{1}, false, false},              // nor can this
		{t.Context(), map[string]int{"n": 1}, true, false}, // may have arrived all the same
		{ended, struct{}{}, false, false},
		{t.Context(), nil, false, false},
		{t.Context(), struct{ N int }{1}, false, true},
	} {
		fail = step.fail
		if err := u.Publish(step.ctx, room, step.event); (err == nil) != step.ok {
			t.Errorf("publish %v: %v", step.event, err)
		}
	}
	for i, e := range conn.sent(t) {
		if e.Sequence != int64(i+1) {
			t.Errorf("message %d has sequence %d", i+1, e.Sequence)
		}
	}
	if got := recorded.of(scenarios.OpPublish); len(got) != 3 || len(conn.payloads) != 3 {
		t.Errorf("%d operations are counted and %d were sent, want 3", len(got), len(conn.payloads))
	}
}

// Two sessions of one user are two publishers: each counts from 1.
func TestPublisherIsOfOneSession(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, token := range []int64{1, 2} {
		conn := new(fakeConn)
		u := scenarios.NewUser(scenarios.UserConfig{
			Run: userRun, Number: 3, Conn: conn, Clock: userAhead, Recorder: new(notes), Account: accounts.Leased{Token: token},
		})
		if err := u.Publish(t.Context(), room, struct{}{}); err != nil {
			t.Fatal(err)
		}
		e := conn.sent(t)[0]
		if e.Sequence != 1 || seen[e.Publisher] {
			t.Errorf("session %d: publisher %q, sequence %d", token, e.Publisher, e.Sequence)
		}
		seen[e.Publisher] = true
	}
}

// operation is publishing or subscribing: both are counted alike.
type operation struct {
	kind string
	do   func(ctx context.Context, u *scenarios.User) error
}

func operations() []operation {
	return []operation{
		{scenarios.OpPublish, func(ctx context.Context, u *scenarios.User) error { return u.Publish(ctx, room, struct{}{}) }},
		{scenarios.OpSubscribe, func(ctx context.Context, u *scenarios.User) error {
			return u.Subscribe(ctx, room, func(scenarios.Message) {})
		}},
	}
}

func TestOperationsAreCountedOnce(t *testing.T) {
	t.Parallel()
	errStop := errors.New("stop")
	for _, op := range operations() {
		for _, tt := range []struct {
			name string
			// before and during say whether ctx ends then; result is what the
			// target makes of the operation.
			before, during bool
			result         error
			begun          int
			cancelled      bool
		}{
			{name: "success", begun: 1},
			{name: "failure", result: errBusy, begun: 1},
			{name: "stopped before", before: true},
			{name: "stopped meanwhile", during: true, begun: 1},
			{name: "fails after the stop", during: true, result: errBusy, begun: 1, cancelled: true},
		} {
			t.Run(op.kind+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					act := func(opCtx context.Context) error {
						if tt.during {
							cancel(errStop)
						}
						if err := scenarios.Sleep(opCtx, time.Second); err != nil {
							t.Errorf("the operation under way was given up: %v", err)
						}
						return tt.result
					}
					u, recorded := newUser(&fakeConn{publish: act, subscribe: act})
					if tt.before {
						cancel(errStop)
					}
					err := op.do(ctx, u)
					want := tt.result
					if tt.before {
						want = errStop
					}
					if !errors.Is(err, want) || (err == nil) != (want == nil) {
						t.Errorf("got %v, want %v", err, want)
					}
					got := recorded.of(op.kind)
					if len(got) != tt.begun || len(recorded.all) != tt.begun {
						t.Fatalf("recorded %+v, want %d operations", recorded.all, tt.begun)
					}
					for _, o := range got {
						if o.name != "room" || o.took != time.Second {
							t.Errorf("recorded %q that took %v", o.name, o.took)
						}
						if (o.err != nil) != (tt.result != nil) || o.cancelled() != tt.cancelled || !errors.Is(o.err, tt.result) {
							t.Errorf("recorded the error %v; cancelled is %v, want %v", o.err, o.cancelled(), tt.cancelled)
						}
					}
				})
			})
		}
	}
}

// A target that never answers does not hold a user for ever, and failed.
func TestOperationsEndByThemselves(t *testing.T) {
	t.Parallel()
	for _, op := range operations() {
		t.Run(op.kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hang := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
				u, recorded := newUser(&fakeConn{publish: hang, subscribe: hang})
				start := time.Now()
				if err := op.do(t.Context(), u); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(start); took != 30*time.Second {
					t.Errorf("it took %v", took)
				}
				if got := recorded.of(op.kind); len(got) != 1 || got[0].err == nil || got[0].cancelled() {
					t.Errorf("recorded %+v, want one failure", got)
				}
			})
		})
	}
}

// payload is a message as somebody publishes it.
func payload(t *testing.T, e pubsub.Envelope, body string) []byte {
	t.Helper()
	p, err := pubsub.AppendPayload(nil, e, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSubscribeHandsOverThisRunsLoad(t *testing.T) {
	t.Parallel()
	conn := new(fakeConn)
	u, recorded := newUser(conn)
	type event struct{ Text string }
	var got []event
	var envelopes []pubsub.Envelope
	err := u.Subscribe(t.Context(), room, func(m scenarios.Message) {
		var e event
		if err := m.Decode(&e); err != nil {
			t.Errorf("decode: %v", err)
		}
		got, envelopes = append(got, e), append(envelopes, m.Envelope)
	})
	if err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	at := sent.Add(time.Duration(userAhead)).UnixMicro()
	ours := pubsub.Envelope{Run: userRun, Source: pubsub.SourceLoad, Publisher: "1/1", Sequence: 1, Channel: "room/7", At: at}
	probes, others := ours, ours
	probes.Source = pubsub.SourceProbe
	others.Run = "run-0"
	early := ours
	early.Sequence, early.At = 2, at+5000 // clocks differ: from the future

	deliver := conn.handlers["room/7"].Message
	received := sent.Add(250 * time.Millisecond)
	for _, stranger := range [][]byte{nil, []byte("plain text"), []byte(`{"text":"no envelope"}`), []byte(`{"throng":{}}`), []byte(`[1]`), payload(t, probes, `{}`), payload(t, others, `{}`)} {
		deliver(stranger, received)
	}
	if len(got) != 0 || len(recorded.of(scenarios.OpDeliver)) != 0 {
		t.Fatalf("strangers' messages were handed over (%d) or counted: %+v", len(got), recorded.all)
	}
	mine := payload(t, ours, `{"text":"hello"}`)
	deliver(mine, received)
	deliver(payload(t, early, `{"text":"early"}`), sent)
	if len(got) != 2 || got[0].Text != "hello" || got[1].Text != "early" || envelopes[0] != ours {
		t.Fatalf("handed over %+v of %+v", got, envelopes)
	}
	delivered := recorded.of(scenarios.OpDeliver)
	if len(delivered) != 2 {
		t.Fatalf("recorded %+v", delivered)
	}
	// Envelopes have microseconds, so up to one is cut off.
	if d := delivered[0]; d.name != "room" || d.bytes != len(mine) || d.err != nil || (d.took-250*time.Millisecond).Abs() > time.Microsecond {
		t.Errorf("recorded %+v, want 250 ms from the swarm's clock", d)
	}
	if d := delivered[1]; (d.took + 5*time.Millisecond).Abs() > time.Microsecond {
		t.Errorf("recorded %v, want -5ms: what the clocks say, not what one wishes", d.took)
	}
}

func TestSubscribeCountsPolls(t *testing.T) {
	t.Parallel()
	conn := new(fakeConn)
	u, recorded := newUser(conn)
	if err := u.Subscribe(t.Context(), room, func(scenarios.Message) {}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []pubsub.Attempt{
		{Took: 25 * time.Second, Bytes: 17}, {Took: time.Second, Err: errBusy}, {Took: time.Millisecond, Err: context.Canceled},
	} {
		conn.handlers["room/7"].Attempt(a)
		all := recorded.of(scenarios.OpPoll)
		if got := all[len(all)-1]; got != (outcome{scenarios.OpPoll, "room", a.Took, a.Bytes, a.Err}) {
			t.Errorf("recorded %+v of %+v", got, a)
		}
	}
}

func TestThink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, recorded := newUser(new(fakeConn))
		start := time.Now()
		if err := u.Think(t.Context(), scenarios.Constant(3*time.Second)); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("thought for %v, %v", time.Since(start), err)
		}
		errStop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errStop) })
		start = time.Now()
		if err := u.Think(ctx, scenarios.Constant(time.Hour)); err != errStop || time.Since(start) != time.Second {
			t.Errorf("stopped after %v with %v", time.Since(start), err)
		}
		if len(recorded.all) != 0 {
			t.Errorf("thinking was recorded: %+v", recorded.all)
		}
	})
}
