package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The store's reads: plain commands, because nothing hangs on their seeing one
// moment.

// generation reads what the pool was made with; ErrNoPool if it is not there.
func (s store) generation(ctx context.Context) (generation, error) {
	got, err := s.rdb.HMGet(ctx, s.keys.gen(), "schema", "id", "lease_ttl", "lock_delay", "rest").Result()
	if err != nil {
		return generation{}, err
	}
	if got[0] == nil {
		return generation{}, ErrNoPool
	}
	return decodeGeneration(got)
}

// roles returns every role of the pool, sorted.
func (s store) roles(ctx context.Context) ([]string, error) {
	roles, err := s.rdb.SMembers(ctx, s.keys.roles()).Result()
	slices.Sort(roles)
	return roles, err
}

// holders returns every registration with the score it has: when it expires.
func (s store) holders(ctx context.Context) ([]redis.Z, error) {
	return s.rdb.ZRangeWithScores(ctx, s.keys.holders(), 0, -1).Result()
}

// intents returns up to limit intended accounts, by username.
func (s store) intents(ctx context.Context, limit int) ([]Account, error) {
	usernames, err := s.rdb.HRandField(ctx, s.keys.intents(), limit).Result()
	if err != nil {
		return nil, err
	}
	all := make([]Account, 0, len(usernames))
	for batch := range slices.Chunk(usernames, moveBatch) {
		byRole, err := s.intended(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, records := range byRole {
			for _, r := range records {
				account, err := decode("", r.text)
				if err != nil {
					return nil, err
				}
				all = append(all, account)
			}
		}
	}
	slices.SortFunc(all, byUsername)
	return all, nil
}

// intended returns the records of those usernames that are intended, by role.
func (s store) intended(ctx context.Context, usernames []string) (map[string][]pair, error) {
	got, err := s.rdb.HMGet(ctx, s.keys.intents(), usernames...).Result()
	if err != nil {
		return nil, err
	}
	byRole := map[string][]pair{}
	for i, v := range got {
		text, ok := v.(string)
		if !ok {
			continue
		}
		account, err := decode("", text)
		if err != nil {
			return nil, fmt.Errorf("intent %q: %w", usernames[i], err)
		}
		byRole[account.Role] = append(byRole[account.Role], pair{usernames[i], text})
	}
	return byRole, nil
}

func (s store) drop(ctx context.Context, usernames []string) error {
	return s.rdb.HDel(ctx, s.keys.intents(), usernames...).Err()
}

// retired returns up to limit retired accounts, by username.
func (s store) retired(ctx context.Context, limit int) ([]Account, error) {
	ids, err := s.rdb.HRandField(ctx, s.keys.retired(), limit).Result()
	if err != nil {
		return nil, err
	}
	all, err := s.accounts(ctx, ids)
	slices.SortFunc(all, byUsername)
	return all, err
}

// quarantined returns up to limit quarantined accounts, those first that come
// out of quarantine first.
func (s store) quarantined(ctx context.Context, limit int) ([]Account, error) {
	ids, err := s.rdb.ZRange(ctx, s.keys.quarantined(), 0, int64(limit)-1).Result()
	if err != nil {
		return nil, err
	}
	return s.accounts(ctx, ids)
}

func byUsername(a, b Account) int { return strings.Compare(a.Username, b.Username) }

// accounts returns the accounts with these ids, leaving out those unknown.
func (s store) accounts(ctx context.Context, ids []string) ([]Account, error) {
	all := make([]Account, 0, len(ids))
	for batch := range slices.Chunk(ids, moveBatch) {
		got, err := s.rdb.HMGet(ctx, s.keys.records(), batch...).Result()
		if err != nil {
			return nil, err
		}
		for i, v := range got {
			text, ok := v.(string)
			if !ok {
				continue
			}
			account, err := decode(batch[i], text)
			if err != nil {
				return nil, fmt.Errorf("account %s: %w", batch[i], err)
			}
			all = append(all, account)
		}
	}
	return all, nil
}

// fits says why the server cannot hold a pool. A server that does not tell, as
// embedded and some managed ones do not, is believed.
func (s store) fits(ctx context.Context) error {
	info, err := s.rdb.Info(ctx, "server").Result()
	if known, err := told(err); err != nil {
		return err
	} else if known {
		if version := field(info, "redis_version"); version != "" && major(version) < 7 {
			return fmt.Errorf("%w: it is version %s; use 7 or newer", ErrRedis, version)
		}
	}
	info, err = s.rdb.Info(ctx, "memory").Result()
	if known, err := told(err); err != nil {
		return err
	} else if known {
		if policy := field(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
			return fmt.Errorf("%w: maxmemory-policy is %s, which may delete accounts; use noeviction", ErrRedis, policy)
		}
	}
	return nil
}

// told tells a server that refuses to answer from one that is not there.
func told(err error) (bool, error) {
	var refused redis.Error
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &refused):
		return false, nil
	default:
		return false, err
	}
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// major returns the number before the first dot; 0 if there is none.
func major(version string) (n int) {
	for _, r := range version {
		if r < '0' || r > '9' {
			break
		}
		n = 10*n + int(r-'0')
	}
	return n
}
