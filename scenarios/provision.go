package scenarios

import "github.com/throng-load/throng/internal/exchange"

// ProvisionSpec is how accounts come into being in the target. At most one
// source can be given; if there is none (provision: {}), none are created.
type ProvisionSpec struct {
	HTTP     *HTTPProvisionSpec     `yaml:"http"`
	Postgres *PostgresProvisionSpec `yaml:"postgres"`
	// CSV takes accounts from a file; they are in the target already.
	CSV *CSVProvisionSpec `yaml:"csv"`
	// Generated makes accounts up that the target needs not be told of.
	Generated *GeneratedProvisionSpec `yaml:"generated"`
}

// setDefaults: a file that names its sources names all of them.
func (p *ProvisionSpec) setDefaults() { *p = ProvisionSpec{} }

// PolicySpec is how a source is treated.
type PolicySpec struct {
	// Rate limits the accounts that all processes together create, verify or
	// delete.
	Rate Rate `yaml:"rate"`
	// Concurrency limits the calls of one process that are under way.
	Concurrency int `yaml:"concurrency"`
	// Retries is how often a call that failed in passing is made again.
	Retries int `yaml:"retries"`
	// Timeout bounds one call.
	Timeout Duration `yaml:"timeout"`
}

func defaultPolicy() PolicySpec {
	return PolicySpec{Rate: 1000 * perMinute, Concurrency: 50, Retries: 4, Timeout: 10 * second}
}

// UsernameSpec is what usernames of new accounts look like: a text in which
// {role} and {random} are replaced. It must hold {random}.
type UsernameSpec string

const defaultUsername UsernameSpec = "{role}-{random}"

// HTTPProvisionSpec creates accounts through an HTTP API. Without requests of
// its own it is the API of the built-in target.
type HTTPProvisionSpec struct {
	PolicySpec `yaml:",inline"`
	// URL is where the API is; empty is the target's own http address. In it
	// and in FallbackURL, ${NAME} is replaced by the environment variable of
	// the process that makes the requests.
	URL string `yaml:"url"`
	// FallbackURL is where a call is made instead when URL fails in the way
	// that FallbackOn names: another region, a second endpoint.
	FallbackURL string `yaml:"fallback_url"`
	// FallbackOn is "unreachable", or a status such as "503".
	FallbackOn exchange.Failure `yaml:"fallback_on,omitempty"`
	Username   UsernameSpec     `yaml:"username"`
	// API has the headers and the requests.
	exchange.API `yaml:",inline"`
}

func (h *HTTPProvisionSpec) setDefaults() {
	*h = HTTPProvisionSpec{PolicySpec: defaultPolicy(), Username: defaultUsername}
}

// PostgresProvisionSpec keeps accounts in a table of a PostgreSQL database.
type PostgresProvisionSpec struct {
	PolicySpec `yaml:",inline"`
	// URL is the database; ${NAME} is replaced by the environment variable, so
	// that no password stands in the file.
	URL string `yaml:"url"`
	// Table may have a schema: "app.users".
	Table string `yaml:"table"`
	// Columns are the table's, by what they hold.
	Columns PostgresColumnsSpec `yaml:"columns"`
	// Extra gives constant values to further columns.
	Extra    map[string]string `yaml:"extra"`
	Username UsernameSpec      `yaml:"username"`
}

func (p *PostgresProvisionSpec) setDefaults() {
	*p = PostgresProvisionSpec{PolicySpec: defaultPolicy(), Username: defaultUsername}
}

// PostgresColumnsSpec names columns. Username and Password are needed, an empty
// name otherwise means that there is no such column.
type PostgresColumnsSpec struct {
	ID       string `yaml:"id"`
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	Role     string `yaml:"role"`
	// Attributes are columns by attribute.
	Attributes map[string]string `yaml:"attributes"`
}

// CSVProvisionSpec takes accounts from a file with the columns username,
// password, role, and any others as attributes.
type CSVProvisionSpec struct {
	File string `yaml:"file"`
}

// GeneratedProvisionSpec makes accounts up.
type GeneratedProvisionSpec struct {
	Username UsernameSpec `yaml:"username"`
}

func (g *GeneratedProvisionSpec) setDefaults() {
	*g = GeneratedProvisionSpec{Username: defaultUsername}
}
