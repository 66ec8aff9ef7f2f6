package cmd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/embedded"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

const (
	// localWait is how long the local processes may take to be ready.
	localWait = 30 * time.Second
	// cleanUpTime bounds deleting the accounts at the end, beside the time that
	// their rate takes.
	cleanUpTime = time.Minute
)

// localRun is a run on one machine: Redis unless one is given, workers and a
// probe as children, and the master in this process.
type localRun struct {
	e       env
	common  commonFlags
	pool    poolFlags
	output  outputFlags
	workers int
	spec    *scenarios.Spec
	shared  bool // the target is in this process
	log     *zap.Logger
	file    string
	web     bool
	page    webFlags
}

// run provisions, runs and cleans up. Whatever happens on the way, no process
// and no leased account is left, and accounts of a pool that goes away with
// this process are deleted from the target.
func (r *localRun) run(ctx context.Context) error {
	if err := checkTarget(ctx, r.spec); err != nil {
		return err
	}
	redisURL, stop, err := r.startRedis()
	if err != nil {
		return err
	}
	defer stop()
	client, err := redisurl.Connect(ctx, redisURL)
	if err != nil {
		return err
	}
	defer client.Close()
	pool, err := openPool(ctx, r.e, client, r.spec, r.pool, r.log)
	if err != nil {
		return err
	}
	var summary *report.Summary
	if err = createAccounts(ctx, r.e, pool, r.spec, r.log, !r.embedsRedis()); err == nil {
		if r.web {
			err = r.serve(ctx, client, redisURL, pool)
		} else {
			summary, err = r.lead(ctx, client, redisURL)
		}
	}
	if summary != nil {
		err = exitWith(summary.Run.ExitCode, errors.Join(err, r.output.show(r.e.stdout, summary)))
	}
	if r.embedsRedis() && creates(r.spec) {
		err = r.also(err, r.deleteAccounts(ctx, pool))
	}
	if code := codeOf(err); summary != nil && summary.Run.ExitCode != code {
		summary.Run.ExitCode = code // the files say what the process says
		err = r.also(err, r.output.save(summary))
	}
	return err
}

func (r *localRun) embedsRedis() bool { return r.common.redis == "" }

// startRedis returns the address of the Redis to use, and what ends it.
func (r *localRun) startRedis() (url string, stop func(), err error) {
	if !r.embedsRedis() {
		return r.common.redis, func() {}, nil
	}
	if err := r.fitsEmbedded(r.spec); err != nil {
		return "", nil, err
	}
	server, err := embedded.Start()
	if err != nil {
		return "", nil, startError("embedded Redis: %w", err)
	}
	return server.URL(), server.Close, nil
}

// fitsEmbedded refuses a run that is too large for the embedded Redis.
func (r *localRun) fitsEmbedded(spec *scenarios.Spec) error {
	n := 0
	for _, wanted := range spec.WantedAccounts() {
		n += wanted
	}
	if r.embedsRedis() && n > embedded.MaxAccounts {
		return usageError("the run wants %d accounts and the embedded Redis is made for up to %d: use `throng run` with a real one, given by --redis", n, embedded.MaxAccounts)
	}
	return nil
}

// serve serves the web page, with workers and a probe of its own for its runs.
func (r *localRun) serve(ctx context.Context, client redis.UniversalClient, redisURL string, pool *accounts.Pool) error {
	kids := &children{e: r.e, log: r.log, ended: func(err error) {
		r.log.Error("a process of this swarm has ended: the runs to come are without it", zap.Error(err))
	}}
	summary, err := serve(ctx, r.e, r.log, served{
		swarm: swarm{name: r.common.swarm, client: client, spec: r.spec, output: r.output, shared: r.shared,
			wait: waitFlags{workers: 1, maxWait: scenarios.Duration(localWait)}},
		web: r.page, file: r.file, fixedTarget: r.shared,
		prepare: func(ctx context.Context, spec *scenarios.Spec) error {
			if err := errors.Join(r.fitsEmbedded(spec), checkTarget(ctx, spec)); err != nil {
				return err
			}
			return createAccounts(ctx, r.e, pool, spec, r.log, !r.embedsRedis())
		},
		leading: func() error { return r.startChildren(kids, redisURL) },
	})
	err = r.also(err, kids.end(0))
	if summary != nil {
		return exitWith(summary.Run.ExitCode, err)
	}
	return err
}

