//go:build linux

package scale_test

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// nothing is a scenario whose users nobody runs.
type nothing struct{}

func (nothing) Validate() error          { return nil }
func (nothing) ClassOf(int) int          { return 0 }
func (nothing) Crowd() scenarios.Channel { return scenarios.Channel{Name: "c", Pattern: "c"} }
func (nothing) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "User", Role: role, Weight: 1}}
}

func parseSpec(text string) (*scenarios.Spec, error) {
	return scenarios.ParseSpec("scale", []byte(text), scenarios.ParseEnv{
		Scenarios: []scenarios.Scenario{{Name: "nothing", New: func() scenarios.Behaviour { return &nothing{} }}},
		Schemes:   []string{"test"},
	})
}

// runMaster leads the run as `throng master` does, live table included.
func runMaster(ctx context.Context, o order, out *json.Encoder) error {
	rdb, err := redisurl.Connect(ctx, o.Redis)
	if err != nil {
		return err
	}
	defer rdb.Close()
	spec, err := parseSpec(o.Spec)
	if err != nil {
		return err
	}
	log, err := zap.NewDevelopment(zap.IncreaseLevel(zap.InfoLevel), zap.AddStacktrace(zap.PanicLevel))
	if err != nil {
		return err
	}
	var last *master.Snapshot
	live := report.NewLive(io.Discard, nil, 2*time.Second)
	summary, err := master.Run(ctx, master.Config{
		Redis: rdb, Namespace: namespace, Swarm: swarm, Spec: spec, Workers: o.Workers, WorkersWait: patience, Log: log,
		Observe: func(s *master.Snapshot) {
			last = s
			live.Show(s.Summary)
		},
	})
	if err != nil {
		return err
	}
	return out.Encode(said{Summary: summary, Operations: last.Operations})
}
