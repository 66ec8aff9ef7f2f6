package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/redisurl"
	"github.com/throng-load/throng/scenarios"
)

func newAccounts(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Create, count and delete the test accounts of a pool",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAccountsCreate(e), newAccountsDelete(e), newAccountsStats(e))
	return cmd
}

// poolCommand is what the commands about one pool share.
type poolCommand struct {
	e      env
	common commonFlags
	load   loadFlags
	pool   poolFlags
	file   string
	spec   *scenarios.Spec
	log    *zap.Logger
}

func (p *poolCommand) add(cmd *cobra.Command) {
	cmd.Args = noArgs
	cmd.Flags().StringVarP(&p.file, "file", "f", "", "the run's `throng.yaml`, which names the pool and the target")
	p.common.addRedis(cmd.Flags(), defaultRedis)
	p.common.addLog(cmd.Flags(), "WARNING")
}

// with reads the settings and hands the pool to f. The pool is made if create
// says so; otherwise it must be there.
func (p *poolCommand) with(cmd *cobra.Command, create bool, f func(ctx context.Context, pool *accounts.Pool) error) error {
	if err := readEnvironment(cmd, p.e); err != nil {
		return err
	}
	if p.file == "" {
		return usageError("%s: give the run's file with -f throng.yaml", cmd.CommandPath())
	}
	var err error
	if p.spec, err = loadSpec(cmd, p.e, p.file, "", nil); err != nil {
		return err
	}
	p.load.apply(cmd, p.spec)
	if create {
		if err := p.pool.check(); err != nil {
			return err
		}
	}
	if err := checkSpec(p.spec); err != nil {
		return err
	}
	if p.log, err = p.common.logger(p.e); err != nil {
		return err
	}
	ctx := cmd.Context()
	client, err := redisurl.Connect(ctx, p.common.redis)
	if err != nil {
		return err
	}
	defer client.Close()
	if create {
		if err := checkTarget(ctx, p.spec); err != nil {
			return err
		}
		pool, err := openPool(ctx, client, p.spec, p.pool, p.log)
		if err != nil {
			return err
		}
		return f(ctx, pool)
	}
	pool, err := accounts.Open(ctx, accounts.Config{Redis: client, Name: p.spec.Accounts.Pool, Log: p.log})
	if err != nil {
		return err
	}
	return f(ctx, pool)
}

func newAccountsCreate(e env) *cobra.Command {
	p := &poolCommand{e: e}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create in the target the accounts that a run needs, and put them into the pool",
		Long: `Creates accounts until the pool holds as many of each role as the run wants:
the peak users of the role plus headroom, plus the probe's. Running it again
repeats nothing and finishes what was left half done.`,
		Example: "  throng accounts create -f throng.yaml -u 5000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd, true, func(ctx context.Context, pool *accounts.Pool) error {
				return createAccounts(ctx, e, pool, p.spec, p.log)
			})
		},
	}
	p.add(cmd)
	p.load.addUsers(cmd.Flags(), "1")
	p.pool.addDefaults(cmd.Flags())
	return cmd
}

func newAccountsDelete(e env) *cobra.Command {
	p := &poolCommand{e: e}
	cmd := &cobra.Command{
		Use:     "delete",
		Short:   "Delete the pool's accounts from the target, and the pool when none is left",
		Example: "  throng accounts delete -f throng.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd, false, func(ctx context.Context, pool *accounts.Pool) error {
				if err := checkTarget(ctx, p.spec); err != nil {
					return err
				}
				provisioner, done, err := newProvisioner(pool, p.spec, p.log, nil)
				if err != nil {
					return err
				}
				defer done()
				if err := reclaim(ctx, pool); err != nil {
					return err
				}
				result, err := provisioner.DeleteAll(ctx)
				if err != nil {
					return startError("delete accounts of pool %q: %w", pool.Name(), err)
				}
				if result.Left > 0 {
					_, err = fmt.Fprintf(e.stdout, "Accounts: %d deleted from the target, %d are leased and were left\n", result.Deleted, result.Left)
					return err
				}
				if err := pool.Destroy(ctx); err != nil {
					return err
				}
				_, err = fmt.Fprintf(e.stdout, "Accounts: %d deleted from the target; the pool is gone\n", result.Deleted)
				return err
			})
		},
	}
	p.add(cmd)
	return cmd
}

func newAccountsStats(e env) *cobra.Command {
	p := &poolCommand{e: e}
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Count the pool's accounts by role and state",
		Example: "  throng accounts stats -f throng.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd, false, func(ctx context.Context, pool *accounts.Pool) error {
				stats, err := pool.Stats(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintf(e.stdout, "%-16s %9s %9s %9s %9s %11s %9s\n", "ROLE", "KNOWN", "AVAILABLE", "LEASED", "RESTING", "QUARANTINED", "RETIRED")
				for _, s := range stats {
					fmt.Fprintf(e.stdout, "%-16s %9d %9d %9d %9d %11d %9d\n", s.Role, s.Known, s.Available, s.Leased, s.Resting, s.Quarantined, s.Retired)
				}
				return nil
			})
		},
	}
	p.add(cmd)
	return cmd
}

// reclaim waits until nothing is leased by holders that have died, which takes
// no longer than their leases.
func reclaim(ctx context.Context, pool *accounts.Pool) error {
	settings := pool.Settings()
	ctx, cancel := context.WithTimeout(ctx, settings.LeaseTTL+settings.LockDelay+time.Second)
	defer cancel()
	reclaiming, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- accounts.NewReclaimer(pool).Run(reclaiming) }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for leased := int64(1); leased > 0 && ctx.Err() == nil; {
		stats, err := pool.Stats(ctx)
		if err != nil {
			break // DeleteAll will say it
		}
		leased = 0
		for _, role := range stats {
			leased += role.Leased
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	stop()
	return <-ended
}

// createAccounts fills the pool with what the run wants, and says so.
func createAccounts(ctx context.Context, e env, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger) error {
	want := spec.WantedAccounts()
	provisioner, done, err := newProvisioner(pool, spec, log, progress(e.stdout, "created in the target"))
	if err != nil {
		return err
	}
	defer done()
	result, err := provisioner.Ensure(ctx, want)
	if err != nil {
		return startError("create accounts of pool %q: %w", pool.Name(), err)
	}
	var roles []string
	for _, role := range slices.Sorted(maps.Keys(want)) {
		roles = append(roles, fmt.Sprintf("%d %s", want[role], role))
	}
	_, err = fmt.Fprintf(e.stdout, "Accounts: %d created in the target, %d were there (wanted: %s)\n", result.Created, result.Existed, strings.Join(roles, ", "))
	return err
}

// progress says from time to time how far a long piece of work has come.
func progress(w io.Writer, what string) func(done, total int) {
	const every = 2 * time.Second
	said := time.Now()
	return func(done, total int) {
		if time.Since(said) >= every {
			said = time.Now()
			fmt.Fprintf(w, "Accounts: %d of %d %s\n", done, total, what)
		}
	}
}
