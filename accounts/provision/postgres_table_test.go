package provision_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/pgtest"
)

// Other tables than a plain one of text.
func TestPostgresTables(t *testing.T) {
	t.Parallel()
	ours := person("Student A", "Pass word ")
	ours.Attributes = map[string]string{"age": "17", "settings": `{"dark": true}`}
	tests := map[string]struct {
		statements []string
		table      string
		columns    provision.PostgresColumns
		extra      map[string]string
		want       string // of the row, as text
	}{
		"schema, odd names, a partition": {
			statements: []string{
				`CREATE SCHEMA "My ""App"`,
				`CREATE TABLE "My ""App"."User s" ("select" uuid DEFAULT '6ba7b810-9dad-11d1-80b4-00c04fd430c8', "Na""me" varchar(20) UNIQUE, "pass-word" varchar(20))
					PARTITION BY LIST ("Na""me")`,
				`CREATE TABLE "My ""App".p PARTITION OF "My ""App"."User s" DEFAULT`,
			},
			table:   `My "App.User s`,
			columns: provision.PostgresColumns{ID: "select", Username: `Na"me`, Password: "pass-word"},
			want:    `(6ba7b810-9dad-11d1-80b4-00c04fd430c8,"Student A","Pass word ")`,
		},
		"enum, numbers, json, constants": {
			statements: []string{
				`CREATE TYPE kind AS ENUM ('student', 'proctor')`,
				`CREATE DOMAIN login AS varchar(30) CHECK (value <> '')`,
				`CREATE TABLE users (u login UNIQUE, p text, role kind NOT NULL, age int, settings jsonb, active boolean NOT NULL, tags text[], rank numeric(4,1))`,
			},
			table: "users",
			columns: provision.PostgresColumns{Username: "u", Password: "p", Role: "role",
				Attributes: map[string]string{"age": "age", "settings": "settings"}},
			extra: map[string]string{"active": "true", "tags": "{load,test}", "rank": "12.34"},
			want:  `("Student A","Pass word ",student,17,"{""dark"": true}",t,"{load,test}",12.3)`,
		},
		"a unique index, and required columns that have a value": {
			statements: []string{
				`CREATE TABLE users (n serial NOT NULL, u text COLLATE "C", p text, at timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00Z', doubled int NOT NULL GENERATED ALWAYS AS (1 + 1) STORED)`,
				`CREATE UNIQUE INDEX ON users (u) INCLUDE (p)`,
				`SET timezone = 'UTC'`,
			},
			table:   "users",
			columns: provision.PostgresColumns{Username: "u", Password: "p"},
			want:    `(1,"Student A","Pass word ","2026-01-01 00:00:00+00",2)`,
		},
		"a table that is called like the stage": {
			statements: []string{`CREATE TABLE throng_accounts (u text UNIQUE, p text)`},
			table:      "throng_accounts",
			columns:    provision.PostgresColumns{Username: "u", Password: "p"},
			want:       `("Student A","Pass word ")`,
		},
	}
	address := pgtest.URL(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, db := prepare(t, pgtest.Schema(t, address), test.statements...)
			cfg.Table, cfg.Columns, cfg.Extra = test.table, test.columns, test.extra
			p := openPostgres(t, cfg)
			created := mustCreate(t, p, []accounts.Account{ours})
			table := pgx.Identifier(strings.Split(test.table, ".")).Sanitize()
			if got := one[string](t, db, "SELECT t::text FROM "+table+" t"); got != test.want {
				t.Errorf("the row is %s, want %s", got, test.want)
			}
			if again := mustCreate(t, p, []accounts.Account{ours}); again[0] != created[0] {
				t.Errorf("again: %+v, want %+v", again, created)
			}
			other := person("Student A", "Pass word")
			if err := p.Verify(t.Context(), other); !errors.Is(err, provision.ErrRefused) {
				t.Errorf("with nearly the same password: %v", err)
			}
			if _, err := p.Create(t.Context(), other); !errors.Is(err, provision.ErrTaken) {
				t.Errorf("with nearly the same password: %v", err)
			}
			a := ours
			a.TargetID = created[0].TargetID
			if err := p.Delete(t.Context(), other); !errors.Is(err, provision.ErrTaken) {
				t.Errorf("deleted with another password: %v", err)
			}
			if err := errors.Join(p.Verify(t.Context(), a), p.Delete(t.Context(), a)); err != nil {
				t.Error(err)
			}
			if n := one[int](t, db, "SELECT count(*) FROM "+table); n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

// Usernames are compared as the table compares them, passwords never so.
func TestPostgresCaseInsensitiveUsernames(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	cfg, db := prepare(t, address, "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
		"CREATE TABLE users (u text COLLATE folded UNIQUE, p text COLLATE folded)")
	cfg.Columns = provision.PostgresColumns{Username: "u", Password: "p"}
	p := openPostgres(t, cfg)
	mustCreate(t, p, []accounts.Account{person("Ann", "Hunter")})
	if _, err := p.Create(t.Context(), person("ANN", "Hunter")); err != nil {
		t.Errorf("the same account, as the table sees it: %v", err)
	}
	if _, err := p.Create(t.Context(), person("ann", "hunter")); !errors.Is(err, provision.ErrTaken) {
		t.Errorf("another password: %v", err)
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}
