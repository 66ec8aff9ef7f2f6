package accounts

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a holder asks of Redis, and what is asked about one.

//go:embed scripts/open.lua
var openSource string

var openScript = guarded(openSource)

func (s store) open(ctx context.Context, holder string, ttl time.Duration, name string) error {
	keys := []string{s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder)}
	return status(openScript.Run(ctx, s.rdb, keys, s.id, holder, ttl.Milliseconds(), name).Text())
}

//go:embed scripts/renew.lua
var renewSource string

var renewScript = guarded(renewSource)

// renew takes the number of the last call that was answered.
func (s store) renew(ctx context.Context, holder string, ttl time.Duration, answered int64) error {
	keys := []string{s.keys.gen(), s.keys.holders(), s.keys.holder(holder)}
	return status(renewScript.Run(ctx, s.rdb, keys, s.id, holder, ttl.Milliseconds(), answered).Text())
}

//go:embed scripts/revoke.lua
var revokeSource string

var revokeScript = guarded(revokeSource)

func (s store) revoke(ctx context.Context, holder string) error {
	return status(revokeScript.Run(ctx, s.rdb, []string{s.keys.gen(), s.keys.holder(holder)}, s.id).Text())
}

//go:embed scripts/lease.lua
var leaseSource string

var leaseScript = guarded(leaseSource)

// grant is what a lease call has brought.
type grant struct {
	accounts []Leased
	// unreadable are ids that were leased too, with this token, but whose
	// records make no sense.
	unreadable []string
	token      int64
	// short is set when there were fewer accounts than were waited for. Then
	// wait is the time until the next resting one is ready, or until the freeze
	// is over, below zero if none rests; and most holds those who have the most.
	short, frozen                         bool
	wait                                  time.Duration
	leased, resting, quarantined, retired int64
	most                                  []HeldBy
}

// lease asks for n accounts, and for as many as extra more if there are plenty.
func (s store) lease(ctx context.Context, holder, name string, seq int64, n, extra int, role string, maxAge time.Duration) (grant, error) {
	keys := []string{
		s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder), s.keys.records(), s.keys.token(),
		s.keys.available(role), s.keys.counts(role), s.keys.byHolder(role), s.keys.wanted(role), s.keys.roles(),
	}
	if maxAge > 0 {
		keys = append(keys, s.keys.born(), s.keys.retired())
	}
	got, err := leaseScript.Run(ctx, s.rdb, keys, s.id, holder, seq, n, extra, role, name, maxAge.Milliseconds()).Slice()
	if err != nil {
		return grant{}, err
	}
	return decodeGrant(s.codec, got, n)
}

//go:embed scripts/release.lua
var releaseSource string

var releaseScript = guarded(releaseSource)

// release is one account to be given back.
type release struct {
	id, role string
	token    int64
	outcome  Outcome
	// unused says that the account was leased ahead and not needed: it does not
	// rest, and that was no use.
	unused bool
}

// reason is what is kept of a quarantined account, as JSON.
type reason struct {
	Reason string `json:"reason"`
	Token  string `json:"token,omitempty"`
	Holder string `json:"holder,omitempty"`
	Name   string `json:"name,omitempty"`
}

// said is what release.lua is told of an outcome.
func (r release) said(holder, name string) (string, error) {
	switch {
	case r.outcome != OK:
		text, err := json.Marshal(reason{Reason: string(r.outcome), Token: strconv.FormatInt(r.token, 10), Holder: holder, Name: name})
		return string(text), err
	case r.unused:
		return "-", nil
	default:
		return "", nil
	}
}

