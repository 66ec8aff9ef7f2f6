package probe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/target"
)

// One run from end to end, with a target that loses messages: what the probe
// says is what the target did.
func TestRun(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, target.Config{Seed: 1, Faults: target.Faults{Loss: 0.05}}, 4, "probe: { rate: 40/s, on_time: 2s, timeout: 3s }")
	s.until("ready", func(state coord.State) bool { return state.Ready })
	if n := s.leased(); n != 4 {
		t.Errorf("%d accounts leased, want two for each route", n)
	}
	if r := s.target.Counters(); r.Accepted != 0 {
		t.Errorf("%d messages published before the run has begun", r.Accepted)
	}
	s.enter(coord.PhaseRunning)
	s.untilSent(60)
	s.enter(coord.PhaseDraining)
	s.until("drained", func(state coord.State) bool { return state.Drained })
	s.enter(coord.PhaseStopping)
	s.until("done", func(state coord.State) bool { return state.Done })
	s.enter(coord.PhaseEnded)
	if err := s.gone(); err != nil {
		t.Errorf("probe.Run: %v", err)
	}

	var sent, lost int64
	for _, name := range []string{"quiet", "crowd"} {
		r := s.routes[name]
		if r.Sent != r.OnTime+r.Late+r.Lost || r.Duplicated+r.Reordered+r.Unexpected+r.LeftOut != 0 {
			t.Errorf("route %+v", r)
		}
		if r.Latency == nil || r.Latency.Count() != r.OnTime+r.Late || r.Latency.Min() <= 0 {
			t.Errorf("route %s: the latencies are not those of what was received", name)
		}
		if published := s.operations["PROBE publish "+name]; published.Count != r.Sent || published.Failures != 0 || published.Bytes == 0 {
			t.Errorf("route %s: sent %d, published %+v", name, r.Sent, published)
		}
		sent += r.Sent
		lost += r.Lost
	}
	counters := s.target.Counters()
	if counters.Accepted != sent || counters.Dropped != lost || lost == 0 {
		t.Errorf("sent %d and lost %d; the target accepted %d and dropped %d", sent, lost, counters.Accepted, counters.Dropped)
	}
	if login := s.operations["PROBE login"]; login.Count != 4 || counters.Requests["login"]["200"] != 4 {
		t.Errorf("%d log-ins, the target counted %v, want 4", login.Count, counters.Requests["login"])
	}
	if counters.StaleTokenRequests != 0 || s.leased() != 0 {
		t.Errorf("%d requests with stale tokens, %d accounts still leased", counters.StaleTokenRequests, s.leased())
	}
}

// A process that is told to end gives its accounts back and reports what it
// has counted.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, target.Config{}, 2, "probe: { rate: 40/s, routes: [crowd] }")
	s.until("ready", func(state coord.State) bool { return state.Ready })
	s.enter(coord.PhaseRunning)
	s.untilSent(10)
	s.stop()
	if err := s.gone(); err != nil {
		t.Errorf("probe.Run: %v", err)
	}
	if accepted := s.target.Counters().Accepted; s.routes["crowd"].Sent != accepted || s.operations["PROBE publish crowd"].Count != accepted {
		t.Errorf("sent %d, published %d, the target accepted %d", s.routes["crowd"].Sent, s.operations["PROBE publish crowd"].Count, accepted)
	}
	if s.leased() != 0 {
		t.Errorf("%d accounts still leased", s.leased())
	}
}

// A run that stops without draining does not wait for what is open.
func TestRunStopsWithoutDraining(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, target.Config{Faults: target.Faults{Loss: 1}}, 2, "probe: { rate: 40/s, routes: [quiet], timeout: 1h }")
	s.until("ready", func(state coord.State) bool { return state.Ready })
	s.enter(coord.PhaseRunning)
	s.untilSent(10)
	s.enter(coord.PhaseStopping)
	s.until("done", func(state coord.State) bool { return state.Done && state.Drained })
	if r := s.routes["quiet"]; r.OnTime+r.Late+r.Lost != 0 {
		t.Errorf("route %+v: want everything open", r)
	}
	s.enter(coord.PhaseEnded)
	if err := s.gone(); err != nil {
		t.Errorf("probe.Run: %v", err)
	}
}

// Without accounts the probe is not ready, and becomes so when there are some.
func TestRunWaitsForAccounts(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, target.Config{}, 1, "probe: { routes: [quiet] }")
	s.until("connected at one end", func(state coord.State) bool {
		if state.Ready || state.Refusal != "" {
			t.Fatalf("state %+v with one account of two", state)
		}
		return s.operations["PROBE login"].Count == 1
	})
	s.addAccount()
	s.until("ready", func(state coord.State) bool { return state.Ready })
	s.enter(coord.PhaseEnded)
	if err := s.gone(); err != nil {
		t.Errorf("probe.Run: %v", err)
	}
}

// What cannot become right is said to the master.
func TestRunRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ more, want string }{
		"target not allowed": {"target: http+poll://192.0.2.1:9\nprobe: { routes: [quiet] }", "192.0.2.1"},
		"rate out of reach":  {"probe: { rate: 20000/s, routes: [quiet] }", "probe.rate 20000/s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSwarm(t, target.Config{}, 2, c.more)
			began := time.Now()
			s.until("refusing", func(state coord.State) bool {
				if state.Ready {
					t.Fatalf("ready: %+v", state)
				}
				return strings.Contains(state.Refusal, c.want)
			})
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v to say so", took)
			}
			s.enter(coord.PhaseEnded)
			if err := s.gone(); err != nil {
				t.Errorf("probe.Run: %v", err)
			}
			if s.leased() != 0 {
				t.Errorf("%d accounts still leased", s.leased())
			}
		})
	}
}
