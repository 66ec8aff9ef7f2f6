package probe

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// fakeTarget is a target within the process, and the driver for it. Time there
// is that of the synctest bubble.
type fakeTarget struct {
	// fate decides over each message; nil is delivery at once.
	fate func(e pubsub.Envelope) fate

	mu       sync.Mutex // guards what follows
	subs     []*fakeSub
	envelope []pubsub.Envelope // published, in order
}

// fate is what becomes of one publish and its message.
type fate struct {
	blocks time.Duration // until the target takes the message and acknowledges it
	err    error         // instead of taking it
	copies []time.Duration
}

// delivered is the fate of a message that arrives once, after a delay.
func delivered(after time.Duration) fate { return fate{copies: []time.Duration{after}} }

var errBusy = errors.New("503 Service Unavailable")

func (f *fakeTarget) Connect(context.Context, accounts.Leased, pubsub.Dialer) (pubsub.Conn, error) {
	return &fakeConn{target: f, closed: make(chan struct{})}, nil
}

// publish hands a payload to all subscriptions of a channel.
func (f *fakeTarget) publish(channel string, payload []byte, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.subs {
		if s.channel == channel {
			s.put(item{payload: slices.Clone(payload), due: time.Now().Add(after)})
		}
	}
}

func (f *fakeTarget) published() []pubsub.Envelope {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.envelope)
}

type fakeConn struct {
	target *fakeTarget
	closed chan struct{}
	once   sync.Once
	subs   sync.WaitGroup
}

func (c *fakeConn) Publish(ctx context.Context, channel string, payload []byte) error {
	e, err := pubsub.ParsePayload(payload)
	if err != nil {
		return err
	}
	c.target.mu.Lock()
	c.target.envelope = append(c.target.envelope, e)
	c.target.mu.Unlock()
	what := delivered(0)
	if c.target.fate != nil {
		what = c.target.fate(e)
	}
	if what.blocks > 0 {
		timer := time.NewTimer(what.blocks)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closed:
			return net.ErrClosed
		}
	}
	if what.err != nil {
		return what.err
	}
	for _, after := range what.copies {
		c.target.publish(channel, payload, after)
	}
	return nil
}

func (c *fakeConn) Subscribe(_ context.Context, channel string, h pubsub.Handler) (pubsub.Subscription, error) {
	s := &fakeSub{channel: channel, handler: h, changed: make(chan struct{}, 1)}
	c.target.mu.Lock()
	c.target.subs = append(c.target.subs, s)
	c.target.mu.Unlock()
	c.subs.Go(func() {
		s.deliver(c.closed)
		c.target.mu.Lock()
		defer c.target.mu.Unlock()
		c.target.subs = slices.DeleteFunc(c.target.subs, func(o *fakeSub) bool { return o == s })
	})
	return s, nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.subs.Wait()
	return nil
}

// fakeSub delivers what is due, one at a time, in the order in which it is due.
type fakeSub struct {
	channel string
	handler pubsub.Handler
	changed chan struct{} // capacity 1

	mu    sync.Mutex
	queue []item
}

type item struct {
	payload []byte
	due     time.Time
}

// Close does nothing: a route's subscriptions end with the connection.
func (s *fakeSub) Close() error { return nil }

func (s *fakeSub) put(i item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := len(s.queue)
	for at > 0 && s.queue[at-1].due.After(i.due) {
		at--
	}
	s.queue = slices.Insert(s.queue, at, i)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// next returns what is due, or for how long there is nothing.
func (s *fakeSub) next() (item, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return item{}, time.Hour
	}
	i := s.queue[0]
	if wait := time.Until(i.due); wait > 0 {
		return item{}, wait
	}
	s.queue = s.queue[1:]
	return i, 0
}

func (s *fakeSub) deliver(closed <-chan struct{}) {
	for {
		i, wait := s.next()
		if wait == 0 {
			s.handler.Message(i.payload, time.Now())
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.changed:
		case <-closed:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}
