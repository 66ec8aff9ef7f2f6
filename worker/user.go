package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
)

const (
	loginTimeout = 30 * time.Second
	// A user whose session failed pauses before the next: twice as long each
	// time, so that a target in trouble is not hammered by its own testers.
	minPause = 250 * time.Millisecond
	maxPause = 10 * time.Second
)

// What does not happen in a good run is counted all the same, as failures.
const (
	opLease   = "LEASE"   // a user got no account in time; named by role
	opSession = "SESSION" // a session's own code failed; named by user class
)

var errLeaseWait = errors.New("no account in time")

// user is one virtual user at one worker. The conductor calls its functions;
// the rest belongs to its goroutine.
type user struct {
	number int
	// finish lets the session end by itself and begins no other.
	finish func()
	// stop ends the session: the operation under way is finished, no other
	// begun.
	stop context.CancelCauseFunc
	// abort closes the connections.
	abort context.CancelCauseFunc
	// stopping and aborting are the timers of leave; nil before. They belong to
	// the conductor.
	stopping, aborting *time.Timer
}

// leave ends a user that is not wanted any more: its session may end by itself
// for so long, is stopped then, and if it does not react its connections are
// closed.
func (u *user) leave(stopTimeout time.Duration) {
	u.finish()
	if u.stopping == nil {
		u.stopping = time.AfterFunc(stopTimeout, func() { u.stop(errStopped) })
		u.aborting = time.AfterFunc(stopTimeout+stopGrace, func() { u.abort(errAborted) })
	}
}

// gone lets go of what a user has had.
func (u *user) gone() {
	if u.stopping != nil {
		u.stopping.Stop()
		u.aborting.Stop()
	}
}

// start starts a user. It is over when it has arrived on exited.
func (c *conductor) start(number int) *user {
	hard, abort := context.WithCancelCause(context.Background())
	soft, stop := context.WithCancelCause(hard)
	more, finish := context.WithCancel(soft)
	u := &user{number: number, finish: finish, stop: stop, abort: abort}
	go func() {
		defer func() {
			abort(nil)
			c.exited <- u
		}()
		c.live(hard, soft, more, number)
	}()
	return u
}

// errUntouched ends a session before it has begun.
var errUntouched = errors.New("worker: Redis is out of touch")

// mayBegin says whether a session of a number may begin: not while Redis is out of
// touch, when others may have the number by now, and not when they do. It is
// judged by one view, and at the last moment: nobody need have noticed yet that
// the process stood still. Whoever is ordered to run users has no slots: its
// numbers are its own for longer than it may be out of touch.
func (w *run) mayBegin(number int) bool {
	view := w.Member.View()
	return w.InTouch(view) && (w.pilot != nil || view.Slots.Has(number))
}

// live makes session after session until more has ended, or none may begin. Then
// the user is over: if its number is wanted later on it starts at the spawn rate,
// so that the end of an outage is no storm.
func (w *run) live(hard, soft, more context.Context, number int) {
	class := &w.classes[w.acting.ClassOf(number)]
	// The same number draws the same numbers in every run.
	random := rand.New(rand.NewPCG(uint64(number), 0x7468726f6e67))
	pause := minPause
	for more.Err() == nil && w.mayBegin(number) {
		err := w.session(hard, soft, more, number, class, random)
		if err == nil || more.Err() != nil {
			pause = minPause
			continue
		}
		w.Log.Debug("session failed", zap.Int("user", number), zap.String("class", class.Name), zap.Error(err))
		jittered := time.Duration((0.5 + 0.5*random.Float64()) * float64(pause))
		_ = scenarios.Sleep(more, jittered) // the loop looks at more
		pause = min(2*pause, maxPause)
	}
}

