package accounts

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Accounts are added in two steps, so that a crash in between leaves no orphan
// in the target: Intend writes down what is about to be created there, and
// Confirm adds it to the pool once it has been. Whoever comes after a crash
// finds in Intents what may or may not exist in the target, creates it again or
// deletes it, and then confirms or drops it.

// Intend records accounts that are about to be created in the target, and
// returns how many were new. Usernames that the pool knows or intends already
// are skipped, and keep the password they had. Ids are ignored. When accounts
// are not fit for a pool, the error names all of them and nothing is recorded.
func (p *Pool) Intend(ctx context.Context, accounts []Account) (added int, err error) {
	var problems []error
	records := make([]pair, 0, len(accounts))
	for _, a := range accounts {
		text, err := encode(a)
		if err = errors.Join(check(a), err); err != nil {
			problems = append(problems, err)
		}
		records = append(records, pair{a.Username, text})
	}
	if len(problems) > 0 {
		return 0, p.wrap("intend accounts", errors.Join(problems...))
	}
	for batch := range slices.Chunk(records, moveBatch) {
		n, err := p.store.intend(ctx, batch)
		added += n
		if err != nil {
			return added, p.wrap("intend accounts", err)
		}
	}
	return added, nil
}

// Intents returns up to limit accounts that are intended and neither confirmed
// nor dropped, with their passwords. Which ones, when there are more, is open.
func (p *Pool) Intents(ctx context.Context, limit int) ([]Account, error) {
	if limit <= 0 {
		return nil, nil
	}
	all, err := p.store.intents(ctx, limit)
	return all, p.wrap("read intents", err)
}

// Confirm adds intended accounts to the pool, available at once. Usernames that
// are not intended (any more) are passed over, so it can be repeated. The error
// wraps ErrRoles when the pool would have too many roles.
func (p *Pool) Confirm(ctx context.Context, usernames []string) error {
	for batch := range slices.Chunk(usernames, moveBatch) {
		byRole, err := p.store.intended(ctx, batch)
		if err != nil {
			return p.wrap("confirm accounts", err)
		}
		for _, role := range slices.Sorted(maps.Keys(byRole)) {
			if _, err := p.store.confirm(ctx, role, byRole[role]); err != nil {
				return p.wrap("confirm accounts of role "+role, err)
			}
		}
	}
	return nil
}

// Drop gives intents up. Usernames that are not intended are passed over.
func (p *Pool) Drop(ctx context.Context, usernames []string) error {
	for batch := range slices.Chunk(usernames, moveBatch) {
		if err := p.store.drop(ctx, batch); err != nil {
			return p.wrap("drop intents", err)
		}
	}
	return nil
}
