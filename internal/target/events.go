package target

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const maxWait = time.Minute

func (s *Server) publish(r *http.Request) (answer, error) {
	name, err := channelName(r)
	if err != nil {
		return answer{}, err
	}
	by, err := s.authorized(r)
	if err != nil {
		return answer{}, err
	}
	data, err := readBody(r)
	if err != nil {
		return answer{}, err
	}
	if !json.Valid(data) {
		return answer{}, fail(http.StatusBadRequest, "the event is not JSON")
	}
	by.tally.published.Add(1)
	faults := s.faults.Load()
	if s.dice.hits(faults.Refuse, drawRefusePublish, s.tally.publishes.Add(1)-1) {
		s.tally.refused.Add(1)
		by.tally.refused.Add(1)
		return answer{}, refused()
	}
	position := s.channel(name).publish(data, time.Since(s.start), s.retain, func() fate {
		return s.accept(by.tally, faults)
	})
	body := append(make([]byte, 0, 40), `{"position":`...)
	body = append(strconv.AppendInt(body, position, 10), '}')
	return answer{status: http.StatusCreated, body: body}, nil
}

// accept counts an event in, which gives it its number, and decides its fate.
// It runs before anybody can see the event.
func (s *Server) accept(by *roleTally, f *Faults) fate {
	n := s.tally.accepted.Add(1) - 1
	by.accepted.Add(1)
	if s.dice.hits(f.Loss, drawLoss, n) {
		s.tally.dropped.Add(1)
		by.dropped.Add(1)
		return fate{copies: 0}
	}
	met := fate{copies: 1}
	if f.Delay != (Delay{}) {
		met.delay = f.Delay.quantile(s.dice.roll(drawDelay, n))
	}
	if s.dice.hits(f.Duplicate, drawDuplicate, n) {
		s.tally.duplicated.Add(1)
		by.duplicated.Add(1)
		met.copies = 2
	}
	return met
}

func (s *Server) poll(r *http.Request) (answer, error) {
	name, err := channelName(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.authorized(r); err != nil {
		return answer{}, err
	}
	query, err := parsePoll(r.URL.RawQuery)
	if err != nil {
		return answer{}, err
	}
	if !query.hasAfter {
		return eventsAnswer(window{position: s.channel(name).end()}), nil
	}
	w, here := s.await(r.Context(), s.channel(name), query.after, query.wait)
	if !here {
		return answer{status: statusGone}, nil
	}
	return eventsAnswer(w), nil
}

// pollQuery is the query of a poll.
type pollQuery struct {
	after    int64
	hasAfter bool
	wait     time.Duration // at most maxWait
}

func parsePoll(raw string) (pollQuery, error) {
	var q pollQuery
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fail(http.StatusBadRequest, "the query cannot be read")
	}
	if q.hasAfter = values.Has("after"); q.hasAfter {
		q.after, err = strconv.ParseInt(values.Get("after"), 10, 64)
		if err != nil || q.after < 0 {
			return q, fail(http.StatusBadRequest, "after is a position: a whole number, 0 or more")
		}
	}
	if values.Has("wait") {
		q.wait, err = time.ParseDuration(values.Get("wait"))
		if err != nil || q.wait < 0 {
			return q, fail(http.StatusBadRequest, "wait is a duration such as 25s")
		}
		q.wait = min(q.wait, maxWait)
	}
	return q, nil
}

// await returns what is visible after a position as soon as there is something,
// or nothing after the wait or when the server stops. It returns false if the
// subscriber left.
func (s *Server) await(ctx context.Context, c *channel, after int64, wait time.Duration) (w window, here bool) {
	now := time.Since(s.start)
	until := now + wait
	var timer *time.Timer // most polls of a busy channel need none
	for {
		w = c.read(after, now, now < until)
		left := until - now
		if len(w.events) > 0 || left <= 0 {
			return w, true
		}
		if w.pending {
			left = min(left, w.due-now)
		}
		if timer == nil {
			timer = time.NewTimer(left)
			defer timer.Stop()
		} else {
			timer.Reset(left)
		}
		select {
		case <-w.changed:
		case <-timer.C:
		case <-ctx.Done():
			return w, errors.Is(context.Cause(ctx), errStopping)
		}
		now = time.Since(s.start)
	}
}

// eventsAnswer is built by hand: an encoder would validate and copy each event
// again, and change its white space.
func eventsAnswer(w window) answer {
	const perEvent = len(`{"position":,"data":},`) + 20
	size := len(`{"position":,"events":[]}`) + 20
	for _, e := range w.events {
		size += perEvent + len(e.data)
	}
	body := append(make([]byte, 0, size), `{"position":`...)
	body = strconv.AppendInt(body, w.position, 10)
	body = append(body, `,"events":[`...)
	for i, e := range w.events {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"position":`...)
		body = strconv.AppendInt(body, e.position, 10)
		body = append(body, `,"data":`...)
		body = append(body, e.data...)
		body = append(body, '}')
	}
	body = append(body, "]}"...)
	return answer{status: http.StatusOK, body: body, events: int64(len(w.events))}
}

// channelName takes the name out of /channels/{name}/events, with its slashes
// escaped or not.
func channelName(r *http.Request) (string, error) {
	rest, _ := strings.CutPrefix(r.URL.EscapedPath(), "/channels/")
	escaped, found := strings.CutSuffix(rest, "/events")
	if !found || escaped == "" {
		return "", fail(http.StatusNotFound, "no such path")
	}
	name, err := url.PathUnescape(escaped)
	if err != nil || len(name) > maxName {
		return "", fail(http.StatusBadRequest, "the channel's name is longer than %d bytes or cannot be read", maxName)
	}
	return name, nil
}

// channel returns the channel of a name, new if need be.
func (s *Server) channel(name string) *channel {
	if found, ok := s.channels.Load(name); ok {
		return found.(*channel)
	}
	found, _ := s.channels.LoadOrStore(name, &channel{})
	return found.(*channel)
}
