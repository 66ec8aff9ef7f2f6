package cmd

import (
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/throng-load/throng/scenarios"
)

// bridgeFlags are those of a worker that obeys a Locust master.
type bridgeFlags struct {
	host    string
	port    int
	file    string
	deadMan scenarios.Duration
}

func (b *bridgeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&b.host, "master-host", "", "`host` of a Locust master to join")
	flags.IntVar(&b.port, "master-port", 5557, "`port` at which the Locust master waits for workers")
	flags.StringVarP(&b.file, "file", "f", "", "the `throng.yaml` to run for a Locust master when no master of throng's leads the swarm")
	flags.Var(&b.deadMan, "dead-man", "`time` after which users end when the Locust master or Redis is gone (default 60s)")
	noZero(flags, "dead-man")
}

// used says whether the worker is to join a Locust master.
func (b *bridgeFlags) used() bool { return b.host != "" }

// check reports flags that do not fit together.
func (b *bridgeFlags) check(cmd *cobra.Command) error {
	if !b.used() {
		for _, name := range []string{"master-port", "file", "dead-man"} {
			if cmd.Flags().Changed(name) {
				return usageError("worker: --%s is of use with --master-host only: a worker gets everything else from Redis", name)
			}
		}
		return nil
	}
	if b.port < 1 || b.port > 65535 {
		return usageError("--master-port: %d is not a port", b.port)
	}
	if cmd.Flags().Changed("dead-man") && b.deadMan < scenarios.Duration(time.Second) {
		return usageError("--dead-man: %v is below 1s", b.deadMan)
	}
	return nil
}

// read reads the run's file, if one is given, and says how long users may go on
// without control.
func (b *bridgeFlags) read(cmd *cobra.Command, e env) (*scenarios.Spec, time.Duration, error) {
	if b.file == "" {
		return nil, time.Duration(b.deadMan), nil // 0 is the default
	}
	spec, err := loadSpec(cmd, e, b.file, "", nil)
	if err != nil {
		return nil, 0, err
	}
	if cmd.Flags().Changed("dead-man") {
		spec.DeadMan = b.deadMan
	}
	if err := checkSpec(spec); err != nil {
		return nil, 0, err
	}
	return spec, time.Duration(spec.DeadMan), checkTarget(cmd.Context(), spec)
}

func (b *bridgeFlags) address() string { return net.JoinHostPort(b.host, strconv.Itoa(b.port)) }
