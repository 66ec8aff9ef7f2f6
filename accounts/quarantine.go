package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Moved is what became of accounts that were to be moved. Those that were not
// are named, sorted, with why.
type Moved struct {
	// Done counts those that were moved.
	Done int
	// Leased are those that somebody holds, Unknown those that the pool does not
	// have, and Elsewhere those that are where they were to go, or somewhere that
	// they do not leave this way.
	Leased, Unknown, Elsewhere []string
}

// Quarantine takes accounts that nobody holds out of use, with a reason, for how
// long, or for ever when that is 0. Those that are quarantined already stay as
// they are. The reason must not quote credentials. The error wraps ErrFrozen
// while the pool is frozen.
func (p *Pool) Quarantine(ctx context.Context, usernames []string, why string, how time.Duration) (Moved, error) {
	if how < 0 || how > oldest {
		return Moved{}, p.wrap("quarantine accounts", fmt.Errorf("for %v: use up to %v, or 0 for ever", how, oldest))
	}
	if why == "" {
		why = "no reason given"
	}
	text, err := json.Marshal(reason{Reason: string(Refused(why))})
	if err != nil {
		return Moved{}, p.wrap("quarantine accounts", err)
	}
	return p.move(ctx, "quarantine accounts", usernames, func(role string, all []pair) ([]string, error) {
		return p.store.quarantine(ctx, role, all, string(text), how)
	})
}

// Restore makes quarantined accounts available at once. The error wraps
// ErrFrozen while the pool is frozen.
func (p *Pool) Restore(ctx context.Context, usernames []string) (Moved, error) {
	return p.move(ctx, "restore accounts", usernames, func(role string, all []pair) ([]string, error) {
		return p.store.restore(ctx, role, all)
	})
}

// RetireAccounts retires accounts that are available, resting or quarantined.
// The error wraps ErrFrozen while the pool is frozen.
func (p *Pool) RetireAccounts(ctx context.Context, usernames []string) (Moved, error) {
	return p.move(ctx, "retire accounts", usernames, func(role string, all []pair) ([]string, error) {
		return p.store.retireThese(ctx, role, all, false)
	})
}

// move moves accounts in batches of one role. With an error, what was moved
// before it is returned too.
func (p *Pool) move(ctx context.Context, operation string, usernames []string, do func(role string, all []pair) ([]string, error)) (Moved, error) {
	var moved Moved
	names := slices.Clone(usernames)
	slices.Sort(names)
	for batch := range slices.Chunk(slices.Compact(names), moveBatch) {
		ids, err := p.store.idsOf(ctx, batch)
		if err != nil {
			return moved, p.wrap(operation, err)
		}
		all, err := p.store.accounts(ctx, ids)
		if err != nil {
			return moved, p.wrap(operation, err)
		}
		byRole, found := named(all), map[string]bool{}
		for _, role := range slices.Sorted(maps.Keys(byRole)) {
			places, err := do(role, byRole[role])
			if err != nil {
				return moved, p.wrap(operation, err)
			}
			for i, place := range places {
				name := byRole[role][i].text
				found[name] = true
				switch place {
				case placeDone:
					moved.Done++
				case placeLeased:
					moved.Leased = append(moved.Leased, name)
				case placeUnknown:
					moved.Unknown = append(moved.Unknown, name)
				default:
					moved.Elsewhere = append(moved.Elsewhere, name)
				}
			}
		}
		for _, name := range batch {
			if !found[name] {
				moved.Unknown = append(moved.Unknown, name)
			}
		}
	}
	slices.Sort(moved.Leased)
	slices.Sort(moved.Unknown)
	slices.Sort(moved.Elsewhere)
	return moved, nil
}

// Quarantined is a quarantined account, and why it is.
type Quarantined struct {
	Account
	// Reason is why; Holder and HolderName are who gave it back so, "" when it
	// was quarantined by hand.
	Reason, Holder, HolderName string
	// Since is when, and Until when it comes out, zero for never; both by Redis's
	// clock.
	Since, Until time.Time
}

// Quarantined returns up to limit quarantined accounts, with their passwords,
// those first that come out first. They are not looked at in the same moment.
func (p *Pool) Quarantined(ctx context.Context, limit int) ([]Quarantined, error) {
	if limit <= 0 {
		return nil, nil
	}
	all, err := p.store.quarantinedWhy(ctx, limit)
	return all, p.wrap("read quarantined accounts", err)
}

// decodeReason reads why an account is quarantined: since when, in ms, a space,
// and JSON. What it cannot read says so in place of the reason.
func decodeReason(text string) (since time.Time, why reason) {
	stamp, rest, _ := strings.Cut(text, " ")
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || json.Unmarshal([]byte(rest), &why) != nil {
		return time.Time{}, reason{Reason: unreadableReason}
	}
	return time.UnixMilli(ms), why
}

const unreadableReason = "the reason is not readable"

// untilTime is the time of a score in ms; zero when it is for ever.
func untilTime(score float64) time.Time {
	if score > float64(time.Unix(1<<40, 0).UnixMilli()) {
		return time.Time{}
	}
	return time.UnixMilli(int64(score))
}
