package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/master/web"
	"github.com/throng-load/throng/scenarios"
)

// served is a swarm that is driven from the web page.
type served struct {
	swarm
	web  webFlags
	file string
	// fixedTarget refuses other targets than the spec's.
	fixedTarget bool
	// prepare makes ready what a run of the spec needs, or says why there cannot
	// be one.
	prepare func(ctx context.Context, spec *scenarios.Spec) error
	// leading, if set, is called once when this process leads the swarm.
	leading func() error
}

// serve serves the page and leads the runs that it orders, until ctx ends. It
// returns the last run's summary if that is what the process is to end with.
func serve(ctx context.Context, e env, log *zap.Logger, s served) (*report.Summary, error) {
	keys, err := accountKeys(e)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(s.web.host, strconv.Itoa(s.web.port)))
	if err != nil {
		return nil, startError("the web page: %w: choose another with --web-host or --web-port", err)
	}
	defer listener.Close() // again, if it was served
	logs := web.NewLogs()
	log = log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewTee(core, logs.Core(zapcore.InfoLevel))
	}))
	control := master.NewControl()
	server, err := web.New(web.Config{
		Swarm: &controlled{control, s.prepare}, Spec: s.spec, Scenarios: e.scenarios, File: s.file, Version: version(),
		BasePath: s.web.basePath, ClassPicker: s.web.classPicker, FixedTarget: s.fixedTarget,
		User: s.web.user, Password: s.web.password, Logs: logs, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if !web.PageBuilt() {
		log.Warn("this executable was built without the web page: `make ui`, then `make build`")
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	group, ctx := errgroup.WithContext(ctx)
	// The page outlives the master a little: it is to show the end of a run that
	// is stopped because this process is.
	pageCtx, closePage := context.WithCancel(context.WithoutCancel(ctx))
	defer closePage()
	outcomes := &outcomes{e: e, output: s.output, log: log, wake: make(chan struct{}, 1)}
	begun := make(chan struct{})
	var once sync.Once
	group.Go(func() error { return server.Run(pageCtx) })
	group.Go(func() error { return server.Serve(pageCtx, listener, s.web.certificate) })
	group.Go(func() error { return outcomes.run(pageCtx) })
	group.Go(func() error {
		defer closePage()
		defer quit()
		return master.Serve(ctx, master.Config{
			Redis: s.client, Swarm: s.name, Spec: s.spec, Log: log, Workers: s.wait.workers, WorkersWait: s.wait.limit(),
			SharedMachine: s.shared, Keys: keys, Keep: keep(e), Standby: s.standby, Control: control,
			ReadSpec: func(text []byte) (*scenarios.Spec, error) {
				return scenarios.ParseSpec("the run's file", text, scenarios.ParseEnv{Scenarios: e.scenarios, Schemes: schemes()})
			},
			Observe: func(snapshot *master.Snapshot) {
				once.Do(func() { close(begun) })
				server.Observe(viewOf(snapshot))
				outcomes.observe(snapshot)
			},
		})
	})
	group.Go(func() error {
		select {
		case <-begun:
		case <-ctx.Done():
			return nil
		}
		if s.leading != nil {
			if err := s.leading(); err != nil {
				return err
			}
		}
		fmt.Fprintf(e.stdout, "Web page at %s (Ctrl-C ends it)\n", s.web.address(listener))
		if !s.web.autostart {
			return nil
		}
		return s.autostart(ctx, control, outcomes, quit)
	})
	err = group.Wait()
	if errors.Is(err, coord.ErrLed) {
		return nil, startError("swarm %q has a master already: stop that one, or give this one a name of its own with --swarm", s.name)
	}
	if err != nil {
		return nil, err
	}
	return outcomes.decisive(s.web.autoquit >= 0), nil
}

// autostart starts a run and, if told, quits some time after it has ended.
func (s *served) autostart(ctx context.Context, control *master.Control, outcomes *outcomes, quit func()) error {
	if err := s.prepare(ctx, s.spec); err != nil {
		return err
	}
	if err := control.Start(ctx, s.spec); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if s.web.autoquit < 0 {
		return nil
	}
	select {
	case <-outcomes.ended():
	case <-ctx.Done():
		return nil
	}
	select {
	case <-time.After(time.Duration(s.web.autoquit) * time.Second):
		quit()
	case <-ctx.Done():
	}
	return nil
}

// controlled is the master as the page drives it.
type controlled struct {
	control *master.Control
	prepare func(ctx context.Context, spec *scenarios.Spec) error
}

func (c *controlled) Start(ctx context.Context, spec *scenarios.Spec) error {
	if err := c.prepare(ctx, spec); err != nil {
		return err
	}
	return c.control.Start(ctx, spec)
}

func (c *controlled) Edit(ctx context.Context, load web.Load) error {
	return c.control.Edit(ctx, master.Load{Users: load.Users, SpawnRate: load.SpawnRate, RunTime: load.RunTime})
}

func (c *controlled) Stop(ctx context.Context) error {
	if err := c.control.Stop(ctx); !errors.Is(err, master.ErrNoRun) {
		return err
	}
	return nil
}

// silentAfter is when a member counts as missing on the page, which shows it a
// moment before the master takes it off the roll: it should be heard of once a
// second.
const silentAfter = 2500 * time.Millisecond

// viewOf is a snapshot as the page wants it.
func viewOf(s *master.Snapshot) *web.View {
	view := &web.View{Summary: s.Summary, Operations: s.Operations, Spec: s.Spec, Now: s.Now, Idle: s.Idle, Trouble: s.Trouble, Target: s.Wanted}
	if n := len(s.Plan.Points); n > 0 && s.Plan.Phase == coord.PhaseRunning && len(s.Spec.Load.Stages) == 0 {
		view.Target = int(s.Plan.Points[n-1].Users)
	}
	view.Latencies = latenciesOf(s)
	for _, m := range s.Members {
		member := web.Member{ID: m.ID, Name: m.State.Name, Worker: m.State.Kind == coord.KindWorker, State: web.MemberReady,
			Users: m.State.Users, Held: m.State.Held, CPU: m.State.CPU, Memory: m.State.Memory}
		switch running := !s.Idle && s.Plan.Phase == coord.PhaseRunning && m.State.Run == s.Plan.Run; {
		case m.Silent >= silentAfter:
			member.State = web.MemberMissing
		case running && s.Wanted != view.Target:
			member.State = web.MemberSpawning
		case m.State.Users > 0 || running:
			member.State = web.MemberRunning
		}
		view.Members = append(view.Members, member)
	}
	return view
}

// latenciesOf are those of the probe's routes, and of what users received.
func latenciesOf(s *master.Snapshot) map[string]*hist.Histogram {
	latencies := make(map[string]*hist.Histogram)
	for _, r := range s.Routes {
		if r.Latency != nil {
			latencies[r.Route] = r.Latency
		}
	}
	load := new(hist.Histogram)
	for _, op := range s.Operations {
		if op.Type == scenarios.OpDeliver {
			load.Merge(op.Took)
		}
	}
	latencies[web.LoadRoute] = load
	return latencies
}
