package accounts

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// schema is the version of everything that keys.go and the scripts describe.
const schema = "1"

const (
	// leaseBatch is how many leases one call asks for: beyond about a hundred,
	// larger batches only make the server's pauses longer.
	leaseBatch = 100
	// moveBatch is how many accounts any other call moves: about half a
	// millisecond of the server's time.
	moveBatch = 256
	// maxRoles keeps the scripts that touch every role's keys short.
	maxRoles = 64
)

// store is a pool in Redis: one typed method per script. Nothing else in the
// package sends commands, except the reads in reads.go.
type store struct {
	rdb  redis.UniversalClient
	keys keys
	// id is the pool's own; a script that does not find it answers NOPOOL, so
	// that a pool destroyed and made again is not mistaken for the old one.
	id string
}

//go:embed scripts/create.lua
var createSource string

var createScript = redis.NewScript(createSource)

// create makes the pool with the id and settings given, or returns those of
// the pool that is there.
func (s store) create(ctx context.Context, id string, want Settings) (generation, error) {
	got, err := createScript.Run(ctx, s.rdb, []string{s.keys.gen()},
		schema, id, want.LeaseTTL.Milliseconds(), want.LockDelay.Milliseconds(), want.Rest.Milliseconds()).Slice()
	if err != nil {
		return generation{}, err
	}
	return decodeGeneration(got)
}

//go:embed scripts/destroy.lua
var destroySource string

var destroyScript = redis.NewScript(destroySource)

func (s store) destroy(ctx context.Context, roles, holders []string) error {
	keys := []string{
		s.keys.gen(), s.keys.roles(), s.keys.holders(), s.keys.records(), s.keys.index(), s.keys.intents(),
		s.keys.ids(), s.keys.token(), s.keys.quarantined(), s.keys.reasons(), s.keys.retired(),
	}
	keys = append(keys, s.keys.ofRoles(roles)...)
	for _, id := range holders {
		keys = append(keys, s.keys.holder(id), s.keys.held(id))
	}
	return status(destroyScript.Run(ctx, s.rdb, keys, s.id, len(roles), len(holders)).Text())
}

//go:embed scripts/open.lua
var openSource string

var openScript = redis.NewScript(openSource)

func (s store) open(ctx context.Context, holder string, ttl time.Duration, name string) error {
	keys := []string{s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder)}
	return status(openScript.Run(ctx, s.rdb, keys, s.id, holder, ttl.Milliseconds(), name).Text())
}

//go:embed scripts/renew.lua
var renewSource string

var renewScript = redis.NewScript(renewSource)

func (s store) renew(ctx context.Context, holder string, ttl time.Duration) error {
	keys := []string{s.keys.gen(), s.keys.holders(), s.keys.holder(holder)}
	return status(renewScript.Run(ctx, s.rdb, keys, s.id, holder, ttl.Milliseconds()).Text())
}

//go:embed scripts/lease.lua
var leaseSource string

var leaseScript = redis.NewScript(leaseSource)

// grant is what a lease call has brought.
type grant struct {
	accounts []Leased
	// unreadable are ids that were leased too, with this token, but whose
	// records make no sense.
	unreadable []string
	token      int64
	// short is set when there were fewer accounts than asked for. Then wait is
	// the time until the next resting one is ready, below zero if none rests.
	short                                 bool
	wait                                  time.Duration
	leased, resting, quarantined, retired int64
}

func (s store) lease(ctx context.Context, holder string, seq int64, n int, role string) (grant, error) {
	keys := []string{
		s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder), s.keys.records(), s.keys.token(),
		s.keys.available(role), s.keys.counts(role),
	}
	got, err := leaseScript.Run(ctx, s.rdb, keys, s.id, holder, seq, n, role).Slice()
	if err != nil {
		return grant{}, err
	}
	return decodeGrant(got, n)
}

//go:embed scripts/release.lua
var releaseSource string

var releaseScript = redis.NewScript(releaseSource)

// release is one account to be given back.
type release struct {
	id, role string
	token    int64
	outcome  Outcome
}

// reason is what is kept of a quarantined account, as JSON.
type reason struct {
	Reason string `json:"reason"`
	Token  string `json:"token"`
	Holder string `json:"holder"`
}

// release returns the ids that were not held with their token.
func (s store) release(ctx context.Context, holder string, seq int64, rest time.Duration, all []release) ([]string, error) {
	byRole := map[string][]release{}
	for _, r := range all {
		byRole[r.role] = append(byRole[r.role], r)
	}
	roles := slices.Sorted(maps.Keys(byRole))
	keys := append([]string{
		s.keys.gen(), s.keys.holder(holder), s.keys.held(holder), s.keys.quarantined(), s.keys.reasons(),
	}, s.keys.ofRoles(roles)...)
	args := make([]any, 0, 4+len(roles)+3*len(all))
	args = append(args, s.id, seq, rest.Milliseconds(), len(roles))
	for _, role := range roles {
		args = append(args, len(byRole[role]))
	}
	for _, role := range roles {
		for _, r := range byRole[role] {
			token, why := strconv.FormatInt(r.token, 10), ""
			if r.outcome != OK {
				text, err := json.Marshal(reason{Reason: string(r.outcome), Token: token, Holder: holder})
				if err != nil {
					return nil, err
				}
				why = string(text)
			}
			args = append(args, r.id, token+" "+role, why)
		}
	}
	got, err := releaseScript.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return nil, err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return nil, err
	}
	stale := r.texts()
	return stale, r.err
}

