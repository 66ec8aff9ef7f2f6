package accounts

import (
	"context"
	"errors"
	"fmt"
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

// Holders returns how many registrations there are.
func (p *Pool) Holders(ctx context.Context) (int, error) {
	zs, err := p.store.holders(ctx)
	return len(zs), err
}

// Audit looks at every place an account can be in and says which accounts are
// not in exactly one, and which counts are wrong. Nothing may change meanwhile.
func (p *Pool) Audit(ctx context.Context) error {
	s := p.store
	records, err := s.rdb.HGetAll(ctx, s.keys.records()).Result()
	if err != nil {
		return err
	}
	places, roleOf := map[string][]string{}, map[string]string{}
	for id, text := range records {
		account, err := decode(id, text)
		if err != nil {
			return fmt.Errorf("account %s: %w", id, err)
		}
		roleOf[id] = account.Role
	}
	counted := map[string]*RoleStats{}
	roles, err := s.roles(ctx)
	if err != nil {
		return err
	}
	put := func(id, place string) *RoleStats {
		places[id] = append(places[id], place)
		if c := counted[roleOf[id]]; c != nil {
			return c
		}
		return &RoleStats{}
	}
	for _, role := range roles {
		counted[role] = &RoleStats{Role: role}
	}
	for _, role := range roles {
		ids, err := s.rdb.ZRange(ctx, s.keys.available(role), 0, -1).Result()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if roleOf[id] != role {
				return fmt.Errorf("account %s of role %q is available as %q", id, roleOf[id], role)
			}
			put(id, "available").Available++
		}
	}
	zs, err := s.holders(ctx)
	if err != nil {
		return err
	}
	for _, z := range zs {
		held, err := s.rdb.HGetAll(ctx, s.keys.held(z.Member.(string))).Result()
		if err != nil {
			return err
		}
		for id := range held {
			put(id, "held by "+z.Member.(string)).Leased++
		}
	}
	quarantined, err := s.rdb.ZRange(ctx, s.keys.quarantined(), 0, -1).Result()
	if err != nil {
		return err
	}
	for _, id := range quarantined {
		put(id, "quarantined").Quarantined++
	}
	retired, err := s.rdb.HKeys(ctx, s.keys.retired()).Result()
	if err != nil {
		return err
	}
	for _, id := range retired {
		put(id, "retired").Retired++
	}

	var problems []error
	for id := range records {
		if len(places[id]) != 1 {
			problems = append(problems, fmt.Errorf("account %s is in %v", id, places[id]))
		}
	}
	for id := range places {
		if records[id] == "" {
			problems = append(problems, fmt.Errorf("account %s has no record and is in %v", id, places[id]))
		}
	}
	stats, err := p.Stats(ctx)
	if err != nil {
		return err
	}
	for _, got := range stats {
		want := counted[got.Role]
		if got.Available+got.Resting != want.Available || got.Leased != want.Leased ||
			got.Quarantined != want.Quarantined || got.Retired != want.Retired {
			problems = append(problems, fmt.Errorf("counts: got %+v, found %+v (available or resting)", got, *want))
		}
	}
	return errors.Join(problems...)
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
