package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

func completeAndInOrder(s *suite) {
	c, _ := s.connect()
	p := s.publisher(c, "p", s.channel())
	in, _ := s.subscribe(c, p.channel)
	p.send(200)
	in.expect(p, 1, 200)
}

func everySubscriber(s *suite) {
	first, _ := s.connect()
	second, _ := s.connect()
	p := s.publisher(first, "p", s.channel())
	var inboxes []*inbox
	in, _ := s.subscribe(first, p.channel)
	inboxes = append(inboxes, in)
	in, _ = s.subscribe(second, p.channel)
	inboxes = append(inboxes, in)
	in, _ = s.subscribe(second, p.channel) // two subscriptions of one user
	inboxes = append(inboxes, in)
	p.send(30)
	for _, in := range inboxes {
		in.expect(p, 1, 30)
	}
}

// Several publish over one connection: nothing is lost or doubled, and each
// one's own messages keep their order.
func manyAtOnce(s *suite) {
	const publishers, each = 8, 25
	c, _ := s.connect()
	channel := s.channel()
	in, _ := s.subscribe(c, channel)
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() { s.publisher(c, fmt.Sprintf("p%d", i), channel).send(each) })
	}
	wg.Wait()
	last := make(map[string]int64)
	got := in.await(publishers * each)
	for _, e := range got {
		if e.Sequence != last[e.Publisher]+1 {
			s.Errorf("message %d of %s arrived after its %d", e.Sequence, e.Publisher, last[e.Publisher])
		}
		last[e.Publisher] = e.Sequence
	}
	if len(got) != publishers*each {
		s.Errorf("%d messages arrived, want %d", len(got), publishers*each)
	}
}

func fromNow(s *suite) {
	c, _ := s.connect()
	p := s.publisher(c, "p", s.channel())
	p.send(5)
	in, _ := s.subscribe(c, p.channel)
	p.send(5)
	in.expect(p, 6, 10)
}

func channelsApart(s *suite) {
	c, _ := s.connect()
	p, other := s.publisher(c, "p", s.channel()), s.publisher(c, "other", s.channel())
	in, _ := s.subscribe(c, p.channel)
	elsewhere, _ := s.subscribe(c, other.channel)
	for range 10 {
		other.send(1)
		p.send(1)
	}
	in.expect(p, 1, 10)
	elsewhere.expect(other, 1, 10)
}

func goesOn(s *suite) {
	c, d := s.connect()
	publishing, _ := s.connect()
	p := s.publisher(publishing, "p", s.channel())
	in, _ := s.subscribe(c, p.channel)
	for i := range 4 {
		p.send(5)
		if i%2 == 1 {
			in.await(int(p.last)) // once in the middle of it, once at rest
		}
		d.breakAll()
	}
	p.send(5)
	in.expect(p, 1, p.last)
}

func contextOfPublish(s *suite) {
	c, _ := s.connect()
	p := s.publisher(c, "p", s.channel())
	in, _ := s.subscribe(c, p.channel)
	cancelled, cancel := context.WithCancel(s.context())
	cancel()
	err := c.Publish(cancelled, p.channel, message(s.T, nil, "late", p.channel, 1))
	if !errors.Is(err, context.Canceled) {
		s.Errorf("Publish with a cancelled context = %v, want context.Canceled wrapped", err)
	}
	p.send(3) // the connection is none the worse
	in.expect(p, 1, 3)
}

func contextOfSubscribe(s *suite) {
	c, _ := s.connect()
	p := s.publisher(c, "p", s.channel())
	ctx, cancel := context.WithCancel(s.context())
	in := newInbox(s.T)
	if _, err := c.Subscribe(ctx, p.channel, in.handler()); err != nil {
		s.Fatalf("Subscribe = %v", err)
	}
	cancel()
	p.send(3)
	in.expect(p, 1, 3)

	if _, err := c.Subscribe(ctx, p.channel, newInbox(s.T).handler()); !errors.Is(err, context.Canceled) {
		s.Errorf("Subscribe with a cancelled context = %v, want context.Canceled wrapped", err)
	}
}
