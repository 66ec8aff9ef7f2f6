package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios"
)

// made is what came of filling a pool.
type made struct {
	Pool   string         `json:"pool"`
	Wanted map[string]int `json:"wanted"`
	More   bool           `json:"more"`
	// Resumed tells that an earlier create --more was finished instead.
	Resumed bool `json:"resumed"`
	Created int  `json:"created"`
	// CreatedByRole is Created by role. Other roles than those wanted are in it
	// when an earlier create was finished first.
	CreatedByRole map[string]int `json:"created_by_role"`
	Imported      int            `json:"imported"`
	Existed       int            `json:"existed"`
	// Doubtful counts accounts that an earlier create had begun and the target
	// refuses, where it cannot be told whether they are there: they stay begun.
	Doubtful int `json:"doubtful"`
	// Complete tells that the pool has what was wanted.
	Complete bool `json:"complete"`

	verb string // what "created" means with the source
}

// write says what was done, and that it can be gone on with if the pool is kept.
func (m made) write(w io.Writer, kept bool) {
	var roles []string
	for _, role := range slices.Sorted(maps.Keys(m.Wanted)) {
		roles = append(roles, fmt.Sprintf("%d %s", m.Wanted[role], role))
	}
	what := "wanted: " + strings.Join(roles, ", ")
	if m.More {
		what += " more"
	}
	done := fmt.Sprintf("%d %s", m.Created, m.verb)
	if m.Imported > 0 {
		done = fmt.Sprintf("%d imported from the file", m.Imported)
	}
	fmt.Fprintf(w, "Accounts: %s, %d were there (%s)\n", done, m.Existed, what)
	var others []string
	for _, role := range slices.Sorted(maps.Keys(m.CreatedByRole)) {
		if m.Wanted[role] == 0 {
			others = append(others, fmt.Sprintf("%d %s", m.CreatedByRole[role], role))
		}
	}
	if len(others) > 0 {
		fmt.Fprintf(w, "Accounts: among those created are %s, which an earlier create had begun\n", strings.Join(others, ", "))
	}
	if m.Doubtful > 0 {
		fmt.Fprintf(w, "Accounts: %d that an earlier create had begun are refused by the target, and may be there; they are tried again next time\n", m.Doubtful)
	}
	if m.Resumed {
		fmt.Fprintln(w, "Accounts: that finished an earlier create --more that had broken off; nothing was added to it")
	}
	if kept && !m.Complete && m.Created+m.Imported > 0 {
		fmt.Fprintln(w, "Accounts: what was done is kept; the same command does the rest")
	}
}

// createAccounts fills the pool with what the run wants, and says so. The pool is kept
// when this process ends, or is not.
func createAccounts(ctx context.Context, e env, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger, kept bool) error {
	m, err := fillPool(ctx, e, pool, spec, log, e.stdout, spec.WantedAccounts(), false)
	if err == nil || m.Created+m.Imported > 0 {
		m.write(e.stdout, kept)
	}
	return err
}

// fillPool sees to it that the pool has the accounts that are wanted, or so many
// more. It returns what was done, also with an error.
func fillPool(ctx context.Context, e env, pool *accounts.Pool, spec *scenarios.Spec, log *zap.Logger, w io.Writer, want map[string]int, more bool) (made, error) {
	m := made{Pool: pool.Name(), Wanted: want, More: more, CreatedByRole: map[string]int{}}
	m.verb, _ = verbs(spec)
	if !creates(spec) {
		return m, m.without(ctx, e, pool, spec)
	}
	announceWait(ctx, e, pool)
	bar := newProgress(e, w, m.verb)
	defer bar.end()
	provisioner, done, err := newProvisioner(ctx, e, pool, spec, log, bar.show)
	if err != nil {
		return m, err
	}
	defer done()
	do := provisioner.Ensure
	var begun map[string]int
	if more {
		do = provisioner.EnsureMore
		if begun, err = pool.Goal(ctx); err != nil {
			return m, err
		}
	}
	before, err := createdByRole(ctx, pool)
	if err != nil {
		return m, err
	}
	result, err := do(ctx, want)
	bar.end()
	m.Doubtful = result.Doubtful
	m.Created, m.Existed, m.Resumed, m.Complete = result.Created, result.Existed, result.Resumed, err == nil
	if m.Resumed && len(begun) > 0 {
		m.Wanted, m.More = begun, false // what the earlier one comes to in all
	}
	m.share(ctx, pool, before)
	if err != nil {
		return m, poolError(pool.Name(), err)
	}
	return m, nil
}

// share finds out of which roles the created accounts are, from what the pool
// had created before.
func (m *made) share(ctx context.Context, pool *accounts.Pool, before map[string]int) {
	// Also when it was interrupted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	after, err := createdByRole(ctx, pool)
	if err != nil {
		return // it is a figure only
	}
	for role, n := range after {
		if n > before[role] {
			m.CreatedByRole[role] = n - before[role]
		}
	}
}

// createdByRole is how many accounts the pool has ever created in the target.
func createdByRole(ctx context.Context, pool *accounts.Pool) (map[string]int, error) {
	stats, err := pool.Stats(ctx)
	created := make(map[string]int, len(stats))
	for _, s := range stats {
		created[s.Role] = int(s.Created)
	}
	return created, err
}

// without fills a pool whose accounts are not created: it imports those of the
// spec's file, if it names one, and looks whether they are enough.
func (m *made) without(ctx context.Context, e env, pool *accounts.Pool, spec *scenarios.Spec) error {
	advice := "accounts.provision names no source, so none can be created: import some with `throng accounts import`"
	csv := spec.Accounts.Provision.CSV
	if csv != nil {
		advice = fmt.Sprintf("a csv source can create none: add some to %s", csv.File)
	}
	if m.More {
		return usageError("accounts create --more: %s", advice)
	}
	if csv != nil {
		list, err := readAll(e, csv.File)
		if err != nil {
			return err
		}
		result, err := importWithin(ctx, e, pool, list, spec.Accounts.Max)
		m.Imported = result.Added
		if err != nil {
			return err
		}
	}
	stats, err := pool.Stats(ctx)
	if err != nil {
		return err
	}
	usable := make(map[string]int)
	for _, s := range stats {
		usable[s.Role] = int(s.Known - s.Retired - s.Quarantined)
	}
	var short []string
	for _, role := range slices.Sorted(maps.Keys(m.Wanted)) {
		m.Existed += usable[role]
		if usable[role] < m.Wanted[role] {
			short = append(short, fmt.Sprintf("%d of %d %s", usable[role], m.Wanted[role], role))
		}
	}
	m.Existed -= m.Imported
	m.Complete = len(short) == 0
	if !m.Complete {
		return startError("pool %q has only %s accounts; %s", pool.Name(), strings.Join(short, " and "), advice)
	}
	return nil
}
