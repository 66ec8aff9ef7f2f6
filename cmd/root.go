package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot builds the tree of commands.
func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "throng",
		Short: "Distributed load testing for publish/subscribe systems",
		Long: `Throng drives realistic users against a publish/subscribe system, leases their
test accounts from a shared pool, and measures delivery apart from the load.

Every flag is also an environment variable (--spawn-rate is THRONG_SPAWN_RATE)
and a key of throng.yaml; a flag beats the environment beats the file.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) {
			err = fmt.Errorf("--%s: %w", invalid.GetFlag().Name, cause(err))
		}
		return usageError("%w (see `%s --help`)", err, cmd.CommandPath())
	})
	root.AddCommand(
		newTrial(e), newRun(e), newMaster(e), newWorker(e), newProbe(e), newTarget(e), newLocustfile(e),
		newAccounts(e), newScenarios(e), newVersion(e),
		newHealth(e),
	)
	return root
}

// noSuchCommand refuses words that are no command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("unknown command %q for %q (see `%s --help`)", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// noArgs refuses words after a command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("%s takes no arguments, but got %q (see `%s --help`)", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

func newVersion(e env) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(e.stdout, "throng", version())
			return err
		},
	}
}

func newScenarios(e env) *cobra.Command {
	return &cobra.Command{
		Use: "scenarios", Short: "List the scenarios of this executable", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, s := range e.scenarios {
				if _, err := fmt.Fprintf(e.stdout, "%-12s %s\n", s.Name, s.Summary); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
