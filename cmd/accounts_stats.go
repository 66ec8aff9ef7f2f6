package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/master"
)

const (
	// topTen is how many reasons, holders and the like are shown.
	topTen = 10
	// maxReasons is of how many quarantined accounts the reasons are counted.
	maxReasons = 10_000
)

// poolStats is stats --json. What is not measured is absent.
type poolStats struct {
	Pool       string        `json:"pool"`
	FrozenMS   int64         `json:"frozen_ms,omitempty"`
	Roles      []roleStats   `json:"roles"`
	Quarantine []reasonStats `json:"quarantine"`
	Holders    []holderStats `json:"holders"`
	Audit      *poolAudit    `json:"audit,omitempty"`
}

type roleStats struct {
	Role        string  `json:"role"`
	Known       int64   `json:"known"`
	Available   int64   `json:"available"`
	Leased      int64   `json:"leased"`
	Resting     int64   `json:"resting"`
	Quarantined int64   `json:"quarantined"`
	Retired     int64   `json:"retired"`
	Waiting     int64   `json:"waiting"`
	Leases      int64   `json:"leases"`
	Releases    int64   `json:"releases"`
	Reclaimed   int64   `json:"reclaimed"`
	PeakLeased  int64   `json:"peak_leased"`
	Uses        float64 `json:"uses_per_account"`
	WaitP50MS   *int64  `json:"wait_p50_ms,omitempty"`
	WaitP99MS   *int64  `json:"wait_p99_ms,omitempty"`
	Created     int64   `json:"created"`
	Failed      int64   `json:"failed"`
}

type reasonStats struct {
	Role     string `json:"role"`
	Reason   string `json:"reason"`
	Accounts int    `json:"accounts"`
}

type holderStats struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	State    string     `json:"state"`
	Accounts int64      `json:"accounts"`
	Opened   time.Time  `json:"opened"`
	Expires  *time.Time `json:"expires,omitempty"`
}

type poolAudit struct {
	Accounts  int      `json:"accounts"`
	Holders   int      `json:"holders"`
	Conserved bool     `json:"conserved"`
	Found     int      `json:"found"`
	Problems  []string `json:"problems"`
	TookMS    int64    `json:"took_ms"`
}

