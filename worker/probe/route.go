package probe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// maxInFlight bounds the publishes under way on one route. Each may cost a
// network connection; two routes at the limit stay well within the descriptors
// that a process usually has.
const maxInFlight = 4096

// routeConfig is what a route needs. All fields must be set.
type routeConfig struct {
	name    string // quiet, crowd
	channel string
	// own says that nobody else publishes on the channel, so that whatever
	// else arrives there is unexpected.
	own bool
	// run and publisher identify the route's messages.
	run, publisher string
	rate           float64 // messages a second; above 0
	limits         limits
	// swarmTime converts an instant of this process to the swarm's time.
	swarmTime func(local time.Time) time.Time
	// record takes the outcome of each publish.
	record func(took time.Duration, bytes int, err error)
	join   join
	// muted says that nobody controls the swarm, so that nothing is sent.
	muted func() bool
	log   *zap.Logger
}

// route is one path from a publisher through the target to a subscriber. It is
// safe for concurrent use.
type route struct {
	routeConfig
	publisherLine, subscriberLine *line
	slots                         chan struct{} // one message in it for each publish under way
	origin                        time.Time     // what instants count from; has a monotonic reading

	mu    sync.Mutex // guards match
	match *matcher
}

func newRoute(c routeConfig) *route {
	// A publish ends with its timeout, so more than these are never under
	// way but for jitter; a second's worth is for that.
	inFlight := math.Ceil(c.rate * (c.limits.timeout.Seconds() + 1))
	r := &route{
		routeConfig: c,
		slots:       make(chan struct{}, int(min(inFlight, maxInFlight))),
		origin:      time.Now(),
	}
	r.match = newMatcher(c.limits, c.rate, func(at time.Duration) int64 {
		return r.swarmTime(r.origin.Add(at)).Unix()
	})
	r.publisherLine = r.newLine("publisher", nil)
	r.subscriberLine = r.newLine("subscriber", r.subscribe)
	return r
}

func (r *route) newLine(end string, begin func(context.Context, *session) error) *line {
	return &line{
		name: r.name + " " + end, join: r.join, begin: begin, fenced: r.abandon, log: r.log, up: make(chan struct{}),
		// What was open when the attempts began to fail is lost by then.
		patience: r.limits.timeout,
	}
}

// suspended says that an end of the route waits for an account: what is sent
// now would say nothing about the target.
func (r *route) suspended() bool {
	return r.publisherLine.waiting.Load() || r.subscriberLine.waiting.Load()
}

// abandon gives up on what is open.
func (r *route) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.match.abandon()
}

// lines returns the two ends, which the caller runs.
func (r *route) lines() []*line { return []*line{r.subscriberLine, r.publisherLine} }

// since is an instant as the matcher and the schedule count it.
func (r *route) since(t time.Time) time.Duration { return t.Sub(r.origin) }

// subscribe begins to listen.
func (r *route) subscribe(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, r.limits.timeout)
	defer cancel()
	_, err := s.conn.Subscribe(ctx, r.channel, pubsub.Handler{
		Message: r.receive,
		Attempt: func(a pubsub.Attempt) { s.note(a.Err) },
	})
	return err // the subscription ends with the connection
}

// receive takes what arrives on the channel.
func (r *route) receive(payload []byte, received time.Time) {
	e, err := pubsub.ParsePayload(payload)
	ours := err == nil && e.Run == r.run && e.Source == pubsub.SourceProbe && e.Publisher == r.publisher
	if !ours && !r.own {
		return // the load's, another probe's, or a stranger's
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ours {
		r.match.unexpected(r.since(received))
		return
	}
	r.match.receive(e.Sequence, r.since(received))
}

// send sends the schedule's messages, from the first that is not past yet,
// until soft ends or the schedule is over. It returns when the last publish has ended; those under way
// are finished, within the timeout, unless hard ends.
func (r *route) send(soft, hard context.Context, s schedule) {
	var publishes sync.WaitGroup
	defer publishes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := s.first(r.since(time.Now())); ; i++ {
		at := s.at(i)
		if s.over(at) {
			return
		}
		if wait := at - r.since(time.Now()); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-soft.Done():
				return
			}
		} else if soft.Err() != nil && -wait > r.limits.lateSend {
			// Told to stop while behind: what was due is not
			// forgotten, it was left out.
			r.leaveOut(at)
			continue
		}
		r.dispatch(hard, &publishes, at)
	}
}

// dispatch starts the publish of the message that is due, or leaves it out: a
// publish that blocks must not delay the next one.
//
// While the route is suspended or muted nothing is sent, and nothing left out: the
// master excludes that time from what it judges.
func (r *route) dispatch(hard context.Context, publishes *sync.WaitGroup, at time.Duration) {
	if r.suspended() || r.muted() {
		return
	}
	now := r.since(time.Now())
	// If the process stood still for that long, the message could not but
	// be lost, and not by the target's fault.
	hopeless := now-at > r.limits.timeout
	if hopeless || !r.reserve() {
		r.leaveOut(at)
		return
	}
	r.mu.Lock()
	sequence, ok := r.match.send(at, now)
	if !ok {
		r.match.leaveOut(at)
	}
	r.mu.Unlock()
	if !ok {
		<-r.slots
		return
	}
	publishes.Go(func() {
		defer func() { <-r.slots }()
		r.publish(hard, sequence, at)
	})
}

// reserve takes a slot if there is one.
func (r *route) reserve() bool {
	select {
	case r.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *route) leaveOut(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.match.leaveOut(at)
}

// publish sends one message. Without a connection it does nothing, and the
// message becomes lost: the schedule does not know of connections.
func (r *route) publish(ctx context.Context, sequence int64, at time.Duration) {
	s := r.publisherLine.session()
	if s == nil {
		return
	}
	payload, err := pubsub.AppendPayload(nil, pubsub.Envelope{
		Run: r.run, Source: pubsub.SourceProbe, Publisher: r.publisher, Sequence: sequence,
		Channel: r.channel, At: r.swarmTime(r.origin.Add(at)).UnixMicro(),
	}, nil)
	ctx, cancel := context.WithTimeout(ctx, r.limits.timeout)
	defer cancel()
	began := time.Now()
	if err == nil {
		r.mu.Lock()
		r.match.leave(sequence, r.since(began))
		r.mu.Unlock()
		err = s.conn.Publish(ctx, r.channel, payload)
	}
	took := time.Since(began)
	if err == nil {
		r.mu.Lock()
		r.match.acknowledge(sequence)
		r.mu.Unlock()
	}
	r.record(took, len(payload), givenUp(ctx, s.over, err))
	s.noteClosed(err)
}

// givenUp marks an error of an operation that was broken off, because ctx was
// cancelled or the lease was over: it says nothing about the target.
func givenUp(ctx context.Context, over <-chan struct{}, err error) error {
	if err == nil {
		return nil
	}
	broken := errors.Is(ctx.Err(), context.Canceled) ||
		errors.Is(err, accounts.ErrSuspended) || errors.Is(err, accounts.ErrLost) // nothing was sent
	select {
	case <-over:
		broken = true
	default:
	}
	if broken {
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
}

// settled says whether nothing is open.
func (r *route) settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.match.expire(r.since(time.Now()))
	return r.match.open == 0
}

// take returns what was counted since the last take, all as of one instant. A
// route of which nothing was counted says that it is there.
func (r *route) take() []coord.Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.since(time.Now())
	taken := r.match.take(now)
	if len(taken) == 0 {
		taken = []coord.Route{{At: r.match.second(now)}}
	}
	for i := range taken {
		taken[i].Route = r.name
	}
	return taken
}
