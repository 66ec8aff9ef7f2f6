package accounts

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AccountState is where an account of a pool is.
type AccountState string

// An account is in one state at a time. Resting is free, but not ready yet.
const (
	StateAvailable   AccountState = "available"
	StateLeased      AccountState = "leased"
	StateResting     AccountState = "resting"
	StateQuarantined AccountState = "quarantined"
	StateRetired     AccountState = "retired"
)

// AccountStates returns every state, in the order of an account's life.
func AccountStates() []AccountState {
	return []AccountState{StateAvailable, StateLeased, StateResting, StateQuarantined, StateRetired}
}

// Filter says which accounts to list. The zero value is all.
type Filter struct {
	// Role is the only role listed; every role when "".
	Role string
	// States are those listed; every one when there are none.
	States []AccountState
}

// Listed is an account with where it is. Times are by Redis's clock.
type Listed struct {
	Account
	// State is "" for an account that is nowhere, which Audit reports.
	State AccountState
	// Holder is the id of who holds a leased account, or of who gave back one
	// that is quarantined; HolderName is what it calls itself, "" when it is gone.
	Holder, HolderName string
	// Since is when it became available, was leased, or was quarantined.
	Since time.Time
	// Until is when a resting account is ready, or a quarantined one comes out;
	// zero when never.
	Until time.Time
	// Reason is why it is quarantined.
	Reason string
	// Token is the fencing token of its lease, or of the one that it came to be
	// quarantined from.
	Token int64
}

// List calls do with every account that the filter lets through, with its
// password, in no order. It can be called on a pool in use: each account that is
// in the pool all the time is listed once, with where it was at one moment, a
// different one for each batch of accounts. An error of do ends it and is
// returned. It remembers the ids that it has seen: about 100 bytes an account.
func (p *Pool) List(ctx context.Context, filter Filter, do func(Listed) error) error {
	l := &lister{store: p.store, filter: filter, do: do, seen: map[string]struct{}{}}
	return p.wrap("list accounts", l.list(ctx))
}

type lister struct {
	store  store
	filter Filter
	do     func(Listed) error
	roles  []string
	seen   map[string]struct{}
	// holderOf tells who held an account when the list began, which is where it
	// is looked for first; names are the holders' names.
	holderOf, names map[string]string
}

func (l *lister) list(ctx context.Context) error {
	for _, state := range l.filter.States {
		if !slices.Contains(AccountStates(), state) {
			return fmt.Errorf("state %q: use one of %v", state, AccountStates())
		}
	}
	var err error
	if l.roles, err = l.store.roles(ctx); err != nil {
		return err
	}
	if role := l.filter.Role; role != "" && !slices.Contains(l.roles, role) {
		return fmt.Errorf("%w: %q; the pool has %s", ErrUnknownRole, role, strings.Join(l.roles, ", "))
	}
	if l.wants(StateLeased) {
		if err := l.findHolders(ctx); err != nil {
			return err
		}
	}
	return l.store.scanHash(ctx, l.store.keys.records(), func(page []pair) error {
		batch := make([]Account, 0, len(page))
		for _, r := range page {
			if _, again := l.seen[r.key]; again {
				continue
			}
			l.seen[r.key] = struct{}{}
			a, err := l.store.codec.decode(r.key, r.text)
			if err != nil {
				return fmt.Errorf("account %s: %w", r.key, err)
			}
			if l.filter.Role == "" || a.Role == l.filter.Role {
				batch = append(batch, a)
			}
		}
		return l.tell(ctx, batch)
	})
}

func (l *lister) wants(state AccountState) bool {
	return len(l.filter.States) == 0 || slices.Contains(l.filter.States, state)
}

func (l *lister) findHolders(ctx context.Context) error {
	l.holderOf, l.names = map[string]string{}, map[string]string{}
	holders, err := l.store.holderStats(ctx)
	if err != nil {
		return err
	}
	for _, h := range holders {
		l.names[h.ID] = h.Name
		err := l.store.scanHash(ctx, l.store.keys.held(h.ID), func(page []pair) error {
			for _, r := range page {
				l.holderOf[r.key] = h.ID
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tell lists a batch: first where it probably is, then those who are not there
// wherever they can be.
func (l *lister) tell(ctx context.Context, batch []Account) error {
	if len(batch) == 0 {
		return nil
	}
	g := glance{roles: l.roles}
	at := map[string][]int{}
	for i, a := range batch {
		g.ids = append(g.ids, a.ID)
		if holder, ok := l.holderOf[a.ID]; ok {
			at[holder] = append(at[holder], i)
		}
	}
	for holder, positions := range at {
		g.holdings = append(g.holdings, holding{holder, positions})
	}
	now, all, err := l.store.look(ctx, g)
	if err != nil {
		return err
	}
	byID := map[string]Account{}
	var elsewhere []string
	for i, f := range all {
		if len(f.places) == 0 && l.holderOf != nil {
			byID[batch[i].ID], elsewhere = batch[i], append(elsewhere, batch[i].ID)
			continue
		}
		if err := l.put(batch[i], now, f); err != nil {
			return err
		}
	}
	return l.store.lookEverywhere(ctx, elsewhere, func(id string, now int64, f found) error {
		return l.put(byID[id], now, f)
	})
}

// put calls do if the filter lets the account through.
func (l *lister) put(a Account, now int64, f found) error {
	if f.record == "" {
		return nil // forgotten meanwhile
	}
	listed := Listed{Account: a}
	if len(f.places) > 0 {
		if err := listed.at(f.places[0], now); err != nil {
			return fmt.Errorf("account %s: %w", a.ID, err)
		}
	}
	if listed.State == StateLeased {
		listed.HolderName = l.names[listed.Holder]
	}
	if len(l.filter.States) > 0 && !slices.Contains(l.filter.States, listed.State) {
		return nil
	}
	return l.do(listed)
}

// at says what a place means.
func (l *Listed) at(p place, now int64) error {
	switch p.in {
	case inAvailable:
		if ready := p.ms(); ready > float64(now) {
			l.State, l.Until = StateResting, untilTime(ready)
		} else {
			l.State, l.Since = StateAvailable, untilTime(ready)
		}
	case inHeld:
		text, _, _ := strings.Cut(p.what, " ")
		token, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: not a token", errReply)
		}
		// A token is the time of its lease in microseconds, or a little more.
		l.State, l.Holder, l.Token, l.Since = StateLeased, p.which, token, time.UnixMicro(token)
	case inQuarantined:
		since, why := decodeReason(p.what)
		until, err := strconv.ParseFloat(p.which, 64)
		if err != nil {
			return fmt.Errorf("%w: not a number", errReply)
		}
		l.State, l.Since, l.Until, l.Reason = StateQuarantined, since, untilTime(until), why.Reason
		l.Holder, l.HolderName = why.Holder, why.Name
		l.Token, _ = strconv.ParseInt(why.Token, 10, 64)
	case inRetired:
		l.State = StateRetired
	}
	return nil
}
