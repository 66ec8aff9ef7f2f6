package cmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/internal/redisurl"
)

func newMaster(e env) *cobra.Command {
	var (
		common   commonFlags
		load     loadFlags
		wait     waitFlags
		output   outputFlags
		file     string
		headless bool
		standby  bool
		page     webFlags
		follow   bool
	)
	cmd := &cobra.Command{
		Use:   "master",
		Short: "Lead a distributed run: plan the load, merge the statistics, judge the outcome",
		Long: `Waits for workers and a probe that meet it in Redis, and serves the web page from
which runs are started, changed and stopped. With --headless it runs the load that
throng.yaml and the flags describe at once, and prints a summary. The pool of accounts
must be there: make it with ` + "`throng accounts create`" + `. A master that is started
again while its workers go on takes the run up where it was; with --standby one
waits beside another, with the same file and flags, and takes over when that one
dies. With --follow the users are a Locust master's to order: the run is the next
test that it starts, of which thresholds, report and validity are this master's
(see ` + "`throng worker --help`" + `). In a terminal, w and W start 1 and 10 more users, s and
S stop as many.`,
		Example: `  throng master -f throng.yaml
  throng master --headless -f throng.yaml -u 5000 -r 100 -t 10m --expect-workers 4
  throng master --headless --follow -f throng.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readEnvironment(cmd, e); err != nil {
				return err
			}
			if file == "" {
				return usageError("master: give the run's file with -f throng.yaml")
			}
			spec, err := loadSpec(cmd, e, file, "", nil)
			if err != nil {
				return err
			}
			if err := webOrHeadless(cmd, !headless, "leave out --headless"); err != nil {
				return err
			}
			if err := errors.Join(common.check(), output.check(), page.check(e)); err != nil {
				return err
			}
			if follow && !headless {
				return usageError("master: --follow goes with --headless: the page is Locust's")
			}
			for _, name := range []string{"users", "spawn-rate", "run-time"} {
				if follow && cmd.Flags().Changed(name) && spec.Settings[name].Text == "" {
					return usageError("master: --%s is the Locust master's to say with --follow: leave it out", name)
				}
			}
			load.apply(cmd, spec)
			if err := checkSpec(spec); err != nil {
				return err
			}
			log, err := common.logger(e)
			if err != nil {
				return err
			}
			if err := checkTarget(cmd.Context(), spec); err != nil {
				return err
			}
			client, err := redisurl.Connect(cmd.Context(), common.redis)
			if err != nil {
				return err
			}
			defer client.Close()
			run := swarm{name: common.swarm, client: client, spec: spec, wait: wait, output: output, standby: standby, follow: follow}
			if !headless {
				summary, err := serve(cmd.Context(), e, log, served{swarm: run, web: page, file: file, prepare: checkTarget})
				if summary == nil {
					return err
				}
				return exitWith(summary.Run.ExitCode, err)
			}
			summary, err := lead(cmd.Context(), e, log, run)
			if summary == nil {
				return err
			}
			return exitWith(summary.Run.ExitCode, errors.Join(err, output.show(e.stdout, summary)))
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "file", "f", "", "the run's `throng.yaml`")
	flags.BoolVar(&headless, "headless", false, "run at once, without a web page")
	flags.BoolVar(&standby, "standby", false, "wait while another master leads, and take over when it dies")
	flags.BoolVar(&follow, "follow", false, "leave the users to a Locust master: the run is one of its tests")
	common.add(flags, defaultRedis, "INFO")
	load.add(flags, "1", "1", "never")
	wait.add(flags)
	output.add(flags)
	page.add(flags)
	return cmd
}
