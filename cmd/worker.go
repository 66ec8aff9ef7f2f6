package cmd

import (
	"github.com/spf13/cobra"

	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/worker"
	"github.com/throng-load/throng/worker/locust"
	"github.com/throng-load/throng/worker/probe"
	"github.com/throng-load/throng/worker/rig"
)

func newWorker(e env) *cobra.Command {
	var bridged bridgeFlags
	cmd := newMember(e, &cobra.Command{
		Use:   "worker",
		Short: "Run users for a master that meets it in Redis, or for a Locust master",
		Long: `Joins a swarm and runs the users that its plan gives to this process. The worker
reads everything about a run from Redis, so it needs only the address of Redis.
It leaves when the run is over; on SIGINT or SIGTERM it stops its users, gives
their accounts back, sends its last statistics and leaves with 0.

With --master-host it joins a Python Locust master (2.12 or newer) in place of a
plan: Locust's page starts, edits and stops the users, and shows their statistics.
Accounts still come from the pool in Redis. No master of throng's is needed then,
so the worker reads throng.yaml itself.`,
		Example: `  throng worker --redis redis://10.0.0.1:6379
  throng worker --redis redis://10.0.0.1:6379 --master-host 10.0.0.2 -f throng.yaml`,
	}, func(cmd *cobra.Command, cfg rig.Config) error {
		if err := bridged.check(cmd); err != nil {
			return err
		}
		if !bridged.used() {
			return worker.Run(cmd.Context(), cfg)
		}
		spec, deadMan, err := bridged.read(cmd, e)
		if err != nil {
			return err
		}
		pilot := locust.New(locust.Config{Address: bridged.address(), DeadMan: deadMan, Log: cfg.Log})
		return worker.RunBridged(cmd.Context(), cfg, pilot, spec)
	})
	bridged.add(cmd.Flags())
	return cmd
}

func newProbe(e env) *cobra.Command {
	return newMember(e, &cobra.Command{
		Use:   "probe",
		Short: "Measure delivery, apart from the load",
		Long: `Joins a swarm and measures delivery with accounts and connections of its own: it
publishes on a fixed schedule and times each message from the moment at which
it should have been sent until it arrives. Run it on a machine that is not busy
with users.`,
		Example: "  throng probe --redis redis://10.0.0.1:6379",
	}, func(cmd *cobra.Command, cfg rig.Config) error { return probe.Run(cmd.Context(), cfg) })
}

// newMember finishes the command of a process that joins a swarm.
func newMember(e env, cmd *cobra.Command, run func(*cobra.Command, rig.Config) error) *cobra.Command {
	var common commonFlags
	common.add(cmd.Flags(), defaultRedis, "INFO")
	cmd.Args = noArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := readEnvironment(cmd, e); err != nil {
			return err
		}
		if err := common.check(); err != nil {
			return err
		}
		log, err := common.logger(e)
		if err != nil {
			return err
		}
		keys, err := accountKeys(e)
		if err != nil {
			return err
		}
		client, err := redisurl.Connect(cmd.Context(), common.redis)
		if cmd.Context().Err() != nil {
			return nil // told to leave before it had come
		}
		if err != nil {
			return err
		}
		defer client.Close()
		return run(cmd, rig.Config{
			Redis: client, Swarm: common.swarm, Scenarios: e.scenarios, Drivers: drivers(),
			Keys: keys, Keep: keepWorker(e), Log: log,
		})
	}
	return cmd
}