// session is one pass: lease, log in, act, disconnect, release.
func (w *run) session(hard, soft, more context.Context, number int, class *scenarios.Class, random *rand.Rand) error {
	lease, err := w.lease(more, class.Role)
	if err != nil {
		return err
	}
	outcome := accounts.OK
	defer func() { w.Holder.Release(lease, outcome) }()
	if !w.mayBegin(number) {
		return errUntouched // while it waited for its account
	}

	// The lease's end closes the connections whatever the session is doing.
	bound, unbind := lease.Bind(hard)
	defer unbind()
	dialer := dial.New(w.Allow, lease)
	defer dialer.Close()
	read, unread := w.LastAnswers(bound)
	defer unread()
	detach := context.AfterFunc(read, func() { dialer.Close() })
	defer detach()

	ctx, cancel := context.WithCancelCause(bound)
	defer cancel(nil)
	unstop := context.AfterFunc(soft, func() { cancel(context.Cause(soft)) })
	defer unstop()

	conn, err := w.login(ctx, read, lease, class.Role, dialer)
	if err != nil {
		if errors.Is(err, pubsub.ErrAccountRefused) {
			outcome = accounts.Refused(err.Error())
		}
		return err
	}
	defer conn.Close()
	start := time.Now()
	err = class.Session(ctx, scenarios.NewUser(scenarios.UserConfig{
		Run: w.Run, Number: number, Account: lease.Leased, Conn: conn,
		Rand: random, Clock: w.Member.Clock(), Recorder: w.recorder,
	}))
	if err != nil && ctx.Err() == nil && !scenarios.Counted(err) {
		// Not an operation that failed, but the scenario's own code: unseen, its
		// users would only be idle.
		w.recorder.Record(opSession, class.Name, time.Since(start), 0, err)
	}
	return err
}

// lease waits for an account of the role, as long as the spec allows.
func (w *run) lease(ctx context.Context, role string) (*accounts.Lease, error) {
	limit := time.Duration(w.Spec.Accounts.LeaseWait)
	waitCtx, cancel := context.WithTimeoutCause(ctx, limit, errLeaseWait)
	defer cancel()
	start := time.Now()
	w.waiting.Add(1)
	lease, err := w.Holder.Lease(waitCtx, role)
	w.waiting.Add(-1)
	waited := time.Since(start)
	if err != nil && ctx.Err() != nil {
		return nil, err // told to stop; the wait says nothing about the pool
	}
	w.waits[role].Record(waited)
	if err != nil {
		w.recorder.Record(opLease, role, waited, 0, leaseError(err, limit))
		w.complain(err)
	}
	return lease, err
}

// complainEvery is how often a worker says that accounts are short.
const complainEvery = 5 * time.Second

// complain says in full what was short, and who has it, now and then: the
// statistics only count how often.
func (w *run) complain(err error) {
	now := time.Now().UnixNano()
	last := w.complained.Load()
	if now-last >= int64(complainEvery) && w.complained.CompareAndSwap(last, now) {
		w.Log.Warn("no account in time", zap.Error(err))
	}
}

// leaseError is why there was no account, in words that equal failures share.
func leaseError(err error, limit time.Duration) error {
	var short *accounts.ShortageError
	switch {
	case errors.As(err, &short) && short.Answered:
		return fmt.Errorf("no free account within %v", limit)
	case errors.As(err, &short):
		return fmt.Errorf("the pool did not answer within %v", limit)
	}
	return err
}

// login connects. Like every operation it is finished once begun, unless the
// lease or the user's grace runs out.
func (w *run) login(ctx, read context.Context, lease *accounts.Lease, role string, dialer pubsub.Dialer) (pubsub.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	opCtx, cancel := context.WithTimeout(read, loginTimeout)
	defer cancel()
	start := time.Now()
	conn, err := w.Driver.Connect(opCtx, lease.Leased, dialer)
	recorded := err
	if err != nil && (read.Err() != nil || lease.Check() != nil) {
		recorded = fmt.Errorf("%w: %w", context.Canceled, err)
	}
	w.recorder.Record(scenarios.OpLogin, role, time.Since(start), 0, recorded)
	return conn, err
}
