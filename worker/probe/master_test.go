package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/scenarios"
	httpdriver "github.com/throng-load/throng/scenarios/pubsub/http"
	"github.com/throng-load/throng/worker/probe"
	"github.com/throng-load/throng/worker/rig"
)

const (
	runID = "run-1"
	crowd = "everybody"
	// patience is how long a test waits for what must happen.
	patience = 30 * time.Second
)

// empty is a scenario without users that would do anything.
type empty struct{}

func (empty) Validate() error { return nil }
func (empty) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "User", Role: "user", Weight: 1}}
}
func (empty) ClassOf(int) int          { return 0 }
func (empty) Crowd() scenarios.Channel { return scenarios.Channel{Name: crowd, Pattern: crowd} }

// swarm is a probe with a target, a pool and a master that the test plays.
type swarm struct {
	*testing.T
	redis     redis.UniversalClient
	namespace string
	target    *target.Server
	address   string
	pool      *accounts.Pool
	leader    *coord.Leader
	plan      coord.Plan

	stop context.CancelFunc // of the probe's process
	left chan error         // what probe.Run returned

	// What has been merged of the probe's reports.
	position   string
	number     map[string]int64
	routes     map[string]coord.Route
	operations map[string]opstats.Delta
}

// newSwarm starts a target and a probe, and begins a run of a spec to which
// more is added. The pool has so many accounts for the probe.
func newSwarm(t *testing.T, config target.Config, size int, more string) *swarm {
	t.Helper()
	s := &swarm{
		T: t, left: make(chan error, 1),
		number: make(map[string]int64), routes: make(map[string]coord.Route), operations: make(map[string]opstats.Delta),
	}
	s.redis, s.namespace = redistest.Embedded(t)
	s.serve(config)
	var err error
	s.pool, err = accounts.Create(t.Context(), accounts.Config{Redis: s.redis, Namespace: s.namespace, Name: "pool"}, accounts.Settings{})
	s.must("create pool", err)
	s.addAccounts(size)
	s.leader, err = coord.Campaign(t.Context(), coord.LeaderConfig{Redis: s.redis, Namespace: s.namespace, Swarm: "swarm"})
	s.must("campaign", err)
	s.plan = coord.Plan{Run: runID, Phase: coord.PhaseWaiting}
	text := more
	if !strings.Contains(more, "target:") {
		text += "\ntarget: http+poll://" + s.address
	}
	spec := "scenario: empty\naccounts: { pool: pool, lease_wait: 100ms }\n" + text
	_, err = s.leader.Begin(t.Context(), coord.Run{ID: runID, Protocol: coord.Protocol, Spec: []byte(spec)}, s.plan)
	s.must("begin run", err)
	s.startProbe()
	return s
}

// serve runs the target until the test has ended.
func (s *swarm) serve(config target.Config) {
	var err error
	s.target, err = target.New(config)
	s.must("make target", err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.must("listen", err)
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.target.Serve(ctx, listener) }()
	s.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			s.Errorf("serve target: %v", err)
		}
	})
}

// startProbe runs a probe until the test has ended, at the latest.
func (s *swarm) startProbe() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.left <- probe.Run(ctx, rig.Config{
			Redis: redistest.Another(s.T, s.redis), Namespace: s.namespace, Swarm: "swarm", Log: zap.NewNop(),
			Scenarios: []scenarios.Scenario{{Name: "empty", New: func() scenarios.Behaviour { return new(empty) }}},
			Drivers:   rig.Drivers{"http+poll": httpdriver.New},
		})
	}()
	s.Cleanup(func() {
		cancel()
		<-done
	})
}

// addAccounts adds accounts for the probe to the target and to the pool.
func (s *swarm) addAccounts(n int) {
	for range n {
		s.addAccount()
	}
}

