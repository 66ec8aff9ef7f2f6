package accounts

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

var errReply = errors.New("unexpected answer from Redis")

// reply reads a script's answer from left to right. After the first mismatch
// every read returns zero values, and err says what was wrong.
type reply struct {
	rest []any
	err  error
}

func (r *reply) next() any {
	if r.err != nil {
		return nil
	}
	if len(r.rest) == 0 {
		r.err = fmt.Errorf("%w: too short", errReply)
		return nil
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

func take[T any](r *reply) (v T) {
	raw := r.next()
	if r.err != nil {
		return v
	}
	v, ok := raw.(T)
	if !ok {
		// Only the type is named: the value may be a record.
		r.err = fmt.Errorf("%w: a %T instead of a %T", errReply, raw, v)
	}
	return v
}

func (r *reply) text() string  { return take[string](r) }
func (r *reply) number() int64 { return take[int64](r) }
func (r *reply) list() []any   { return take[[]any](r) }

// decimal reads a whole number that travels as text, because it may be too
// large for how Lua prints numbers.
func (r *reply) decimal() int64 {
	text := r.text()
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.err = fmt.Errorf("%w: not a number", errReply)
	}
	return n
}

func (r *reply) texts() []string {
	inner := reply{rest: r.list(), err: r.err}
	texts := make([]string, 0, len(inner.rest))
	for inner.err == nil && len(inner.rest) > 0 {
		texts = append(texts, inner.text())
	}
	r.err = inner.err
	return texts
}

// status reads the first word of an answer.
func (r *reply) status() error {
	word := r.text()
	return status(word, r.err)
}

// generation is what the gen key holds.
type generation struct {
	schema, id string
	settings   Settings
}

func decodeGeneration(got []any) (generation, error) {
	r := reply{rest: got}
	g := generation{schema: r.text()}
	if r.err != nil || g.schema != schema {
		// Another version's fields are not ours to read.
		return g, r.err
	}
	ms := func() time.Duration { return time.Duration(r.decimal()) * time.Millisecond }
	g.id = r.text()
	g.settings = Settings{LeaseTTL: ms(), LockDelay: ms(), Rest: ms(), MaxUses: int(r.decimal()), MaxAge: ms(), ReplicaLag: ms()}
	return g, r.err
}

// decodeGrant decodes the answer to a lease call for n accounts. A record that
// needs a missing key is the process's mistake, not the account's: it is an error.
func decodeGrant(c codec, got []any, n int) (grant, error) {
	r := reply{rest: got}
	err := r.status()
	frozen := errors.Is(err, ErrFrozen)
	if err != nil && !frozen {
		return grant{}, err
	}
	token, ids, records := r.decimal(), r.texts(), r.list()
	g := grant{wait: time.Duration(r.number()) * time.Millisecond, resting: r.number(),
		leased: r.number(), quarantined: r.number(), retired: r.number(), frozen: frozen, most: r.heldBy()}
	if r.err == nil && len(records) != len(ids) {
		r.err = fmt.Errorf("%w: %d records of %d accounts", errReply, len(records), len(ids))
	}
	if r.err != nil {
		return grant{}, r.err
	}
	g.short = len(ids) < n
	g.accounts = make([]Leased, 0, len(ids))
	for i, id := range ids {
		text, _ := records[i].(string)
		account, err := c.decode(id, text)
		if errors.Is(err, ErrKey) {
			return grant{}, err
		}
		if err != nil {
			g.unreadable = append(g.unreadable, id)
			continue
		}
		g.accounts = append(g.accounts, Leased{Account: account, Token: token})
	}
	g.token = token
	return g, nil
}

// heldBy reads a list of names and numbers.
func (r *reply) heldBy() []HeldBy {
	texts := r.texts()
	var all []HeldBy
	for i := 0; i+1 < len(texts); i += 2 {
		n, err := strconv.ParseFloat(texts[i+1], 64)
		if err != nil {
			r.err = fmt.Errorf("%w: not a number", errReply)
			return nil
		}
		all = append(all, HeldBy{Name: texts[i], Accounts: int64(n)})
	}
	return all
}

// decodeStats decodes the answer to a stats call for the roles.
func decodeStats(got []any, roles []string) ([]RoleStats, time.Duration, error) {
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return nil, 0, err
	}
	frozen := time.Duration(r.number()) * time.Millisecond
	all := make([]RoleStats, 0, len(roles))
	for _, role := range roles {
		inner := reply{rest: r.list(), err: r.err}
		s := RoleStats{Role: role, Available: inner.number(), Resting: inner.number(), Waiting: inner.number(),
			Leased: inner.number(), Quarantined: inner.number(), Retired: inner.number(), Leases: inner.number(),
			Releases: inner.number(), Reclaimed: inner.number(), PeakLeased: inner.number(),
			Created: inner.number(), Failed: inner.number()}
		for i := range s.Waits {
			s.Waits[i] = inner.number()
		}
		if r.err = inner.err; r.err != nil {
			return nil, 0, r.err
		}
		s.Known = s.Available + s.Resting + s.Leased + s.Quarantined + s.Retired
		all = append(all, s)
	}
	return all, frozen, r.err
}
