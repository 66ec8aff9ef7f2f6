package accounts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ImportResult is what an import came to.
type ImportResult struct {
	// Added counts accounts that were new, Existed those that the pool knew as
	// they are.
	Added, Existed int
}

// KnownError names accounts that could not be imported because the pool knows
// their usernames with another password, role, target id or attributes, or is
// about to create them. It wraps ErrKnown.
type KnownError struct {
	Pool string
	// Usernames are all of them, in the order of the import.
	Usernames []string
}

// Error names the first few.
func (e *KnownError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "import accounts: pool %q knows ", e.Pool)
	for i, name := range e.Usernames {
		switch {
		case i == maxNamed:
			fmt.Fprintf(&b, " and %d more", len(e.Usernames)-i)
		case i > 0:
			b.WriteString(", ")
		}
		if i < maxNamed {
			fmt.Fprintf(&b, "%q", name)
		} else {
			break
		}
	}
	b.WriteString(" with other content; leave them out, or retire and delete them first")
	return b.String()
}

// Unwrap returns ErrKnown.
func (e *KnownError) Unwrap() error { return ErrKnown }

// Import adds accounts to the pool that the target has already, available at
// once. They are not Created, so that they are never deleted from the target;
// ids and keys are ignored. An account that the pool knows as it is counts as
// existed; one without a TargetID matches any.
//
// Everything is checked first, and nothing is imported unless all is well: the
// error is a *KnownError for usernames that the pool knows otherwise, wraps
// ErrRoles if the pool would have too many roles, ErrKey if it is encrypted with
// a key that is not there, or names the accounts that do not fit. An import that
// broke off, or that met another at the same time, can be repeated.
func (p *Pool) Import(ctx context.Context, accounts []Account) (ImportResult, error) {
	var result ImportResult
	if err := checkAll(accounts); err != nil {
		return result, p.wrap("import accounts", err)
	}
	left, err := once(accounts)
	if err != nil {
		return result, p.wrap("import accounts", err)
	}
	result.Existed = len(accounts) - len(left)
	if err := p.roomFor(ctx, left); err != nil {
		return result, p.wrap("import accounts", err)
	}
	// Accounts that another process adds meanwhile are looked at again.
	for len(left) > 0 {
		missing, err := p.missing(ctx, left)
		if err != nil {
			return result, err
		}
		result.Existed += len(left) - len(missing)
		added, passed, err := p.add(ctx, missing)
		result.Added += added
		if err != nil {
			return result, p.wrap("import accounts", err)
		}
		left = slices.DeleteFunc(missing, func(a Account) bool { return !passed[a.Username] })
	}
	return result, nil
}

// once returns the accounts without those that come again as they were.
func once(accounts []Account) ([]Account, error) {
	first := make(map[string]int, len(accounts))
	all := make([]Account, 0, len(accounts))
	for _, a := range accounts {
		a.Created, a.Key = false, ""
		i, again := first[a.Username]
		switch {
		case !again:
			first[a.Username] = len(all)
			all = append(all, a)
		case !matches(all[i], a) || !matches(a, all[i]):
			return nil, fmt.Errorf("account %q is given twice, with different content", a.Username)
		}
	}
	return all, nil
}

// matches tells whether a known account is as the one to be imported.
func matches(known, a Account) bool {
	return known.Password.Equal(a.Password) && known.Role == a.Role && maps.Equal(known.Attributes, a.Attributes) &&
		(a.TargetID == "" || known.TargetID == a.TargetID)
}

// roomFor says whether the pool can have the roles of the accounts.
func (p *Pool) roomFor(ctx context.Context, accounts []Account) error {
	known, err := p.store.roles(ctx)
	if err != nil {
		return err
	}
	roles := map[string]struct{}{}
	for _, role := range known {
		roles[role] = struct{}{}
	}
	for _, a := range accounts {
		roles[a.Role] = struct{}{}
	}
	if len(roles) > maxRoles && len(roles) > len(known) {
		return fmt.Errorf("%w: there would be %d; use at most %d", ErrRoles, len(roles), maxRoles)
	}
	return nil
}

// missing returns those accounts that the pool does not know; a *KnownError if
// it knows some otherwise.
func (p *Pool) missing(ctx context.Context, accounts []Account) ([]Account, error) {
	var missing []Account
	var clash []string
	for batch := range slices.Chunk(accounts, moveBatch) {
		known, err := p.store.known(ctx, namesOf(batch))
		if err != nil {
			return nil, p.wrap("import accounts", err)
		}
		for _, a := range batch {
			there, ok := known[a.Username]
			switch {
			case !ok:
				missing = append(missing, a)
			case there.ID == "" || !matches(there, a):
				clash = append(clash, a.Username)
			}
		}
	}
	if len(clash) > 0 {
		return nil, &KnownError{Pool: p.name, Usernames: clash}
	}
	return missing, nil
}

// add adds accounts, and returns the usernames of those that it passed over
// because they had come meanwhile.
func (p *Pool) add(ctx context.Context, accounts []Account) (added int, passed map[string]bool, err error) {
	byRole := map[string][]Account{}
	for _, a := range accounts {
		byRole[a.Role] = append(byRole[a.Role], a)
	}
	passed = map[string]bool{}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		for batch := range slices.Chunk(byRole[role], moveBatch) {
			records := make([]pair, len(batch))
			for i, a := range batch {
				records[i] = pair{a.Username, p.store.codec.encode(a)}
			}
			n, names, err := p.store.add(ctx, role, p.settings.MaxAge > 0, records)
			added += n
			if err != nil {
				return added, passed, err
			}
			for _, name := range names {
				passed[name] = true
			}
		}
	}
	return added, passed, nil
}

func namesOf(accounts []Account) []string {
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = a.Username
	}
	return names
}
