package accounts

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
)

// Accounts are created in two steps, so that a crash in between leaves no orphan
// in the target: Intend writes down what is about to be created there, and
// Confirm adds it to the pool once it has been. Whoever comes after a crash
// finds in Intents what may or may not exist in the target, creates it again or
// deletes it, and then confirms or drops it.

// Intend records accounts that are about to be created in the target, and
// returns how many were new. Usernames that the pool knows or intends already
// are skipped, and keep the password and the key they had. Ids are ignored; an
// account without a key gets one. When accounts are not fit for a pool, the
// error names them and nothing is recorded. It wraps ErrKey when the pool is
// encrypted with a key that is not there.
func (p *Pool) Intend(ctx context.Context, accounts []Account) (added int, err error) {
	if err := checkAll(accounts); err != nil {
		return 0, p.wrap("intend accounts", err)
	}
	for batch := range slices.Chunk(accounts, moveBatch) {
		records := make([]pair, 0, len(batch))
		for _, a := range batch {
			if a.Key == "" {
				a.Key = rand.Text()
			}
			a.Created = false
			records = append(records, pair{a.Username, p.store.codec.encode(a)})
		}
		n, err := p.store.intend(ctx, records)
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

// Confirm adds intended accounts to the pool, available at once, and returns how
// many. Of the accounts given only the username counts, and the TargetID, which
// is kept with them: everything else is as it was intended. From then on the
// account is Created: its creation is on record. Usernames that are not intended
// (any more) are passed over, so it can be repeated. The error wraps ErrRoles
// when the pool would have too many roles.
func (p *Pool) Confirm(ctx context.Context, accounts []Account) (confirmed int, err error) {
	for batch := range slices.Chunk(accounts, moveBatch) {
		n, err := p.confirm(ctx, batch)
		confirmed += n
		if err != nil {
			return confirmed, p.wrap("confirm accounts", err)
		}
	}
	return confirmed, nil
}

func (p *Pool) confirm(ctx context.Context, batch []Account) (confirmed int, err error) {
	usernames, targets := make([]string, len(batch)), make(map[string]string, len(batch))
	for i, a := range batch {
		usernames[i], targets[a.Username] = a.Username, a.TargetID
	}
	for {
		intended, err := p.store.intended(ctx, usernames)
		if err != nil {
			return confirmed, err
		}
		byRole := map[string][]change{}
		for _, in := range intended {
			a := in.Account
			if id := targets[a.Username]; id != "" {
				a.TargetID = id
			}
			a.Created = true
			if err := check(a); err != nil {
				return confirmed, err
			}
			byRole[a.Role] = append(byRole[a.Role], change{a.Username, in.record, p.store.codec.encode(a)})
		}
		changed := 0
		for _, role := range slices.Sorted(maps.Keys(byRole)) {
			n, again, err := p.store.confirm(ctx, role, p.settings.MaxAge > 0, byRole[role])
			confirmed, changed = confirmed+n, changed+again
			if err != nil {
				return confirmed, err
			}
		}
		if changed == 0 {
			return confirmed, nil
		}
		// An intent was encrypted with another key meanwhile: read it again.
	}
}

// Drop gives intents up. Usernames that are not intended are passed over.
func (p *Pool) Drop(ctx context.Context, usernames []string) error {
	for batch := range slices.Chunk(usernames, moveBatch) {
		if _, err := p.store.drop(ctx, batch); err != nil {
			return p.wrap("drop intents", err)
		}
	}
	return nil
}
