package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pgTable is a table as its statements are written. Names are quoted.
type pgTable struct {
	name               string // with the schema that it was found in
	id                 string // "" without such a column
	username, password pgColumn
	// varying are the further columns that depend on the account: the one for
	// its role, and those for attributes.
	varying []pgColumn
	// fixed are the columns that have the same value for every account.
	fixed []pgColumn
}

// pgColumn is a column that a new row is given a value for.
type pgColumn struct {
	name string
	// typ is the type's own name, without a length: a text that is cast to
	// varchar(8) is cut off, while one that is assigned to it is refused.
	typ string
	// attribute is whose value a varying column has; "" is the role's.
	attribute string
	value     string // of a fixed column
}

// foundColumn is a column as the database describes it.
type foundColumn struct {
	Number   int32
	Name     string
	Type     string // quoted, with its schema
	Base     string // the type that a domain stands on, or the type
	Category string // S: some kind of text
	Needs    bool   // a row must be given a value
}

const (
	findTable = `
SELECT n.nspname::text, c.relname::text, c.relkind::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass($1::text)`

	findColumns = `
SELECT a.attnum::int4, a.attname::text,
	pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname),
	COALESCE(b.typname, t.typname)::text, t.typcategory::text,
	(a.attnotnull OR t.typnotnull) AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL
FROM pg_catalog.pg_attribute a
	JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
	JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = pg_catalog.to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

	// What ON CONFLICT can go by: a unique index of the one column, of all rows,
	// checked at once.
	findUnique = `
SELECT EXISTS (
	SELECT FROM pg_catalog.pg_index i
	WHERE i.indrelid = pg_catalog.to_regclass($1::text) AND i.indnkeyatts = 1 AND i.indkey[0] = $2::int4
		AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL)`
)

// inspect looks the table up, and refuses one that cannot hold accounts.
func (p *Postgres) inspect(ctx context.Context, name pgx.Identifier, cfg PostgresConfig) (*pgTable, error) {
	limited, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var table *pgTable
	err := p.db.AcquireFunc(limited, func(c *pgxpool.Conn) error {
		var err error
		table, err = p.look(limited, c.Conn(), name, cfg)
		return err
	})
	return table, p.words.explain(ctx, err, nil)
}

func (p *Postgres) look(ctx context.Context, db *pgx.Conn, name pgx.Identifier, cfg PostgresConfig) (*pgTable, error) {
	var found []pgx.Identifier
	var schema, relation, kind string
	rows, _ := db.Query(ctx, findTable, name.Sanitize()) // its error is ForEachRow's
	_, err := pgx.ForEachRow(rows, []any{&schema, &relation, &kind}, func() error {
		found = append(found, pgx.Identifier{schema, relation})
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0 && cfg.Table != strings.ToLower(cfg.Table):
		return nil, &refusal{"there is no table " + name.Sanitize() + "; upper case counts"}
	case len(found) == 0:
		return nil, &refusal{"there is no table " + name.Sanitize()}
	case kind != "r" && kind != "p": // ordinary, or partitioned
		return nil, &refusal{name.Sanitize() + " is not a table"}
	}
	rows, _ = db.Query(ctx, findColumns, name.Sanitize())
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[foundColumn])
	if err != nil {
		return nil, err
	}
	table, username, err := describe(found[0], columns, cfg)
	if err != nil {
		return nil, err
	}
	var unique bool
	if err := db.QueryRow(ctx, findUnique, name.Sanitize(), username).Scan(&unique); err != nil {
		return nil, err
	}
	if !unique {
		return nil, &refusal{p.words.uniqueness()}
	}
	return table, nil
}

// describe puts together what is configured and what was found, and returns
// the number of the column for the username as well.
func describe(name pgx.Identifier, columns []foundColumn, cfg PostgresConfig) (table *pgTable, username int32, err error) {
	byName := map[string]foundColumn{}
	var names []string
	for _, c := range columns {
		byName[c.Name] = c
		names = append(names, c.Name)
	}
	var problems []string
	given := map[string]bool{}
	for column, holds := range cfg.columns() {
		given[column] = true
		if _, ok := byName[column]; !ok {
			problems = append(problems, fmt.Sprintf("there is no column %s for %s, only %s", pgx.Identifier{column}.Sanitize(), holds, strings.Join(names, ", ")))
		}
	}
	for _, column := range []string{cfg.Columns.Username, cfg.Columns.Password} {
		// The others change what they are given, or what is compared with it.
		if c, ok := byName[column]; ok && (c.Category != "S" || c.Base == "bpchar" || c.Base == "name" || c.Base == "char") {
			problems = append(problems, fmt.Sprintf("column %s is of type %s: make it text or varchar", pgx.Identifier{column}.Sanitize(), c.Type))
		}
	}
	for _, c := range columns {
		if c.Needs && (!given[c.Name] || c.Name == cfg.Columns.ID) {
			problems = append(problems, fmt.Sprintf("column %s must have a value: give it a default, or name it under extra", pgx.Identifier{c.Name}.Sanitize()))
		}
	}
	if len(problems) > 0 {
		return nil, 0, &refusal{strings.Join(problems, "; ")}
	}

	column := func(name string) pgColumn {
		return pgColumn{name: pgx.Identifier{name}.Sanitize(), typ: byName[name].Type}
	}
	table = &pgTable{
		name:     name.Sanitize(),
		username: column(cfg.Columns.Username),
		password: column(cfg.Columns.Password),
	}
	if cfg.Columns.ID != "" {
		table.id = pgx.Identifier{cfg.Columns.ID}.Sanitize()
	}
	if cfg.Columns.Role != "" {
		table.varying = append(table.varying, column(cfg.Columns.Role))
	}
	for _, attribute := range slices.Sorted(maps.Keys(cfg.Columns.Attributes)) {
		c := column(cfg.Columns.Attributes[attribute])
		c.attribute = attribute
		table.varying = append(table.varying, c)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Extra)) {
		c := column(name)
		c.value = cfg.Extra[name]
		table.fixed = append(table.fixed, c)
	}
	return table, byName[cfg.Columns.Username].Number, nil
}
