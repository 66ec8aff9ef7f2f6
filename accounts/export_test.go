package accounts

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Seams for the black-box tests.

// The scripts of a holder's calls, for faults that are meant for one of them.
func OpenScript() *redis.Script    { return openScript }
func RenewScript() *redis.Script   { return renewScript }
func LeaseScript() *redis.Script   { return leaseScript }
func ReleaseScript() *redis.Script { return releaseScript }
func CloseScript() *redis.Script   { return closeScript }

// Trust is how long a holder trusts its leases after a renewal.
func (s Settings) Trust() int64 { return int64(s.trust()) }

// Generation is the key that makes a pool.
func (p *Pool) Generation() string { return p.store.keys.gen() }

// Records is the key of the accounts' records.
func (p *Pool) Records() string { return p.store.keys.records() }

// Reasons is the key of why accounts are quarantined.
func (p *Pool) Reasons() string { return p.store.keys.reasons() }

// Registrations returns how many registrations there are.
func (p *Pool) Registrations(ctx context.Context) (int, error) {
	zs, err := p.store.holders(ctx)
	return len(zs), err
}

// Waiting returns how many wait for an account of the role.
func (h *Holder) Waiting(role string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.queue(role).waiting.Len()
}

// CloseHolders closes every registration as somebody else might who has the
// right to, and gives back what it held.
func (p *Pool) CloseHolders(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	zs, err := p.store.holders(ctx)
	if err != nil {
		t.Fatal(err)
	}
	roles, err := p.store.roles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range zs {
		if _, left, err := p.store.close(ctx, z.Member.(string), "", p.settings, 1000, roles); err != nil || left > 0 {
			t.Fatalf("close %v: %d left, %v", z.Member, left, err)
		}
	}
}

// Short tells whether the pool has said that it has no account of the role.
func (h *Holder) Short(role string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.queue(role).short != nil
}
