package probe

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// After a failure to connect the next attempt waits, from the first to the
// second, doubling, with jitter. The longest is short: a probe has a handful of
// connections, and while one is missing its messages count as lost.
const (
	minPause    = 100 * time.Millisecond
	maxPause    = 2 * time.Second
	pauseJitter = 0.25
)

var (
	errLeaseOver = errors.New("the lease is over")
	errBroken    = errors.New("the connection is of no use any more")
)

// link is a leased account with its connection.
type link struct {
	conn pubsub.Conn
	// over is closed a moment after the lease may not be used any more: its
	// last answers have come then, and the connection is dead.
	over <-chan struct{}
	// leave closes the connection and gives the account back.
	leave func()
}

// join leases an account and connects. When soft ends it begins nothing more
// but finishes what it has begun; when hard ends, it breaks off, and so does
// everything on the link.
type join func(soft, hard context.Context) (link, error)

// session is a link in use. It is safe for concurrent use.
type session struct {
	link
	// patience is for how long every attempt may fail before the connection
	// is given up. A target that is away for a while is the driver's to
	// cope with: a new connection would not bring it back, and a new
	// subscription would miss what the old one can still fetch.
	patience time.Duration
	broken   chan struct{} // closed by giveUp
	once     sync.Once

	mu      sync.Mutex // guards failing
	failing time.Time  // since when; zero while attempts succeed
}

// note takes the outcome of an attempt on the connection.
func (s *session) note(err error) {
	if errors.Is(err, context.Canceled) {
		return // says nothing about the connection
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.failing = time.Time{}
	case s.failing.IsZero():
		s.failing = time.Now()
	case time.Since(s.failing) > s.patience:
		s.giveUp()
	}
}

// noteClosed is note for attempts of which each stands for itself: nothing is
// missed by giving up a connection that says it is closed.
func (s *session) noteClosed(err error) {
	if errors.Is(err, net.ErrClosed) {
		s.giveUp()
	}
	s.note(err)
}

// giveUp makes the line connect anew.
func (s *session) giveUp() { s.once.Do(func() { close(s.broken) }) }

// line keeps one end of a route connected: it joins, stands until the lease is
// over or the connection is of no use, and joins again.
type line struct {
	name     string // for people
	join     join
	patience time.Duration
	// begin is what makes a new connection useful; nil is nothing.
	begin func(ctx context.Context, s *session) error
	log   *zap.Logger

	// fenced is called when the lease of a connection in use is over.
	fenced func()

	standing atomic.Pointer[session]
	// waiting says that the line had stood, lost its lease, and does not
	// stand again yet.
	waiting atomic.Bool
	// up is closed when the line stands for the first time.
	up     chan struct{}
	upOnce sync.Once
}

// session returns the connection, or nil while there is none.
func (l *line) session() *session { return l.standing.Load() }

// run keeps the line until soft ends. It returns when the account is given
// back.
func (l *line) run(soft, hard context.Context) {
	retries := retrypolicy.NewBuilder[any]().
		WithBackoff(minPause, maxPause).WithJitterFactor(pauseJitter).WithMaxRetries(-1).Build()
	retrying := failsafe.With(retries).WithContext(soft)
	for soft.Err() == nil {
		// Failures are logged where they happen; success begins the
		// pauses afresh.
		_ = retrying.Run(func() error { return l.stand(soft, hard) })
	}
}

// stand joins and stands as long as it goes. It returns an error if that was
// not long.
func (l *line) stand(soft, hard context.Context) error {
	joined, err := l.join(soft, hard)
	if err != nil {
		if !errors.Is(err, accounts.ErrNoAccount) {
			l.waiting.Store(false) // it is the target now that keeps the line down
		}
		l.warn(soft, "cannot connect; trying again", err)
		return err
	}
	defer joined.leave()
	s := &session{link: joined, patience: l.patience, broken: make(chan struct{})}
	if l.begin != nil {
		if err := l.begin(hard, s); err != nil {
			l.warn(soft, "cannot subscribe; trying again", err)
			return err
		}
	}
	since := time.Now()
	l.standing.Store(s)
	l.waiting.Store(false)
	defer l.standing.Store(nil)
	l.upOnce.Do(func() { close(l.up) })
	select {
	case <-soft.Done():
		return nil
	case <-s.over:
		err = errLeaseOver
		l.waiting.Store(true)
		l.fenced()
	case <-s.broken:
		err = errBroken
	}
	l.warn(soft, "connecting again", err)
	if time.Since(since) > maxPause {
		return nil
	}
	return err
}

// warn logs, unless the line was told to stop.
func (l *line) warn(soft context.Context, what string, err error) {
	if soft.Err() == nil {
		l.log.Warn(what, zap.String("line", l.name), zap.Error(err))
	}
}
