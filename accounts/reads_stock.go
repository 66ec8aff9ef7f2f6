package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What is read of accounts and their records.

// intent is an intended account with its record.
type intent struct {
	Account
	record string
}

// intents returns up to limit intended accounts, by username.
func (s store) intents(ctx context.Context, limit int) ([]Account, error) {
	usernames, err := s.rdb.HRandField(ctx, s.keys.intents(), limit).Result()
	if err != nil {
		return nil, err
	}
	all := make([]Account, 0, len(usernames))
	for batch := range slices.Chunk(usernames, moveBatch) {
		intended, err := s.intended(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, in := range intended {
			all = append(all, in.Account)
		}
	}
	slices.SortFunc(all, byUsername)
	return all, nil
}

// intended returns those of the usernames that are intended.
func (s store) intended(ctx context.Context, usernames []string) ([]intent, error) {
	records, err := s.rdb.HMGet(ctx, s.keys.intents(), usernames...).Result()
	if err != nil {
		return nil, err
	}
	all := make([]intent, 0, len(records))
	for i, v := range records {
		record, ok := v.(string)
		if !ok {
			continue
		}
		account, err := s.codec.decode("", record)
		if err != nil {
			return nil, fmt.Errorf("intent %q: %w", usernames[i], err)
		}
		all = append(all, intent{account, record})
	}
	return all, nil
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
			account, err := s.codec.decode(batch[i], text)
			if err != nil {
				return nil, fmt.Errorf("account %s: %w", batch[i], err)
			}
			all = append(all, account)
		}
	}
	return all, nil
}

// rolesOf returns the ids by role, leaving out those unknown and those whose
// records make no sense: nothing is to be done with them.
func (s store) rolesOf(ctx context.Context, ids []string) (map[string][]string, error) {
	got, err := s.rdb.HMGet(ctx, s.keys.records(), ids...).Result()
	if err != nil {
		return nil, err
	}
	byRole := map[string][]string{}
	for i, v := range got {
		text, ok := v.(string)
		if !ok {
			continue
		}
		account, err := s.codec.decode(ids[i], text)
		switch {
		case errors.Is(err, ErrKey):
			return nil, err
		case err == nil:
			byRole[account.Role] = append(byRole[account.Role], ids[i])
		}
	}
	return byRole, nil
}

// idsOf returns the ids of those of the usernames that are known.
func (s store) idsOf(ctx context.Context, usernames []string) ([]string, error) {
	got, err := s.rdb.HMGet(ctx, s.keys.index(), usernames...).Result()
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(got))
	for _, v := range got {
		if id, ok := v.(string); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// known returns what the pool knows of these usernames. Those that are intended
// have no id.
func (s store) known(ctx context.Context, usernames []string) (map[string]Account, error) {
	ids, err := s.idsOf(ctx, usernames)
	if err != nil {
		return nil, err
	}
	all, err := s.accounts(ctx, ids)
	if err != nil {
		return nil, err
	}
	if len(all) != len(ids) {
		return nil, fmt.Errorf("%w: %d of %d accounts have none", errRecord, len(ids)-len(all), len(ids))
	}
	intended, err := s.intended(ctx, usernames)
	if err != nil {
		return nil, err
	}
	known := make(map[string]Account, len(all)+len(intended))
	for _, in := range intended {
		known[in.Username] = in.Account
	}
	for _, a := range all {
		known[a.Username] = a
	}
	return known, nil
}

// quarantinedWhy returns up to limit quarantined accounts, those first that come
// out of quarantine first.
func (s store) quarantinedWhy(ctx context.Context, limit int) ([]Quarantined, error) {
	zs, err := s.rdb.ZRangeWithScores(ctx, s.keys.quarantined(), 0, int64(limit)-1).Result()
	if err != nil {
		return nil, err
	}
	all := make([]Quarantined, 0, len(zs))
	for batch := range slices.Chunk(zs, moveBatch) {
		ids, untils := make([]string, len(batch)), map[string]float64{}
		for i, z := range batch {
			ids[i] = z.Member.(string)
			untils[ids[i]] = z.Score
		}
		accounts, err := s.accounts(ctx, ids)
		if err != nil {
			return nil, err
		}
		texts, err := s.rdb.HMGet(ctx, s.keys.reasons(), ids...).Result()
		if err != nil {
			return nil, err
		}
		reasons := map[string]string{}
		for i, v := range texts {
			reasons[ids[i]], _ = v.(string)
		}
		for _, a := range accounts {
			q := Quarantined{Account: a, Until: untilTime(untils[a.ID])}
			if text := reasons[a.ID]; text != "" { // else it came out meanwhile
				since, why := decodeReason(text)
				q.Since, q.Reason, q.Holder, q.HolderName = since, why.Reason, why.Holder, why.Name
			}
			all = append(all, q)
		}
	}
	return all, nil
}

// heldOf returns how many accounts of a role are counted as leased, and how many
// by holder, at one moment.
func (s store) heldOf(ctx context.Context, role string) (counted, held int64, err error) {
	pipe := s.rdb.TxPipeline()
	id := pipe.HGet(ctx, s.keys.gen(), "id")
	leased := pipe.HGet(ctx, s.keys.counts(role), "leased")
	by := pipe.ZRangeWithScores(ctx, s.keys.byHolder(role), 0, -1)
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil {
		return 0, 0, err
	}
	if id.Val() != s.id {
		return 0, 0, ErrNoPool
	}
	for _, z := range by.Val() {
		held += int64(z.Score)
	}
	if leased.Err() == redis.Nil {
		return 0, held, nil
	}
	counted, err = leased.Int64()
	return counted, held, err
}

// lookUp returns where usernames lead to, and the records of the accounts that
// they are thought to lead to, at one moment; "" for what is not there.
func (s store) lookUp(ctx context.Context, names []pair) (indexed, records []string, err error) {
	usernames, ids := make([]string, len(names)), make([]string, len(names))
	for i, name := range names {
		usernames[i], ids[i] = name.key, name.text
	}
	pipe := s.rdb.TxPipeline()
	index := pipe.HMGet(ctx, s.keys.index(), usernames...)
	recs := pipe.HMGet(ctx, s.keys.records(), ids...)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, nil, err
	}
	indexed, records = make([]string, len(names)), make([]string, len(names))
	for i := range names {
		indexed[i], _ = index.Val()[i].(string)
		records[i], _ = recs.Val()[i].(string)
	}
	return indexed, records, nil
}
