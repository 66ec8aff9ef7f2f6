package cmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/master"
	"github.com/throng-load/throng/scenarios"
)

func newAccountsQuarantine(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var (
		reason string
		length scenarios.Duration
	)
	cmd := &cobra.Command{
		Use:   "quarantine USERNAME...",
		Short: "Take accounts that nobody holds out of use",
		Long: `Quarantines accounts, with a reason, until they are restored or the time given
with --for is over. Accounts that somebody holds stay with their holder; they
and unknown ones make the exit code 1.`,
		Example: `  throng accounts quarantine -f throng.yaml --reason "locked by support" --for 1h student-1f2e3d`,
		Args:    needArgs("USERNAME"),
		RunE: func(cmd *cobra.Command, usernames []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			if reason == "" {
				return usageError("accounts quarantine: say why with --reason")
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				got, err := p.pool.Quarantine(ctx, usernames, reason, time.Duration(length))
				return p.moved("quarantined", "quarantined or retired already", got, err)
			})
		},
	}
	p.addNamed(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that says why; it must not quote a password")
	cmd.Flags().Var(&length, "for", "quarantine for this `time` (default until restored)")
	noZero(cmd.Flags(), "for")
	return cmd
}

func newAccountsRestore(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var (
		all  bool
		role string
	)
	cmd := &cobra.Command{
		Use:   "restore USERNAME... | --all",
		Short: "Make quarantined accounts available again",
		Long: `Makes quarantined accounts available at once: those named, or with --all every
one. The target is not asked; "throng accounts verify --quarantined" does.
Unknown accounts and those that somebody holds make the exit code 1.`,
		Example: `  throng accounts restore -f throng.yaml student-1f2e3d
  throng accounts restore -f throng.yaml --all --role student`,
		RunE: func(cmd *cobra.Command, usernames []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			switch {
			case all && len(usernames) > 0:
				return usageError("accounts restore: give usernames or --all, not both")
			case !all && len(usernames) == 0:
				return usageError("accounts restore: give the USERNAMEs, or --all")
			case !all && role != "":
				return usageError("accounts restore: --role goes with --all")
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				if all {
					var err error
					if usernames, err = p.quarantined(ctx, role); err != nil {
						return err
					}
				}
				got, err := p.pool.Restore(ctx, usernames)
				return p.moved("restored", "not quarantined", got, err)
			})
		},
	}
	p.addNamed(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "restore every quarantined account")
	addRoleFlag(cmd, &role, "with --all, only accounts of this `role`")
	return cmd
}

// needArgs refuses a command without words after it.
func needArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError("%s: give at least one %s (see `%s --help`)", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// quarantined returns the usernames of all quarantined accounts of the role, or
// of every role.
func (p *poolCommand) quarantined(ctx context.Context, role string) (usernames []string, err error) {
	filter := accounts.Filter{Role: role, States: []accounts.AccountState{accounts.StateQuarantined}}
	_, err = p.each(ctx, filter, 0, func(a accounts.Listed) error {
		usernames = append(usernames, a.Username)
		return nil
	})
	return usernames, err
}

// movedAccounts is what became of accounts that were to be moved.
type movedAccounts struct {
	Pool string `json:"pool"`
	Done int    `json:"done"`
	// Left are those that were not moved, with why.
	Left     []leftAccount `json:"left"`
	Complete bool          `json:"complete"`
}

type leftAccount struct {
	Username string `json:"username"`
	Why      string `json:"why"`
}

// moved says what became of accounts that were to be moved; err is why it ended
// early. Accounts that are where they belong already are no failure.
func (p *poolCommand) moved(what, already string, got accounts.Moved, err error) error {
	document := movedAccounts{Pool: p.name, Done: got.Done, Left: []leftAccount{}, Complete: err == nil}
	for _, left := range []struct {
		usernames []string
		why       string
	}{{got.Leased, "somebody holds it"}, {got.Unknown, "the pool does not know it"}, {got.Elsewhere, already}} {
		for _, username := range left.usernames {
			document.Left = append(document.Left, leftAccount{username, left.why})
		}
	}
	said := p.sayAnd(err, got.Done > 0, document, func(w io.Writer) {
		fmt.Fprintf(w, "Accounts: %d %s\n", got.Done, what)
		for _, left := range document.Left {
			fmt.Fprintf(w, "  %s was left: %s\n", printable(left.Username), left.Why)
		}
	})
	switch {
	case err != nil:
		return err
	case len(got.Leased)+len(got.Unknown) > 0:
		return exitWith(master.ExitFailed, said)
	default:
		return said
	}
}
