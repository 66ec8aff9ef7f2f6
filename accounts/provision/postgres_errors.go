package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
)

// wording makes one line of what a database answers: where it is, what it says,
// what to do. pgx's own errors do not get out: they know the connection's
// password, and an answer can quote an account's.
type wording struct {
	subject string // the server, the database and, once known, the table
	table   string // quoted; as configured until it was looked up
	unique  string // the column that must be unique, quoted
	user    string // quoted
	timeout time.Duration
	secrets []string // the connection's
}

func newWording(cfg PostgresConfig, cc *pgx.ConnConfig) wording {
	place := net.JoinHostPort(cc.Host, strconv.Itoa(int(cc.Port)))
	w := wording{
		subject: fmt.Sprintf("PostgreSQL at %s, database %q", place, cc.Database),
		table:   pgx.Identifier(strings.Split(cfg.Table, ".")).Sanitize(),
		unique:  pgx.Identifier{cfg.Columns.Username}.Sanitize(),
		user:    pgx.Identifier{cc.User}.Sanitize(),
		timeout: cfg.Timeout,
		secrets: []string{cc.Password},
	}
	return w
}

// found adds the table as it was found.
func (w *wording) found(t *pgTable) {
	w.table = t.name
	w.subject += ", table " + t.name
}

// explain words what a call came to; nil for nil. It wraps ErrRefused where
// repeating the call does not help. list is what the call was about, for the
// passwords that must not be shown.
func (w wording) explain(ctx context.Context, err error, list []accounts.Account) error {
	line, lasts := w.line(ctx, err, list)
	if lasts {
		return fmt.Errorf("%w: %w", ErrRefused, line)
	}
	return line
}

// line is explain without ErrRefused: of a call that asks, it would say that the
// accounts are refused. It says instead whether the failure lasts.
func (w wording) line(ctx context.Context, err error, list []accounts.Account) (line error, lasts bool) {
	var forbidden *dial.NotAllowedError
	var said *pgconn.PgError
	var known *refusal
	switch {
	case err == nil:
		return nil, false
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", w.subject, context.Cause(ctx)), false
	case errors.As(err, &known):
		return fmt.Errorf("%s: %s", w.subject, known.text), true
	case errors.As(err, &forbidden):
		return fmt.Errorf("%s: %w", w.subject, forbidden), true
	case errors.As(err, &said):
		return fmt.Errorf("%s: %s (%s)%s", w.subject, w.conceal(said.Message, list), said.Code, w.advice(said)), !passing(said.Code)
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return fmt.Errorf("%s: no answer within %v", w.subject, w.timeout), false
	default:
		return fmt.Errorf("%s: %s", w.subject, w.conceal(reason(err), list)), false
	}
}

// reason leaves out what pgx says around the reason itself: it tries each
// address of a server more than once, and says so every time.
func reason(err error) string {
	var lookup *net.DNSError
	var call *net.OpError
	switch {
	case errors.As(err, &lookup):
		return lookup.Error()
	case errors.As(err, &call):
		return call.Error()
	default:
		return err.Error()
	}
}

// advice says what to do, where the code tells.
func (w wording) advice(said *pgconn.PgError) string {
	switch said.Code {
	case "42P01", "3F000":
		return ": is the table " + w.table + " there?"
	case "42501":
		return fmt.Sprintf(": for instance: GRANT SELECT, INSERT, DELETE ON %s TO %s; GRANT TEMPORARY ON the database as well, "+
			"and USAGE on the table's schema and sequences", w.table, w.user)
	case "42P10":
		return ": " + w.uniqueness()
	case "23502":
		if said.ColumnName != "" {
			return fmt.Sprintf(": give column %s a default, or a value under extra", pgx.Identifier{said.ColumnName}.Sanitize())
		}
	case "23503":
		if said.TableName != "" && said.ConstraintName != "" {
			return fmt.Sprintf(": see constraint %s of table %s; to delete an account, rows that refer to it must go first, "+
				"or ON DELETE CASCADE", pgx.Identifier{said.ConstraintName}.Sanitize(), pgx.Identifier{said.TableName}.Sanitize())
		}
	case "28P01", "28000":
		return ": check the user and the password of the url"
	case "3D000":
		return ": check the database of the url"
	case "25006":
		return ": is it a standby?"
	case "53300":
		return ": lower the concurrency, or raise the server's max_connections"
	case "57014":
		return fmt.Sprintf(": it took longer than %v", w.timeout)
	}
	return ""
}

// uniqueness says how to make the username unique.
func (w wording) uniqueness() string {
	return fmt.Sprintf("nothing keeps column %s unique, so that an account could be created twice; run: ALTER TABLE %s ADD UNIQUE (%s)",
		w.unique, w.table, w.unique)
}

// conceal makes one short line of a text that is not ours.
func (w wording) conceal(text string, list []accounts.Account) string {
	secrets := slices.Clone(w.secrets)
	for _, a := range list {
		password := a.Password.Reveal()
		// As it is, and as it stands in an SQL literal.
		secrets = append(secrets, password, strings.ReplaceAll(password, "'", "''"))
	}
	return newMask(secrets...).line(text)
}

// passing says whether what failed with this SQLSTATE may succeed later: the
// connection, a conflict with another transaction, the server's resources or its
// operator, a lock, a failover under way.
func passing(code string) bool {
	if len(code) != 5 {
		return true
	}
	switch code[:2] {
	case "08", "40", "53", "55", "57", "58", "XX":
		return true
	}
	return code == "25006"
}

// ofRow says whether what failed with this SQLSTATE is a row's fault: its data,
// a constraint, or a trigger that refuses it.
func ofRow(err error) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) || len(said.Code) != 5 {
		return false
	}
	switch said.Code[:2] {
	case "22", "23", "44", "P0":
		return true
	}
	return false
}

// refusal is a table that does not do, found by looking at it.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }
