package scenarios

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/throng-load/throng/internal/exchange"
)

// Bounds that the pool has too: a spec that passes here is not refused there.
const (
	longestRest = Duration(24 * time.Hour)
	greatestAge = Duration(10 * 365 * 24 * time.Hour)
	mostUses    = 1_000_000_000
	mostRetries = 100
)

// provision checks how accounts come into being.
func (c *checker) provision(p ProvisionSpec) {
	const path = "accounts.provision"
	var sources []string
	for _, source := range []struct {
		name  string
		given bool
	}{{"http", p.HTTP != nil}, {"postgres", p.Postgres != nil}, {"csv", p.CSV != nil}, {"generated", p.Generated != nil}} {
		if source.given {
			sources = append(sources, source.name)
		}
	}
	c.require(len(sources) <= 1, path, "give one source, not %s", strings.Join(sources, " and "))
	if p.HTTP != nil {
		c.httpSource(path+".http", p.HTTP)
	}
	if p.Postgres != nil {
		c.postgresSource(path+".postgres", p.Postgres)
	}
	if p.CSV != nil {
		c.require(p.CSV.File != "", path+".csv.file", "is missing: give the file with the accounts")
	}
	if p.Generated != nil {
		c.username(path+".generated.username", p.Generated.Username)
	}
}

func (c *checker) httpSource(path string, h *HTTPProvisionSpec) {
	c.policy(path, h.PolicySpec)
	c.username(path+".username", h.Username)
	c.secretURL(path+".url", h.URL, []string{"http", "https"}, "http://127.0.0.1:9090")
	c.secretURL(path+".fallback_url", h.FallbackURL, []string{"http", "https"}, "http://127.0.0.1:9090")
	c.require(h.FallbackURL != "" || h.FallbackOn == 0, path+".fallback_url", "is missing: fallback_on %v needs it", h.FallbackOn)
	c.require(h.FallbackOn != 0 || h.FallbackURL == "", path+".fallback_on", "is missing: say unreachable, or the status at which fallback_url is asked instead")
	_, mistakes := h.API.Parse()
	for _, m := range mistakes {
		at := path
		for _, key := range m.Keys {
			at = join(at, pathKey(key))
		}
		c.require(false, at, "%s", m.Text)
	}
}

func (c *checker) postgresSource(path string, p *PostgresProvisionSpec) {
	c.policy(path, p.PolicySpec)
	c.username(path+".username", p.Username)
	c.require(p.URL != "", path+".url", "is missing: give the database, such as postgres://app@127.0.0.1/shop")
	c.secretURL(path+".url", p.URL, []string{"postgres", "postgresql"}, "postgres://app@127.0.0.1/shop")
	table := strings.Split(p.Table, ".")
	plausible := len(table) <= 2 && !slices.ContainsFunc(table, func(s string) bool { return !isIdentifier(s) })
	c.require(p.Table != "", path+".table", "is missing: give the table with the accounts, such as app.users")
	c.require(p.Table == "" || plausible, path+".table", "%s is not the name of a table, such as users or app.users", quote(p.Table))
	c.columns(path, p)
}

// columns checks that the names can be columns, and that no two are the same.
func (c *checker) columns(path string, p *PostgresProvisionSpec) {
	c.require(p.Columns.Username != "", path+".columns.username", "is missing: which column has the username?")
	c.require(p.Columns.Password != "", path+".columns.password", "is missing: which column has the password?")
	owner := make(map[string]string)
	check := func(key, column string) {
		at := path + "." + key
		if !isIdentifier(column) {
			c.require(false, at, "%s is not the name of a column", quote(column))
		} else if other, taken := owner[column]; taken {
			c.require(false, at, "column %s is used for %s already", column, other)
		} else {
			owner[column] = key
		}
	}
	for _, named := range []struct{ key, column string }{
		{"columns.id", p.Columns.ID}, {"columns.username", p.Columns.Username},
		{"columns.password", p.Columns.Password}, {"columns.role", p.Columns.Role},
	} {
		if named.column != "" {
			check(named.key, named.column)
		}
	}
	for _, attribute := range slices.Sorted(maps.Keys(p.Columns.Attributes)) {
		check("columns.attributes."+pathKey(attribute), p.Columns.Attributes[attribute])
	}
	for _, column := range slices.Sorted(maps.Keys(p.Extra)) {
		check("extra."+pathKey(column), column)
	}
}

