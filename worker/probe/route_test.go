package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// A target that stands still for 2 s of 15 s: the truth is arithmetic.
func TestStallShowsInThePercentiles(t *testing.T) {
	t.Parallel()
	const run, from, to = 15 * time.Second, 6 * time.Second, 8 * time.Second
	for name, stall := range map[string]func(left time.Duration) fate{
		"publishes wait": func(left time.Duration) fate {
			return fate{blocks: left, copies: []time.Duration{0}}
		},
		"deliveries wait": delivered,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(1000, nil)
				start := time.Now()
				b.target.fate = func(pubsub.Envelope) fate {
					if now := time.Since(start); now >= from && now < to {
						return stall(to - now)
					}
					return delivered(0)
				}
				l := b.begin()
				l.goOn(run - time.Millisecond/2)
				got := l.end()
				check(t, got, coord.Route{Sent: 15_000, OnTime: 15_000})
				for q, want := range map[float64]time.Duration{
					0.50: 0, 0.99: 1850 * time.Millisecond, 0.999: 1985 * time.Millisecond, 1: 2 * time.Second,
				} {
					if off := (got.Latency.Quantile(q) - want).Abs(); off > want/100+time.Millisecond {
						t.Errorf("quantile %v is %v, the truth is %v", q, got.Latency.Quantile(q), want)
					}
				}
			})
		})
	}
}

func TestRouteOutcomes(t *testing.T) {
	t.Parallel()
	// 20 messages a second for 10 s: the sequences 1 to 200.
	every := func(n int64, special, usual fate) func(pubsub.Envelope) fate {
		return func(e pubsub.Envelope) fate {
			if e.Sequence%n == 0 {
				return special
			}
			return usual
		}
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		fate func(pubsub.Envelope) fate
		want coord.Route
	}{
		{"all is well", nil, coord.Route{Sent: 200, OnTime: 200}},
		{"loss", every(20, fate{}, delivered(ms)), coord.Route{Sent: 200, OnTime: 190, Lost: 10}},
		{"late", every(20, delivered(3*time.Second), delivered(ms)), coord.Route{Sent: 200, OnTime: 190, Late: 10, Reordered: 9}}, // nothing overtakes the last
		{"after the timeout", every(100, delivered(16*time.Second), delivered(ms)), coord.Route{Sent: 200, OnTime: 198, Lost: 2, AfterTimeout: 2, Reordered: 1}},
		{"duplicates", every(20, fate{copies: []time.Duration{ms, ms, 100 * ms}}, delivered(ms)), coord.Route{Sent: 200, OnTime: 200, Duplicated: 20}},
		{"a duplicate after the timeout", every(100, fate{copies: []time.Duration{ms, 16 * time.Second}}, delivered(ms)), coord.Route{Sent: 200, OnTime: 200, Duplicated: 2}},
		{"reordered", every(20, delivered(60*ms), delivered(ms)), coord.Route{Sent: 200, OnTime: 200, Reordered: 9}},
		{"publishes that overlap", every(20, fate{blocks: 60 * ms, copies: []time.Duration{0}}, delivered(ms)), coord.Route{Sent: 200, OnTime: 200}},
		{"refused", every(20, fate{err: errBusy}, delivered(ms)), coord.Route{Sent: 200, OnTime: 190, Lost: 10}},
		{"neither acknowledged nor delivered", every(20, fate{blocks: time.Minute}, delivered(ms)), coord.Route{Sent: 200, OnTime: 190, Lost: 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(20, nil)
				b.target.fate = c.fate
				l := b.begin()
				l.goOn(10*time.Second - ms)
				got := l.end()
				check(t, got, c.want)
				if b.joins != 2 {
					t.Errorf("joined %d times, want once for each end", b.joins)
				}
			})
		})
	}
}

func TestEnvelopes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(20, nil)
		l := b.begin()
		start := time.Now()
		l.goOn(time.Second - time.Millisecond)
		l.end()
		published := b.target.published()
		if len(published) != 20 {
			t.Fatalf("%d messages in one second, want 20", len(published))
		}
		for i, e := range published {
			want := pubsub.Envelope{
				Run: testRun, Source: pubsub.SourceProbe, Publisher: testPublisher, Sequence: int64(i + 1), Channel: testChannel,
				At: start.Add(time.Hour + time.Duration(i)*50*time.Millisecond).UnixMicro(),
			}
			if e != want {
				t.Errorf("message %d: %+v\nwant %+v", i+1, e, want)
			}
		}
	})
}

