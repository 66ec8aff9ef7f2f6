package cmd

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/internal/target"
)

func newTarget(e env) *cobra.Command {
	var (
		common commonFlags // for the level of the log alone
		listen string
		file   string
		seed   uint64
		faults []string
	)
	cmd := &cobra.Command{
		Use:   "target",
		Short: "Run the built-in events service, with faults to order",
		Long: `Runs a small publish/subscribe service to try Throng on: accounts, log-in,
channels with long polls, exact counters at /admin/counters, and faults, drawn
from a seed, to see what a run makes of them. Accounts end with the process unless
--accounts-file keeps them.`,
		Example: `  throng target --listen 127.0.0.1:9090
  throng target --fault loss=0.01 --fault delay=uniform:5ms,50ms`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readEnvironment(cmd, e); err != nil {
				return err
			}
			log, err := common.logger(e)
			if err != nil {
				return err
			}
			parsed, err := target.ParseFaults(faults)
			if err != nil {
				return usageError("--fault: %w", err)
			}
			config := target.Config{Seed: seed, Faults: parsed, Log: log}
			if file != "" {
				if config.Journal, err = os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
					return usageError("--accounts-file: %w", err)
				}
				defer config.Journal.Close()
			}
			server, err := target.New(config)
			if err != nil {
				return usageError("%w", err)
			}
			if _, _, err := net.SplitHostPort(listen); err != nil {
				return usageError("--listen %s: want HOST:PORT, such as 127.0.0.1:9090", listen)
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return startError("--listen %s: %w", listen, err)
			}
			if _, err := fmt.Fprintf(e.stdout, "target at http://%s (use it as http+poll://%s)\n", listener.Addr(), listener.Addr()); err != nil {
				return err
			}
			return server.Serve(cmd.Context(), listener)
		},
	}
	common.addLog(cmd.Flags(), "INFO")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9090", "`address` to listen on")
	cmd.Flags().StringVar(&file, "accounts-file", "", "keep accounts, with their passwords, in this `file`, and begin with those that it has")
	addFaultFlags(cmd, &seed, &faults)
	return cmd
}

func addFaultFlags(cmd *cobra.Command, seed *uint64, faults *[]string) {
	cmd.Flags().Uint64Var(seed, "seed", 1, "`number` that the target's faults are drawn from")
	cmd.Flags().StringArrayVar(faults, "fault", nil, "`KEY=VALUE`, repeatable: delay=20ms, loss=0.01, duplicate=0.01, refuse=0.01")
}