// isIdentifier says whether s looks like the name of a table or a column. It
// refuses what was probably meant as something else; it is no protection.
func isIdentifier(s string) bool {
	const longest = 63 // bytes, in PostgreSQL
	return s != "" && len(s) <= longest && !unicode.IsDigit(rune(s[0])) && strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '$' && r != '-'
	}) < 0
}

func (c *checker) policy(path string, p PolicySpec) {
	c.require(p.Rate >= perHour, path+".rate", "%v is not at least %v", p.Rate, perHour)
	c.require(p.Concurrency >= 1, path+".concurrency", "%d is not above 0", p.Concurrency)
	c.require(p.Retries >= 0 && p.Retries <= mostRetries, path+".retries", "%d is not from 0 to %d", p.Retries, mostRetries)
	c.require(p.Timeout > 0, path+".timeout", "%v is not above 0", p.Timeout)
}

// username checks a pattern for usernames.
func (c *checker) username(path string, u UsernameSpec) {
	for _, name := range regexp.MustCompile(`\{[^{}]*\}`).FindAllString(string(u), -1) {
		c.require(name == "{role}" || name == "{random}", path, "there is no %s: there are {role} and {random}", quote(name))
	}
	c.require(strings.Contains(string(u), "{random}"), path, "%s must hold {random}, or all usernames would be the same", quote(string(u)))
}

// secretURL checks a URL of a service that asks who calls. What lets one in
// must come from the environment: the spec is saved, shown and sent to workers.
// It never repeats the URL.
func (c *checker) secretURL(path, text string, schemes []string, example string) {
	if text == "" {
		return
	}
	if err := exchange.CheckVariables(text); err != nil {
		c.require(false, path, "%v", err)
		return
	}
	// A variable can be anything: with a digit for each, the rest must make
	// sense, and with nothing for each, no password may be left.
	variables := regexp.MustCompile(`\$\{[^}]*\}`)
	sample, err := url.Parse(variables.ReplaceAllString(text, "1"))
	bare, bareErr := url.Parse(variables.ReplaceAllString(text, ""))
	wholly := strings.HasPrefix(text, "${") // the scheme is in the variable
	if err != nil || bareErr != nil || !wholly && (sample.Host == "" || !slices.Contains(schemes, sample.Scheme)) {
		c.require(false, path, "is not a URL such as %s", example)
		return
	}
	secret, _ := bare.User.Password()
	for _, key := range []string{"password", "sslpassword"} {
		secret += bare.Query().Get(key)
	}
	c.require(secret == "", path, "must not contain a password: write ${NAME}, for the environment variable NAME")
}

// rotation checks how long accounts are used.
func (c *checker) rotation(a AccountsSpec) {
	c.require(a.Rest >= 0 && a.Rest <= longestRest, "accounts.rest", "%v is not from 0 to %v", a.Rest, longestRest)
	c.require(a.MaxUses >= 0 && a.MaxUses <= mostUses, "accounts.max_uses", "%d is not from 1 to %d, or 0 for no limit", a.MaxUses, mostUses)
	c.require(a.MaxAge >= 0 && a.MaxAge <= greatestAge, "accounts.max_age", "%v is not up to %v, or 0 for no limit", a.MaxAge, greatestAge)
	c.require(a.ReplicaLag >= 0 && a.ReplicaLag <= longestRest, "accounts.replica_lag", "%v is not from 0 to %v", a.ReplicaLag, longestRest)
}
