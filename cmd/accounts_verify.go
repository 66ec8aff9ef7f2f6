package cmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/master"
)

// verifiedAccounts is verify --json.
type verifiedAccounts struct {
	Pool      string `json:"pool"`
	Checked   int    `json:"checked"`
	Good      int    `json:"good"`
	Bad       int    `json:"bad"`
	Missing   int    `json:"missing"`
	Restored  int    `json:"restored"`
	Deleted   int    `json:"deleted"`
	Forgotten int    `json:"forgotten"`
	// Worst names bad and missing accounts, a hundred at most.
	Worst    []badAccount `json:"worst"`
	Complete bool         `json:"complete"`
}

type badAccount struct {
	Username string `json:"username"`
	Role     string `json:"role"`
	Reason   string `json:"reason"`
}

func newAccountsVerify(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var options provision.VerifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Ask the target whether it accepts the pool's accounts",
		Long: `Asks the target about every account that nobody holds, by logging in where the
source can. One that is missing, or that the target does not accept, goes into
quarantine with the reason. With --quarantined, those in quarantine are asked
about too, and become available when the target accepts them again.

With --delete-bad, accounts that the target does not accept are deleted there,
if this pool created them, and from the pool; "throng accounts create" then makes
others. Bad accounts that are left make the exit code 1.`,
		Example: `  throng accounts verify -f throng.yaml
  throng accounts verify -f throng.yaml --quarantined --delete-bad --rate 20/s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			if !creates(p.spec) {
				return usageError("accounts verify: accounts.provision names no source that can be asked: it needs http, postgres or generated")
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				done, err := p.verify(ctx, options)
				err = p.sayAnd(err, done.Checked > 0, done, func(w io.Writer) { done.write(w) })
				if err == nil && done.Bad+done.Missing > done.Deleted+done.Forgotten {
					return exitWith(master.ExitFailed, nil)
				}
				return err
			})
		},
	}
	p.addFile(cmd)
	p.policy.add(cmd.Flags())
	addRoleFlag(cmd, &options.Role, "only accounts of this `role`")
	cmd.Flags().BoolVar(&options.Quarantined, "quarantined", false, "verify quarantined accounts too, and restore good ones")
	cmd.Flags().BoolVar(&options.DeleteBad, "delete-bad", false, "delete accounts that the target does not accept")
	return cmd
}

func (p *poolCommand) verify(ctx context.Context, options provision.VerifyOptions) (verifiedAccounts, error) {
	done := verifiedAccounts{Pool: p.name, Worst: []badAccount{}}
	if err := p.checkRole(ctx, options.Role); err != nil {
		return done, err
	}
	if err := checkAccountAPI(ctx, p.e, p.spec); err != nil {
		return done, err
	}
	bar := newProgress(p.e, p.progressTo(), "verified")
	defer bar.end()
	provisioner, closeSource, err := newProvisioner(ctx, p.e, p.pool, p.spec, p.log, bar.show)
	if err != nil {
		return done, err
	}
	defer closeSource()
	result, err := provisioner.Verify(ctx, options)
	bar.end()
	done.Checked, done.Good, done.Bad, done.Missing = result.Checked, result.Good, result.Bad, result.Missing
	done.Restored, done.Deleted, done.Forgotten, done.Complete = result.Restored, result.Deleted, result.Forgotten, err == nil
	for _, bad := range result.Worst {
		done.Worst = append(done.Worst, badAccount{bad.Username, bad.Role, bad.Reason})
	}
	if err != nil {
		return done, poolError(p.name, err)
	}
	return done, nil
}

func (v verifiedAccounts) write(w io.Writer) {
	fmt.Fprintf(w, "Accounts: %d verified: %d good, %d not accepted, %d missing", v.Checked, v.Good, v.Bad, v.Missing)
	for _, count := range []struct {
		n    int
		what string
	}{{v.Restored, "restored"}, {v.Deleted, "deleted"}, {v.Forgotten, "only forgotten, because they were imported"}} {
		if count.n > 0 {
			fmt.Fprintf(w, "; %d %s", count.n, count.what)
		}
	}
	if !v.Complete {
		fmt.Fprint(w, "; not all were reached")
	}
	fmt.Fprintln(w)
	for _, bad := range v.Worst {
		fmt.Fprintf(w, "  %s (%s): %s\n", printable(bad.Username), bad.Role, printable(bad.Reason))
	}
	if more := v.Bad + v.Missing - len(v.Worst); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}
