package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// Types of operations, as statistics list them.
const (
	OpLogin     = "LOGIN"     // lease in hand, log in and connect; named by role
	OpPublish   = "PUBLISH"   // one message until the target acknowledges it
	OpSubscribe = "SUBSCRIBE" // until the subscription stands
	OpPoll      = "POLL"      // one request that a subscription makes by itself
	OpDeliver   = "DELIVER"   // one message received, timed from its intended sending
)

// publishTimeout bounds one publish or subscribe, also one that is still under
// way when its user is told to stop.
const publishTimeout = 30 * time.Second

// Recorder takes the outcome of operations. It is safe for concurrent use and
// does not block. An err that wraps context.Canceled is an operation that was
// given up and says nothing about the target.
type Recorder interface {
	Record(kind, name string, took time.Duration, bytes int, err error)
}

// Clock tells the swarm's time, Redis's, which all processes share.
type Clock interface {
	Now() time.Time
	// At converts an instant of this process's clock.
	At(local time.Time) time.Time
}

// UserConfig is what a worker gives to a user for one session. All fields must
// be set.
type UserConfig struct {
	Run      string
	Number   int
	Account  accounts.Leased
	Conn     pubsub.Conn
	Rand     *rand.Rand
	Clock    Clock
	Recorder Recorder
}

// User is one virtual user during one session: what a scenario's code acts
// through. Its methods time and count what they do. It belongs to the
// goroutine that runs the session and must not be used by any other; handlers
// of Subscribe run on another goroutine and must not use it.
type User struct {
	UserConfig
	publisher string
	sequence  int64
}

// NewUser returns the user for one session.
func NewUser(c UserConfig) *User {
	// The token makes the publisher unique: a session's sequence starts at 1.
	return &User{UserConfig: c, publisher: fmt.Sprintf("%d/%d", c.Number, c.Account.Token)}
}

// Message is a message as a subscriber receives it.
type Message struct {
	pubsub.Envelope
	payload []byte
}

// Decode unmarshals the message's JSON object into v. It is valid only while
// the handler runs.
func (m Message) Decode(v any) error { return json.Unmarshal(m.payload, v) }

// Think waits as a person would, for a time drawn from d. It returns early
// with the cause when ctx ends.
func (u *User) Think(ctx context.Context, d Dist) error {
	return Sleep(ctx, d.Sample(u.Rand))
}

// Sleep waits for d, or returns early with the cause when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Publish sends event, which must marshal to a JSON object, and waits until
// the target has acknowledged it. Once begun it is finished even when ctx ends
// meanwhile: an operation given up half-way could be counted by the target and
// not by us.
func (u *User) Publish(ctx context.Context, ch Channel, event any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode event for %s: %w", ch.Pattern, err)
	}
	start := time.Now()
	payload, err := pubsub.AppendPayload(nil, pubsub.Envelope{
		Run: u.Run, Source: pubsub.SourceLoad, Publisher: u.publisher, Sequence: u.sequence + 1,
		Channel: ch.Name, At: u.Clock.At(start).UnixMicro(),
	}, body)
	if err != nil {
		return fmt.Errorf("encode event for %s: %w", ch.Pattern, err)
	}
	u.sequence++ // only now: what was never sent must not look lost
	opCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	err = u.Conn.Publish(opCtx, ch.Name, payload)
	u.Recorder.Record(OpPublish, ch.Pattern, time.Since(start), len(payload), givenUp(ctx, err))
	return count(err)
}

// Subscribe hands the channel's messages of this run's load to handle until
// the session ends. Every message that is published after Subscribe has
// returned arrives. Handle is called for one message at a time and must not
// block.
func (u *User) Subscribe(ctx context.Context, ch Channel, handle func(Message)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	run, clock, recorder := u.Run, u.Clock, u.Recorder
	handler := pubsub.Handler{
		Message: func(payload []byte, received time.Time) {
			envelope, err := pubsub.ParsePayload(payload)
			if err != nil || envelope.Run != run || envelope.Source != pubsub.SourceLoad {
				return // another run's, the probe's or a stranger's
			}
			recorder.Record(OpDeliver, ch.Pattern, clock.At(received).Sub(envelope.Time()), len(payload), nil)
			handle(Message{Envelope: envelope, payload: payload})
		},
		Attempt: func(a pubsub.Attempt) {
			recorder.Record(OpPoll, ch.Pattern, a.Took, a.Bytes, givenUp(ctx, a.Err))
		},
	}
	opCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	start := time.Now()
	_, err := u.Conn.Subscribe(opCtx, ch.Name, handler)
	u.Recorder.Record(OpSubscribe, ch.Pattern, time.Since(start), 0, givenUp(ctx, err))
	return count(err)
}

// fenced says that nothing was sent because the lease had run out.
func fenced(err error) bool {
	return errors.Is(err, accounts.ErrSuspended) || errors.Is(err, accounts.ErrLost) || errors.Is(err, accounts.ErrReleased)
}

// counted is the error of an operation that stands in the statistics.
type counted struct{ error }

func (c counted) Unwrap() error { return c.error }

func count(err error) error {
	if err == nil {
		return nil
	}
	return counted{err}
}

// Counted says whether err is, or wraps, the failure of an operation, which is
// in the statistics already. A session's other errors are not.
func Counted(err error) bool { return errors.As(err, new(counted)) }

// givenUp marks an error that came after ctx had ended (the user was stopped,
// or its lease ran out and its connections were closed) as given up, and one
// of a lease that had run out before anybody was told.
func givenUp(ctx context.Context, err error) error {
	if err != nil && (ctx.Err() != nil || fenced(err)) {
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
}
