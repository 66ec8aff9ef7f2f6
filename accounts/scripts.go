package accounts

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// schema is the version of everything that keys.go and the scripts describe.
const schema = "2"

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
// package sends commands, but for the reads in reads.go, reads_stock.go and
// scan.go, and two libraries that bring their own: turn.go, permit.go.
type store struct {
	rdb  redis.UniversalClient
	keys keys
	// id is the pool's own; a script that does not find it answers NOPOOL, so
	// that a pool destroyed and made again is not mistaken for the old one.
	id string
	// codec reads and writes records.
	codec codec
}

//go:embed scripts/prologue.lua
var prologueSource string

// guarded returns the script that begins with the prologue.
func guarded(source string) *redis.Script { return redis.NewScript(prologueSource + source) }

//go:embed scripts/create.lua
var createSource string

var createScript = redis.NewScript(createSource)

// create makes the pool with the id and settings given, or returns those of
// the pool that is there.
func (s store) create(ctx context.Context, id string, want Settings) (generation, error) {
	got, err := createScript.Run(ctx, s.rdb, []string{s.keys.gen()},
		schema, id, want.LeaseTTL.Milliseconds(), want.LockDelay.Milliseconds(), want.Rest.Milliseconds(),
		want.MaxUses, want.MaxAge.Milliseconds(), want.ReplicaLag.Milliseconds()).Slice()
	if err != nil {
		return generation{}, err
	}
	if len(got) == 1 {
		word, _ := got[0].(string)
		return generation{}, status(word, nil)
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
		s.keys.uses(), s.keys.born(),
	}
	keys = append(keys, s.keys.ofProvisioning()...)
	keys = append(keys, s.keys.ofRoles(roles)...)
	for _, id := range holders {
		keys = append(keys, s.keys.holder(id), s.keys.held(id))
	}
	return status(destroyScript.Run(ctx, s.rdb, keys, s.id, len(roles), len(holders)).Text())
}

//go:embed scripts/stats.lua
var statsSource string

var statsScript = guarded(statsSource)

// stats also returns how long the pool is still frozen.
func (s store) stats(ctx context.Context, roles []string) ([]RoleStats, time.Duration, error) {
	keys := append([]string{s.keys.gen()}, s.keys.ofRoles(roles)...)
	got, err := statsScript.Run(ctx, s.rdb, keys, s.id, WaitBuckets).Slice()
	if err != nil {
		return nil, 0, err
	}
	return decodeStats(got, roles)
}

//go:embed scripts/sweep.lua
var sweepSource string

var sweepScript = guarded(sweepSource)

// sweep frees accounts of the role whose quarantine is over (maxAge 0), or
// retires those that are older than maxAge.
// It returns the ids of those that it moved.
func (s store) sweep(ctx context.Context, role string, maxAge time.Duration, ids []string) ([]string, error) {
	keys := []string{
		s.keys.gen(), s.keys.quarantined(), s.keys.reasons(), s.keys.born(), s.keys.retired(),
		s.keys.available(role), s.keys.counts(role),
	}
	what := "free"
	if maxAge > 0 {
		what = "retire"
	}
	args := []any{s.id, role, what, maxAge.Milliseconds()}
	for _, id := range ids {
		args = append(args, id)
	}
	return listed(sweepScript.Run(ctx, s.rdb, keys, args...).Slice())
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
	case "RESYNC":
		return errResync
	case "FROZEN":
		return ErrFrozen
	case "NOINFO":
		return errNoInfo
	case "LIVE":
		return errLive
	case "EXISTS":
		return errExists
	case "AGAIN":
		return errAgain
	case "ROLES":
		return ErrRoles
	case "KEY":
		return ErrKey
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
