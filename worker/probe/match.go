package probe

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
)

const (
	// windowTimeouts is for how many timeouts a message is remembered: that
	// is how late a duplicate is still known for one.
	windowTimeouts = 4
	// maxWindow bounds the memory of a route: 10 MB.
	maxWindow = 1 << 18
)

// limits part the outcomes of messages.
type limits struct {
	onTime  time.Duration // the longest latency that is on time
	timeout time.Duration // the longest latency that is not lost
	// lateSend is how long after its intended moment a message may leave.
	lateSend time.Duration
}

// matcher matches arrivals with what was sent and decides what became of each
// message. It is pure: it reads no clock, and all instants are given to it, in
// time since one origin on one clock. It is not safe for concurrent use.
type matcher struct {
	limits limits
	// ring remembers the newest messages; sequence s lies at s modulo its
	// length. An open message is never overwritten.
	ring []message
	// last is the newest sequence, settled the one up to which no message is
	// open, furthest the highest that has arrived.
	last, settled, furthest int64
	open                    int64
	// steps numbers what publishes do, one after the other: it tells which
	// of two publishes ended before the other began even within one tick of
	// the clock.
	steps int64
	// second is the second of the swarm's time in which an instant lies, in s
	// since 1970.
	second func(at time.Duration) int64
	// deltas are what was counted since the last take, by the second in which
	// the messages were to be sent.
	deltas map[int64]*coord.Route
}

// message is one message of the ring.
type message struct {
	at     time.Duration // intended
	second int64         // in which that lies
	// left and acknowledged are the steps at which its publish began and
	// succeeded; 0 as long as it has not.
	left, acknowledged int64
	open               bool
	arrived            bool
	// abandoned says that nobody could have known whether it arrives.
	abandoned bool
}

// newMatcher returns a matcher for so many messages a second.
func newMatcher(l limits, rate float64, second func(at time.Duration) int64) *matcher {
	// The margin is for slow rates, where a duplicate may come long after
	// the newest message.
	window := math.Ceil(windowTimeouts*rate*l.timeout.Seconds()) + 64
	return &matcher{
		limits: l, ring: make([]message, int(min(window, maxWindow))),
		second: second, deltas: make(map[int64]*coord.Route),
	}
}

// send enters the message that is to be sent at an instant, and returns its
// sequence: from 1, without gaps. The instants increase. It returns false, and
// enters nothing, if more messages are open than can be remembered.
func (m *matcher) send(at, now time.Duration) (sequence int64, ok bool) {
	m.expire(now)
	slot := m.message(m.last + 1)
	if slot.open {
		return 0, false
	}
	*slot = message{at: at, second: m.second(at), open: true}
	m.last++
	m.open++
	m.delta(slot.second).Sent++
	return m.last, true
}

// leaveOut counts a message that was due at an instant and not sent at all.
func (m *matcher) leaveOut(at time.Duration) { m.delta(m.second(at)).LeftOut++ }

// delta is where messages of a second are counted.
func (m *matcher) delta(second int64) *coord.Route {
	d := m.deltas[second]
	if d == nil {
		d = &coord.Route{At: second}
		m.deltas[second] = d
	}
	return d
}

// leave notes that the message is handed to the connection at now.
func (m *matcher) leave(sequence int64, now time.Duration) {
	if !m.remembers(sequence) {
		m.delta(m.second(now)).LateSends++ // the process stood still for longer than the window
		return
	}
	msg := m.message(sequence)
	m.steps++
	msg.left = m.steps
	if now-msg.at > m.limits.lateSend {
		m.delta(msg.second).LateSends++
	}
}

// acknowledge notes that the target has acknowledged the message.
func (m *matcher) acknowledge(sequence int64) {
	if m.remembers(sequence) {
		m.steps++
		m.message(sequence).acknowledged = m.steps
	}
}

// receive notes an arrival at now.
func (m *matcher) receive(sequence int64, now time.Duration) {
	if !m.remembers(sequence) {
		m.unexpected(now)
		return
	}
	msg := m.message(sequence)
	delta := m.delta(msg.second)
	if msg.arrived {
		delta.Duplicated++
		return
	}
	msg.arrived = true
	if m.overtaken(sequence) {
		delta.Reordered++
	}
	m.furthest = max(m.furthest, sequence)
	latency := now - msg.at
	switch {
	case !msg.open && !msg.abandoned: // what is lost stays lost
		delta.AfterTimeout++
		return
	case latency > m.limits.timeout:
		delta.Lost++
		delta.AfterTimeout++
	case latency > m.limits.onTime:
		delta.Late++
		record(delta, latency)
	default:
		delta.OnTime++
		record(delta, latency)
	}
	if msg.open {
		msg.open = false
		m.open--
	}
}

// abandon gives up, without an outcome, on what is open: an end of the route
// went away through no fault of the target's. Such messages stay among those
// that are neither received nor lost, unless they arrive after all.
func (m *matcher) abandon() {
	for ; m.settled < m.last; m.settled++ {
		if msg := m.message(m.settled + 1); msg.open {
			msg.open, msg.abandoned = false, true
			m.open--
		}
	}
}

// unexpected counts an arrival, at now, of something that was never sent.
func (m *matcher) unexpected(now time.Duration) { m.delta(m.second(now)).Unexpected++ }

// overtaken says whether a message with a higher sequence has arrived before,
// although its publish began only after this one's was acknowledged. Publishes
// that overlapped owe no order.
func (m *matcher) overtaken(sequence int64) bool {
	acknowledged := m.message(sequence).acknowledged
	if acknowledged == 0 {
		return false
	}
	// In order there is nothing to look at; out of order it is no more than
	// the ring.
	for s := sequence + 1; s <= m.furthest; s++ {
		if later := m.message(s); later.arrived && later.left > acknowledged {
			return true
		}
	}
	return false
}

func record(delta *coord.Route, latency time.Duration) {
	if delta.Latency == nil {
		delta.Latency = new(hist.Histogram)
	}
	delta.Latency.Record(latency)
}

// expire gives up what is open for longer than the timeout. A message that was
// given up stays lost.
func (m *matcher) expire(now time.Duration) {
	for ; m.settled < m.last; m.settled++ {
		msg := m.message(m.settled + 1)
		if !msg.open {
			continue
		}
		if now-msg.at <= m.limits.timeout {
			return
		}
		msg.open = false
		m.open--
		m.delta(msg.second).Lost++
	}
}

// take returns what was counted since the last take, as of now, by second. At
// any time the sums of all deltas meet sent = on time + late + lost + open, those
// of each second alone too.
func (m *matcher) take(now time.Duration) []coord.Route {
	m.expire(now)
	taken := make([]coord.Route, 0, len(m.deltas))
	for _, second := range slices.Sorted(maps.Keys(m.deltas)) {
		taken = append(taken, *m.deltas[second])
	}
	clear(m.deltas)
	return taken
}

// remembers says whether the sequence was sent and is still in the ring.
func (m *matcher) remembers(sequence int64) bool {
	return sequence >= 1 && sequence <= m.last && sequence > m.last-int64(len(m.ring))
}

// message returns the place of a sequence in the ring.
func (m *matcher) message(sequence int64) *message {
	return &m.ring[sequence%int64(len(m.ring))]
}
