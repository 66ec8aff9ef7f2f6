package probe

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
	"github.com/throng-load/throng/worker/rig"
)

// idle is a scenario of which only the probe takes part.
type idle struct{}

func (idle) Validate() error          { return nil }
func (idle) ClassOf(int) int          { return 0 }
func (idle) Crowd() scenarios.Channel { return scenarios.Channel{Name: "crowd", Pattern: "crowd"} }
func (idle) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "User", Role: "user", Weight: 1}}
}

// Once nobody controls the swarm the probe sends nothing, and says that it does not
// measure; what it did not send then is neither lost nor left out. With somebody in
// control it goes on.
func TestNothingIsSentWithoutControl(t *testing.T) {
	const (
		deadMan = 6 * time.Second
		rate    = 10
	)
	for name, c := range map[string]struct {
		// silent loses the probe's heartbeats in place of the master's renewals.
		silent bool
		late   time.Duration // by how much the switch may be later than deadMan
	}{
		"no master":    {false, coord.LeaderTTL},
		"no heartbeat": {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				must := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
				}
				_, rdb, namespace := redistest.Piped(t)
				pool, err := accounts.Create(t.Context(), accounts.Config{Redis: rdb, Namespace: namespace, Name: "pool"}, accounts.Settings{})
				must(err)
				_, err = pool.Import(t.Context(), []accounts.Account{
					{Username: "a", Password: accounts.NewSecret("x"), Role: scenarios.RoleProbe},
					{Username: "b", Password: accounts.NewSecret("x"), Role: scenarios.RoleProbe},
				})
				must(err)
				leader, err := coord.Campaign(t.Context(), coord.LeaderConfig{Redis: rdb, Namespace: namespace, Swarm: "swarm"})
				must(err)
				plan := coord.Plan{Run: testRun, Phase: coord.PhaseRunning, Points: coord.Ramp(time.Now(), 1, 1), SpawnRate: 1}
				spec := "scenario: idle\ntarget: fake://127.0.0.1:1\naccounts: { pool: pool }\ndead_man: 6s\nprobe: { routes: [quiet], rate: 10/s }\n"
				_, err = leader.Begin(t.Context(), coord.Run{ID: testRun, Spec: []byte(spec)}, plan)
				must(err)

				target, faults := new(fakeTarget), new(redistest.Faults)
				target.fate = func(pubsub.Envelope) fate { return delivered(time.Millisecond) }
				own := redistest.Another(t, rdb)
				own.AddHook(faults)
				ctx, stop := context.WithCancel(context.Background())
				var running sync.WaitGroup
				running.Go(func() {
					err := Run(ctx, rig.Config{
						Redis: own, Namespace: namespace, Swarm: "swarm", Log: zap.NewNop(),
						Scenarios: []scenarios.Scenario{{Name: "idle", New: func() scenarios.Behaviour { return new(idle) }}},
						Drivers:   rig.Drivers{"fake": func(*url.URL) (pubsub.Driver, error) { return target, nil }},
					})
					if err != nil {
						t.Errorf("probe: %v", err)
					}
				})
				t.Cleanup(func() { stop(); running.Wait() })

				// sent says how much is sent while so long passes, with the master there
				// or not.
				sent := func(d time.Duration, led bool) int {
					t.Helper()
					before := len(target.published())
					for end := time.Now().Add(d); time.Now().Before(end); {
						if led {
							must(leader.Renew(t.Context()))
						}
						<-time.After(min(500*time.Millisecond, time.Until(end)))
						synctest.Wait()
					}
					return len(target.published()) - before
				}
				if n := sent(10*time.Second, true); n < 9*rate {
					t.Fatalf("%d messages in 10 s with a master", n)
				}
				var fault *redistest.Fault
				if c.silent {
					members := any(namespace + ":{swarm:swarm}:members")
					fault = faults.Refuse(0, func(cmd redis.Cmder) bool { return slices.Contains(cmd.Args(), members) })
				}
				// The last heartbeat was a second ago at the most.
				if n := sent(deadMan-1100*time.Millisecond, c.silent); n < 4*rate {
					t.Errorf("%d messages before the switch", n)
				}
				sent(1200*time.Millisecond+c.late, c.silent)
				if n := sent(time.Minute, c.silent); n != 0 {
					t.Errorf("%d messages after the switch", n)
				}
				if fault != nil {
					fault.Lift()
				}
				sent(2*time.Second, true)
				roll, err := leader.Roll(t.Context())
				must(err)
				if len(roll.Members) != 1 || !roll.Members[0].State.Ready {
					t.Errorf("in control again, the roll is %+v", roll.Members)
				}
				if n := sent(10*time.Second, true); n != 10*rate {
					t.Errorf("%d messages in 10 s with a master again", n)
				}
				entries, err := leader.Read(t.Context(), "", 1000)
				must(err)
				var sum coord.Route
				for _, e := range entries {
					for _, r := range e.Report.Routes {
						sum.Merge(&r)
					}
				}
				if sum.Sent < 20*rate || sum.Lost != 0 || sum.LeftOut != 0 || sum.LateSends != 0 || sum.OnTime < sum.Sent-rate {
					t.Errorf("reported %+v", counts(sum))
				}
				must(leader.Renew(t.Context()))
			})
		})
	}
}
