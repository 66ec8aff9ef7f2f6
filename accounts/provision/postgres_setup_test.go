package provision_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/pgtest"
)

func TestPostgresRefusesTablesThatDoNot(t *testing.T) {
	t.Parallel()
	const unique = `run: ALTER TABLE "users" ADD UNIQUE ("username")`
	tests := map[string]struct {
		statements []string
		change     func(*provision.PostgresConfig)
		says       []string
	}{
		"no table":                          {nil, nil, []string{`there is no table "users"`}},
		"no schema":                         {nil, func(c *provision.PostgresConfig) { c.Table = "app.users" }, []string{`no table "app"."users"`}},
		"upper case":                        {[]string{usersTable}, func(c *provision.PostgresConfig) { c.Table = "Users" }, []string{`no table "Users"; upper case counts`}},
		"a view":                            {[]string{usersTable, "ALTER TABLE users RENAME TO all_users", "CREATE VIEW users AS SELECT * FROM all_users"}, nil, []string{`"users" is not a table`}},
		"no name":                           {nil, func(c *provision.PostgresConfig) { c.Table = "" }, []string{"name the table"}},
		"too many names":                    {nil, func(c *provision.PostgresConfig) { c.Table = "a.b.c" }, []string{"schema.table"}},
		"no columns named":                  {nil, func(c *provision.PostgresConfig) { c.Columns = provision.PostgresColumns{} }, []string{"name the columns for username and password"}},
		"an attribute's column is nameless": {nil, func(c *provision.PostgresConfig) { c.Columns.Attributes = map[string]string{"class": ""} }, []string{`name the column for attribute "class"`}},
		"one column for two things": {nil, func(c *provision.PostgresConfig) { c.Extra = map[string]string{"role": "x"} },
			[]string{`column "role" cannot hold both the role and an extra value`}},
		"columns that are not there": {[]string{usersTable}, func(c *provision.PostgresConfig) {
			c.Columns.Password, c.Columns.Attributes = "pasword", map[string]string{"age": "years"}
		}, []string{`there is no column "pasword" for the password, only id, username, password, role, class, created_at`, `no column "years" for attribute "age"`}},
		"columns without a value": {[]string{usersTable, "ALTER TABLE users ADD tenant int NOT NULL, ADD plan text NOT NULL"},
			func(c *provision.PostgresConfig) { c.Extra = map[string]string{"plan": "free"} },
			[]string{`column "tenant" must have a value: give it a default, or name it under extra`}},
		"an id without a value": {[]string{"CREATE TABLE users (id int PRIMARY KEY, username text UNIQUE, password text, role text, class text)"}, nil,
			[]string{`column "id" must have a value`}},
		"passwords as bytes": {[]string{usersTable, "ALTER TABLE users ALTER password TYPE bytea USING password::bytea"}, nil,
			[]string{`column "password" is of type pg_catalog.bytea: make it text or varchar`}},
		"padded usernames": {[]string{usersTable, "ALTER TABLE users ALTER username TYPE char(80)"}, nil,
			[]string{`column "username" is of type pg_catalog.bpchar`}},
		"not unique": {[]string{usersTable, "ALTER TABLE users DROP CONSTRAINT users_username_key"}, nil, []string{unique}},
		"unique with another column": {[]string{usersTable, "ALTER TABLE users DROP CONSTRAINT users_username_key, ADD UNIQUE (username, role)"}, nil,
			[]string{unique}},
		"unique for some rows": {[]string{usersTable, "ALTER TABLE users DROP CONSTRAINT users_username_key",
			"CREATE UNIQUE INDEX ON users (username) WHERE role = 'student'"}, nil, []string{unique}},
		"unique in another case": {[]string{usersTable, "ALTER TABLE users DROP CONSTRAINT users_username_key",
			"CREATE UNIQUE INDEX ON users (lower(username))"}, nil, []string{unique}},
		"unique in the end": {[]string{usersTable, "ALTER TABLE users DROP CONSTRAINT users_username_key, ADD UNIQUE (username) DEFERRABLE"}, nil,
			[]string{unique}},
	}
	address := pgtest.URL(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, _ := prepare(t, pgtest.Schema(t, address), test.statements...)
			if test.change != nil {
				test.change(&cfg)
			}
			_, err := provision.NewPostgres(t.Context(), cfg)
			if !errors.Is(err, provision.ErrRefused) {
				t.Errorf("%v does not wrap ErrRefused", err)
			}
			checkLine(t, err, nil, cfg, append(test.says, "PostgreSQL at 127.0.0.1:")...)
		})
	}
}

