package provision

import (
	"context"
	"fmt"

	"github.com/throng-load/throng/accounts"
)

const (
	// maxUndeleted is how many accounts a target may refuse to delete before it
	// is asked for no more.
	maxUndeleted = 10_000
	// trialBatch is how many accounts are retired at a time as long as the
	// target has deleted none.
	trialBatch = 10
)

// UndeletedError says that the target would not delete some accounts, which stay
// retired in the pool. It wraps what the target said of the first.
type UndeletedError struct {
	// Total counts them; Some names the first 100.
	Total int
	Some  []BadAccount
	first error
}

// Error names one account.
func (e *UndeletedError) Error() string {
	return fmt.Sprintf("the target would not delete %d accounts, which stay retired, %q among them: %v", e.Total, e.Some[0].Username, e.first)
}

// Unwrap returns what the target said of the first account.
func (e *UndeletedError) Unwrap() error { return e.first }

// keep notes accounts that the target would not delete.
func (d *deletion) keep(failed []failure) {
	if d.keptIDs == nil {
		d.keptIDs = map[string]bool{}
	}
	for _, f := range failed {
		if d.kept.first == nil {
			d.kept.first = f.err
		}
		if len(d.kept.Some) < maxWorst {
			d.kept.Some = append(d.kept.Some, BadAccount{f.account.Username, f.account.Role, reasonOf(f.err)})
		}
		d.keptIDs[f.account.ID] = true
	}
	d.kept.Total = len(d.keptIDs)
	d.result.Undeleted = d.kept.Total
}

// undeleted is the error of accounts that were kept; nil if there are none.
func (d *deletion) undeleted() error {
	if d.kept.Total == 0 {
		return nil
	}
	return &d.kept
}

// possible returns an error if there is something to delete in the target, and
// the source cannot.
func (d *deletion) possible(ctx context.Context, stats []accounts.RoleStats) error {
	limited, ok := d.p.source.(Limited)
	if !ok || limited.Deletes() {
		return nil
	}
	intents, err := d.p.pool.Intents(ctx, 1)
	if err != nil {
		return err
	}
	created := len(intents) > 0
	for _, role := range stats {
		created = created || role.Known > 0 && role.Created > 0
	}
	if !created {
		return nil
	}
	return fmt.Errorf("%w: the account API has no delete request: nothing was deleted, and no account was retired", ErrRefused)
}