func (s *swarm) addAccount() {
	stats, err := s.pool.Stats(s.Context())
	s.must("pool stats", err)
	known := int64(0)
	for _, role := range stats {
		known += role.Known
	}
	a := accounts.Account{
		Username: fmt.Sprintf("probe-%d", known), Password: accounts.NewSecret("secret"), Role: scenarios.RoleProbe,
	}
	body, err := json.Marshal(map[string]string{"username": a.Username, "password": a.Password.Reveal(), "role": a.Role})
	s.must("encode account", err)
	answer, err := http.Post("http://"+s.address+"/accounts", "application/json", strings.NewReader(string(body)))
	s.must("create account", err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		s.Fatalf("create account: %s", answer.Status)
	}
	_, err = s.pool.Intend(s.Context(), []accounts.Account{a})
	s.must("intend account", err)
	_, err = s.pool.Confirm(s.Context(), []accounts.Account{a})
	s.must("confirm account", err)
}

func (s *swarm) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// enter takes the run into a phase. With running the plan begins.
func (s *swarm) enter(phase coord.Phase) {
	s.Helper()
	s.plan.Phase = phase
	if phase == coord.PhaseRunning {
		roll, err := s.leader.Roll(s.Context())
		s.must("roll", err)
		s.plan.Points = coord.Ramp(roll.Now.Add(100*time.Millisecond), 1, 1)
	}
	s.plan.Leave = phase == coord.PhaseEnded
	_, err := s.leader.Publish(s.Context(), s.plan)
	s.must("publish plan", err)
}

// until does a master's work until the probe's state is as wanted.
func (s *swarm) until(what string, wanted func(coord.State) bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var state coord.State
	for {
		s.merge()
		roll, err := s.leader.Roll(ctx)
		s.must("roll", err)
		for _, m := range roll.Members {
			if state = m.State; state.Kind == coord.KindProbe && wanted(state) {
				return
			}
		}
		select {
		case <-ctx.Done():
			s.Fatalf("waited %v for the probe to be %s; it is %+v", patience, what, state)
		case <-ticker.C:
		}
	}
}

// untilSent waits until so many messages were reported on every route.
func (s *swarm) untilSent(n int64) {
	s.Helper()
	s.until(fmt.Sprintf("sending %d messages a route", n), func(coord.State) bool {
		if len(s.routes) == 0 {
			return false
		}
		return !slices.ContainsFunc(slices.Collect(maps.Values(s.routes)), func(r coord.Route) bool { return r.Sent < n })
	})
}

// merge merges the reports that have come in, and saves how far it is.
func (s *swarm) merge() {
	s.Helper()
	entries, err := s.leader.Read(s.Context(), s.position, 100)
	s.must("read statistics", err)
	for _, e := range entries {
		s.position = e.ID
		if e.Number != s.number[e.Member]+1 {
			continue
		}
		s.number[e.Member] = e.Number
		for _, r := range e.Report.Routes {
			sum := s.routes[r.Route]
			sum.Route = r.Route
			sum.Merge(&r)
			if open := sum.Sent - sum.OnTime - sum.Late - sum.Lost; open < 0 {
				s.Errorf("route %s has %d open after report %d", r.Route, open, e.Number)
			}
			s.routes[r.Route] = sum
		}
		for _, d := range e.Report.Operations {
			sum := s.operations[d.Type+" "+d.Name]
			sum.Merge(d)
			s.operations[d.Type+" "+d.Name] = sum
		}
	}
	err = s.leader.Save(s.Context(), coord.Saved{Run: runID, Body: []byte("{}"), Position: s.position, Numbers: s.number})
	s.must("save statistics", err)
}

// gone waits until the probe's process has ended, with what it returned.
func (s *swarm) gone() error {
	s.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		s.merge()
		select {
		case err := <-s.left:
			s.merge()
			return err
		case <-limit.C:
			s.Fatalf("the probe has not left within %v", patience)
		case <-ticker.C:
		}
	}
}

// leased is how many accounts of the pool are leased.
func (s *swarm) leased() (n int64) {
	s.Helper()
	stats, err := s.pool.Stats(s.Context())
	s.must("pool stats", err)
	for _, role := range stats {
		n += role.Leased
	}
	return n
}
