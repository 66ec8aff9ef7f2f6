package probe

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/coord"
)

func testLimits() limits {
	return limits{onTime: 2 * time.Second, timeout: 15 * time.Second, lateSend: 200 * time.Millisecond}
}

// counts is a coord.Route that can be compared.
func counts(r coord.Route) coord.Route {
	r.Latency = nil
	return r
}

// sumOf is what routes of all seconds add up to.
func sumOf(rows []coord.Route) coord.Route {
	var sum coord.Route
	for i := range rows {
		sum.Merge(&rows[i])
	}
	return sum
}

func wholeSeconds(at time.Duration) int64 { return int64(at / time.Second) }

func TestMatcherOutcomes(t *testing.T) {
	t.Parallel()
	const s = time.Second
	// Each case sends three messages, at 0, 1 and 2 s.
	for _, c := range []struct {
		name string
		then func(m *matcher)
		want coord.Route
		open int64
	}{
		{"nothing arrives", func(m *matcher) { m.expire(2 * s) }, coord.Route{Sent: 3}, 3},
		{"on time to the last nanosecond", func(m *matcher) { m.receive(1, 2*s) }, coord.Route{Sent: 3, OnTime: 1}, 2},
		{"late from then on", func(m *matcher) { m.receive(1, 2*s+1) }, coord.Route{Sent: 3, Late: 1}, 2},
		{"late to the last nanosecond", func(m *matcher) { m.receive(1, 15*s) }, coord.Route{Sent: 3, Late: 1}, 2},
		{"lost from then on", func(m *matcher) { m.receive(1, 15*s+1) }, coord.Route{Sent: 3, Lost: 1, AfterTimeout: 1}, 2},
		{"given up at the timeout, not before", func(m *matcher) { m.expire(16 * s) }, coord.Route{Sent: 3, Lost: 1}, 2},
		{"lost stays lost", func(m *matcher) { m.expire(17 * s); m.receive(1, 17*s) }, coord.Route{Sent: 3, Lost: 2, AfterTimeout: 1}, 1},
		{"twice", func(m *matcher) { m.receive(2, 2*s); m.receive(2, 2*s) }, coord.Route{Sent: 3, OnTime: 1, Duplicated: 1}, 2},
		{"twice after the timeout", func(m *matcher) { m.receive(1, 16*s); m.receive(1, 17*s) }, coord.Route{Sent: 3, Lost: 1, AfterTimeout: 1, Duplicated: 1}, 2},
		{"three times", func(m *matcher) { m.receive(2, 2*s); m.receive(2, 2*s); m.receive(2, 20*s) }, coord.Route{Sent: 3, OnTime: 1, Duplicated: 2}, 2},
		{"never sent", func(m *matcher) { m.receive(4, 2*s); m.receive(0, 2*s); m.receive(-1, 2*s) }, coord.Route{Sent: 3, Unexpected: 3}, 3},
		{"overlapping publishes owe no order", func(m *matcher) {
			m.leave(1, 0)
			m.leave(2, s)
			m.acknowledge(1)
			m.receive(2, 2*s)
			m.receive(1, 2*s)
		}, coord.Route{Sent: 3, OnTime: 2}, 1},
		{"a publish that failed owes no order", func(m *matcher) {
			m.leave(1, 0)
			m.leave(2, s)
			m.receive(2, 2*s)
			m.receive(1, 2*s)
		}, coord.Route{Sent: 3, OnTime: 2}, 1},
		{"acknowledged before the other left: reordered", func(m *matcher) {
			m.leave(1, 0)
			m.acknowledge(1)
			m.leave(2, s)
			m.receive(2, 2*s)
			m.receive(1, 2*s)
		}, coord.Route{Sent: 3, OnTime: 2, Reordered: 1}, 1},
		{"one that overtakes two", func(m *matcher) {
			m.leave(1, 0)
			m.acknowledge(1)
			m.leave(2, s)
			m.acknowledge(2)
			m.leave(3, 2*s)
			m.receive(3, 2*s)
			m.receive(1, 2*s)
			m.receive(2, 2*s)
		}, coord.Route{Sent: 3, OnTime: 3, Reordered: 2}, 0},
		{"a duplicate is not reordered", func(m *matcher) {
			m.leave(1, 0)
			m.acknowledge(1)
			m.receive(1, s)
			m.leave(2, s)
			m.receive(2, 2*s)
			m.receive(1, 2*s)
		}, coord.Route{Sent: 3, OnTime: 2, Duplicated: 1}, 1},
		{"left in time and late", func(m *matcher) {
			m.leave(1, 200*time.Millisecond)
			m.leave(2, s+200*time.Millisecond+1)
		}, coord.Route{Sent: 3, LateSends: 1}, 3},
		{"left out", func(m *matcher) { m.leaveOut(3 * s) }, coord.Route{Sent: 3, LeftOut: 1}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMatcher(testLimits(), 1, wholeSeconds)
			for i := range int64(3) {
				at := time.Duration(i) * s
				if sequence, ok := m.send(at, at); !ok || sequence != i+1 {
					t.Fatalf("send at %v = %d, %v", at, sequence, ok)
				}
			}
			c.then(m)
			if got := counts(sumOf(m.take(0))); got != c.want || m.open != c.open {
				t.Errorf("got %+v with %d open, want %+v with %d open", got, m.open, c.want, c.open)
			}
		})
	}
}