// Whoever else publishes on the route's channel.
func TestStrangers(t *testing.T) {
	t.Parallel()
	ours := pubsub.Envelope{Run: testRun, Source: pubsub.SourceProbe, Publisher: testPublisher, Sequence: 1000, Channel: testChannel}
	payload := func(change func(*pubsub.Envelope)) []byte {
		e := ours
		change(&e)
		p, err := pubsub.AppendPayload(nil, e, nil)
		if err != nil {
			panic(fmt.Sprintf("payload of %+v: %v", e, err))
		}
		return p
	}
	for _, c := range []struct {
		name        string
		payload     []byte
		quiet, amid int64 // unexpected on a quiet route and on one amid others
	}{
		{"our own that was never sent", payload(func(*pubsub.Envelope) {}), 1, 1},
		{"another probe's", payload(func(e *pubsub.Envelope) { e.Publisher = "quiet/member-2" }), 1, 0},
		{"another route's", payload(func(e *pubsub.Envelope) { e.Publisher = "crowd/member-1" }), 1, 0},
		{"of an earlier run", payload(func(e *pubsub.Envelope) { e.Run = "run-0" }), 1, 0},
		{"the load's", payload(func(e *pubsub.Envelope) { e.Source = pubsub.SourceLoad }), 1, 0},
		{"without an envelope", []byte(`{"hello":"world"}`), 1, 0},
		{"damaged", []byte(`{"throng":{"run":"ru`), 1, 0},
	} {
		for own, want := range map[bool]int64{true: c.quiet, false: c.amid} {
			t.Run(fmt.Sprintf("%s/own=%v", c.name, own), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := newBench(20, func(c *routeConfig) { c.own = own })
					l := b.begin()
					b.target.publish(testChannel, c.payload, 0)
					l.goOn(time.Second - time.Millisecond)
					check(t, l.end(), coord.Route{Sent: 20, OnTime: 20, Unexpected: want})
				})
			})
		}
	}
}

// A publish that blocks takes a slot; the next ones do not wait for it. What
// finds no slot is left out and is not sent.
func TestBlockedPublishesDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(20, func(c *routeConfig) { c.limits.timeout = 4 * time.Second })
		b.slots = make(chan struct{}, 10)
		b.target.fate = func(e pubsub.Envelope) fate {
			if e.Sequence <= 10 {
				return fate{blocks: 2990 * time.Millisecond, copies: []time.Duration{0}}
			}
			return delivered(0)
		}
		l := b.begin()
		l.goOn(10*time.Second - time.Millisecond)
		// The first 10 block from 0, ..., 450 ms on for nearly 3 s:
		// nothing can be sent from 500 to 2,990 ms, which is 50 messages.
		check(t, l.end(), coord.Route{Sent: 150, OnTime: 140, Late: 10, LeftOut: 50})
		if published := b.target.published(); int64(len(published)) != published[len(published)-1].Sequence {
			t.Errorf("the sequence has gaps: %d messages, the last is %d", len(published), published[len(published)-1].Sequence)
		}
	})
}

// As many publishes as there can be under way find a slot.
func TestSlotsCoverTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(20, nil)
		b.target.fate = func(pubsub.Envelope) fate { return fate{blocks: time.Hour} }
		l := b.begin()
		l.goOn(40*time.Second - time.Millisecond)
		check(t, l.end(), coord.Route{Sent: 800, Lost: 800})
	})
}

// While the pool has no account for an end of the route, nothing is measured:
// nothing is sent, and nothing lost that was open.
func TestNoAccountIsNotTheTargetsFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(20, nil)
		l := b.begin()
		l.goOn(5*time.Second - time.Millisecond)
		b.mu.Lock()
		b.dry = true
		close(b.over[0])
		b.mu.Unlock()
		l.goOn(5 * time.Second)
		if !b.suspended() {
			t.Error("the route is not suspended")
		}
		b.mu.Lock()
		b.dry = false
		b.mu.Unlock()
		l.goOn(10 * time.Second)
		if b.suspended() {
			t.Error("the route is still suspended")
		}
		if got := l.end(); got.Sent > 310 || got.Sent < 250 || got.Lost != 0 || got.LeftOut != 0 {
			t.Errorf("sent %d, lost %d, left out %d: want about 300 of the 400 that the schedule has, and nothing else", got.Sent, got.Lost, got.LeftOut)
		}
	})
}

// A lease that ends takes the connection with it, and what was open is given up
// without an outcome. A target that does not let the probe in again shows as
// silence; a pool without an account does not: that is not the target's fault.
// The route comes back by itself.
func TestLostLease(t *testing.T) {
	t.Parallel()
	for end, name := range []string{"subscriber", "publisher"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(20, nil)
				l := b.begin()
				l.goOn(5*time.Second - time.Millisecond)
				b.mu.Lock()
				b.refusing = true
				close(b.over[end])
				b.mu.Unlock()
				l.goOn(5 * time.Second)
				if s := b.lines()[end].session(); s != nil {
					t.Fatal("a session under a lease that is over")
				}
				b.mu.Lock()
				b.refusing = false
				b.mu.Unlock()
				l.goOn(20 * time.Second)
				got := l.end()
				if got.Sent < 590 || got.Sent > 600 || got.OnTime+got.Lost < got.Sent-10 || got.LeftOut != 0 {
					t.Errorf("sent %d, on time %d, lost %d, left out %d: want nearly 600 sent, on time or lost", got.Sent, got.OnTime, got.Lost, got.LeftOut)
				}
				// 5 s away, then up to the longest pause until the next attempt.
				if got.Lost < 90 || got.Lost > 100+20*int64(2*maxPause/time.Second) {
					t.Errorf("lost %d, want those of the 5 s without a connection and a few more", got.Lost)
				}
				if b.joins > 2+12 {
					t.Errorf("%d attempts to connect in 5 s: want a growing pause between them", b.joins-2)
				}
			})
		})
	}
}