//go:embed scripts/close.lua
var closeSource string

var closeScript = redis.NewScript(closeSource)

// close gives back up to batch accounts of a holder that ends (seen "") or that
// a reclaimer has seen with this score. It returns how many it gave back and
// how many are left.
func (s store) close(ctx context.Context, holder, seen string, with Settings, batch int, roles []string) (moved, left int, err error) {
	keys := append([]string{s.keys.gen(), s.keys.holders(), s.keys.holder(holder), s.keys.held(holder)},
		s.keys.ofRoles(roles)...)
	args := []any{s.id, holder, seen, with.LockDelay.Milliseconds(), with.Rest.Milliseconds(), batch}
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

//go:embed scripts/stats.lua
var statsSource string

var statsScript = redis.NewScript(statsSource)

func (s store) stats(ctx context.Context, roles []string) ([]RoleStats, error) {
	keys := append([]string{s.keys.gen()}, s.keys.ofRoles(roles)...)
	got, err := statsScript.Run(ctx, s.rdb, keys, s.id).Slice()
	if err != nil {
		return nil, err
	}
	return decodeStats(got, roles)
}

//go:embed scripts/intend.lua
var intendSource string

var intendScript = redis.NewScript(intendSource)

// pair is a username, or an account's id, and the text that goes with it.
type pair struct{ key, text string }

func (s store) intend(ctx context.Context, records []pair) (added int, err error) {
	keys := []string{s.keys.gen(), s.keys.index(), s.keys.intents()}
	return counted(intendScript.Run(ctx, s.rdb, keys, append([]any{s.id}, flat(records)...)...).Slice())
}

//go:embed scripts/confirm.lua
var confirmSource string

var confirmScript = redis.NewScript(confirmSource)

func (s store) confirm(ctx context.Context, role string, records []pair) (confirmed int, err error) {
	keys := []string{
		s.keys.gen(), s.keys.intents(), s.keys.index(), s.keys.records(), s.keys.ids(), s.keys.roles(),
		s.keys.available(role),
	}
	return counted(confirmScript.Run(ctx, s.rdb, keys, append([]any{s.id, role, maxRoles}, flat(records)...)...).Slice())
}

//go:embed scripts/retire.lua
var retireSource string

var retireScript = redis.NewScript(retireSource)

func (s store) retire(ctx context.Context, role string, n int) (retired int, err error) {
	keys := []string{s.keys.gen(), s.keys.retired(), s.keys.available(role), s.keys.counts(role)}
	return counted(retireScript.Run(ctx, s.rdb, keys, s.id, role, n).Slice())
}

//go:embed scripts/retire_quarantined.lua
var retireQuarantinedSource string

var retireQuarantinedScript = redis.NewScript(retireQuarantinedSource)

func (s store) retireQuarantined(ctx context.Context, role string, ids []string) (retired int, err error) {
	keys := []string{s.keys.gen(), s.keys.quarantined(), s.keys.reasons(), s.keys.retired(), s.keys.counts(role)}
	args := []any{s.id, role}
	for _, id := range ids {
		args = append(args, id)
	}
	return counted(retireQuarantinedScript.Run(ctx, s.rdb, keys, args...).Slice())
}

//go:embed scripts/forget.lua
var forgetSource string

var forgetScript = redis.NewScript(forgetSource)

// forget takes pairs of id and username.
func (s store) forget(ctx context.Context, role string, names []pair) (forgotten int, err error) {
	keys := []string{s.keys.gen(), s.keys.records(), s.keys.index(), s.keys.retired(), s.keys.counts(role)}
	return counted(forgetScript.Run(ctx, s.rdb, keys, append([]any{s.id, role}, flat(names)...)...).Slice())
}

func flat(pairs []pair) []any {
	all := make([]any, 0, 2*len(pairs))
	for _, p := range pairs {
		all = append(all, p.key, p.text)
	}
	return all
}

// status turns a script's one-word answer into an error.
func status(word string, err error) error {
	if err != nil {
		return err
	}
	switch word {
	case "OK", "DUP":
		return nil
	case "NOPOOL":
		return ErrNoPool
	case "GONE":
		return errGone
	case "EXPIRED":
		return errExpired
	case "STALE":
		return errStale
	case "LIVE":
		return errLive
	case "EXISTS":
		return errExists
	case "AGAIN":
		return errAgain
	case "ROLES":
		return ErrRoles
	default:
		return fmt.Errorf("%w: status %q", errReply, word)
	}
}

// counted decodes {status, count}.
func counted(got []any, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	r := reply{rest: got}
	if err := r.status(); err != nil {
		return 0, err
	}
	n := r.number()
	return int(n), r.err
}