func TestMatcherTakesEachCountOnce(t *testing.T) {
	t.Parallel()
	m := newMatcher(testLimits(), 1, wholeSeconds)
	m.send(0, 0)
	m.receive(1, 3*time.Second)
	first := sumOf(m.take(3 * time.Second))
	if want := (coord.Route{Sent: 1, Late: 1}); counts(first) != want || first.Latency.Max() != 3*time.Second {
		t.Errorf("first take: %+v, latency %v", counts(first), first.Latency.Max())
	}
	if second := sumOf(m.take(4 * time.Second)); second != (coord.Route{}) {
		t.Errorf("second take: %+v, want nothing", second)
	}
	if first.Latency.Count() != 1 {
		t.Error("the delta that was taken has changed")
	}
}

// history is a naive model of the matcher: it keeps everything and computes
// every figure from its definition.
type history struct {
	limits   limits
	window   int64
	now      time.Duration
	steps    int64
	messages []*sent // message i has sequence i+1
	// arrivals of known messages, in order, and how many were of others.
	arrivals   []arrival
	unexpected int64
	lateSends  int64
	leftOut    int64
}

type sent struct {
	at                 time.Duration
	left, acknowledged int64
}

type arrival struct {
	sequence int64
	at       time.Duration
}

func (h *history) first(sequence int64) (a arrival, place int, ok bool) {
	for i, a := range h.arrivals {
		if a.sequence == sequence {
			return a, i, true
		}
	}
	return arrival{}, 0, false
}

func (h *history) open(sequence int64) bool {
	_, _, arrived := h.first(sequence)
	return !arrived && h.now-h.messages[sequence-1].at <= h.limits.timeout
}

func (h *history) totals() (r coord.Route, open int64) {
	r = coord.Route{Sent: int64(len(h.messages)), Unexpected: h.unexpected, LateSends: h.lateSends, LeftOut: h.leftOut}
	for i, m := range h.messages {
		a, place, arrived := h.first(int64(i + 1))
		latency := a.at - m.at
		switch {
		case h.open(int64(i + 1)):
			open++
		case !arrived:
			r.Lost++
		case latency <= h.limits.onTime:
			r.OnTime++
		case latency <= h.limits.timeout:
			r.Late++
		default:
			r.Lost++
			r.AfterTimeout++
		}
		if arrived && h.overtaken(int64(i+1), place) {
			r.Reordered++
		}
		for _, other := range h.arrivals {
			if other.sequence == int64(i+1) {
				r.Duplicated++
			}
		}
		if arrived {
			r.Duplicated--
		}
	}
	return r, open
}

