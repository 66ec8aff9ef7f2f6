package cmd

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// localFlags are those of a run on one machine.
type localFlags struct {
	common  commonFlags
	load    loadFlags
	pool    poolFlags
	output  outputFlags
	file    string
	workers int
	// web serves the page instead of running at once.
	web  bool
	page webFlags
}

func (l *localFlags) add(flags *pflag.FlagSet, workers int, users, rate, runTime string) {
	flags.StringVarP(&l.file, "file", "f", "", "the run's `throng.yaml`")
	flags.IntVar(&l.workers, "workers", workers, "`number` of worker processes (also --processes)")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "processes" {
			name = "workers"
		}
		return pflag.NormalizedName(name)
	})
	l.common.addLog(flags, "WARNING")
	l.load.add(flags, users, rate, runTime)
	l.output.add(flags)
	flags.BoolVar(&l.web, "web", false, "serve the web page, from which runs are started, instead of running at once")
	l.page.add(flags)
}

// prepare checks the settings and makes the run.
func (l *localFlags) prepare(cmd *cobra.Command, e env) (*localRun, error) {
	if err := errors.Join(l.common.check(), webOrHeadless(cmd, l.web, "give --web with it")); err != nil {
		return nil, err
	}
	if err := errors.Join(l.pool.check(), l.output.check(), l.page.check(e)); err != nil {
		return nil, err
	}
	if l.workers < 1 {
		return nil, usageError("--workers: %d is not above 0", l.workers)
	}
	log, err := l.common.logger(e)
	if err != nil {
		return nil, err
	}
	return &localRun{e: e, common: l.common, pool: l.pool, output: l.output, workers: l.workers, log: log, file: l.file, web: l.web, page: l.page}, nil
}

func newRun(e env) *cobra.Command {
	var local localFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run everything on this machine against a real target",
		Long: `Runs what throng.yaml describes with a master, workers and a probe on this
machine. Without --redis an embedded Redis serves for the run, and the accounts
that were created for it are deleted from the target at the end; with --redis
the pool and its accounts stay for the next run.`,
		Example: `  throng run -f throng.yaml -u 500 -r 25 -t 5m --json summary.json
  throng run -f throng.yaml --web`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readEnvironment(cmd, e); err != nil {
				return err
			}
			if local.file == "" {
				return usageError("run: give the run's file with -f throng.yaml")
			}
			spec, err := loadSpec(cmd, e, local.file, "", nil)
			if err != nil {
				return err
			}
			local.load.apply(cmd, spec)
			if err := checkSpec(spec); err != nil {
				return err
			}
			r, err := local.prepare(cmd, e)
			if err != nil {
				return err
			}
			r.spec = spec
			return r.run(cmd.Context())
		},
	}
	local.add(cmd.Flags(), runtime.NumCPU(), "1", "1", "never")
	local.common.addRedis(cmd.Flags(), "")
	local.common.addSwarm(cmd.Flags())
	local.pool.addDefaults(cmd.Flags())
	return cmd
}
