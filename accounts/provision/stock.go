package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/keyspace"
)

// stock compares what the pool knows with what is wanted. It belongs to the
// goroutine that creates.
type stock struct {
	want   map[string]int
	usable map[string]int // by role: known, and neither retired nor quarantined
	before map[string]int // usable, at the start
	roles  []string       // of want, sorted
	total  int            // known accounts of all roles, whatever state
	// created tells that the pool has accounts, and some were created in the
	// target, once.
	created bool
}

// checkRoles says which role cannot be one; the pool would say it of every
// account.
func checkRoles(want map[string]int) error {
	for _, role := range slices.Sorted(maps.Keys(want)) {
		if err := keyspace.Check(role); err != nil {
			return fmt.Errorf("role: %w", err)
		}
	}
	return nil
}

func (p *Provisioner) takeStock(ctx context.Context) (*stock, error) {
	s := &stock{usable: map[string]int{}}
	stats, err := p.pool.Stats(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range stats {
		s.usable[role.Role] = int(role.Known - role.Retired - role.Quarantined)
		s.total += int(role.Known)
		s.created = s.created || role.Created > 0
	}
	s.created = s.created && s.total > 0
	s.before = maps.Clone(s.usable)
	return s, nil
}

// wants sets what is wanted.
func (s *stock) wants(want map[string]int) {
	s.want, s.roles = want, slices.Sorted(maps.Keys(want))
}

// existed counts the accounts of the wanted roles that were usable at the start.
func (s *stock) existed() (n int) {
	for _, role := range s.roles {
		n += s.before[role]
	}
	return n
}

// progress returns how many accounts are wanted in all, and how many of those
// are there.
func (s *stock) progress() (done, wanted int) {
	for _, role := range s.roles {
		wanted += max(0, s.want[role])
		done += max(0, min(s.want[role], s.usable[role]))
	}
	return done, wanted
}

// met tells whether the pool has what the goal names.
func (s *stock) met(goal map[string]int) bool {
	for role, n := range goal {
		if s.usable[role] < n {
			return false
		}
	}
	return true
}

// add counts one more account of the role, and returns by how much that brings
// what is wanted nearer: a crashed run may have intended more than is.
func (s *stock) add(role string) int {
	s.usable[role]++
	s.total++
	if s.usable[role] <= s.want[role] {
		return 1
	}
	return 0
}

// fits returns an error that wraps ErrLimit if what is missing would bring the
// pool over most accounts; 0 is no limit.
func (s *stock) fits(most int) error {
	if most <= 0 {
		return nil
	}
	room := most - s.total
	for _, role := range s.roles {
		missing := max(0, s.want[role]-s.usable[role])
		if missing > room {
			return fmt.Errorf("%w: role %s: %d more are wanted, and there is room for %d: the pool has %d accounts and may have %d",
				ErrLimit, role, missing, max(0, room), s.total, most)
		}
		room -= missing
	}
	return nil
}

// missing generates up to limit of the accounts that are missing, role by role.
func (s *stock) missing(limit int, pattern string) []accounts.Account {
	var list []accounts.Account
	for _, role := range s.roles {
		for range min(limit-len(list), s.want[role]-s.usable[role]) {
			list = append(list, generate(pattern, role))
		}
	}
	return list
}