func (h *history) overtaken(sequence int64, place int) bool {
	// The model acknowledges before the arrival or never.
	acknowledged := h.messages[sequence-1].acknowledged
	if acknowledged == 0 {
		return false
	}
	for _, earlier := range h.arrivals[:place] {
		if earlier.sequence > sequence && h.messages[earlier.sequence-1].left > acknowledged {
			return true
		}
	}
	return false
}

func TestMatcherAgreesWithItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := limits{onTime: 20, timeout: 100, lateSend: 3}
		h := &history{limits: l, window: rapid.Int64Range(1, 40).Draw(t, "window")}
		m := newMatcher(l, 1, wholeSeconds)
		m.ring = make([]message, h.window)
		var total coord.Route
		take := func() {
			delta := sumOf(m.take(h.now))
			total.Merge(&delta)
		}
		any := func(t *rapid.T) (int64, *sent) {
			if len(h.messages) == 0 {
				t.Skip("nothing sent yet")
			}
			oldest := max(1, int64(len(h.messages))-h.window+1)
			sequence := rapid.Int64Range(oldest, int64(len(h.messages))).Draw(t, "sequence")
			return sequence, h.messages[sequence-1]
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				h.now += time.Duration(rapid.Int64Range(1, 60).Draw(t, "by"))
			},
			"send": func(t *rapid.T) {
				at := h.now - time.Duration(rapid.Int64Range(0, 5).Draw(t, "behind"))
				if n := len(h.messages); n > 0 {
					at = max(at, h.messages[n-1].at+1)
				}
				h.now = max(h.now, at)
				replaced := int64(len(h.messages)) + 1 - h.window
				sequence, ok := m.send(at, h.now)
				if full := replaced >= 1 && h.open(replaced); ok == full {
					t.Fatalf("send = %v, want %v", ok, !full)
				}
				if !ok {
					m.leaveOut(h.now)
					h.leftOut++
					return
				}
				h.messages = append(h.messages, &sent{at: at})
				if sequence != int64(len(h.messages)) {
					t.Fatalf("sequence %d, want %d", sequence, len(h.messages))
				}
			},
			"leave": func(t *rapid.T) {
				sequence, msg := any(t)
				if _, _, arrived := h.first(sequence); msg.left != 0 || arrived {
					t.Skip("left before")
				}
				m.leave(sequence, h.now)
				h.steps++
				msg.left = h.steps
				if h.now-msg.at > l.lateSend {
					h.lateSends++
				}
			},
			"acknowledge": func(t *rapid.T) {
				sequence, msg := any(t)
				_, _, arrived := h.first(sequence)
				if msg.left == 0 || msg.acknowledged != 0 || arrived {
					t.Skip("not under way, or too late to matter")
				}
				m.acknowledge(sequence)
				h.steps++
				msg.acknowledged = h.steps
			},
			"receive": func(t *rapid.T) {
				last := int64(len(h.messages))
				sequence := rapid.Int64Range(-1, last+2).Draw(t, "sequence")
				m.receive(sequence, h.now)
				if sequence < 1 || sequence > last || sequence <= last-h.window {
					h.unexpected++
					return
				}
				h.arrivals = append(h.arrivals, arrival{sequence, h.now})
			},
			"take": func(t *rapid.T) { take() },
			"": func(t *rapid.T) {
				take()
				want, open := h.totals()
				if counts(total) != want {
					t.Fatalf("got %+v\nwant %+v", counts(total), want)
				}
				if m.open != open || total.Sent != total.OnTime+total.Late+total.Lost+open {
					t.Fatalf("open %d, want %d, of %+v", m.open, open, counts(total))
				}
				if received := total.OnTime + total.Late; received > 0 && total.Latency.Count() != received {
					t.Fatalf("%d latencies of %d received", total.Latency.Count(), received)
				}
			},
		})
	})
}
