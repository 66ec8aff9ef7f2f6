package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/worker"
	"github.com/throng-load/throng/worker/probe"
	"github.com/throng-load/throng/worker/rig"
)

func newWorker(e env) *cobra.Command {
	return newMember(e, worker.Run, &cobra.Command{
		Use:   "worker",
		Short: "Run users for a master that meets it in Redis",
		Long: `Joins a swarm and runs the users that its plan gives to this process. The worker
reads everything about a run from Redis, so it needs only the address of Redis.
It leaves when the run is over; on SIGINT or SIGTERM it stops its users, gives
their accounts back, sends its last statistics and leaves with 0.`,
		Example: "  throng worker --redis redis://10.0.0.1:6379",
	})
}

func newProbe(e env) *cobra.Command {
	return newMember(e, probe.Run, &cobra.Command{
		Use:   "probe",
		Short: "Measure delivery, apart from the load",
		Long: `Joins a swarm and measures delivery with accounts and connections of its own: it
publishes on a fixed schedule and times each message from the moment at which
it should have been sent until it arrives. Run it on a machine that is not busy
with users.`,
		Example: "  throng probe --redis redis://10.0.0.1:6379",
	})
}

// newMember finishes the command of a process that joins a swarm.
func newMember(e env, run func(context.Context, rig.Config) error, cmd *cobra.Command) *cobra.Command {
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
		return run(cmd.Context(), rig.Config{
			Redis: client, Swarm: common.swarm, Scenarios: e.scenarios, Drivers: drivers(),
			Keys: keys, Keep: keepWorker(e), Log: log,
		})
	}
	return cmd
}
