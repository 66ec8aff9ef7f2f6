package provision_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/accounts/provision"
	"github.com/throng-load/throng/internal/pgtest"
)

// A table that refuses some accounts says which, gets all others, and what it
// says has no password, even if it quotes one.
func TestPostgresRefusesAccounts(t *testing.T) {
	t.Parallel()
	const trigger = `CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.class = 'bad' THEN RAISE EXCEPTION E'not\n% or %', NEW.password, quote_literal(NEW.password); END IF;
		RETURN NEW; END $$`
	tests := map[string]struct {
		statements []string
		change     func(*accounts.Account)
		says       string
	}{
		"check": {[]string{"ALTER TABLE users ADD CONSTRAINT few CHECK (class <> 'bad')"},
			func(a *accounts.Account) { a.Attributes = map[string]string{"class": "bad"} }, `check constraint "few"`},
		"too long": {[]string{"ALTER TABLE users ALTER username TYPE varchar(20)"},
			func(a *accounts.Account) { a.Username += "-and-much-longer" }, "value too long for type character varying(20)"},
		"not a number": {[]string{"ALTER TABLE users ALTER class TYPE int USING 0"},
			func(a *accounts.Account) { a.Attributes = map[string]string{"class": "seven"} }, "invalid input syntax for type integer"},
		"no value": {[]string{"ALTER TABLE users ALTER class SET NOT NULL", "ALTER TABLE users ALTER role SET NOT NULL"},
			func(a *accounts.Account) { a.Attributes = nil }, `give column "class" a default`},
		"a deferred constraint": {[]string{"ALTER TABLE users ADD CONSTRAINT one_class UNIQUE (class) DEFERRABLE INITIALLY DEFERRED",
			"INSERT INTO users (username, password, class) VALUES ('x', 'y', 'bad')"},
			func(a *accounts.Account) { a.Attributes = map[string]string{"class": "bad"} }, `unique constraint "one_class"`},
		"a zero byte": {nil, func(a *accounts.Account) { a.Username += "\x00" }, "invalid byte sequence"},
		"a trigger": {[]string{trigger, "CREATE TRIGGER judge BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION judge()"},
			func(a *accounts.Account) { a.Attributes = map[string]string{"class": "bad"} }, "not redacted or 'redacted'"},
	}
	address := pgtest.URL(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, db := prepare(t, pgtest.Schema(t, address), append([]string{usersTable}, test.statements...)...)
			p := openPostgres(t, cfg)
			list := people("ou'r", 20)
			before := one[int](t, db, "SELECT count(*) FROM users")
			bad := map[int]bool{0: true, 11: true, 12: true}
			for i := range list {
				list[i].Attributes = map[string]string{"class": strings.Repeat("7", i%6+1) + "000"}
				if bad[i] {
					test.change(&list[i])
				}
			}
			if name == "a deferred constraint" {
				for i := range list {
					if !bad[i] {
						list[i].Attributes = nil
					}
				}
			}
			outcomes, err := p.CreateAll(t.Context(), list)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				if !bad[i] {
					if o.Err != nil || o.TargetID == "" {
						t.Errorf("account %d: %+v", i, o)
					}
					continue
				}
				if !errors.Is(o.Err, provision.ErrRefused) {
					t.Errorf("account %d: %v, want ErrRefused", i, o.Err)
				}
				checkLine(t, o.Err, list, cfg, test.says, `."users"`)
			}
			if n := one[int](t, db, "SELECT count(*) FROM users") - before; n != 17 {
				t.Errorf("%d rows, want 17", n)
			}
			if _, err := p.VerifyAll(t.Context(), list); err != nil {
				t.Errorf("verify: %v", err)
			}
			if err := deletion(p.DeleteAll(t.Context(), list)); err != nil {
				t.Errorf("delete: %v", err)
			}
			if n := one[int](t, db, "SELECT count(*) FROM users") - before; n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

// An account that cannot be found as it was created must not be created.
func TestPostgresTableChangesWhatItStores(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ change, says string }{
		"password": {"NEW.password := md5(NEW.password)", "the table changes passwords as it stores them"},
		"nothing":  {"NEW.password := NULL", "null value in column"},
		"username": {"NEW.username := upper(NEW.username)", "the table changes usernames as it stores them"},
	}
	address := pgtest.URL(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, db := prepare(t, pgtest.Schema(t, address), usersTable, "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "+test.change+"; RETURN NEW; END $$",
				"CREATE TRIGGER change BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION change()")
			p := openPostgres(t, cfg)
			list := people("our", 4)
			outcomes, err := p.CreateAll(t.Context(), list)
			if err == nil {
				err = outcomes[0].Err
			}
			if !errors.Is(err, provision.ErrRefused) {
				t.Errorf("%v does not wrap ErrRefused", err)
			}
			checkLine(t, err, list, cfg, test.says)
			if n := one[int](t, db, "SELECT count(*) FROM users"); n != 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

// A table that is changed while it is in use.
func TestPostgresTableChanges(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ change, says string }{
		"dropped":          {"DROP TABLE users", "is the table"},
		"column dropped":   {"ALTER TABLE users DROP password", "does not exist"},
		"no longer unique": {"ALTER TABLE users DROP CONSTRAINT users_username_key", "ADD UNIQUE"},
		"a new column":     {"ALTER TABLE users ADD tenant int NOT NULL", `give column "tenant" a default`},
	}
	address := pgtest.URL(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, db := prepare(t, pgtest.Schema(t, address), usersTable)
			p := openPostgres(t, cfg)
			mustExec(t, db, test.change)
			_, err := p.Create(t.Context(), person("ann", "hunter2"))
			if !errors.Is(err, provision.ErrRefused) {
				t.Errorf("%v does not wrap ErrRefused", err)
			}
			checkLine(t, err, []accounts.Account{person("ann", "hunter2")}, cfg, test.says)
		})
	}
}

