package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

const tableEvery = 2 * time.Second

// swarm is a run for lead.
type swarm struct {
	name   string
	client redis.UniversalClient
	spec   *scenarios.Spec
	wait   waitFlags
	output outputFlags
	// shared says that the target is on this machine; see master.Config.
	shared bool
	// begun and running, if set, are called when the run has begun, and when
	// its users are about to start.
	begun   func() error
	running func()
	// standby waits for another master to die; see master.Config.
	standby bool
	// follow leaves the users to a Locust master; see master.Config.
	follow bool
}

// lead runs a swarm to its end. Without a summary, the error says why there was
// no run; beside one, what happened to it that the summary does not say.
func lead(ctx context.Context, e env, log *zap.Logger, s swarm) (*report.Summary, error) {
	keys, err := accountKeys(e)
	if err != nil {
		return nil, err
	}
	quiet := context.AfterFunc(ctx, func() {
		fmt.Fprintln(e.stderr, "throng: stopping; again to stop at once, without cleaning up")
	})
	defer quiet()
	var last *report.Summary // what is known if the run cannot say more
	live := report.NewLive(e.stdout, e.size, tableEvery)
	control := master.NewControl()
	defer watchKeys(ctx, e, control, log)()
	summary, err := master.Run(ctx, master.Config{
		Redis: s.client, Swarm: s.name, Spec: s.spec, Log: log,
		Workers: s.wait.workers, WorkersWait: s.wait.limit(),
		SharedMachine: s.shared, Begun: s.begun, Keys: keys, Keep: keep(e), Standby: s.standby, Follow: s.follow, Control: control,
		Observe: func(snapshot *master.Snapshot) {
			summary := snapshot.Summary
			if last == nil && s.running != nil {
				s.running()
			}
			last = summary
			if !s.output.onlySummary {
				e.stderr.show(live, summary)
			}
		},
	})
	e.stderr.close(live)
	switch {
	case errors.Is(err, coord.ErrLed) && s.follow:
		return nil, startError("swarm %q is led already: by another master, or by a worker that stands in for one while a test runs. Stop that, and start this master before the test", s.name)
	case errors.Is(err, coord.ErrLed):
		return nil, startError("swarm %q has a master already: stop that one, or give this run a name of its own with --swarm", s.name)
	case errors.Is(err, master.ErrEndedElsewhere):
		fmt.Fprintln(e.stderr, "throng:", err)
		return nil, nil
	case errors.Is(err, coord.ErrDeposed):
		return nil, err // the run goes on, and its summary is another's to write
	case summary == nil && last == nil:
		return nil, err
	case summary == nil:
		// The run was lost on the way; what was known of it is still worth having.
		summary = last
		summary.Run.Verdict, summary.Run.Validity.State = report.VerdictInvalid, report.Invalid
		summary.Run.Validity.Reasons = append(summary.Run.Validity.Reasons, err.Error())
		summary.Run.ExitCode = master.ExitInvalid
		if ctx.Err() != nil {
			summary.Run.ExitCode = master.ExitInterrupted
		}
	case summary.Run.ExitCode == master.ExitFailed:
		summary.Run.ExitCode = s.output.exitCodeOnError
	}
	if errors.Is(err, master.ErrInterrupted) {
		err = nil // the exit code says so
	}
	return summary, err
}

// show prints the summary and writes the files.
func (o outputFlags) show(w io.Writer, summary *report.Summary) error {
	if err := report.WriteText(w, summary); err != nil {
		return err
	}
	if err := o.save(summary); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nSummary in %s\n", o.file(summary))
	return err
}

// save writes the files.
func (o outputFlags) save(summary *report.Summary) error {
	err := report.SaveJSON(o.file(summary), summary)
	if o.json != "" {
		err = errors.Join(err, report.SaveJSON(o.json, summary))
	}
	return err
}

// file is where the run's summary is kept.
func (o outputFlags) file(summary *report.Summary) string {
	folder := o.out
	if folder == "" {
		folder = filepath.Join("throng-runs", summary.Run.ID)
	}
	return filepath.Join(folder, "summary.json")
}
