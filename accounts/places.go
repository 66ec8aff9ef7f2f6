package accounts

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
)

// Where an account can be, as places.lua names it.
const (
	inAvailable   = "available"
	inHeld        = "held"
	inQuarantined = "quarantined"
	inRetired     = "retired"
	// inReason is no place: there is a reason for a quarantine, and none.
	inReason = "reason"
)

// place is one place that an account was found in: the role or the holder, and
// what stands there.
type place struct{ in, which, what string }

// String names the place in a report.
func (p place) String() string {
	switch p.in {
	case inHeld:
		return "held by " + p.which
	case inAvailable, inRetired:
		return p.in + " as " + p.which
	default:
		return p.in
	}
}

// found is what is known of one account at one moment: its record, "" if there
// is none, and its places.
type found struct {
	record string
	places []place
}

// holding is a holder, and which of the accounts, by position, to look for in
// what it holds; all of them when nil.
type holding struct {
	holder string
	at     []int
}

// glance is what to look at.
type glance struct {
	ids      []string
	roles    []string
	holdings []holding
	// all is set when the roles and holdings must be all that there are.
	all bool
}

//go:embed scripts/places.lua
var placesSource string

var placesScript = guarded(placesSource)

// look looks where accounts are at one moment, now by Redis's clock in ms. The
// error is errAgain when not all roles or holders were given and should be.
func (s store) look(ctx context.Context, g glance) (now int64, all []found, err error) {
	keys := []string{
		s.keys.gen(), s.keys.records(), s.keys.quarantined(), s.keys.reasons(), s.keys.retired(), s.keys.roles(), s.keys.holders(),
	}
	which := ""
	if g.all {
		which = "all"
	}
	args := append([]any{s.id, which, len(g.ids), len(g.roles), len(g.holdings)}, anys(g.ids)...)
	for _, role := range g.roles {
		keys, args = append(keys, s.keys.available(role)), append(args, role)
	}
	for _, h := range g.holdings {
		keys, args = append(keys, s.keys.held(h.holder)), append(args, h.holder)
	}
	for _, h := range g.holdings {
		args = append(args, len(h.at))
		for _, i := range h.at {
			args = append(args, i+1)
		}
	}
	got, err := placesScript.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return 0, nil, err
	}
	return decodePlaces(got, len(g.ids))
}

// decodePlaces decodes the answer about n accounts.
func decodePlaces(got []any, n int) (now int64, all []found, err error) {
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return 0, nil, err
	}
	now = r.number()
	list := reply{rest: r.list(), err: r.err}
	if list.err == nil && len(list.rest) != n {
		list.err = fmt.Errorf("%w: places of %d of %d accounts", errReply, len(list.rest), n)
	}
	for list.err == nil && len(list.rest) > 0 {
		texts := list.texts()
		if list.err != nil || len(texts)%3 != 1 {
			return 0, nil, errors.Join(list.err, fmt.Errorf("%w: places in %d texts", errReply, len(texts)))
		}
		f := found{record: texts[0]}
		for i := 1; i < len(texts); i += 3 {
			f.places = append(f.places, place{texts[i], texts[i+1], texts[i+2]})
		}
		all = append(all, f)
	}
	return now, all, list.err
}

// ms is the number that stands at an available or quarantined account.
func (p place) ms() float64 {
	n, err := strconv.ParseFloat(p.what, 64)
	if err != nil {
		return 0
	}
	return n
}

// lookEverywhere looks at every place that there is, so that an account that is
// not found is nowhere. It calls do for each account. The accounts are looked at
// in batches, each at one moment, and small enough that a look is short however
// many holders there are.
func (s store) lookEverywhere(ctx context.Context, ids []string, do func(id string, now int64, f found) error) error {
	for len(ids) > 0 {
		roles, err := s.roles(ctx)
		if err != nil {
			return err
		}
		holders, err := s.holders(ctx)
		if err != nil {
			return err
		}
		g := glance{roles: roles, all: true}
		for _, z := range holders {
			g.holdings = append(g.holdings, holding{holder: z.Member.(string)})
		}
		batch := min(max(lookups/(1+len(roles)+len(holders)), 4), moveBatch)
		for len(ids) > 0 {
			g.ids = ids[:min(batch, len(ids))]
			now, all, err := s.look(ctx, g)
			if errors.Is(err, errAgain) {
				break // with the roles and holders that there are now
			}
			if err != nil {
				return err
			}
			for i, f := range all {
				if err := do(g.ids[i], now, f); err != nil {
					return err
				}
			}
			ids = ids[len(g.ids):]
		}
	}
	return nil
}

// lookups is how many places are looked at in one call. With a thousand holders
// it was measured to take 3 ms of the server's time, two of them for the holders
// alone.
const lookups = 8_000