// A table that cannot be asked says nothing bad about the accounts in it.
func TestPostgresVerifyFails(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t)
	p := openPostgres(t, cfg)
	list := people("our", 3)
	mustCreate(t, p, list)
	mustExec(t, db, "ALTER TABLE users RENAME TO others")
	outcomes, err := p.VerifyAll(t.Context(), list)
	single := p.Verify(t.Context(), list[0])
	for _, err := range []error{err, single} {
		if outcomes != nil || errors.Is(err, provision.ErrRefused) || errors.Is(err, provision.ErrMissing) {
			t.Errorf("%v, %v; want an error that is none of an account", outcomes, err)
		}
		checkLine(t, err, list, cfg, "is the table")
	}
	mustExec(t, db, "ALTER TABLE others RENAME TO users")
	if outcomes, err = p.VerifyAll(t.Context(), list); err != nil || errors.Join(outcomes...) != nil {
		t.Errorf("%v, %v", outcomes, err)
	}
}

func TestPostgresRowsThatOthersReferTo(t *testing.T) {
	t.Parallel()
	cfg, db := newUsers(t, "CREATE TABLE orders (owner bigint CONSTRAINT owner_is_there REFERENCES users)")
	p := openPostgres(t, cfg)
	list := people("our", 3)
	mustCreate(t, p, list)
	mustExec(t, db, "INSERT INTO orders SELECT id FROM users WHERE username = 'student-00001'")
	err := deletion(p.DeleteAll(t.Context(), list))
	if !errors.Is(err, provision.ErrRefused) {
		t.Errorf("%v does not wrap ErrRefused", err)
	}
	checkLine(t, err, list, cfg, `constraint "owner_is_there" of table "orders"`)
	if n := one[int](t, db, "SELECT count(*) FROM users"); n != 1 {
		t.Errorf("%d rows, want the one that is referred to", n)
	}
}
