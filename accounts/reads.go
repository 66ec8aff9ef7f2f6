package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The store's reads: plain commands, because nothing hangs on their seeing one
// moment.

// generation reads what the pool was made with; ErrNoPool if it is not there.
func (s store) generation(ctx context.Context) (generation, error) {
	got, err := s.rdb.HMGet(ctx, s.keys.gen(), "schema", "id", "lease_ttl", "lock_delay", "rest",
		"max_uses", "max_age", "replica_lag").Result()
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

// holderStats returns what is known of every registration.
func (s store) holderStats(ctx context.Context) ([]HolderStats, error) {
	zs, err := s.holders(ctx)
	if err != nil {
		return nil, err
	}
	var all []HolderStats
	for batch := range slices.Chunk(zs, moveBatch) {
		pipe := s.rdb.Pipeline()
		fields, counts := make([]*redis.SliceCmd, len(batch)), make([]*redis.IntCmd, len(batch))
		for i, z := range batch {
			id := z.Member.(string)
			fields[i] = pipe.HMGet(ctx, s.keys.holder(id), "name", "state", "opened")
			counts[i] = pipe.HLen(ctx, s.keys.held(id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, err
		}
		for i, z := range batch {
			r := reply{rest: fields[i].Val()}
			if r.rest[0] == nil {
				continue // closed meanwhile
			}
			h := HolderStats{ID: z.Member.(string), Name: r.text(), State: r.text(), Accounts: counts[i].Val()}
			h.Opened = time.UnixMilli(r.decimal())
			if z.Score > 0 {
				h.Expires = time.UnixMilli(int64(z.Score))
			}
			if r.err != nil {
				return nil, r.err
			}
			all = append(all, h)
		}
	}
	return all, nil
}

// mostHeld returns who holds the most accounts of the role.
func (s store) mostHeld(ctx context.Context, role string) ([]HeldBy, error) {
	zs, err := s.rdb.ZRevRangeWithScores(ctx, s.keys.byHolder(role), 0, 4).Result()
	if err != nil {
		return nil, err
	}
	all := make([]HeldBy, len(zs))
	for i, z := range zs {
		_, name, _ := strings.Cut(z.Member.(string), " ")
		all[i] = HeldBy{Name: name, Accounts: int64(z.Score)}
	}
	return all, nil
}

// heldPage returns a page of what Redis has a registration hold, and the cursor
// of the next one, 0 after the last. An account may come twice.
func (s store) heldPage(ctx context.Context, holder string, cursor uint64) ([]release, uint64, error) {
	page, next, err := s.rdb.HScan(ctx, s.keys.held(holder), cursor, "", moveBatch).Result()
	if err != nil {
		return nil, 0, err
	}
	all := make([]release, 0, len(page)/2)
	for i := 0; i+1 < len(page); i += 2 {
		token, role, _ := strings.Cut(page[i+1], " ")
		n, err := strconv.ParseInt(token, 10, 64)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: not a token", errReply)
		}
		all = append(all, release{id: page[i], role: role, token: n})
	}
	return all, next, nil
}

// due returns up to limit ids of a sorted set with a score from the one given up
// to until, from the offset on, with their scores.
func (s store) due(ctx context.Context, key string, from float64, until time.Time, offset, limit int) ([]redis.Z, error) {
	return s.rdb.ZRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{
		Min: strconv.FormatFloat(from, 'f', -1, 64), Max: strconv.FormatInt(until.UnixMilli(), 10),
		Offset: int64(offset), Count: int64(limit),
	}).Result()
}

// unwant takes back that the holder waits for accounts of the roles. It is a
// figure, and only this holder's: no script guards it.
func (s store) unwant(ctx context.Context, holder string, roles []string) error {
	pipe := s.rdb.Pipeline()
	for _, role := range roles {
		pipe.HDel(ctx, s.keys.wanted(role), holder)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// now is Redis's clock.
func (s store) now(ctx context.Context) (time.Time, error) { return s.rdb.Time(ctx).Result() }

// fits says why the server cannot hold a pool. A server that does not tell, as
// embedded and some managed ones do not, is believed.
func (s store) fits(ctx context.Context) error {
	var server redis.Cmdable = s.rdb
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		// A Cluster would let any of its nodes answer; the pool is on one.
		node, err := cluster.MasterForKey(ctx, s.keys.gen())
		if err != nil {
			return err
		}
		server = node
	}
	info, err := server.Info(ctx, "server").Result()
	if known, err := told(err); err != nil {
		return err
	} else if known {
		if version := field(info, "redis_version"); version != "" && major(version) < 7 {
			return fmt.Errorf("%w: it is version %s; use 7 or newer", ErrRedis, version)
		}
	}
	info, err = server.Info(ctx, "memory").Result()
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
