package provision

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/throng-load/throng/internal/exchange"
)

const (
	defaultConnections = 8
	defaultPgTimeout   = 10 * time.Second
	// maxConnections is more than any PostgreSQL serves.
	maxConnections = 10_000
)

// PostgresConfig says where a target keeps its accounts in PostgreSQL.
type PostgresConfig struct {
	// URL is the database: postgres://user:${NAME}@host:5432/database. ${NAME} is
	// what Lookup says of NAME; a password there needs no escapes.
	URL string
	// Lookup is asked for the variables that URL names, as os.LookupEnv is. It
	// is needed only when there are some.
	Lookup func(name string) (string, bool)
	// Table may have a schema: "app.users". Names are taken as they are, so
	// upper case counts.
	Table   string
	Columns PostgresColumns
	// Extra gives constant values to further columns, by column.
	Extra map[string]string
	// Concurrency is the most connections that are open at a time; 8 when zero.
	Concurrency int
	// Timeout bounds one call, in the server as well; 10 s when zero.
	Timeout time.Duration
	// Dial makes the connections, and so decides where traffic may go. Nil is a
	// net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// PostgresColumns names a table's columns by what they hold. Username and
// Password are needed; an empty name otherwise means that there is no such
// column.
type PostgresColumns struct {
	// ID is what the target calls the account. The table must give it a value
	// by itself.
	ID string
	// Username must be unique: by a constraint, or an index of this column alone.
	Username string
	// Password is stored as it is.
	Password string
	Role     string
	// Attributes are columns by attribute. They are NULL for an account that
	// lacks the attribute.
	Attributes map[string]string
}

// check says what is wrong with the configuration by itself, and returns the
// table's name.
func (c PostgresConfig) check() (pgx.Identifier, error) {
	var problems []string
	name := pgx.Identifier(strings.Split(c.Table, "."))
	switch {
	case c.Table == "":
		problems = append(problems, "name the table")
	case len(name) > 2 || name[0] == "" || name[len(name)-1] == "":
		problems = append(problems, "the table must be written as table or schema.table")
	}
	if c.Columns.Username == "" || c.Columns.Password == "" {
		problems = append(problems, "name the columns for username and password")
	}
	used := map[string]string{}
	for column, holds := range c.columns() {
		if column == "" {
			problems = append(problems, "name the column for "+holds)
		} else if before, ok := used[column]; ok {
			problems = append(problems, fmt.Sprintf("column %s cannot hold both %s and %s", pgx.Identifier{column}.Sanitize(), before, holds))
		}
		used[column] = holds
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	return name, nil
}

// columns lists what is configured: columns, and what each holds.
func (c PostgresConfig) columns() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, named := range []struct{ column, holds string }{
			{c.Columns.Username, "the username"}, {c.Columns.Password, "the password"},
			{c.Columns.ID, "the id"}, {c.Columns.Role, "the role"},
		} {
			if named.column != "" && !yield(named.column, named.holds) {
				return
			}
		}
		for _, attribute := range slices.Sorted(maps.Keys(c.Columns.Attributes)) {
			if !yield(c.Columns.Attributes[attribute], fmt.Sprintf("attribute %q", attribute)) {
				return
			}
		}
		for _, column := range slices.Sorted(maps.Keys(c.Extra)) {
			if !yield(column, "an extra value") {
				return
			}
		}
	}
}

// options reads the URL. What it returns of errors never quotes the URL, which
// has a password in a place that only its author knows.
func (c PostgresConfig) options() (*pgxpool.Config, error) {
	address, err := c.expand()
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	const form = "write postgres://user:${NAME}@host:5432/database, with %40 for a literal @ in a part, and so on"
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		return nil, errors.New("url: it is not that of a database: " + form)
	}
	// A password with a slash in it, say, ends there, and its rest would be taken
	// for something that may be shown.
	if _, host, tail := cutURL(address); strings.Contains(strings.TrimPrefix(host, "@")+tail, "@") {
		return nil, errors.New("url: a character in it must be escaped: " + form)
	}
	opt, err := pgxpool.ParseConfig(address)
	if err != nil {
		reason := ""
		var broken *url.Error // it quotes parts of the URL
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && parse.Unwrap() != nil && !errors.As(err, &broken) {
			reason = ": " + newMask().line(parse.Unwrap().Error())
		}
		return nil, errors.New("url: it cannot be read" + reason + ": " + form)
	}
	opt.MaxConns = defaultConnections
	if c.Concurrency > 0 {
		opt.MaxConns = int32(min(c.Concurrency, maxConnections))
	}
	// Nothing is prepared: most statements are about a table that lives as long
	// as one transaction, and a pooler in between may share connections.
	opt.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	opt.ConnConfig.ConnectTimeout = min(opt.ConnConfig.ConnectTimeout, c.Timeout)
	if c.Dial != nil {
		opt.ConnConfig.DialFunc = c.Dial
	}
	if opt.ConnConfig.RuntimeParams["application_name"] == "" {
		opt.ConnConfig.RuntimeParams["application_name"] = "throng"
	}
	return opt, nil
}

// expand puts the variables into the URL, everywhere but in the host escaped: a
// password may have any character.
func (c PostgresConfig) expand() (string, error) {
	lookup := c.Lookup
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	escaped := func(name string) (string, bool) {
		value, ok := lookup(name)
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), ok
	}
	// All at once first, so that all missing variables are named.
	if _, err := exchange.Expand(c.URL, lookup); err != nil {
		return "", err
	}
	user, host, tail := cutURL(c.URL)
	user, err := exchange.Expand(user, escaped)
	if err != nil {
		return "", err
	}
	if host, err = exchange.Expand(host, lookup); err != nil {
		return "", err
	}
	tail, err = exchange.Expand(tail, escaped)
	return user + host + tail, err
}

// cutURL cuts a URL before the @ that ends its user, and before what follows its
// host. A text that is none is all host.
func cutURL(address string) (user, host, tail string) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		return "", address, ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest, tail = rest[:i], rest[i:]
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return "", scheme + "://" + rest, tail
	}
	return scheme + "://" + rest[:at], rest[at:], tail
}
