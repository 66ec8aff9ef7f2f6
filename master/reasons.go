package master

import (
	"cmp"
	"context"
	"slices"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/master/report"
)

// mostReasons bounds how many quarantined accounts are asked why they are, and
// shownReasons how many reasons of a role are shown.
const mostReasons, shownReasons = 1000, 5

// learnReasons finds out why accounts are quarantined, when there are others
// than before.
func (m *Master) learnReasons(ctx context.Context) error {
	quarantined := int64(0)
	for _, a := range m.accounts {
		quarantined += a.Quarantined
	}
	if quarantined == m.quarantined {
		return nil
	}
	all, err := m.pool.Quarantined(ctx, mostReasons)
	if err != nil {
		return err
	}
	m.quarantined, m.reasons = quarantined, countReasons(all)
	return nil
}

// countReasons counts the accounts by role and reason, the most frequent first.
func countReasons(all []accounts.Quarantined) map[string][]report.Reason {
	counts := map[string]map[string]int64{}
	for _, a := range all {
		if counts[a.Role] == nil {
			counts[a.Role] = map[string]int64{}
		}
		counts[a.Role][a.Reason]++
	}
	reasons := map[string][]report.Reason{}
	for role, byReason := range counts {
		for reason, n := range byReason {
			reasons[role] = append(reasons[role], report.Reason{Reason: reason, Accounts: n})
		}
		slices.SortFunc(reasons[role], func(a, b report.Reason) int {
			return cmp.Or(cmp.Compare(b.Accounts, a.Accounts), cmp.Compare(a.Reason, b.Reason))
		})
		reasons[role] = reasons[role][:min(shownReasons, len(reasons[role]))]
	}
	return reasons
}