func TestPostgresBadAddresses(t *testing.T) {
	t.Parallel()
	const secret = "hun:t%er/2"
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"DB_PASSWORD": secret, "DB": "postgres://ann:hunter2/x@127.0.0.1:1/app", "EMPTY": ""}[name]
		return value, ok
	}
	tests := map[string]struct {
		url    string
		says   []string
		passes bool
	}{
		"nothing":                   {"", []string{"url", "${NAME}"}, false},
		"another scheme":            {"mysql://127.0.0.1/app", []string{"url: it is not that of a database"}, false},
		"a variable that is not":    {"postgres://ann:${PW}@127.0.0.1/${NOWHERE}", []string{"PW, NOWHERE are not set"}, false},
		"a variable that is empty":  {"postgres://ann:${EMPTY}@127.0.0.1/app", []string{"EMPTY is not set"}, false},
		"a bad port":                {"postgres://ann:hunter2@127.0.0.1:x1/app", []string{"url: it cannot be read"}, false},
		"a bad escape":              {"postgres://ann:hunter2%zz@127.0.0.1/app", []string{"url: it cannot be read"}, false},
		"a slash in the password":   {"postgres://ann:hunter2/x@127.0.0.1/app", []string{"must be escaped"}, false},
		"digits before the slash":   {"postgres://ann:12/hunter2@127.0.0.1/app", []string{"must be escaped"}, false},
		"a question mark in it":     {"postgres://ann:hunter2?x@127.0.0.1/app", []string{"must be escaped"}, false},
		"all from a variable":       {"${DB}", []string{"must be escaped"}, false},
		"a bad option":              {"postgres://ann:hunter2@127.0.0.1/app?sslmode=most", []string{"sslmode is invalid"}, false},
		"nobody listens":            {"postgres://ann:${DB_PASSWORD}@127.0.0.1:1/app?sslmode=disable", []string{"127.0.0.1:1", `database "app"`, "refused"}, true},
		"nobody listens, TLS first": {"postgres://ann:hunter2@127.0.0.1:1/app", []string{"127.0.0.1:1", "refused"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := provision.PostgresConfig{
				URL: test.url, Lookup: lookup, Table: "users",
				Columns: provision.PostgresColumns{Username: "username", Password: "password"},
			}
			_, err := provision.NewPostgres(t.Context(), cfg)
			checkLine(t, err, nil, cfg, test.says...)
			if errors.Is(err, provision.ErrRefused) == test.passes {
				t.Errorf("%v wraps ErrRefused: %v", err, !test.passes)
			}
			for _, part := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), "hunter2"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%q shows a password", err)
				}
			}
		})
	}
}

func TestPostgresConnectionIsRefused(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	cfg, _ := prepare(t, address, usersTable)
	tests := map[string]struct{ url, says string }{
		"wrong password": {pgtest.As(t, address, "throng", "hunter2"), "check the user and the password"},
		"no such user":   {pgtest.As(t, address, "nobody at all", "hunter2"), "check the user and the password"},
		"no database":    {strings.Replace(address, "/test_", "/no_test_", 1), "check the database"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cfg
			cfg.URL = test.url
			_, err := provision.NewPostgres(t.Context(), cfg)
			checkLine(t, err, nil, cfg, test.says)
			if !errors.Is(err, provision.ErrRefused) {
				t.Errorf("%v does not wrap ErrRefused", err)
			}
		})
	}
}

