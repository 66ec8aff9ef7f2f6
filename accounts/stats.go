package accounts

import (
	"context"
	"slices"
	"strings"
	"time"
)

// RoleStats counts the accounts of one role at one moment, and what has been
// done with them since the pool was made.
type RoleStats struct {
	Role string
	// Known is the sum of the five that follow it.
	Known, Available, Leased, Resting, Quarantined, Retired int64
	// Waiting is how many leases are waited for because the role is short.
	Waiting int64
	// Leases and Releases count accounts leased, and given back by their
	// holder; Reclaimed those taken back from dead holders.
	Leases, Releases, Reclaimed int64
	// PeakLeased is the most that were leased at once.
	PeakLeased int64
	// Created counts accounts that this pool created in the target, Failed
	// calls that tried to and failed, repetitions included.
	Created, Failed int64
	// Waits is how long leases were waited for. Holders tell it now and then,
	// and one that dies takes the last few seconds with it.
	Waits Waits
}

// Uses is how often an account of the role was used on average: leases that are
// over, by accounts known.
func (s RoleStats) Uses() float64 {
	if s.Known == 0 {
		return 0
	}
	return float64(s.Releases+s.Reclaimed) / float64(s.Known)
}

// HeldBy is how many accounts somebody holds.
type HeldBy struct {
	// Name is the holder's, as it registered.
	Name     string
	Accounts int64
}

// MostHeld returns who holds the most accounts of the role, at most five.
func (p *Pool) MostHeld(ctx context.Context, role string) ([]HeldBy, error) {
	all, err := p.store.mostHeld(ctx, role)
	return all, p.wrap("see who holds accounts", err)
}

// Stats counts the accounts of every role, sorted by role. All counts are of
// the same moment.
func (p *Pool) Stats(ctx context.Context) ([]RoleStats, error) {
	roles, err := p.store.roles(ctx)
	if err != nil {
		return nil, p.wrap("count accounts", err)
	}
	all, _, err := p.store.stats(ctx, roles)
	return all, p.wrap("count accounts", err)
}

// Frozen returns how long nothing will be leased, because Redis was restarted
// or failed over; 0 when the pool is not frozen.
func (p *Pool) Frozen(ctx context.Context) (time.Duration, error) {
	_, frozen, err := p.store.stats(ctx, nil)
	return frozen, p.wrap("look at the pool", err)
}

// HolderStats is one registration.
type HolderStats struct {
	ID, Name string
	// Expires is when the registration expires unless it is renewed, by
	// Redis's clock; zero when it is being closed.
	Opened, Expires time.Time
	// Accounts is how many it holds, of whatever role.
	Accounts int64
	// State is live, revoked, closing or dead.
	State string
}

// Holders lists the registrations, those first that hold the most. They are not
// looked at in the same moment.
func (p *Pool) Holders(ctx context.Context) ([]HolderStats, error) {
	all, err := p.store.holderStats(ctx)
	slices.SortFunc(all, func(a, b HolderStats) int {
		if a.Accounts != b.Accounts {
			return int(b.Accounts - a.Accounts)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, p.wrap("list holders", err)
}

// Revoke takes a registration away. Its holder loses its leases with its next
// renewal and registers anew; the accounts come back as a dead holder's do, when
// no request under their leases can be on its way any more. That the holder is
// not there, or is closing, is fine.
func (p *Pool) Revoke(ctx context.Context, holder string) error {
	err := p.store.revoke(ctx, holder)
	if err == errGone {
		return nil
	}
	return p.wrap("revoke holder", err)
}
