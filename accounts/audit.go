package accounts

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"
)

// maxProblems is how many problems a report names.
const maxProblems = 100

// AuditReport is what an audit found.
type AuditReport struct {
	// Accounts and Holders are how many the pool had when it was counted.
	Accounts, Holders int
	// Found is how many problems there are; 0 proves that every account is in
	// exactly one place. Problems names the first hundred.
	Found    int
	Problems []string
	Took     time.Duration
}

func (r *AuditReport) problem(format string, args ...any) {
	if r.Found++; len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Audit proves, on a pool in use, that no account is lost and none is in two
// places. It changes nothing, and no call of it holds Redis for long.
//
// First it counts: records, usernames and everything that is in some place must
// be as many as each other, and as the pool's own counts, at one moment. Then it
// looks for each account in every place. Accounts move meanwhile, so one that was
// met in no place, or in two, is only suspected: it is looked for again in all
// places at one moment, and only what is wrong then is a problem. It remembers
// every account while it looks: about 100 bytes each.
//
// The error says why the audit could not be made, never what it found; it wraps
// ErrKey when records are encrypted with a key that is missing.
func (p *Pool) Audit(ctx context.Context) (AuditReport, error) {
	begun := time.Now()
	a := &auditor{store: p.store, seen: map[string]mark{}}
	err := a.audit(ctx)
	a.report.Took = time.Since(begun)
	return a.report, p.wrap("audit", err)
}

func (a *auditor) audit(ctx context.Context) error {
	if err := a.count(ctx); err != nil {
		return fmt.Errorf("count: %w", err)
	}
	if err := a.meet(ctx); err != nil {
		return fmt.Errorf("look into every place: %w", err)
	}
	if err := a.confirmPlaces(ctx); err != nil {
		return fmt.Errorf("look for accounts in all places: %w", err)
	}
	if err := a.confirmIndex(ctx); err != nil {
		return fmt.Errorf("look usernames up: %w", err)
	}
	return nil
}

//go:embed scripts/audit.lua
var auditSource string

var auditScript = guarded(auditSource)

// totals is how many there are in every place at one moment.
type totals struct {
	records, indexed, quarantined, reasons, retired, held int64
	// roles has available accounts, and as they are counted, leased, quarantined
	// and retired ones.
	roles [][4]int64
}

func (s store) totals(ctx context.Context, roles, holders []string) (totals, error) {
	keys := append([]string{
		s.keys.gen(), s.keys.records(), s.keys.index(), s.keys.quarantined(), s.keys.reasons(), s.keys.retired(),
		s.keys.roles(), s.keys.holders(),
	}, s.keys.ofRoles(roles)...)
	for _, id := range holders {
		keys = append(keys, s.keys.held(id))
	}
	got, err := auditScript.Run(ctx, s.rdb, keys, append([]any{s.id, len(roles)}, anys(holders)...)...).Slice()
	if err != nil {
		return totals{}, err
	}
	return decodeTotals(got, len(roles))
}

func decodeTotals(got []any, roles int) (totals, error) {
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return totals{}, err
	}
	t := totals{records: r.number(), indexed: r.number(), quarantined: r.number(), reasons: r.number(),
		retired: r.number(), held: r.number()}
	for range roles {
		inner := reply{rest: r.list(), err: r.err}
		t.roles = append(t.roles, [4]int64{inner.number(), inner.number(), inner.number(), inner.number()})
		if r.err = inner.err; r.err != nil {
			break
		}
	}
	return t, r.err
}

// count compares what is in the places with what the pool counts.
func (a *auditor) count(ctx context.Context) error {
	var t totals
	for again := true; again; {
		var err error
		if a.roles, err = a.store.roles(ctx); err != nil {
			return err
		}
		zs, err := a.store.holders(ctx)
		if err != nil {
			return err
		}
		a.holders = a.holders[:0]
		for _, z := range zs {
			a.holders = append(a.holders, z.Member.(string))
		}
		t, err = a.store.totals(ctx, a.roles, a.holders)
		if again = errors.Is(err, errAgain); err != nil && !again {
			return err
		}
	}
	a.report.Accounts, a.report.Holders = int(t.records), len(a.holders)
	var available, leased, quarantined, retired int64
	for _, n := range t.roles {
		available, leased, quarantined, retired = available+n[0], leased+n[1], quarantined+n[2], retired+n[3]
	}
	if placed := available + t.held + t.quarantined + t.retired; placed != t.records {
		a.report.problem("%d accounts are known, and %d are in some place: %d available or resting, %d leased, %d quarantined, %d retired",
			t.records, placed, available, t.held, t.quarantined, t.retired)
	}
	for _, c := range []struct {
		what     string
		is, have int64
	}{
		{"leased", t.held, leased},
		{"quarantined", t.quarantined, quarantined},
		{"retired", t.retired, retired},
	} {
		if c.is != c.have {
			a.report.problem("%d accounts are %s, and %d are counted so", c.is, c.what, c.have)
		}
	}
	if t.indexed != t.records {
		a.report.problem("%d accounts are known, by %d usernames", t.records, t.indexed)
	}
	if t.reasons != t.quarantined {
		a.report.problem("%d accounts are quarantined, for %d reasons", t.quarantined, t.reasons)
	}
	for _, role := range a.roles {
		counted, held, err := a.store.heldOf(ctx, role)
		if err != nil {
			return err
		}
		if counted != held {
			a.report.problem("role %q: %d accounts are counted as leased, and %d by holder", role, counted, held)
		}
	}
	return nil
}