// A password from a variable needs no escapes, whatever is in it.
func TestPostgresPasswordFromAVariable(t *testing.T) {
	t.Parallel()
	const password = `p@ss/w:rd %40?#&+{}é`
	cfg, db := newUsers(t, "CREATE ROLE variable LOGIN PASSWORD '"+password+"'",
		"GRANT SELECT, INSERT, DELETE ON users TO variable")
	t.Cleanup(func() { mustExec(t, db, "DROP OWNED BY variable; DROP ROLE variable") })
	u, err := url.Parse(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"DB_USER": "variable", "DB_PASSWORD": password, "DB_HOST": u.Host, "DB_NAME": strings.Trim(u.Path, "/")}
	mine := cfg
	mine.Lookup = func(name string) (string, bool) { value, ok := variables[name]; return value, ok }
	for _, mine.URL = range []string{
		"postgres://${DB_USER}:${DB_PASSWORD}@${DB_HOST}/${DB_NAME}?sslmode=disable",
		"postgres://${DB_HOST}/${DB_NAME}?sslmode=disable&user=${DB_USER}&password=${DB_PASSWORD}",
	} {
		mustCreate(t, openPostgres(t, mine), people("our", 2))
	}
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func TestPostgresPermissions(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t, "CREATE ROLE reader LOGIN PASSWORD 'readers secret'", "GRANT SELECT ON users TO reader")
	t.Cleanup(func() { mustExec(t, db, "DROP OWNED BY reader; DROP ROLE reader") })
	list := people("our", 3)
	mustCreate(t, openPostgres(t, cfg), list)
	cfg.URL = pgtest.As(t, cfg.URL, "reader", "readers secret")
	p := openPostgres(t, cfg)

	outcomes, err := p.VerifyAll(t.Context(), list)
	if err = errors.Join(append(outcomes, err)...); err != nil {
		t.Errorf("verify needs to read only: %v", err)
	}
	_, err = p.Create(t.Context(), person("ann", "hunter2"))
	if !errors.Is(err, provision.ErrRefused) {
		t.Errorf("%v does not wrap ErrRefused", err)
	}
	const grant = `GRANT SELECT, INSERT, DELETE ON "public"."users" TO "reader"`
	checkLine(t, err, list, cfg, "permission denied for table users", grant)
	checkLine(t, deletion(p.DeleteAll(t.Context(), list)), list, cfg, "permission denied for table users", grant)
	mustExec(t, db, "REVOKE TEMPORARY ON DATABASE "+one[string](t, db, "SELECT current_database()")+" FROM PUBLIC")
	_, err = p.Create(t.Context(), person("ann", "hunter2"))
	checkLine(t, err, list, cfg, "permission denied to create temporary tables", "GRANT TEMPORARY")
}

func TestPostgresDialsOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	cfg := provision.PostgresConfig{
		URL: "postgres://ann:hunter2@192.0.2.1/app?sslmode=disable", Table: "users",
		Columns: provision.PostgresColumns{Username: "username", Password: "password"},
		Dial:    dial.New(dial.NewAllow([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}), nil).DialContext,
	}
	_, err := provision.NewPostgres(t.Context(), cfg)
	var forbidden *dial.NotAllowedError
	if !errors.As(err, &forbidden) || !errors.Is(err, provision.ErrRefused) {
		t.Errorf("got %v", err)
	}
	checkLine(t, err, nil, cfg, "192.0.2.1")
}

func TestPostgresConnectingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("that was enough")
	cfg := provision.PostgresConfig{
		URL: "postgres://ann:hunter2@" + silent.Addr().String() + "/app?sslmode=disable", Table: "users",
		Columns: provision.PostgresColumns{Username: "username", Password: "password"},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			defer cancel(enough)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	_, err = provision.NewPostgres(ctx, cfg)
	if !errors.Is(err, enough) {
		t.Errorf("got %v, want the context's cause", err)
	}
	checkLine(t, err, nil, cfg, "that was enough")
}
