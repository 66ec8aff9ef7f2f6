package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/internal/exchange"
	"github.com/throng-load/throng/scenarios"
)

func TestSpecOfAnAccountAPI(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile(filepath.Join("testdata", "accounts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	spec := parse(t, string(src))
	const s = scenarios.Duration(time.Second)
	want := &scenarios.HTTPProvisionSpec{
		PolicySpec:  scenarios.PolicySpec{Rate: 10, Concurrency: 8, Retries: 2, Timeout: 5 * s},
		URL:         "https://${SHOP_HOST}/api/v2",
		FallbackURL: "https://eu.shop.example/api/v2",
		FallbackOn:  exchange.Unreachable,
		Username:    "load.{role}.{random}",
		API: exchange.API{
			Headers: map[string]string{"Authorization": "Bearer ${SHOP_ADMIN_TOKEN}", "Accept": "application/json"},
			Create: &exchange.Request{
				Method: "PUT", Path: "/users", Body: "{\"user\": {\"login\": {{json .Username}},\n          \"secret\": {{json .Password}}}}\n",
				Headers: map[string]string{"Idempotency-Key": "{{.Key}}"},
				OK:      []int{200, 201}, Taken: []int{422}, ID: "data.user.id", Error: "error.message",
			},
			Login: &exchange.Request{
				Path: "/session", Body: "u={{form .Username}}&p={{form .Password}}",
				Headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
				Refused: []int{400, 423}, ID: "session.user_id", Token: "session.token",
			},
			Delete: &exchange.Request{Path: "/users/{{path .TargetID}}", Missing: []int{404}},
			Count:  &exchange.Request{Path: "/stats", Value: "users.total"},
		},
	}
	if got := spec.Accounts.Provision.HTTP; !equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	a := spec.Accounts
	if a.Rest != 5*s || a.MaxUses != 100 || a.MaxAge != 3600*s || a.ReplicaLag != s/5 || a.LowWater != 0 {
		t.Errorf("got %+v", a)
	}
	text, err := spec.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// What is the environment's stays there.
	for _, whole := range []string{"${SHOP_HOST}", "${SHOP_ADMIN_TOKEN}", "unreachable"} {
		if !strings.Contains(string(text), whole) {
			t.Errorf("%s is not in\n%s", whole, text)
		}
	}
	again := parse(t, string(text))
	if !equal(again.Accounts, spec.Accounts) {
		t.Errorf("got  %+v\nwant %+v\n%s", again.Accounts, spec.Accounts, text)
	}
}

func TestSpecOfOtherSources(t *testing.T) {
	t.Parallel()
	spec := parse(t, minimal+`
accounts:
  provision:
    postgres:
      url: ${DATABASE_URL}
      table: app.users
      rate: 50/s
      columns: { id: id, username: login, password: secret, attributes: { class: class_id } }
      extra: { state: active, tenant: "" }
`)
	const s = scenarios.Duration(time.Second)
	want := scenarios.ProvisionSpec{Postgres: &scenarios.PostgresProvisionSpec{
		PolicySpec: scenarios.PolicySpec{Rate: 50, Concurrency: 50, Retries: 4, Timeout: 10 * s},
		URL:        "${DATABASE_URL}", Table: "app.users", Username: "{role}-{random}",
		Columns: scenarios.PostgresColumnsSpec{ID: "id", Username: "login", Password: "secret", Attributes: map[string]string{"class": "class_id"}},
		Extra:   map[string]string{"state": "active", "tenant": ""},
	}}
	if got := spec.Accounts.Provision; !equal(got, want) {
		t.Errorf("postgres: got %+v, want %+v", got, want)
	}
	spec = parse(t, minimal+"accounts: { provision: { csv: { file: people.csv } } }")
	if got := spec.Accounts.Provision; got.CSV == nil || got.CSV.File != "people.csv" || got.HTTP != nil {
		t.Errorf("csv: %+v", got)
	}
	for _, src := range []string{"generated: {}", "generated:", "{ generated: { username: \"{role}-{random}\" } }"} {
		spec = parse(t, minimal+"accounts:\n  provision:\n    "+src)
		if got := spec.Accounts.Provision; got.Generated == nil || got.Generated.Username != "{role}-{random}" || got.HTTP != nil {
			t.Errorf("%s: %+v", src, got)
		}
	}
}

func TestProvisionMistakesTogether(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile(filepath.Join("testdata", "provision.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "provision.golden", problems(t, string(src))+"\n")
}

func TestProvisionSingleMistakes(t *testing.T) {
	t.Parallel()
	const (
		head = "accounts.provision.http."
		both = "create: { path: /u }, login: { path: /l }"
	)
	http := func(text string) string { return minimal + "accounts: { provision: { http: { " + text + " } } }" }
	postgres := func(text string) string {
		return minimal + "accounts: { provision: { postgres: { url: \"postgres://a@b/c\", table: t, columns: { username: u, password: p }, " + text + " } } }"
	}
	for _, c := range []struct{ name, src, want string }{
		{"two sources", minimal + "accounts: { provision: { http: {}, csv: { file: x } } }", "throng.yaml:3:24: accounts.provision: give one source, not http and csv"},
		{"unknown field", http("create: { path: /u, body: \"{{.Usrname}}\" }, login: { path: /l }"),
			"throng.yaml:3:60: accounts.provision.http.create.body: line 1: no field Usrname; an account has Username, Password, Role, TargetID, Key, Attributes"},
		{"broken template", minimal + "accounts:\n  provision:\n    http:\n      create:\n        path: /u\n        body: |\n          a\n          {{.Role\n      login: { path: /l }\n",
			"throng.yaml:8:15: accounts.provision.http.create.body: line 3: unclosed action"},
		{"no login", http("create: { path: /u }"), head + "login: is missing, and verify too"},
		{"no path", http("create: { path: /u }, login: {}"), head + "login.path: is missing"},
		{"unknown key", http("creat: {}"), head + "creat: unknown key; did you mean create?"},
		{"unknown key of a request", http(both + ", delete: { pth: /x }"), head + "delete.pth: unknown key; did you mean path?\naccounts.provision.http.delete.path: is missing"},
		{"no status", http(both + ", delete: { path: /x, ok: [abc] }"), head + "delete.ok[0]: \"abc\" is not a whole number"},
		{"one status", http(both + ", delete: { path: /x, ok: 200 }"), head + "delete.ok: \"200\" must be a list such as [a, b]"},
		{"header", http("headers: { \"X Y\": a }"), "throng.yaml:3:52: " + head + "headers.X Y: is not the name of a header"},
		{"long header", http("headers: { " + strings.Repeat("x", 60) + "(: a }"), "throng.yaml:3:108: " + head + "headers." + strings.Repeat("x", 40) + "…: is not the name of a header"},
		{"header twice", http("headers: { A: a, A: b }"), head + "headers.A: is given twice, first on line 3"},
		{"headers as a list", http("headers: [a]"), head + "headers: must be a mapping such as { key: value }, not a list"},
		{"secret in a header", http("headers: { Authorization: Bearer hunter2 }"), head + "headers.Authorization: must not hold a secret: write ${NAME}"},
		{"fallback without URL", http("fallback_on: unreachable"), head + "fallback_url: is missing: fallback_on unreachable needs it"},
		{"fallback without reason", http("fallback_url: \"http://x\""), head + "fallback_on: is missing: say unreachable, or the status"},
		{"wrong fallback", http("fallback_url: \"http://x\", fallback_on: 200"), head + "fallback_on: \"200\" is neither unreachable nor a status from 400 to 599"},
		{"password", http("url: \"http://me:hunter2@x\""), head + "url: must not contain a password: write ${NAME}, for the environment variable NAME"},
		{"half a password", http("url: \"http://me:hunter2${P}@x\""), head + "url: must not contain a password"},
		{"password of the fallback", http("fallback_on: 503, fallback_url: \"http://me:hunter2@x\""), head + "fallback_url: must not contain a password"},
		{"scheme", http("url: ftp://x"), head + "url: is not a URL such as http://127.0.0.1:9090"},
		{"variable", http("url: \"http://${hunter2!}\""), head + "url: ${ must begin the name of an environment variable"},
		{"policy", http("rate: 0, concurrency: 0"), head + "rate: 0/s is not at least 1/h\naccounts.provision.http.concurrency: 0 is not above 0"},
		{"retries", http("retries: -1"), head + "retries: -1 is not from 0 to 100"},
		{"timeout", http("timeout: 0"), head + "timeout: 0s is not above 0"},
		{"username", http("username: \"load-{role}\""), head + "username: \"load-{role}\" must hold {random}, or all usernames would be the same"},
		{"username with a slip", http("username: \"{rol}-{random}\""), head + "username: there is no \"{rol}\": there are {role} and {random}"},
		{"csv", minimal + "accounts: { provision: { csv: {} } }", "accounts.provision.csv.file: is missing"},
		{"generated", minimal + "accounts: { provision: { generated: { username: \"\" } } }", "accounts.provision.generated.username: \"\" must hold {random}"},
		{"postgres, all missing", minimal + "accounts: { provision: { postgres: {} } }", "accounts.provision.postgres.columns.password: is missing"},
		{"postgres password", strings.Replace(postgres(""), "//a@", "//a:hunter2@", 1), "accounts.provision.postgres.url: must not contain a password"},
		{"postgres password in the query", strings.Replace(postgres(""), "/c\"", "/c?password=hunter2\"", 1), "accounts.provision.postgres.url: must not contain a password"},
		{"postgres scheme", strings.Replace(postgres(""), "postgres://", "mysql://", 1), "accounts.provision.postgres.url: is not a URL such as postgres://app@127.0.0.1/shop"},
		{"postgres table", strings.Replace(postgres(""), "table: t", "table: \"a.b.c\"", 1), "accounts.provision.postgres.table: \"a.b.c\" is not the name of a table"},
		{"postgres column", postgres("extra: { \"a;b\": x }"), "accounts.provision.postgres.extra.a;b: \"a;b\" is not the name of a column"},
		{"postgres column twice", postgres("extra: { u: x }"), "accounts.provision.postgres.extra.u: column u is used for columns.username already"},
		{"rest", minimal + "accounts: { rest: 25h }", "throng.yaml:3:19: accounts.rest: 25h is not from 0 to 24h"},
		{"max_uses", minimal + "accounts: { max_uses: -1 }", "accounts.max_uses: -1 is not from 1 to 1000000000, or 0 for no limit"},
		{"max_age", minimal + "accounts: { max_age: 90000h }", "accounts.max_age: 90000h is not up to 87600h, or 0 for no limit"},
		{"replica_lag", minimal + "accounts: { replica_lag: 25h }", "accounts.replica_lag: 25h is not from 0 to 24h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := problems(t, c.src)
			for want := range strings.SplitSeq(c.want, "\n") {
				if !strings.Contains(got, want) {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the password is in %q", got)
			}
		})
	}
	for name, src := range map[string]string{
		"variables everywhere": http("url: \"https://${HOST}:${PORT}/${PATH}\""),
		"a whole URL":          http("url: \"${URL}\", fallback_url: \"${URL}/eu\", fallback_on: 503"),
		"a password variable":  http("url: \"http://me:${PASSWORD}@x\""),
		"built-in requests":    http("headers: { X-Tenant: load }"),
		"no headers":           http("headers: , " + both),
		"postgres":             postgres("extra: {}"),
		"a table with a dash":  strings.Replace(postgres(""), "table: t", "table: load-test.users", 1),
	} {
		if _, err := scenarios.ParseSpec("throng.yaml", []byte(src), testEnv()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// drawProvision draws a source with values that mean something to YAML.
func drawProvision(t *rapid.T) scenarios.ProvisionSpec {
	words := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune(" \t\n\r:#-?,[]&*!|>'\"%@`\\~=<._0aé\u0000\u0085\u2028\ufeff"))))
	table := func(keys *rapid.Generator[string]) map[string]string {
		if m := rapid.MapOfN(keys, words, 0, 3).Draw(t, "table"); len(m) > 0 {
			return m
		}
		return nil
	}
	names := rapid.StringMatching(`[a-z_][A-Za-z0-9_$-]{0,20}`)
	statuses := func(from, to int) []int {
		if list := rapid.SliceOfNDistinct(rapid.IntRange(from, to), 0, 3, rapid.ID).Draw(t, "statuses"); len(list) > 0 {
			return list
		}
		return nil
	}
	policy := scenarios.PolicySpec{
		Rate:        scenarios.Rate(rapid.Float64Range(1./3600, 1e9).Draw(t, "provision rate")),
		Concurrency: rapid.IntRange(1, 1000).Draw(t, "concurrency"), Retries: rapid.IntRange(0, 100).Draw(t, "retries"),
		Timeout: drawDuration(t, 1),
	}
	username := scenarios.UsernameSpec("{random}" + rapid.StringMatching(`[a-z."'# -]{0,9}`).Draw(t, "username"))
	switch rapid.IntRange(0, 4).Draw(t, "source") {
	case 0:
		h := &scenarios.HTTPProvisionSpec{PolicySpec: policy, Username: username}
		if rapid.Bool().Draw(t, "fallback") {
			h.URL, h.FallbackURL = "http://${HOST}/a", "https://b"
			h.FallbackOn = rapid.SampledFrom([]exchange.Failure{exchange.Unreachable, 503, 400}).Draw(t, "fallback_on")
		}
		if rapid.Bool().Draw(t, "requests") {
			h.Create = &exchange.Request{
				Method: "PUT", Path: "/{{path .Username}}", Body: drawText(t, words), OK: statuses(200, 299), Taken: statuses(400, 449), Refused: statuses(450, 499),
				Headers: map[string]string{"X-" + rapid.StringMatching(`[a-z0-9]{1,9}`).Draw(t, "header"): drawText(t, words)}, ID: "a.0.b",
			}
			h.Verify = &exchange.Request{Path: "/v", Missing: statuses(400, 499)}
		}
		return scenarios.ProvisionSpec{HTTP: h}
	case 1:
		p := &scenarios.PostgresProvisionSpec{
			PolicySpec: policy, URL: "postgres://${USER}:${PASSWORD}@h/d", Table: "s.t", Username: username,
			Columns: scenarios.PostgresColumnsSpec{Username: "U", Password: "P"}, Extra: table(names),
		}
		if rapid.Bool().Draw(t, "attributes") {
			p.Columns.Attributes = map[string]string{words.Draw(t, "attribute"): "A"}
		}
		return scenarios.ProvisionSpec{Postgres: p}
	case 2:
		return scenarios.ProvisionSpec{CSV: &scenarios.CSVProvisionSpec{File: "f" + words.Draw(t, "file")}}
	case 3:
		return scenarios.ProvisionSpec{Generated: &scenarios.GeneratedProvisionSpec{Username: username}}
	}
	return scenarios.ProvisionSpec{}
}

// drawText draws a template, for a header too.
func drawText(t *rapid.T, words *rapid.Generator[string]) string {
	words = words.Filter(func(s string) bool { return !strings.Contains(s, "{") })
	return fmt.Sprintf("%s{{json .Role}}%s", words.Draw(t, "before"), words.Draw(t, "after"))
}
