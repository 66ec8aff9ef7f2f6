package accounts

import (
	"context"
	"maps"
	"slices"
)

// Accounts leave in two steps as well: Retire takes them out of use, and Forget
// removes them from the pool once they are deleted in the target.

// Retire retires up to n accounts of the role, or of every role when it is "",
// and returns how many. Only accounts that are available or resting retire,
// those first that have been so longest. The error wraps ErrFrozen while the pool
// is frozen, as it does for all that takes accounts away.
func (p *Pool) Retire(ctx context.Context, role string, n int) (retired int, err error) {
	roles := []string{role}
	if role == "" {
		if roles, err = p.store.roles(ctx); err != nil {
			return 0, p.wrap("retire accounts", err)
		}
	} else if err := checkRole(role); err != nil {
		return 0, p.wrap("retire accounts", err)
	}
	for _, role := range roles {
		for retired < n {
			k, err := p.store.retire(ctx, role, min(n-retired, moveBatch))
			if err != nil {
				return retired, p.wrap("retire accounts", err)
			}
			if k == 0 {
				break
			}
			retired += k
		}
	}
	return retired, nil
}

// RetireQuarantined retires up to n quarantined accounts, of whatever role, and
// returns how many.
func (p *Pool) RetireQuarantined(ctx context.Context, n int) (retired int, err error) {
	for retired < n {
		quarantined, err := p.store.quarantined(ctx, min(n-retired, moveBatch))
		if err != nil {
			return retired, p.wrap("retire quarantined accounts", err)
		}
		byRole := named(quarantined)
		moved := 0
		for _, role := range slices.Sorted(maps.Keys(byRole)) {
			places, err := p.store.retireThese(ctx, role, byRole[role], true)
			if err != nil {
				return retired, p.wrap("retire quarantined accounts", err)
			}
			for _, place := range places {
				if place == placeDone {
					moved++
					retired++
				}
			}
		}
		if moved == 0 {
			break
		}
	}
	return retired, nil
}

// Retired returns up to limit retired accounts, with their passwords. Which
// ones, when there are more, is open.
func (p *Pool) Retired(ctx context.Context, limit int) ([]Account, error) {
	if limit <= 0 {
		return nil, nil
	}
	all, err := p.store.retired(ctx, limit)
	return all, p.wrap("read retired accounts", err)
}

// Forget removes retired accounts from the pool. Ids of others are passed over,
// so it can be repeated. A forgotten username can be intended anew.
func (p *Pool) Forget(ctx context.Context, ids []string) error {
	for batch := range slices.Chunk(ids, moveBatch) {
		accounts, err := p.store.accounts(ctx, batch)
		if err != nil {
			return p.wrap("forget accounts", err)
		}
		byRole := named(accounts)
		for _, role := range slices.Sorted(maps.Keys(byRole)) {
			if _, err := p.store.forget(ctx, role, byRole[role]); err != nil {
				return p.wrap("forget accounts", err)
			}
		}
	}
	return nil
}

// named returns the ids and usernames of accounts, by role.
func named(accounts []Account) map[string][]pair {
	byRole := map[string][]pair{}
	for _, a := range accounts {
		byRole[a.Role] = append(byRole[a.Role], pair{a.ID, a.Username})
	}
	return byRole
}
