package target_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/internal/target"
)

func TestPollGoesOnFromItsPosition(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	ada := s.login("ada", "student")
	s.publish(ada, "c", `{"n": 1}`)
	from := s.poll(ada, "c", "")
	if from.Position != 1 || len(from.Events) != 0 {
		t.Fatalf("from now: %+v, want position 1 and no events", from)
	}
	s.publish(ada, "c", `"two <&>"`)
	s.publish(ada, "other", `"not here"`)
	s.publish(ada, "c", `[ 3 ]`)

	got := s.poll(ada, "c", "?after=1")
	if got.Position != 3 || got.data() != `"two <&>" [ 3 ]` || got.Events[0].Position != 2 {
		t.Errorf("after 1: %+v", got)
	}
	if got = s.poll(ada, "c", "?after=0&wait=25s"); got.Position != 3 || len(got.Events) != 3 || string(got.Events[0].Data) != `{"n": 1}` {
		t.Errorf("after 0: %+v", got)
	}
	if got = s.poll(ada, "c", "?after=3"); got.Position != 3 || len(got.Events) != 0 {
		t.Errorf("after 3: %+v", got)
	}
	if got = s.poll(ada, "c", "?after=99"); got.Position != 3 || len(got.Events) != 0 {
		t.Errorf("beyond the newest: %+v, want position 3", got)
	}
	if got := s.Counters().Delivered; got != 5 {
		t.Errorf("%d delivered, want 5", got)
	}
}

func TestChannelNamesMayContainSlashes(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	ada := s.login("ada", "student")
	s.publish(ada, "class%2F7%2Fprogress", `1`)
	s.publish(ada, "class/7/progress", `2`)
	s.publish(ada, "class%2F7%2Fevents", `3`)
	s.publish(ada, "class/7/events", `4`)
	s.publish(ada, "a%20%C3%A9%25", `5`)
	for channel, want := range map[string]string{
		"class%2F7%2Fprogress": "1 2", "class/7/progress": "1 2",
		"class/7/events": "3 4", "a%20é%25": "5", "class": "",
	} {
		if got := s.poll(ada, channel, "?after=0").data(); got != want {
			t.Errorf("%s: got %q, want %q", channel, got, want)
		}
	}
}

func TestPollAnswersAtMostAThousandEvents(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	ada := s.login("ada", "student")
	for range 1500 {
		s.publish(ada, "c", `{}`)
	}
	first := s.poll(ada, "c", "?after=0")
	rest := s.poll(ada, "c", fmt.Sprintf("?after=%d", first.Position))
	if len(first.Events) != 1000 || len(rest.Events) != 500 || rest.Position != 1500 {
		t.Errorf("got %d, then %d events up to %d", len(first.Events), len(rest.Events), rest.Position)
	}
}

func TestPollAnswersSomeMegabytesAtMost(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	ada := s.login("ada", "student")
	event := `"` + strings.Repeat("x", 1<<20-2) + `"`
	for range 6 {
		s.publish(ada, "c", event)
	}
	first := s.poll(ada, "c", "?after=0")
	rest := s.poll(ada, "c", fmt.Sprintf("?after=%d", first.Position))
	if len(first.Events) != 4 || len(rest.Events) != 2 {
		t.Errorf("got %d, then %d events, want 4, then 2", len(first.Events), len(rest.Events))
	}
}

func TestChannelKeepsItsNewestEvents(t *testing.T) {
	t.Parallel()
	const retain = 3
	s := newService(t, target.Config{Retain: retain})
	ada := s.login("ada", "student")
	for i := range 50 {
		s.publish(ada, "c", fmt.Sprint(i+1))
		got := s.poll(ada, "c", "?after=0")
		if len(got.Events) != min(i+1, retain) || got.Position != int64(i+1) {
			t.Fatalf("after %d events: %+v", i+1, got)
		}
	}
	if got := s.poll(ada, "c", "?after=5").data(); got != "48 49 50" {
		t.Errorf("got %q, want the newest three", got)
	}
}

// waited is the answer of a poll, and the time it took.
type waited struct {
	polled
	took time.Duration
}

// waiting starts a poll, in a synctest bubble, and returns where its answer
// arrives.
func (s service) waiting(authorization, channel, query string) <-chan waited {
	done := make(chan waited, 1)
	go func() {
		begin := time.Now()
		got := s.poll(authorization, channel, query)
		done <- waited{got, time.Since(begin)}
	}()
	return done
}

func TestPollWaitsForAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{})
		ada := s.login("ada", "student")
		var polls []<-chan waited
		for range 20 {
			polls = append(polls, s.waiting(ada, "c", "?after=0&wait=25s"))
		}
		elsewhere := s.waiting(ada, "d", "?after=0&wait=25s")
		<-time.After(10 * time.Second) // of the bubble's clock
		s.publish(ada, "c", `"now"`)
		for _, done := range polls {
			if got := <-done; got.took != 10*time.Second || got.data() != `"now"` || got.Position != 1 {
				t.Errorf("got %+v, want the event after 10s", got)
			}
		}
		if got := <-elsewhere; got.took != 25*time.Second || len(got.Events) != 0 || got.Position != 0 {
			t.Errorf("elsewhere: got %+v, want nothing after 25s", got)
		}
		if got := s.Counters().Delivered; got != 20 {
			t.Errorf("%d delivered, want 20", got)
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{})
		ada := s.login("ada", "student")
		for query, want := range map[string]time.Duration{
			"?after=0": 0, "?after=0&wait=0s": 0, "?after=0&wait=1500ms": 1500 * time.Millisecond, "?after=0&wait=10h": time.Minute,
		} {
			if got := <-s.waiting(ada, "c", query); got.took != want || len(got.Events) != 0 {
				t.Errorf("%s: took %v, want %v", query, got.took, want)
			}
		}
	})
}

func TestLostEventDoesNotWakeAPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{Faults: target.Faults{Loss: 1}})
		ada := s.login("ada", "student")
		done := s.waiting(ada, "c", "?after=0&wait=25s")
		synctest.Wait()
		if got := s.publish(ada, "c", `1`); got != 1 {
			t.Errorf("a lost event is acknowledged with position %d, want 1", got)
		}
		if got := <-done; got.took != 25*time.Second || len(got.Events) != 0 {
			t.Errorf("got %+v, want nothing after 25s", got)
		}
		if got := s.poll(ada, "c", "").Position; got != 1 {
			t.Errorf("position %d, want 1", got)
		}
	})
}

func TestDelayHoldsAnEventBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faults, err := target.ParseFaults([]string{"delay=300ms"})
		if err != nil {
			t.Fatal(err)
		}
		s := newService(t, target.Config{Faults: faults})
		ada := s.login("ada", "student")
		begin := time.Now()
		done := s.waiting(ada, "c", "?after=0&wait=25s")
		synctest.Wait()
		s.publish(ada, "c", `1`)
		if took := time.Since(begin); took != 0 {
			t.Errorf("the acknowledgement took %v", took)
		}
		if got := s.poll(ada, "c", "?after=0"); len(got.Events) != 0 || got.Position != 0 {
			t.Errorf("before the delay: %+v", got)
		}
		if got := s.poll(ada, "c", ""); got.Position != 1 {
			t.Errorf("from now starts at %d: a subscriber would get what was published before it", got.Position)
		}
		short := s.waiting(ada, "c", "?after=0&wait=100ms")
		if got := <-short; got.took != 100*time.Millisecond || len(got.Events) != 0 {
			t.Errorf("a shorter wait: %+v", got)
		}
		if got := <-done; got.took != 300*time.Millisecond || got.data() != "1" {
			t.Errorf("got %+v, want the event after 300ms", got)
		}

		// An event without delay waits for the one before it, also for a
		// subscriber that starts between the two.
		s.publish(ada, "c", `2`)
		s.want(204, "DELETE", "/admin/faults", "")
		s.publish(ada, "c", `3`)
		between := s.waiting(ada, "c", "?after=2&wait=25s")
		if got := <-s.waiting(ada, "c", "?after=1&wait=25s"); got.took != 300*time.Millisecond || got.data() != "2 3" {
			t.Errorf("got %+v, want both after 300ms", got)
		}
		if got := <-between; got.took != 300*time.Millisecond || got.data() != "3" {
			t.Errorf("got %+v, want the second after 300ms", got)
		}
		s.publish(ada, "c", `4`)
		if got := <-s.waiting(ada, "c", "?after=3&wait=25s"); got.took != 0 || got.data() != "4" {
			t.Errorf("got %+v, want it at once", got)
		}
	})
}

func TestOrderSurvivesDelay(t *testing.T) {
	t.Parallel()
	const events, subscribers = 300, 5
	synctest.Test(t, func(t *testing.T) {
		faults, err := target.ParseFaults([]string{"delay=lognormal:50ms,1.5", "loss=0.05", "duplicate=0.1"})
		if err != nil {
			t.Fatal(err)
		}
		s := newService(t, target.Config{Seed: 7, Faults: faults})
		ada := s.login("ada", "student")
		var wg sync.WaitGroup
		logs := make([][]string, subscribers)
		for i := range subscribers {
			wg.Go(func() {
				after := int64(0)
				for {
					got := s.poll(ada, "c", fmt.Sprintf("?after=%d&wait=60s", after))
					if len(got.Events) == 0 {
						return
					}
					for _, e := range got.Events {
						if e.Position <= after {
							t.Errorf("position %d after %d", e.Position, after)
						}
						after = e.Position
						logs[i] = append(logs[i], string(e.Data))
					}
					if got.Position != after {
						t.Errorf("answer's position %d, last event's %d", got.Position, after)
					}
				}
			})
		}
		random := rand.New(rand.NewPCG(1, 2))
		for i := range events {
			<-time.After(time.Duration(random.IntN(int(20 * time.Millisecond)))) // of the bubble's clock
			s.publish(ada, "c", fmt.Sprintf("%04d", i+1000))
		}
		wg.Wait()
		c := s.Counters()
		want := c.Accepted - c.Dropped + c.Duplicated
		for i, log := range logs {
			if int64(len(log)) != want {
				t.Errorf("subscriber %d got %d events, want %d", i, len(log), want)
			}
			for j := 1; j < len(log); j++ {
				if log[j] < log[j-1] {
					t.Fatalf("subscriber %d got %s after %s", i, log[j], log[j-1])
				}
			}
		}
		if c.Delivered != want*subscribers || c.Dropped == 0 || c.Duplicated == 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestSubscriberThatLeavesGetsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{})
		ada := s.login("ada", "student")
		ctx, cancel := context.WithCancel(t.Context())
		r := newRequest("GET", "/channels/c/events?after=0&wait=25s", "", "Authorization", ada).WithContext(ctx)
		done := make(chan *httptest.ResponseRecorder)
		go func() { done <- s.send(r) }()
		synctest.Wait()
		cancel()
		if w := <-done; w.Body.Len() != 0 {
			t.Errorf("wrote %s", w.Body)
		}
		s.publish(ada, "c", `1`)
		if c := s.Counters(); c.Delivered != 0 || c.Requests["poll"]["499"] != 1 {
			t.Errorf("delivered %d, poll %v", c.Delivered, c.Requests["poll"])
		}
	})
}
