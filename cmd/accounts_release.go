package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
)

func newAccountsRelease(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var (
		names []string
		dead  bool
	)
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Take accounts back from holders that have died, or from one by name",
		Long: `Without --holder, waits until the accounts of holders that have died are back,
which takes no longer than their leases: the pool's lease TTL, lock-delay and a
second. Accounts of holders that live stay with them.

With --holder, the holder's registration is taken away, whether it lives or not.
A holder that lives loses its leases: its users stop, and it registers anew. Its
accounts come back when none of its requests can be on its way any more.`,
		Example: `  throng accounts release -f throng.yaml
  throng accounts release --pool classroom --holder worker-3`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			if dead && len(names) > 0 {
				return usageError("accounts release: give --dead or --holder, not both")
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				return p.release(ctx, names)
			})
		},
	}
	p.addNamed(cmd)
	cmd.Flags().StringArrayVar(&names, "holder", nil, "`name or id` of a holder, as stats shows it, repeatable")
	cmd.Flags().BoolVar(&dead, "dead", false, "from holders that have died (the default)")
	return cmd
}

// release takes accounts back from the holders of these names, or else from the
// dead ones.
func (p *poolCommand) release(ctx context.Context, names []string) error {
	holders, err := p.pool.Holders(ctx)
	if err != nil {
		return err
	}
	revoked, err := chosen(holders, names)
	if err != nil {
		return fmt.Errorf("pool %q: %w", p.name, err)
	}
	before, _, err := p.counts(ctx)
	if err != nil {
		return err
	}
	for _, h := range revoked {
		if err := p.pool.Revoke(ctx, h.ID); err != nil {
			return err
		}
		if !p.json {
			fmt.Fprintf(p.e.stdout, "Holder %s (%s) has lost its leases: %d accounts\n", printable(h.Name), h.ID, h.Accounts)
		}
	}
	if len(revoked) == 0 {
		announceReclaim(ctx, p.e.stderr, p.pool)
	}
	settled := deadAreGone()
	if len(revoked) > 0 {
		settled = func(now []accounts.HolderStats) bool {
			return !slices.ContainsFunc(now, func(h accounts.HolderStats) bool {
				return h.Accounts > 0 && slices.ContainsFunc(revoked, func(r accounts.HolderStats) bool { return r.ID == h.ID })
			})
		}
	}
	waited := reclaim(ctx, p.pool, settled)
	// Also when it was interrupted, what came back is said.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	after, leased, err := p.counts(ctx)
	if err != nil {
		return errors.Join(waited, err)
	}
	return p.sayAnd(waited, after > before, struct {
		Pool     string `json:"pool"`
		Revoked  int    `json:"revoked"`
		Released int64  `json:"released"`
		Leased   int64  `json:"leased"`
	}{p.name, len(revoked), after - before, leased}, func(w io.Writer) {
		fmt.Fprintf(w, "Accounts: %d came back; %d are leased\n", after-before, leased)
	})
}

// lastWords is how long an interrupted command may take to say what it did.
const lastWords = 3 * time.Second

// counts is how many accounts were ever taken back, and how many are leased.
func (p *poolCommand) counts(ctx context.Context) (reclaimed, leased int64, err error) {
	stats, err := p.pool.Stats(ctx)
	for _, role := range stats {
		reclaimed, leased = reclaimed+role.Reclaimed, leased+role.Leased
	}
	return reclaimed, leased, err
}

// chosen returns the holders that have one of these names or ids.
func chosen(holders []accounts.HolderStats, names []string) (found []accounts.HolderStats, err error) {
	for _, name := range names {
		n := len(found)
		for _, h := range holders {
			if h.Name == name || h.ID == name {
				found = append(found, h)
			}
		}
		if len(found) == n {
			var there []string
			for _, h := range holders[:min(len(holders), topTen)] {
				there = append(there, fmt.Sprintf("%s (%s)", printable(h.Name), h.ID))
			}
			if len(there) == 0 {
				return nil, usageError("--holder: nobody is called %q: nobody holds accounts", name)
			}
			return nil, usageError("--holder: nobody is called %q; there are %s", name, strings.Join(there, ", "))
		}
	}
	return found, nil
}

// reclaim takes back what dead holders have, until settled says that it is done,
// and at most as long as a dead holder's leases last.
func reclaim(ctx context.Context, pool *accounts.Pool, settled func([]accounts.HolderStats) bool) error {
	waiting, cancel := context.WithTimeout(ctx, reclaimTime(pool))
	defer cancel()
	reclaiming, stop := context.WithCancel(waiting)
	ended := make(chan error, 1)
	go func() { ended <- accounts.NewReclaimer(pool).Run(reclaiming) }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var failed error
	for done := false; !done && failed == nil && waiting.Err() == nil; {
		var holders []accounts.HolderStats
		if holders, failed = pool.Holders(waiting); failed == nil {
			done = settled(holders)
		}
		if done {
			break
		}
		select {
		case <-waiting.Done():
		case <-ticker.C:
		}
	}
	if waiting.Err() != nil {
		failed = context.Cause(ctx) // that the time is over is no failure
	}
	stop()
	return errors.Join(<-ended, failed)
}

// deadAreGone returns what tells when no holder that may be dead has accounts:
// those that are left have renewed since it was first asked.
func deadAreGone() func([]accounts.HolderStats) bool {
	var first map[string]time.Time // when each would have expired
	return func(holders []accounts.HolderStats) bool {
		begun := first == nil
		if begun {
			first = make(map[string]time.Time)
		}
		alive := true
		for _, h := range holders {
			if begun {
				first[h.ID] = h.Expires
			}
			// Who has come since then is alive.
			expires, there := first[h.ID]
			if h.Accounts > 0 && there && !h.Expires.After(expires) {
				alive = false
			}
		}
		return alive
	}
}
