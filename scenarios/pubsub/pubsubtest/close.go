package pubsubtest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/throng-load/throng/scenarios/pubsub"
)

func closedSubscription(s *suite) {
	c, _ := s.connect()
	p := s.publisher(c, "p", s.channel())
	closed, sub := s.subscribe(c, p.channel)
	open, _ := s.subscribe(c, p.channel)
	p.send(3)
	closed.expect(p, 1, 3)
	if err := sub.Close(); err != nil {
		s.Errorf("Close = %v", err)
	}
	p.send(3)
	open.expect(p, 1, 6)
	closed.check(closed.all(), p, 1, 3)
}

func closedConnection(s *suite) {
	publishing, _ := s.connect()
	p := s.publisher(publishing, "p", s.channel())
	open, _ := s.subscribe(publishing, p.channel)

	var (
		c      pubsub.Conn
		d      = &dialer{}
		closed []*inbox
	)
	started := s.goroutinesOf(func() {
		var err error
		if c, err = s.Driver.Connect(s.context(), s.Account(), d); err != nil {
			s.Fatalf("Connect = %v", err)
		}
		for range 3 {
			in, _ := s.subscribe(c, p.channel)
			closed = append(closed, in)
		}
	})
	p.send(3)
	for _, in := range closed {
		in.expect(p, 1, 3)
	}
	if started() == 0 {
		s.Error("no goroutine serves three subscriptions: the suite cannot see what is left of them")
	}

	if err := c.Close(); err != nil {
		s.Errorf("Close = %v", err)
	}
	p.send(3)
	open.expect(p, 1, 6)
	for _, in := range closed {
		in.check(in.all(), p, 1, 3)
	}
	if err := c.Publish(s.context(), p.channel, message(s.T, nil, "late", p.channel, 1)); err == nil {
		s.Error("Publish on a closed connection succeeded")
	}
	if _, err := c.Subscribe(s.context(), p.channel, newInbox(s.T).handler()); err == nil {
		s.Error("Subscribe on a closed connection succeeded")
	}
	if err := c.Close(); err != nil {
		s.Errorf("second Close = %v", err)
	}
	s.eventually("all network connections are closed", func() bool {
		_, open := d.counts()
		return open == 0
	})
	s.eventually("no goroutine is left", func() bool { return started() == 0 })
}

// closingWaits holds the handler while the subscription and the connection are
// being closed: neither may return before the handler has.
func closingWaits(s *suite) {
	for _, what := range []string{"subscription", "connection"} {
		c, _ := s.connect()
		p := s.publisher(c, "p", s.channel())
		entered, release := make(chan struct{}), make(chan struct{})
		var returned atomic.Bool
		sub, err := c.Subscribe(s.context(), p.channel, pubsub.Handler{Message: func([]byte, time.Time) {
			close(entered)
			<-release
			returned.Store(true)
		}})
		if err != nil {
			s.Fatalf("Subscribe = %v", err)
		}
		p.send(1)
		select {
		case <-entered:
		case <-s.context().Done():
			s.Fatal("the message did not arrive")
		}
		closed := make(chan bool, 1)
		go func() {
			if what == "subscription" {
				sub.Close()
			} else {
				c.Close()
			}
			closed <- returned.Load()
		}()
		// A driver that does not wait has ample time to be caught.
		select {
		case <-closed:
			s.Errorf("closing the %s did not wait for the handler", what)
			close(release)
			continue
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		if !<-closed {
			s.Errorf("closing the %s did not wait for the handler", what)
		}
	}
}

// closingEnds closes a connection that is busy publishing and subscribing.
func closingEnds(s *suite) {
	for range 10 {
		c, d := s.connect()
		channel := s.channel()
		var wg sync.WaitGroup
		busy := make(chan struct{}, 8)
		for i := range cap(busy) {
			wg.Go(func() {
				payload := message(s.T, nil, fmt.Sprintf("p%d", i), channel, 1)
				for {
					err := c.Publish(context.Background(), channel, payload)
					if err == nil && i%2 == 0 {
						_, err = c.Subscribe(context.Background(), channel, newInbox(s.T).handler())
					}
					select {
					case busy <- struct{}{}:
					default:
					}
					if err != nil {
						return // closed: nothing else goes wrong here
					}
				}
			})
		}
		for range cap(busy) {
			<-busy
		}
		for range 2 {
			wg.Go(func() {
				if err := c.Close(); err != nil {
					s.Errorf("Close = %v", err)
				}
			})
		}
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-s.context().Done():
			s.Fatal("what was under way did not end when the connection was closed")
		}
		s.eventually("all network connections are closed", func() bool {
			_, open := d.counts()
			return open == 0
		})
	}
}

// goroutinesOf runs do and returns a function that counts the goroutines which
// do started, they and theirs, and which still run. They carry a label, so other
// tests do not disturb the count.
func (s *suite) goroutinesOf(do func()) (running func() int) {
	label := s.Name()
	pprof.Do(s.Context(), pprof.Labels("pubsubtest", label), func(context.Context) { do() })
	group := regexp.MustCompile(`(?m)^(\d+) @.*\n# labels: .*` + regexp.QuoteMeta(strconv.Quote(label)))
	return func() int {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			s.Fatal(err)
		}
		n := 0
		for _, found := range group.FindAllStringSubmatch(profile.String(), -1) {
			count, _ := strconv.Atoi(found[1]) // the pattern has digits only
			n += count
		}
		return n
	}
}
