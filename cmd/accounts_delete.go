package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
)

// deletedAccounts is delete --json.
type deletedAccounts struct {
	Pool string `json:"pool"`
	// Deleted are gone from the target; Forgotten were imported, and the target
	// has them still; Left are leased.
	Deleted   int `json:"deleted"`
	Forgotten int `json:"forgotten"`
	Left      int `json:"left"`
	// PoolGone tells that the pool itself is gone, Complete that nothing went
	// wrong.
	PoolGone bool `json:"pool_gone"`
	Complete bool `json:"complete"`
	// Undeleted counts those that the target would not delete; they stay in the
	// pool as retired. Refused names some of them.
	Undeleted int          `json:"undeleted"`
	Refused   []badAccount `json:"refused,omitempty"`

	verb string // what "deleted" means with the source
}

// namedUndeleted is how many accounts are named that could not be deleted.
const namedUndeleted = 10

func newAccountsDelete(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var keep bool
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Delete the pool's accounts from the target, and the pool when none is left",
		Long: `Deletes from the target the accounts that this pool created there, and nothing
else: what has a similar name stays. Imported accounts are forgotten by the pool
and stay in the target. Accounts that somebody who is alive holds are left; run
it again when the run is over.`,
		Example: `  throng accounts delete -f throng.yaml
  throng accounts delete -f throng.yaml --keep-pool --rate 20/s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				done, err := p.delete(ctx, keep)
				return p.sayAnd(err, done.Deleted+done.Forgotten+done.Undeleted > 0, done, func(w io.Writer) { done.write(w) })
			})
		},
	}
	p.addFile(cmd)
	p.policy.add(cmd.Flags())
	cmd.Flags().BoolVar(&keep, "keep-pool", false, "keep the empty pool, with its settings and counts")
	return cmd
}

func (p *poolCommand) delete(ctx context.Context, keep bool) (deletedAccounts, error) {
	done := deletedAccounts{Pool: p.name}
	if err := checkAccountAPI(ctx, p.e, p.spec); err != nil {
		return done, err
	}
	announceReclaim(ctx, p.e.stderr, p.pool)
	if err := reclaim(ctx, p.pool, deadAreGone()); err != nil {
		return done, err
	}
	announceWait(ctx, p.e, p.pool)
	_, done.verb = verbs(p.spec)
	bar := newProgress(p.e, p.progressTo(), done.verb)
	defer bar.end()
	provisioner, closeSource, err := newProvisioner(ctx, p.e, p.pool, p.spec, p.log, bar.show)
	if err != nil {
		return done, err
	}
	defer closeSource()
	result, err := provisioner.DeleteAll(ctx)
	bar.end()
	done.Deleted, done.Forgotten, done.Left = result.Deleted, result.Forgotten, result.Left
	done.Undeleted = result.Undeleted
	var undeleted *provision.UndeletedError
	if errors.As(err, &undeleted) {
		for _, bad := range undeleted.Some {
			done.Refused = append(done.Refused, badAccount{bad.Username, bad.Role, bad.Reason})
		}
	}
	if errors.Is(err, provision.ErrRefused) && !creates(p.spec) {
		return done, startError("accounts.provision names no source that can delete accounts in the target, and the pool created some there: nothing was deleted; use the file that they were created with")
	}
	if err != nil {
		return done, poolError(p.name, err)
	}
	if done.Left == 0 && !keep {
		if err := p.pool.Destroy(ctx); err != nil {
			return done, err
		}
		done.PoolGone = true
	}
	done.Complete = true
	return done, nil
}

func (d deletedAccounts) write(w io.Writer) {
	fmt.Fprintf(w, "Accounts: %d %s", d.Deleted, d.verb)
	if d.Forgotten > 0 {
		fmt.Fprintf(w, ", %d only forgotten, because they were imported", d.Forgotten)
	}
	switch {
	case !d.Complete:
		fmt.Fprint(w, "; the same command does the rest")
	case d.Left > 0:
		fmt.Fprintf(w, ", %d are leased and were left", d.Left)
	case d.PoolGone:
		fmt.Fprint(w, "; the pool is gone")
	}
	fmt.Fprintln(w)
	for i, a := range d.Refused {
		if i == namedUndeleted {
			fmt.Fprintf(w, "  and %d more\n", d.Undeleted-i)
			break
		}
		fmt.Fprintf(w, "  not deleted: %s (%s): %s\n", a.Username, a.Role, a.Reason)
	}
}
