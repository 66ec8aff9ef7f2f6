package httpdriver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"github.com/throng-load/throng/scenarios/pubsub"
)

const (
	// pollTimeout bounds one long poll: what it may wait, and what any request
	// may take.
	pollTimeout = pollWait + requestTimeout
	// keptBuffer is the largest buffer that an idle subscription keeps.
	keptBuffer = 16 << 10
)

// errNothing makes the next poll wait although this one succeeded: see poll.
var errNothing = errors.New("answered early, with nothing")

// subscription follows one channel with long polls from a cursor. The cursor
// moves only when a whole answer has been read, so a poll that broke off is made
// again and nothing is lost or doubled.
type subscription struct {
	conn    *conn
	events  *url.URL // without a query
	handler pubsub.Handler
	cancel  context.CancelFunc
	done    chan struct{} // closed when follow has returned

	// Owned by start and then by follow's goroutine.
	position int64
	answer   bytes.Buffer
}

// page is the answer to a poll.
type page struct {
	Position *int64
	Events   []struct{ Data json.RawMessage }
}

// Close ends the poll in flight, waits for the handler and returns nil.
func (s *subscription) Close() error {
	s.cancel()
	<-s.done
	return nil
}

// start asks for the present end of the channel.
func (s *subscription) start(ctx context.Context) error {
	ctx, end, err := s.conn.begin(ctx, requestTimeout)
	if err != nil {
		return err
	}
	defer end()
	if err := s.fetch(ctx, ""); err != nil {
		return err
	}
	p, err := s.page()
	if err != nil {
		return err
	}
	s.position = *p.Position
	return nil
}

// follow polls until ctx ends. The policy pauses between failed polls and knows
// no other end than the context's; each success starts it afresh.
func (s *subscription) follow(ctx context.Context) {
	retrying := failsafe.With(s.conn.driver.retries).WithContext(ctx)
	for ctx.Err() == nil {
		// Failures were reported by poll.
		_ = retrying.Run(func() error { return s.poll(ctx) })
	}
}

// poll makes one long poll, reports it and hands out its messages.
func (s *subscription) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	started := time.Now()
	err := s.fetch(ctx, "after="+strconv.FormatInt(s.position, 10)+"&wait="+pollWait.String())
	received := time.Now() // before decoding, which is our time and not the target's
	var p page
	if err == nil {
		p, err = s.page()
	}
	took := received.Sub(started)
	if s.handler.Attempt != nil {
		s.handler.Attempt(pubsub.Attempt{Took: took, Bytes: s.answer.Len(), Err: err})
	}
	if err != nil {
		return err
	}
	stuck := *p.Position == s.position && len(p.Events) == 0
	s.position = *p.Position
	for _, e := range p.Events {
		s.handler.Message(e.Data, received)
	}
	if stuck && took < pollWait/2 {
		// A target that does not wait must not be asked as fast as it can
		// answer by every user there is.
		return errNothing
	}
	return nil
}

// fetch makes one request and leaves the answer in s.answer.
func (s *subscription) fetch(ctx context.Context, query string) error {
	s.answer.Reset()
	if s.answer.Cap() > keptBuffer {
		s.answer = bytes.Buffer{}
	}
	u := *s.events
	u.RawQuery = query
	return s.conn.do(ctx, http.MethodGet, &u, nil, &s.answer, maxPage)
}

// page decodes s.answer.
func (s *subscription) page() (page, error) {
	var p page
	if err := json.Unmarshal(s.answer.Bytes(), &p); err != nil {
		return page{}, &failure{text: "invalid answer", cause: err}
	}
	if p.Position == nil {
		return page{}, errNoCursor
	}
	return p, nil
}
