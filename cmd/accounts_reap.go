package cmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/master"
)

// reapedAccounts is reap --json.
type reapedAccounts struct {
	Pool      string `json:"pool"`
	Deleted   int    `json:"deleted"`
	Forgotten int    `json:"forgotten"`
	Left      int    `json:"left"`
	// Before and After are how many accounts the target had before the pool
	// created any, and has now; absent where it cannot be counted.
	Before *int `json:"before,omitempty"`
	After  *int `json:"after,omitempty"`
	// Proven tells that nothing of the pool's is left in the target; otherwise
	// Doubt says why it is not.
	Proven bool   `json:"proven"`
	Doubt  string `json:"doubt,omitempty"`
	// Untouched tells that the target is never told of accounts of this source,
	// so that there is nothing to prove.
	Untouched bool `json:"untouched"`

	verb string // what "deleted" means with the source
}

func newAccountsReap(e env) *cobra.Command {
	p := &poolCommand{e: e}
	cmd := &cobra.Command{
		Use:   "reap",
		Short: "Remove what a crashed campaign left, and prove that it is gone",
		Long: `Takes accounts back from holders that have died, finishes what was being created,
deletes from the target every account that this pool created there, and proves
it: where the source can count, the target has as many accounts as before the
pool created any; elsewhere the target is asked for each account that was
deleted. Without the proof the exit code is 1. The empty pool stays.`,
		Example: `  throng accounts reap -f throng.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				done, err := p.reap(ctx)
				err = p.sayAnd(err, done.Deleted+done.Forgotten > 0, done, func(w io.Writer) { done.write(w) })
				if err == nil && !done.Proven {
					return exitWith(master.ExitFailed, nil)
				}
				return err
			})
		},
	}
	p.addFile(cmd)
	p.policy.add(cmd.Flags())
	return cmd
}

func (p *poolCommand) reap(ctx context.Context) (reapedAccounts, error) {
	done := reapedAccounts{Pool: p.name, Doubt: "it broke off"}
	if err := checkAccountAPI(ctx, p.e, p.spec); err != nil {
		return done, err
	}
	announceReclaim(ctx, p.e.stderr, p.pool)
	announceWait(ctx, p.e, p.pool)
	_, done.verb = verbs(p.spec)
	bar := newProgress(p.e, p.progressTo(), done.verb)
	defer bar.end()
	provisioner, closeSource, err := newProvisioner(ctx, p.e, p.pool, p.spec, p.log, bar.show)
	if err != nil {
		return done, err
	}
	defer closeSource()
	result, err := provisioner.Reap(ctx)
	bar.end()
	done.Deleted, done.Forgotten, done.Left = result.Deleted, result.Forgotten, result.Left
	if err != nil {
		return done, poolError(p.name, err)
	}
	done.Proven, done.Doubt, done.Untouched = result.Proven, result.Doubt, result.Untouched
	if result.Counted {
		done.Before, done.After = &result.Before, &result.After
	}
	return done, nil
}

func (r reapedAccounts) write(w io.Writer) {
	fmt.Fprintf(w, "Accounts: %d %s", r.Deleted, r.verb)
	if r.Forgotten > 0 {
		fmt.Fprintf(w, ", %d only forgotten, because they were imported", r.Forgotten)
	}
	if r.Left > 0 {
		fmt.Fprintf(w, ", %d are leased and were left", r.Left)
	}
	fmt.Fprintln(w)
	switch {
	case r.Untouched:
		fmt.Fprintln(w, "Nothing to prove: the target is never told of accounts of this source")
	case !r.Proven:
		fmt.Fprintln(w, "Not proven:", r.Doubt)
	case r.Before != nil:
		fmt.Fprintf(w, "Proven: the target had %d accounts before and has %d now\n", *r.Before, *r.After)
	default:
		fmt.Fprintln(w, "Proven: the target has none of the accounts that were deleted")
	}
}
