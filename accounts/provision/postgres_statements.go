package provision

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/throng-load/throng/accounts"
)

// stage is the temporary table that a batch is copied into. It ends with the
// transaction. A number counts the batch's accounts from 0; all else is text,
// which the table's own columns read.
const stage = "pg_temp.throng_accounts"

// pgStatements are a table's statements, written once. Passwords are compared
// byte by byte, whatever the column's collation thinks equal; usernames as the
// unique index compares them.
type pgStatements struct {
	// begin makes the stage.
	begin string
	// stageColumns are the stage's.
	stageColumns []string
	// insert adds what is in the stage and not in the table; it takes extra. It
	// returns a row for each account: its number, whether it was added, its id,
	// whether the password stored is the one given; and one without a number for
	// each row added whose username is not the one given.
	insert string
	extra  []any
	// compare takes numbers, and returns of the accounts that the table has:
	// number, id, whether the password is the one given.
	compare string
	// verify takes usernames and passwords, and returns for each, in order:
	// whether it is there, whether with the password.
	verify string
	// remove takes usernames, passwords and ids, the last two to be sure.
	remove string
	count  string
}

func (t *pgTable) statements(timeout time.Duration) pgStatements {
	s := pgStatements{stageColumns: []string{"n", "username", "password"}}
	columns := []string{t.username.name, t.password.name}
	values := []string{"n.username::" + t.username.typ, "n.password::" + t.password.typ}
	staged := "n int4, username text, password text"
	for i, c := range t.varying {
		name := fmt.Sprintf("v%d", i)
		s.stageColumns = append(s.stageColumns, name)
		staged += ", " + name + " text"
		columns, values = append(columns, c.name), append(values, "n."+name+"::"+c.typ)
	}
	for i, c := range t.fixed {
		columns, values = append(columns, c.name), append(values, fmt.Sprintf("$%d::text::%s", i+1, c.typ))
		s.extra = append(s.extra, c.value)
	}
	id := func(of string) string {
		if t.id == "" {
			return "''"
		}
		return of + t.id + "::text"
	}
	same := "t." + t.password.name + `::text COLLATE "C" = n.password`
	joined := "t." + t.username.name + " = n.username::" + t.username.typ

	s.begin = fmt.Sprintf("SET LOCAL statement_timeout = %d; CREATE TEMPORARY TABLE %s (%s) ON COMMIT DROP",
		max(1, timeout.Milliseconds()), stage, staged)
	// In one order, so that two processes with the same usernames wait for each
	// other, and not each for the other.
	s.insert = fmt.Sprintf(`
WITH made AS (
	INSERT INTO %s (%s)
	SELECT %s FROM %s n ORDER BY n.username COLLATE "C"
	ON CONFLICT (%s) DO NOTHING
	RETURNING %s AS username, %s AS id, %s::text AS password)
SELECT n.n, made.username IS NOT NULL, COALESCE(made.id, ''), COALESCE(made.password COLLATE "C" = n.password, false)
FROM %s n FULL JOIN made ON made.username = n.username::%s`,
		t.name, strings.Join(columns, ", "), strings.Join(values, ", "), stage, t.username.name,
		t.username.name, id(""), t.password.name, stage, t.username.typ)
	s.compare = fmt.Sprintf("SELECT n.n, %s, COALESCE(%s, false) FROM %s n JOIN %s t ON %s WHERE n.n = ANY ($1::int4[])",
		id("t."), same, stage, t.name, joined)
	s.verify = fmt.Sprintf(`
SELECT t.%s IS NOT NULL, COALESCE(%s, false)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n (username, password, n) LEFT JOIN %s t ON %s ORDER BY n.n`,
		t.username.name, same, t.name, joined)
	s.remove = fmt.Sprintf(`
DELETE FROM %s t USING unnest($1::text[], $2::text[], $3::text[]) AS n (username, password, id)
WHERE %s AND %s AND (n.id = '' OR %s = n.id)`,
		t.name, joined, same, id("t."))
	s.count = "SELECT count(*) FROM " + t.name
	return s
}

// staging returns the rows of the stage for a batch.
func (t *pgTable) staging(list []accounts.Account) pgx.CopyFromSource {
	return pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
		a := list[i]
		row := []any{int32(i), a.Username, a.Password.Reveal()}
		for _, c := range t.varying {
			if c.attribute == "" {
				row = append(row, a.Role)
			} else if value, ok := a.Attributes[c.attribute]; ok {
				row = append(row, value)
			} else {
				row = append(row, nil)
			}
		}
		return row, nil
	})
}