// lead leads the run with workers and a probe of its own, and sees to it that
// they are gone.
func (r *localRun) lead(ctx context.Context, client redis.UniversalClient, redisURL string) (summary *report.Summary, err error) {
	// A child that ends before users have started would be waited for in vain.
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var running atomic.Bool
	kids := &children{e: r.e, log: r.log, ended: func(err error) {
		if !running.Load() {
			giveUp(err)
		}
	}}
	summary, err = lead(ctx, r.e, r.log, swarm{
		name: r.common.swarm, client: client, spec: r.spec, output: r.output, shared: r.shared,
		wait: waitFlags{workers: r.workers, maxWait: scenarios.Duration(localWait)},
		// Only then: another master's swarm must not get our workers.
		begun:   func() error { return r.startChildren(kids, redisURL) },
		running: func() { running.Store(true) },
	})
	var early *childError
	if summary == nil && errors.As(context.Cause(ctx), &early) {
		err = startError("%w", early)
	}
	leave := time.Duration(0)
	if summary != nil && err == nil {
		leave = leaveTime // the run has come to its end, so they leave by themselves
	}
	return summary, r.also(err, kids.end(leave))
}

func (r *localRun) startChildren(kids *children, redisURL string) error {
	// The address may hold a password: it goes by the environment, which
	// other users cannot see.
	variables := []string{variable("redis") + "=" + redisURL, variable("swarm") + "=" + r.common.swarm, variable("loglevel") + "=" + r.common.loglevel}
	for range r.workers {
		if err := kids.start(variables, "worker"); err != nil {
			return startError("%w", err)
		}
	}
	if r.spec.UsesProbe() {
		if err := kids.start(variables, "probe"); err != nil {
			return startError("%w", err)
		}
	}
	return nil
}

// deleteAccounts deletes the pool's accounts from the target, also when ctx has
// ended.
func (r *localRun) deleteAccounts(ctx context.Context, pool *accounts.Pool) error {
	stats, err := pool.Stats(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	limit, known := cleanUpTime, int64(0)
	for _, role := range stats {
		known += role.Known
	}
	if policy := policyOf(r.spec); policy != nil {
		limit += time.Duration(float64(known) / float64(policy.Rate) * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	bar := newProgress(r.e, r.e.stdout, "deleted from the target")
	defer bar.end()
	provisioner, done, err := newProvisioner(ctx, r.e, pool, r.spec, r.log, bar.show)
	if err != nil {
		return err
	}
	defer done()
	result, err := provisioner.DeleteAll(ctx)
	bar.end()
	if err != nil {
		// Not what the error is: nobody can run this again for a pool that is gone.
		return startError("up to %d accounts stay in the target, and nothing knows them any more: %v", max(0, known-int64(result.Deleted)), err)
	}
	fmt.Fprintf(r.e.stdout, "Accounts: %d deleted from the target\n", result.Deleted)
	if result.Left > 0 {
		return startError("%d accounts are still leased and were left in the target", result.Left)
	}
	return nil
}

// also adds what went wrong in cleaning up to the outcome, which keeps its
// exit code.
func (r *localRun) also(err, cleanUp error) error {
	if cleanUp == nil {
		return err
	}
	if err == nil {
		return cleanUp
	}
	return &exitError{codeOf(err), errors.Join(nonEmpty(err), cleanUp)}
}

// nonEmpty is nil for an error that has nothing to say.
func nonEmpty(err error) error {
	if err.Error() == "" {
		return nil
	}
	return err
}
