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
// goroutine that runs Ensure.
type stock struct {
	want  map[string]int
	known map[string]int // by role, without retired ones
	roles []string       // of want, sorted

	existed int // accounts of the wanted roles at the start
	wanted  int // in all
	done    int // of wanted, at the start
}

func (p *Provisioner) takeStock(ctx context.Context, want map[string]int) (*stock, error) {
	s := &stock{want: want, known: make(map[string]int), roles: slices.Sorted(maps.Keys(want))}
	for _, role := range s.roles {
		// The pool would say it of every account.
		if err := keyspace.Check(role); err != nil {
			return nil, fmt.Errorf("role: %w", err)
		}
	}
	stats, err := p.pool.Stats(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range stats {
		s.known[role.Role] = int(role.Known - role.Retired - role.Quarantined)
	}
	for _, role := range s.roles {
		s.existed += s.known[role]
		s.wanted += max(0, want[role])
		s.done += max(0, min(want[role], s.known[role]))
	}
	return s, nil
}

// add counts one more account of the role, and returns by how much that brings
// what is wanted nearer: a crashed run may have intended more than is.
func (s *stock) add(role string) int {
	s.known[role]++
	if s.known[role] <= s.want[role] {
		return 1
	}
	return 0
}

// missing generates up to limit of the accounts that are missing, role by role.
func (s *stock) missing(limit int) []accounts.Account {
	var list []accounts.Account
	for _, role := range s.roles {
		for range min(limit-len(list), s.want[role]-s.known[role]) {
			list = append(list, generate(role))
		}
	}
	return list
}
