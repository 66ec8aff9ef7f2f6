package accounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/keyspace"
)

// Config says which pool, and where it is.
type Config struct {
	// Redis is where the pool is kept: version 7 or newer, without eviction.
	// It must heed the deadlines of contexts (ContextTimeoutEnabled), because
	// a renewal that hangs is a lease that ends; and it should not retry by
	// itself (MaxRetries -1), because the pool does. The caller closes it.
	Redis redis.UniversalClient
	// Namespace is the prefix of the pool's keys; keyspace.Namespace when "".
	Namespace string
	// Name is the pool's name; see keyspace.Check for what it may contain.
	Name string
	// Keys encrypts the records of accounts in Redis; they are not encrypted
	// when it is nil.
	Keys *Keyring
	// Log is where the pool tells what happens to it; nowhere when nil. No
	// password reaches it.
	Log *zap.Logger
}

// validate reports every problem at once.
func (c Config) validate() error {
	var problems []error
	heeds := true
	switch rdb := c.Redis.(type) {
	case nil:
		problems = append(problems, errors.New("no Redis given"))
	case *redis.Client:
		heeds = rdb.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		heeds = rdb.Options().ContextTimeoutEnabled
	}
	if !heeds {
		problems = append(problems, fmt.Errorf("%w: the connection must be made with ContextTimeoutEnabled", ErrRedis))
	}
	if err := keyspace.Check(c.Name); err != nil {
		problems = append(problems, fmt.Errorf("pool: %w", err))
	}
	return errors.Join(problems...)
}

// Pool is a named set of accounts in Redis. It has no state of its own and is
// safe for concurrent use.
type Pool struct {
	name     string
	settings Settings
	store    store
	log      *zap.Logger
}

// Create makes the pool, or opens it when it is there with the same settings.
// Otherwise the error wraps ErrSettings and names both, ErrVersion, ErrKey or
// ErrRedis.
func Create(ctx context.Context, config Config, settings Settings) (*Pool, error) {
	settings = settings.withDefaults()
	if err := errors.Join(config.validate(), settings.validate()); err != nil {
		return nil, fmt.Errorf("create pool %q: %w", config.Name, err)
	}
	p, err := open(ctx, config, func(s store) (generation, error) {
		return s.create(ctx, uuid.NewString(), settings)
	})
	if err != nil {
		return nil, fmt.Errorf("create pool %q: %w", config.Name, err)
	}
	if p.settings != settings {
		return nil, fmt.Errorf("create pool %q: %w: it has %v; asked for %v", config.Name, ErrSettings, p.settings, settings)
	}
	if err := p.store.setKey(ctx, false); err != nil {
		return nil, fmt.Errorf("create pool %q: %w", config.Name, err)
	}
	return p, nil
}

// Open opens a pool that is there, with the settings it was made with. The
// error wraps ErrNoPool, ErrVersion, ErrKey or ErrRedis.
func Open(ctx context.Context, config Config) (*Pool, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("open pool %q: %w", config.Name, err)
	}
	p, err := open(ctx, config, func(s store) (generation, error) { return s.generation(ctx) })
	if err != nil {
		return nil, fmt.Errorf("open pool %q: %w", config.Name, err)
	}
	return p, nil
}

func open(ctx context.Context, config Config, find func(store) (generation, error)) (*Pool, error) {
	s := store{rdb: config.Redis, keys: keys{keyspace.New(config.Namespace, "pool", config.Name)}}
	if err := s.fits(ctx); err != nil {
		return nil, err
	}
	g, err := find(s)
	if err != nil {
		return nil, err
	}
	if g.schema != schema {
		return nil, fmt.Errorf("%w: its schema is %s; this one's is %s", ErrVersion, g.schema, schema)
	}
	s.id, s.codec = g.id, codec{keys: config.Keys, pool: g.id}
	// Scripts may be refused what this connection is not.
	if _, _, err := s.stats(ctx, nil); err != nil {
		return nil, err
	}
	if err := s.checkKey(ctx); err != nil {
		return nil, err
	}
	log := config.Log
	if log == nil {
		log = zap.NewNop()
	}
	return &Pool{
		name: config.Name, settings: g.settings, store: s,
		log: log.Named("accounts").With(zap.String("pool", config.Name)),
	}, nil
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Settings returns what the pool was made with.
func (p *Pool) Settings() Settings { return p.settings }

// Destroy deletes the pool with everything in it, intents included. Holders
// that are still registered end with ErrNoPool.
func (p *Pool) Destroy(ctx context.Context) error {
	for {
		err := p.destroy(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errAgain) || ctx.Err() != nil {
			return p.wrap("destroy", err)
		}
	}
}

func (p *Pool) destroy(ctx context.Context) error {
	roles, err := p.store.roles(ctx)
	if err != nil {
		return err
	}
	zs, err := p.store.holders(ctx)
	if err != nil {
		return err
	}
	holders := make([]string, len(zs))
	for i, z := range zs {
		holders[i] = z.Member.(string)
	}
	return p.store.destroy(ctx, roles, holders)
}

// wrap names the operation and the pool of an error; nil stays nil.
func (p *Pool) wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: pool %q: %w", operation, p.name, err)
}
