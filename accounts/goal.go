package accounts

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/note.lua
var noteSource string

var noteScript = guarded(noteSource)

// note keeps a text under the key, or, if it keeps what is there, returns that.
func (s store) note(ctx context.Context, key, text string, keep bool) (there string, err error) {
	how := "replace"
	if keep {
		how = "keep"
	}
	keys := []string{s.keys.gen(), key, s.keys.records(), s.keys.intents()}
	got, err := noteScript.Run(ctx, s.rdb, keys, s.id, text, how).Slice()
	if err != nil {
		return "", err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return "", err
	}
	there = r.text()
	return there, r.err
}

// noted returns the text under the key; "" if there is none.
func (s store) noted(ctx context.Context, key string) (string, error) {
	text, err := s.rdb.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return text, err
}

// Goal returns what SetGoal has kept; nil when there is no goal.
func (p *Pool) Goal(ctx context.Context) (map[string]int, error) {
	text, err := p.store.noted(ctx, p.store.keys.goal())
	if err != nil || text == "" {
		return nil, p.wrap("read the goal", err)
	}
	var goal map[string]int
	if err := json.Unmarshal([]byte(text), &goal); err != nil {
		return nil, p.wrap("read the goal", fmt.Errorf("%w: %w", errReply, err))
	}
	return goal, nil
}

// SetGoal keeps, by role, how many accounts the pool is to have when a creation
// that begins now has ended, in place of an earlier goal. Whoever comes after a
// crash finds in Goal what was wanted, and need not guess how much of it is
// there. It does nothing by itself.
func (p *Pool) SetGoal(ctx context.Context, goal map[string]int) error {
	for role, n := range goal {
		err := checkRole(role)
		if n < 0 {
			err = errors.Join(err, fmt.Errorf("role %s: %d accounts: use no less than 0", role, n))
		}
		if err != nil {
			return p.wrap("keep the goal", err)
		}
	}
	text, err := json.Marshal(goal)
	if err != nil {
		return p.wrap("keep the goal", err)
	}
	_, err = p.store.note(ctx, p.store.keys.goal(), string(text), false)
	return p.wrap("keep the goal", err)
}

// ClearGoal ends the goal. That there is none is fine.
func (p *Pool) ClearGoal(ctx context.Context) error {
	_, err := p.store.note(ctx, p.store.keys.goal(), "", false)
	return p.wrap("end the goal", err)
}

// Baseline returns how many accounts the target had before the pool created any
// there, and whether that is known.
func (p *Pool) Baseline(ctx context.Context) (n int, known bool, err error) {
	text, err := p.store.noted(ctx, p.store.keys.baseline())
	if err != nil || text == "" {
		return 0, false, p.wrap("read the baseline", err)
	}
	n, err = strconv.Atoi(text)
	return n, err == nil, p.wrap("read the baseline", err)
}

// SetBaseline keeps n as the baseline and returns what it is. The first one is
// kept for as long as the pool has accounts or intents: an empty pool has
// nothing in the target, so a count of that time is the better one.
func (p *Pool) SetBaseline(ctx context.Context, n int) (int, error) {
	if n < 0 {
		return 0, p.wrap("keep the baseline", fmt.Errorf("%d accounts: use no less than 0", n))
	}
	there, err := p.store.note(ctx, p.store.keys.baseline(), strconv.Itoa(n), true)
	if err != nil {
		return 0, p.wrap("keep the baseline", err)
	}
	n, err = strconv.Atoi(there)
	return n, p.wrap("keep the baseline", err)
}

//go:embed scripts/failed.lua
var failedSource string

var failedScript = guarded(failedSource)

// CountFailed counts, by role, calls that were to create an account and failed.
// Stats has the sum, also of a role that the pool has no account of yet.
func (p *Pool) CountFailed(ctx context.Context, byRole map[string]int) error {
	if len(byRole) == 0 {
		return nil
	}
	keys, args := []string{p.store.keys.gen(), p.store.keys.roles()}, []any{p.store.id, maxRoles}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		if err := checkRole(role); err != nil {
			return p.wrap("count failures", err)
		}
		keys, args = append(keys, p.store.keys.counts(role)), append(args, role, byRole[role])
	}
	return p.wrap("count failures", status(failedScript.Run(ctx, p.store.rdb, keys, args...).Text()))
}