// release returns the ids that were not held with their token.
func (s store) release(ctx context.Context, holder, name string, seq int64, with Settings, all []release) ([]string, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b release) int {
		return cmp.Or(strings.Compare(a.role, b.role), cmp.Compare(a.token, b.token), cmp.Compare(a.outcome, b.outcome), bools(a.unused, b.unused))
	})
	var roles []string
	var rows []any
	for at := 0; at < len(all); {
		first := all[at]
		if len(roles) == 0 || roles[len(roles)-1] != first.role {
			roles = append(roles, first.role)
		}
		said, err := first.said(holder, name)
		if err != nil {
			return nil, err
		}
		n := 1
		for at+n < len(all) && first.alike(all[at+n]) {
			n++
		}
		rows = append(rows, len(roles), strconv.FormatInt(first.token, 10)+" "+first.role, said, n)
		at += n
	}
	keys := append([]string{
		s.keys.gen(), s.keys.holder(holder), s.keys.held(holder), s.keys.quarantined(), s.keys.reasons(),
		s.keys.uses(), s.keys.retired(),
	}, s.keys.ofRoles(roles)...)
	args := make([]any, 0, 8+len(all)+len(rows))
	args = append(args, s.id, holder, seq, name, with.Rest.Milliseconds(), with.MaxUses, len(roles), len(all))
	for _, r := range all {
		args = append(args, r.id)
	}
	return listed(releaseScript.Run(ctx, s.rdb, keys, append(args, rows...)...).Slice())
}

// alike tells whether release.lua is told the same of both but the id.
func (r release) alike(other release) bool {
	other.id = r.id
	return r == other
}

func bools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

//go:embed scripts/resync.lua
var resyncSource string

var resyncScript = guarded(resyncSource)

// resync tells of accounts that the holder holds, and of ones that it does not
// hold although Redis has it so, as Redis has them. settled is the number of the
// holder's last call that was answered; last is set with the last batch. It
// returns the ids of those accounts that are lost.
func (s store) resync(ctx context.Context, holder, name string, settled int64, last bool, with Settings, holds, not []release) ([]string, error) {
	places := map[string]int{}
	for _, r := range slices.Concat(holds, not) {
		places[r.role] = 0
	}
	roles := slices.Sorted(maps.Keys(places))
	for i, role := range roles {
		places[role] = i + 1
	}
	keys := append([]string{
		s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder), s.keys.token(),
		s.keys.uses(), s.keys.retired(),
	}, s.keys.ofRoles(roles)...)
	final := ""
	if last {
		final = "last"
	}
	args := []any{s.id, holder, name, with.Rest.Milliseconds(), settled, final, with.MaxUses, len(holds)}
	for _, r := range holds {
		args = append(args, r.id, r.token, r.role, places[r.role])
	}
	for _, r := range not {
		args = append(args, r.id, strconv.FormatInt(r.token, 10)+" "+r.role, r.role, places[r.role])
	}
	return listed(resyncScript.Run(ctx, s.rdb, keys, args...).Slice())
}

//go:embed scripts/close.lua
var closeSource string

var closeScript = guarded(closeSource)

// close gives back up to batch accounts of a holder that ends (seen "") or that
// a reclaimer has seen with this score. It returns how many it gave back and
// how many are left.
func (s store) close(ctx context.Context, holder, seen string, with Settings, batch int, roles []string) (moved, left int, err error) {
	keys := append([]string{
		s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder), s.keys.uses(), s.keys.retired(),
	}, s.keys.ofRoles(roles)...)
	args := []any{s.id, holder, seen, with.LockDelay.Milliseconds(), with.Rest.Milliseconds(), with.MaxUses, batch}
	for _, role := range roles {
		args = append(args, role)
	}
	got, err := closeScript.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return 0, 0, err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return 0, 0, err
	}
	moved, left = int(r.number()), int(r.number())
	return moved, left, r.err
}

//go:embed scripts/tell.lua
var tellSource string

var tellScript = guarded(tellSource)

// waited is how often an account of the role was waited for that long.
type waited struct {
	role   string
	bucket int
	n      int64
}

// tell adds to the waits, once for each number.
func (s store) tell(ctx context.Context, holder string, number int64, waits []waited) error {
	keys, args := []string{s.keys.gen(), s.keys.holder(holder), s.keys.roles()}, []any{s.id, number}
	for _, w := range waits {
		keys = append(keys, s.keys.counts(w.role))
		args = append(args, w.role, "w"+strconv.Itoa(w.bucket), w.n)
	}
	return status(tellScript.Run(ctx, s.rdb, keys, args...).Text())
}

// listed decodes {status, {text, ...}}.
func listed(got []any, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return nil, err
	}
	texts := r.texts()
	return texts, r.err
}