// A publisher whose every publish fails gets a new connection, but only when
// that cannot be the target's short absence; at once if the connection says that
// it is closed.
func TestUselessPublisherIsReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		err   error
		until time.Duration
		joins int
	}{
		{"away for less than the timeout", errBusy, 14 * time.Second, 2},
		{"useless for longer", errBusy, 16 * time.Second, 3},
		{"closed", fmt.Errorf("publish: %w", net.ErrClosed), 50 * time.Millisecond, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(20, nil)
				start := time.Now()
				b.target.fate = func(pubsub.Envelope) fate {
					if time.Since(start) < c.until {
						return fate{err: c.err}
					}
					return delivered(0)
				}
				l := b.begin()
				l.goOn(30 * time.Second)
				got := l.end()
				if b.joins != c.joins {
					t.Errorf("joined %d times, want %d", b.joins, c.joins)
				}
				if got.OnTime == 0 || got.OnTime+got.Lost != got.Sent {
					t.Errorf("%+v: want everything on time or lost", counts(got))
				}
			})
		})
	}
}

// A subscription whose attempts fail gets a new connection only when everything
// that the old one could still bring would be lost anyway.
func TestUselessSubscriberIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(20, nil)
		l := b.begin()
		attempt := func(err error) {
			b.target.mu.Lock()
			h := b.target.subs[0].handler
			b.target.mu.Unlock()
			h.Attempt(pubsub.Attempt{Err: err})
			synctest.Wait()
		}
		joins := func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.joins
		}
		attempt(errBusy)
		l.goOn(15 * time.Second)
		attempt(errBusy)
		if joins() != 2 {
			t.Error("replaced a subscriber that may yet bring what is not lost")
		}
		attempt(nil)
		l.goOn(15 * time.Second)
		attempt(errBusy)
		attempt(context.Canceled)
		l.goOn(15*time.Second + time.Millisecond)
		attempt(errBusy)
		if joins() != 3 {
			t.Errorf("joined %d times, want 3: the subscriber is of no use", joins())
		}
		l.goOn(time.Second)
		got := l.end()
		check(t, got, coord.Route{Sent: got.Sent, OnTime: got.Sent})
	})
}

// Publishes under way are finished when told to stop, and broken off when
// aborted; what is broken off says nothing about the target.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, aborted := range []bool{false, true} {
		t.Run(fmt.Sprintf("aborted=%v", aborted), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(20, nil)
				b.target.fate = func(pubsub.Envelope) fate {
					return fate{blocks: time.Second, copies: []time.Duration{0}}
				}
				l := b.begin()
				l.goOn(100*time.Millisecond - time.Millisecond) // two messages
				l.stop()
				l.goOn(100 * time.Millisecond)
				want := coord.Route{Sent: 2, OnTime: 2}
				if aborted {
					l.abort()
					want = coord.Route{Sent: 2, Lost: 2}
				}
				check(t, l.end(), want)
				if len(b.recorded) != 2 {
					t.Fatalf("%d publishes recorded, want 2", len(b.recorded))
				}
				for _, err := range b.recorded {
					if errors.Is(err, context.Canceled) != aborted || (err == nil) == aborted {
						t.Errorf("recorded %v when aborted is %v", err, aborted)
					}
				}
			})
		})
	}
}

// A sender that is behind by its own fault.
func TestSenderBehind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		behind time.Duration
		want   coord.Route
	}{
		{"within a tenth", 200 * time.Millisecond, coord.Route{Sent: 1, OnTime: 1}},
		{"late", 201 * time.Millisecond, coord.Route{Sent: 1, OnTime: 1, LateSends: 1}},
		{"as late as can be", 15 * time.Second, coord.Route{Sent: 1, Late: 1, LateSends: 1}},
		{"hopeless", 15*time.Second + 1, coord.Route{LeftOut: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(20, nil)
				l := b.begin()
				l.stop()
				l.sender.Wait()
				var publishes sync.WaitGroup
				before := counts(sumOf(b.take())) // the first message may have left already
				b.dispatch(l.hard, &publishes, b.since(time.Now())-c.behind)
				publishes.Wait()
				got := l.end()
				got.OnTime -= before.Sent - before.OnTime
				check(t, got, c.want)
			})
		})
	}
}