func newAccountsStats(e env) *cobra.Command {
	p := &poolCommand{e: e}
	var audit bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count the pool's accounts by role and state, with what was done with them",
		Long: `Counts accounts by role and state, leases, uses per account, waits (as a bound
that is at most twice what they were) and creations; then why accounts are
quarantined, and who holds the most.

With --audit it proves, on a pool in use, that every account is in exactly one
place; a problem makes the exit code 1.`,
		Example: `  throng accounts stats -f throng.yaml
  throng accounts stats --pool classroom --audit --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.read(cmd); err != nil {
				return err
			}
			return p.with(cmd.Context(), accounts.Open, func(ctx context.Context) error {
				s, err := p.stats(ctx, audit)
				if err != nil {
					return err
				}
				err = p.say(s, func(w io.Writer) { s.write(w) })
				if s.Audit != nil && !s.Audit.Conserved {
					return exitWith(master.ExitFailed, err)
				}
				return err
			})
		},
	}
	p.addNamed(cmd)
	cmd.Flags().BoolVar(&audit, "audit", false, "prove that no account is lost and none in two places")
	return cmd
}

// stats asks the pool for everything.
func (p *poolCommand) stats(ctx context.Context, audit bool) (*poolStats, error) {
	roles, err := p.pool.Stats(ctx)
	if err != nil {
		return nil, err
	}
	frozen, err := p.pool.Frozen(ctx)
	if err != nil {
		return nil, err
	}
	holders, err := p.pool.Holders(ctx)
	if err != nil {
		return nil, err
	}
	quarantined, err := p.pool.Quarantined(ctx, maxReasons)
	if err != nil {
		return nil, err
	}
	s := &poolStats{Pool: p.name, FrozenMS: frozen.Milliseconds(), Roles: []roleStats{}, Quarantine: reasonsOf(quarantined), Holders: []holderStats{}}
	for _, r := range roles {
		s.Roles = append(s.Roles, statsOf(r))
	}
	for _, h := range holders[:min(len(holders), topTen)] {
		s.Holders = append(s.Holders, holderStats{h.ID, h.Name, h.State, h.Accounts, h.Opened.UTC(), given(h.Expires)})
	}
	if audit {
		report, err := p.pool.Audit(ctx)
		if err != nil {
			return nil, err
		}
		s.Audit = &poolAudit{
			report.Accounts, report.Holders, report.Found == 0, report.Found,
			append([]string{}, report.Problems...), report.Took.Milliseconds(),
		}
	}
	return s, nil
}

func statsOf(r accounts.RoleStats) roleStats {
	s := roleStats{
		Role: r.Role, Known: r.Known, Available: r.Available, Leased: r.Leased, Resting: r.Resting,
		Quarantined: r.Quarantined, Retired: r.Retired, Waiting: r.Waiting, Leases: r.Leases, Releases: r.Releases,
		Reclaimed: r.Reclaimed, PeakLeased: r.PeakLeased, Uses: r.Uses(), Created: r.Created, Failed: r.Failed,
	}
	if r.Waits.Count() > 0 {
		p50, p99 := r.Waits.Quantile(0.5).Milliseconds(), r.Waits.Quantile(0.99).Milliseconds()
		s.WaitP50MS, s.WaitP99MS = &p50, &p99
	}
	return s
}

// reasonsOf counts the reasons by role, the most frequent first.
func reasonsOf(quarantined []accounts.Quarantined) []reasonStats {
	counts := make(map[reasonStats]int) // by those without a number
	for _, q := range quarantined {
		counts[reasonStats{Role: q.Role, Reason: q.Reason}]++
	}
	all := []reasonStats{}
	for r, n := range counts {
		all = append(all, reasonStats{r.Role, r.Reason, n})
	}
	slices.SortFunc(all, func(a, b reasonStats) int {
		return cmp.Or(cmp.Compare(b.Accounts, a.Accounts), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Reason, b.Reason))
	})
	return all[:min(len(all), topTen)]
}

// write writes the figures for people.
func (s *poolStats) write(w io.Writer) {
	if s.FrozenMS > 0 {
		fmt.Fprintf(w, "Frozen for %v: Redis was restarted or failed over, and nothing is leased meanwhile\n",
			time.Duration(s.FrozenMS)*time.Millisecond)
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	// Two tables, each of which fits into 80 columns: where accounts are, and what
	// was done with them.
	t := newTable(w, "ROLE", ">KNOWN", ">AVAILABLE", ">LEASED", ">RESTING", ">QUARANTINED", ">RETIRED")
	for _, r := range s.Roles {
		_ = t.row(r.Role, number(r.Known), number(r.Available), number(r.Leased), number(r.Resting),
			number(r.Quarantined), number(r.Retired))
	}
	_ = t.flush() // w keeps everything
	fmt.Fprintln(w)
	t = newTable(w, "ROLE", ">WAITING", ">WAIT P50", ">WAIT P99", ">LEASES", ">USES EACH", ">CREATED", ">FAILED")
	for _, r := range s.Roles {
		_ = t.row(r.Role, number(r.Waiting), bound(r.WaitP50MS), bound(r.WaitP99MS), number(r.Leases),
			strconv.FormatFloat(r.Uses, 'f', 1, 64), number(r.Created), number(r.Failed))
	}
	_ = t.flush()
	if len(s.Quarantine) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, ">QUARANTINED", "ROLE", "REASON")
		for _, q := range s.Quarantine {
			_ = t.row(strconv.Itoa(q.Accounts), q.Role, q.Reason)
		}
		_ = t.flush()
	}
	if len(s.Holders) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, ">HELD", "HOLDER", "ID", "STATE", "SINCE")
		for _, h := range s.Holders {
			_ = t.row(number(h.Accounts), h.Name, h.ID, h.State, moment(h.Opened))
		}
		_ = t.flush()
	}
	if a := s.Audit; a != nil {
		fmt.Fprintln(w)
		a.write(w)
	}
}

func (a *poolAudit) write(w io.Writer) {
	if a.Conserved {
		fmt.Fprintf(w, "audit: %d accounts, %d holders: conserved\n", a.Accounts, a.Holders)
		return
	}
	fmt.Fprintf(w, "audit: %d accounts, %d holders: %d problems\n", a.Accounts, a.Holders, a.Found)
	for _, problem := range a.Problems {
		fmt.Fprintln(w, " ", printable(problem))
	}
	if more := a.Found - len(a.Problems); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

// bound is the bound of a wait for people; a dash if nobody has waited.
func bound(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return "<" + (time.Duration(*ms) * time.Millisecond).String()
}
