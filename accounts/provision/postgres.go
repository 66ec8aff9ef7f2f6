package provision

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/throng-load/throng/accounts"
)

// Postgres is a Source and a Bulk source: a table of a PostgreSQL database in
// which each account is a row. An account is there when a row has its username
// and its password; a row of its username with another password is somebody
// else's, which is neither changed nor deleted.
//
// Whatever is done happens whole or not at all, and can be repeated. It is safe
// for concurrent use, also by several processes. No error contains a password,
// neither an account's nor the database's.
type Postgres struct {
	db      *pgxpool.Pool
	table   *pgTable
	do      pgStatements
	timeout time.Duration
	words   wording
}

// NewPostgres connects and checks that the table can hold accounts; the caller
// closes what it returns. The error names what is wrong, and what to do. It
// wraps ErrRefused unless trying again may help.
func NewPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultPgTimeout
	}
	opt, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("%w: PostgreSQL: %w", ErrRefused, err)
	}
	p := &Postgres{timeout: cfg.Timeout, words: newWording(cfg, opt.ConnConfig)}
	name, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRefused, p.words.subject, err)
	}
	if p.db, err = pgxpool.NewWithConfig(ctx, opt); err != nil { // dials nobody yet
		return nil, p.words.explain(ctx, err, nil)
	}
	if p.table, err = p.inspect(ctx, name, cfg); err != nil {
		p.db.Close()
		return nil, err
	}
	p.do = p.table.statements(p.timeout)
	p.words.found(p.table)
	return p, nil
}

// Close closes the connections. No call may be under way.
func (p *Postgres) Close() { p.db.Close() }

// Create implements Source.
func (p *Postgres) Create(ctx context.Context, a accounts.Account) (Receipt, error) {
	outcomes, err := p.CreateAll(ctx, []accounts.Account{a})
	if err != nil {
		return Receipt{}, err
	}
	return outcomes[0].Receipt, outcomes[0].Err
}

// Verify implements Source.
func (p *Postgres) Verify(ctx context.Context, a accounts.Account) error {
	outcomes, err := p.VerifyAll(ctx, []accounts.Account{a})
	if err != nil {
		return err
	}
	return outcomes[0]
}

// Delete implements Source.
func (p *Postgres) Delete(ctx context.Context, a accounts.Account) error {
	outcomes, err := p.DeleteAll(ctx, []accounts.Account{a})
	if err != nil {
		return err
	}
	return outcomes[0]
}

// Count implements Counter: it counts all rows of the table.
func (p *Postgres) Count(ctx context.Context) (int, error) {
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var n int
	err := p.db.QueryRow(limited, p.do.count).Scan(&n)
	return n, p.words.explain(ctx, err, nil)
}
