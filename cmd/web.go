package cmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// Where the user and the password for --web-login come from: a flag would show
// them to everybody on the machine.
const (
	webUser     = "THRONG_WEB_USER"
	webPassword = "THRONG_WEB_PASSWORD"
)

// webFlags are Locust's flags for its web page.
type webFlags struct {
	host, basePath  string
	port            int
	login           bool
	tlsCert, tlsKey string
	autostart       bool
	autoquit        int
	classPicker     bool
	user, password  string
	certificate     *tls.Certificate
}

func (w *webFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&w.host, "web-host", "127.0.0.1", "`address` that the web page is served on")
	flags.IntVarP(&w.port, "web-port", "P", 8089, "`port` that the web page is served on; 0 is any free one")
	flags.StringVar(&w.basePath, "web-base-path", "", "`path` that everything of the web page is under, such as /throng")
	flags.BoolVar(&w.login, "web-login", false, "ask for a user and a password: those of "+webUser+" and "+webPassword)
	flags.StringVar(&w.tlsCert, "tls-cert", "", "`file` with the certificate to serve the web page over TLS")
	flags.StringVar(&w.tlsKey, "tls-key", "", "`file` with the certificate's private key")
	flags.BoolVar(&w.autostart, "autostart", false, "start a run at once; the web page stays when it has ended")
	flags.IntVar(&w.autoquit, "autoquit", -1, "with --autostart, quit so many `seconds` after the run; -1 is never")
	flags.BoolVar(&w.classPicker, "class-picker", false, "show the user classes and the load shapes in the start form")
}

// check finds what is wrong with the flags, and reads what they name.
func (w *webFlags) check(e env) error {
	var problems []error
	if w.port < 0 || w.port > 65535 {
		problems = append(problems, usageError("--web-port: %d is not from 0 to 65535", w.port))
	}
	w.basePath = strings.TrimRight(w.basePath, "/")
	if w.basePath != "" && !strings.HasPrefix(w.basePath, "/") {
		problems = append(problems, usageError("--web-base-path: %q does not begin with /", w.basePath))
	}
	if w.autoquit >= 0 && !w.autostart {
		problems = append(problems, usageError("--autoquit is for --autostart: without it nothing would ever quit"))
	}
	if w.login {
		w.user, _ = e.lookup(webUser)
		w.password, _ = e.lookup(webPassword)
		if w.user == "" || w.password == "" {
			problems = append(problems, usageError("--web-login: set %s and %s", webUser, webPassword))
		}
	}
	switch {
	case (w.tlsCert == "") != (w.tlsKey == ""):
		problems = append(problems, usageError("--tls-cert and --tls-key: give both or none"))
	case w.tlsCert != "":
		certificate, err := tls.LoadX509KeyPair(w.tlsCert, w.tlsKey)
		if err != nil {
			problems = append(problems, usageError("--tls-cert: %w", err))
		}
		w.certificate = &certificate
	}
	return errors.Join(problems...)
}

// address is where the page is, for people.
func (w *webFlags) address(listener net.Listener) string {
	scheme, host := "http", w.host
	if w.certificate != nil {
		scheme = "https"
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf("%s://%s%s/", scheme, net.JoinHostPort(host, strconv.Itoa(port)), w.basePath)
}

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
		return nil, startError("the web page: %w: choose another with --web-port", err)
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

func (c *controlled) Reset(ctx context.Context) error { return c.control.Reset(ctx) }

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

// outcomes keeps the outcome of each run as it ends: the page can show only the
// last one.
type outcomes struct {
	e      env
	output outputFlags
	log    *zap.Logger
	wake   chan struct{} // holds one: a run has ended

	mu       sync.Mutex // guards what follows
	going    string     // the run that was seen to go on
	last     *report.Summary
	unsaved  []*report.Summary
	finished chan struct{} // closed when a run has ended
}

// observe is called with each snapshot.
func (o *outcomes) observe(s *master.Snapshot) {
	if s.Summary == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !s.Idle && s.Plan.Phase != coord.PhaseEnded {
		o.going = s.Summary.Run.ID
		return
	}
	if o.going != s.Summary.Run.ID {
		return // another process's, or kept already
	}
	o.going, o.last = "", s.Summary
	o.unsaved = append(o.unsaved, s.Summary)
	if o.finished != nil {
		close(o.finished)
		o.finished = nil
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// ended returns what is closed when the run that goes on, or the next one, has
// ended.
func (o *outcomes) ended() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last != nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	if o.finished == nil {
		o.finished = make(chan struct{})
	}
	return o.finished
}

// run shows and saves what has ended, until ctx ends and then what is left.
func (o *outcomes) run(ctx context.Context) error {
	for {
		select {
		case <-o.wake:
			o.keep()
		case <-ctx.Done():
			o.keep()
			return nil
		}
	}
}

func (o *outcomes) keep() {
	o.mu.Lock()
	unsaved := o.unsaved
	o.unsaved = nil
	o.mu.Unlock()
	for _, summary := range unsaved {
		kept := *summary // the page goes on showing the other
		if kept.Run.ExitCode == master.ExitFailed {
			kept.Run.ExitCode = o.output.exitCodeOnError
		}
		if err := o.output.show(o.e.stdout, &kept); err != nil {
			o.log.Error("the outcome could not be kept", zap.Error(err))
		}
	}
}

// decisive is the run that the process's exit code follows from: the last one if
// the process ends because that has ended, or one that was interrupted.
func (o *outcomes) decisive(quits bool) *report.Summary {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last != nil && (quits || o.last.Run.ExitCode == master.ExitInterrupted) {
		kept := *o.last
		if kept.Run.ExitCode == master.ExitFailed {
			kept.Run.ExitCode = o.output.exitCodeOnError
		}
		return &kept
	}
	return nil
}

// webOrHeadless refuses flags of the web page for a run without one.
func webOrHeadless(cmd *cobra.Command, web bool, how string) error {
	if web {
		return nil
	}
	for _, name := range []string{"autostart", "autoquit", "class-picker", "web-login"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			return usageError("--%s is of the web page: %s", name, how)
		}
	}
	return nil
}
