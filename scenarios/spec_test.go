package scenarios_test

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/throng-load/throng/scenarios"
)

var update = flag.Bool("update", false, "write the golden files")

// equal compares by content, also what is not exported.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// rooms is a behaviour with a parameter of every type.
type rooms struct {
	Rooms   int                 `yaml:"rooms"`
	Members uint8               `yaml:"members"`
	Think   scenarios.Dist      `yaml:"think"`
	Size    scenarios.CountDist `yaml:"size"`
	Topic   string              `yaml:"topic"`
	Share   float64             `yaml:"share"`
	Loud    bool                `yaml:"loud"`
	Tags    []string            `yaml:"tags"`
	Wait    time.Duration       `yaml:"wait"`
	Break   *pause              `yaml:"break"`
	NoKey   string
}

type pause struct {
	Every scenarios.Rate     `yaml:"every"`
	For   scenarios.Duration `yaml:"for,omitempty"`
}

func newRooms() scenarios.Behaviour {
	return &rooms{
		Rooms: 3, Members: 10, Think: scenarios.Uniform(2*time.Second, 8*time.Second),
		Topic: "news", Tags: []string{"a", "b"}, NoKey: "kept",
	}
}

func (r *rooms) Validate() error {
	var problems []error
	if r.Rooms < 1 {
		problems = append(problems, &scenarios.ParamError{Param: "rooms", Text: "must be at least 1"})
	}
	if r.Members < 1 {
		problems = append(problems, fmt.Errorf("wrapped: %w", &scenarios.ParamError{Param: "members", Text: "must be at least 1"}))
	}
	if r.Topic == "" {
		problems = append(problems, errors.New("a room without a topic is silent"))
	}
	return errors.Join(problems...)
}

func (r *rooms) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "Member", Role: "member", Weight: 1}}
}
func (r *rooms) ClassOf(int) int          { return 0 }
func (r *rooms) Crowd() scenarios.Channel { return scenarios.Channel{Name: "room/0", Pattern: "room"} }

func testEnv() scenarios.ParseEnv {
	return scenarios.ParseEnv{
		Scenarios: []scenarios.Scenario{{Name: "rooms", New: newRooms}, {Name: "classroom", New: newRooms}},
		Schemes:   []string{"http+poll", "http+sse"},
		Flags:     []string{"headless", "html", "users", "run-time", "expect_workers", "lease-ttl"},
	}
}

func parse(t *testing.T, src string) *scenarios.Spec {
	t.Helper()
	spec, err := scenarios.ParseSpec("throng.yaml", []byte(src), testEnv())
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return spec
}

// problems parses what must not parse.
func problems(t *testing.T, src string) string {
	t.Helper()
	spec, err := scenarios.ParseSpec("throng.yaml", []byte(src), testEnv())
	var specErr *scenarios.SpecError
	if !errors.As(err, &specErr) {
		t.Fatalf("ParseSpec = %+v, %v; want a SpecError\n%s", spec, err, src)
	}
	return err.Error()
}

// minimal is the least that a file must say; it ends with a line break.
const minimal = "scenario: rooms\ntarget: http+poll://127.0.0.1:9090\n"

func tryParseNode(src string) (ast.Node, error) {
	file, err := parser.ParseBytes([]byte(src), 0)
	if err != nil {
		return nil, err
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, errors.New("empty")
	}
	return file.Docs[0].Body, nil
}

func parseNode(t *testing.T, src string) ast.Node {
	t.Helper()
	node, err := tryParseNode(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return node
}

func TestSpecDefaults(t *testing.T) {
	t.Parallel()
	const s = scenarios.Duration(time.Second)
	policy := scenarios.PolicySpec{Rate: 1000. / 60, Concurrency: 50, Retries: 4, Timeout: 10 * s}
	want := &scenarios.Spec{
		Scenario: "rooms", Target: "http+poll://127.0.0.1:9090", Behaviour: newRooms(),
		Accounts: scenarios.AccountsSpec{
			Pool: "rooms", Size: 0, Headroom: 0.34, LowWater: 0.1, Max: 0,
			LeaseWait: 30 * s,
			Provision: scenarios.ProvisionSpec{HTTP: &scenarios.HTTPProvisionSpec{PolicySpec: policy, Username: "{role}-{random}"}},
		},
		Load:     scenarios.LoadSpec{Users: 1, SpawnRate: 1},
		Probe:    scenarios.ProbeSpec{Rate: 20, Routes: []string{"quiet", "crowd"}, OnTime: 2 * s, Timeout: 15 * s},
		Safety:   scenarios.SafetySpec{MaxUsers: 10000},
		Trust:    scenarios.TrustSpec{CPU: 0.85, CPUFor: 5 * s, SchedLag: s / 50, LateSends: 0.01, Excluded: 0.5, Unwatched: 0.1},
		DeadMan:  60 * s,
		Settings: map[string]scenarios.Setting{},
	}
	if got := parse(t, minimal); !equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Sections with nothing beneath them leave the defaults alone.
	if got := parse(t, "\ufeff"+minimal+"accounts:\nload: {}\nprobe: ~\nparams:\n"); !equal(got, want) {
		t.Errorf("empty sections: got %+v\nwant %+v", got, want)
	}
}

// TestSpecExample reads the example of the project's design.
func TestSpecExample(t *testing.T) {
	t.Parallel()
	got := parse(t, `
scenario: classroom                 # throng scenarios lists them
target: http+poll://127.0.0.1:9090  # the scheme picks the driver
params: { rooms: 30, members: 20, think: { uniform: [2s, 8s] }, wait: 1s, break: { every: 3/h } }
accounts: { pool: classroom, size: auto, headroom: 0.34, low_water: 0.1, max: 0, lease_wait: 30s,
            provision: { http: { rate: 1000/m, concurrency: 50 } } }   # auto: peak users by role + headroom + probe
load: { users: 1000, spawn_rate: 50, run_time: 10m }
probe: { rate: 20/s, routes: [quiet, crowd], on_time: 2s, timeout: 15s }
thresholds: [ "delivery.p95 <= 2s", "delivery.lost == 0", "delivery.duplicated == 0", "failures < 1%" ]
safety: { allow: [127.0.0.0/8, "::1/128"], max_users: 10000 }
`)
	want := parse(t, strings.Replace(minimal, "rooms", "classroom", 1))
	want.Load = scenarios.LoadSpec{Users: 1000, SpawnRate: 50, RunTime: scenarios.Duration(10 * time.Minute)}
	for _, expr := range []string{"delivery.p95 <= 2s", "delivery.lost == 0", "delivery.duplicated == 0", "failures < 1%"} {
		threshold, err := scenarios.ParseThreshold(expr)
		if err != nil {
			t.Fatal(err)
		}
		want.Thresholds = append(want.Thresholds, threshold)
	}
	want.Safety.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	params := want.Behaviour.(*rooms)
	params.Rooms, params.Members, params.Wait, params.Break = 30, 20, time.Second, &pause{Every: 3. / 3600}
	want.Settings = map[string]scenarios.Setting{
		"users":    {Text: "1000", Line: 7, Column: 16},
		"run-time": {Text: "10m", Line: 7, Column: 48},
	}
	if !equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSpecValues(t *testing.T) {
	t.Parallel()
	spec := parse(t, minimal+`
accounts: { size: 500, provision: {}, pool: p-1 }
safety: { allow: [10.1.2.3, "::1", 10.9.9.9/8, "::ffff:10.0.0.0/104"] }
params: { tags: [], topic: 5, loud: true, think: 3s, share: 1e-3 }
headless: true
expect_workers: 4
lease_ttl: 5s
`)
	if spec.Accounts.Size != 500 || spec.Accounts.Provision.HTTP != nil || spec.Accounts.Pool != "p-1" {
		t.Errorf("got %+v", spec)
	}
	var allow []string
	for _, p := range spec.Safety.Allow {
		allow = append(allow, p.String())
	}
	if got, want := strings.Join(allow, " "), "10.1.2.3/32 ::1/128 10.0.0.0/8 10.0.0.0/8"; got != want {
		t.Errorf("allow %s, want %s", got, want)
	}
	want := newRooms().(*rooms)
	want.Tags, want.Topic, want.Loud, want.Share = nil, "5", true, 1e-3
	want.Think = scenarios.Constant(3 * time.Second)
	if !equal(spec.Behaviour, want) {
		t.Errorf("params %+v, want %+v", spec.Behaviour, want)
	}
	if want := (map[string]scenarios.Setting{
		"headless":       {Text: "true", Line: 7, Column: 11},
		"expect_workers": {Text: "4", Line: 8, Column: 17},
		"lease-ttl":      {Text: "5s", Line: 9, Column: 12},
	}); !equal(spec.Settings, want) {
		t.Errorf("settings %+v, want %+v", spec.Settings, want)
	}
	if got := parse(t, minimal+"accounts: { provision: { http: } }"); got.Accounts.Provision.HTTP.Concurrency != 50 {
		t.Errorf("http with nothing beneath it: %+v", got.Accounts.Provision.HTTP)
	}
}

// TestSpecMistakes compares all the mistakes of one file with a golden file.
func TestSpecMistakes(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile(filepath.Join("testdata", "mistakes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "mistakes.golden", problems(t, string(src))+"\n")
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSpecSingleMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, src, want string }{
		{"empty", "", "throng.yaml:1:1: scenario: is missing: name one of rooms, classroom\n" +
			"throng.yaml:1:1: target: is missing: give a URL such as http+poll://127.0.0.1:9090"},
		{"syntax", minimal + "load: { users: 5\n", "throng.yaml:3:7: syntax error: "},
		{"scalar", "hello", `throng.yaml:1:1: "hello" must be a mapping such as { key: value }`},
		{"list", "- a", "throng.yaml:1:1: must be a mapping such as { key: value }, not a list"},
		{"two documents", minimal + "---\na: 1\n", "throng.yaml:1:1: must be one document"},
		{"too large", minimal + "#" + strings.Repeat("x", 1<<20), "throng.yaml:1:1: is larger than 256 KiB"},
		{"unknown scenario", strings.Replace(minimal, "rooms", "romos", 1),
			`throng.yaml:1:11: scenario: unknown scenario "romos"; did you mean rooms? (there are rooms, classroom)`},
		{"unknown scheme", strings.Replace(minimal, "http+poll", "ftp", 1),
			`throng.yaml:2:9: target: unknown scheme "ftp" (there are http+poll, http+sse)`},
		{"no URL", strings.Replace(minimal, "http+poll://", "", 1), "throng.yaml:2:9: target: is not a URL"},
		{"no host", strings.Replace(minimal, "127.0.0.1:9090", "", 1), "throng.yaml:2:9: target: is not a URL"},
		{"password", strings.Replace(minimal, "127", "me:hunter2@127", 1), "throng.yaml:2:9: target: must not contain a password"},
		{"scheme with a password", "scenario: rooms\ntarget: me:hunter2@x://y\n", "throng.yaml:2:9: target: is not a URL"},
		{"empty pool", minimal + "accounts: { pool: \"\" }", `throng.yaml:3:19: accounts.pool: "" must be 1 to 64 letters`},
		{"broken URL with a password", strings.Replace(minimal, "127", "me:hunter2%@127", 1), "throng.yaml:2:9: target: is not a URL"},
		{"above the limit", minimal + "load: { users: 20000 }",
			"throng.yaml:3:16: load.users 20000 is above safety.max_users 10000: raise safety.max_users if you mean it"},
		{"whole numbers", minimal + "load:\n  users: 1.5\n", `throng.yaml:4:10: load.users: "1.5" is not a whole number`},
		{"hexadecimal", minimal + "load: { users: 0x10 }", `"0x10" is not a whole number`},
		{"out of range", minimal + "params: { members: 300 }", `throng.yaml:3:20: params.members: "300" is out of range`},
		{"null", minimal + "load: { users: }", "load.users: has no value: it must be a single value"},
		{"mapping for a scalar", minimal + "load: { users: {} }", "load.users: must be a single value, not a mapping"},
		{"list for a mapping", minimal + "load: [1]", "load: must be a mapping such as { key: value }, not a list"},
		{"scalar for a list", minimal + "safety: { allow: 127.0.0.1 }", `"127.0.0.1" must be a list such as [a, b]`},
		{"boolean", minimal + "params: { loud: yes }", `params.loud: "yes" is not true or false`},
		{"infinite", minimal + "load: { spawn_rate: .inf }", `load.spawn_rate: ".inf" is not a number`},
		{"huge", minimal + "load: { spawn_rate: 1e999 }", `load.spawn_rate: "1e999" is not a number`},
		{"anchor", minimal + "load: &x { users: 5 }", "throng.yaml:3:7: load: anchors, aliases and tags are not supported"},
		{"merge key", minimal + "load: { <<: {} }", "load: a key must be a plain name"},
		{"long value", minimal + "load: { users: " + strings.Repeat("x", 500) + " }",
			`load.users: "` + strings.Repeat("x", 40) + `…" is not a whole number`},
		{"long key", minimal + strings.Repeat("k", 500) + ": 1", strings.Repeat("k", 40) + `…: unknown key; there are scenario, target, params, accounts, load`},
		{"plain problem of the scenario", minimal + "params: { topic: \"\" }", "throng.yaml:3:9: params: a room without a topic is silent"},
		{"problem of a parameter", minimal + "params:\n  rooms: 0\n", "throng.yaml:4:10: params.rooms: must be at least 1"},
		{"problem of a wrapped parameter", minimal + "params: { members: 0 }", "throng.yaml:3:20: params.members: must be at least 1"},
		{"flag near", minimal + "headles: true", `throng.yaml:3:1: headles: unknown key; did you mean headless?`},
		{"flag in the wrong place", minimal + "load: { html: x }", "throng.yaml:3:9: load.html: belongs at the top level, not under load"},
		{"load flag at the top", minimal + "users: 5", "throng.yaml:3:1: users: belongs under load"},
		{"list of a flag", minimal + "html: [a]", "throng.yaml:3:1: html: must be a single value, not a list"},
		{"on_time", minimal + "probe: { on_time: 15s }", "throng.yaml:3:19: probe.on_time: 15s is not below probe.timeout 15s"},
		{"nothing measured", minimal + "probe: { routes: [] }\nthresholds: [failures < 1%, delivery.lost == 0]",
			"throng.yaml:4:29: thresholds[1]: delivery.lost is not measured: probe.routes is empty"},
		{"size above max", minimal + "accounts: { size: 5, max: 4 }", "throng.yaml:3:19: accounts.size: 5 is above accounts.max 4"},
		{"size", minimal + "accounts: { size: 0 }", `accounts.size: "0" is neither auto nor a whole number above 0`},
		{"provision rate", minimal + "accounts: { provision: { http: { rate: 0 } } }", "throng.yaml:3:40: accounts.provision.http.rate: 0/s is not at least 1/h"},
		{"provision URL", minimal + "accounts: { provision: { http: { url: ftp://x } } }", "accounts.provision.http.url: is not a URL such as http"},
		{"zone", minimal + "safety: { allow: [\"fe80::1%eth0\"] }", "safety.allow[0]: \"fe80::1%eth0\" is not an address"},
		{"columns count characters", minimal + "params: { topic: äöü, rooms: x }", "throng.yaml:3:30: params.rooms"},
		{"repeated key", minimal + "load: { users: 5,\n  users: 6 }", "throng.yaml:4:3: load.users: is given twice, first on line 3"},
		{"nested list", minimal + "thresholds: [[a]]", "throng.yaml:3:14: thresholds[0]: must be a single value, not a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := problems(t, c.src)
			if !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the password is in %q", got)
			}
			if wanted := strings.Count(c.want, "\n"); strings.Count(got, "\n") != wanted {
				t.Errorf("want %d problems, got\n%s", wanted+1, got)
			}
		})
	}
}

// TestSpecCheck changes a good spec as flags would.
func TestSpecCheck(t *testing.T) {
	t.Parallel()
	if got := parse(t, minimal).Check(); len(got) != 0 {
		t.Errorf("a parsed spec has problems: %v", got)
	}
	for want, change := range map[string]func(*scenarios.Spec){
		"load.users: 0 is not above 0": func(s *scenarios.Spec) { s.Load.Users = 0 },
		"load.users 20000 is above safety.max_users 10000: raise safety.max_users if you mean it": func(s *scenarios.Spec) {
			s.Load.Users = 20000
		},
		"load.spawn_rate: 0 is not a number above 0":           func(s *scenarios.Spec) { s.Load.SpawnRate = 0 },
		"load.run_time: -1s is below 0":                        func(s *scenarios.Spec) { s.Load.RunTime = -1e9 },
		"safety.max_users: -1 is not above 0":                  func(s *scenarios.Spec) { s.Safety.MaxUsers = -1 },
		"accounts.size: -5 is below 0":                         func(s *scenarios.Spec) { s.Accounts.Size = -5 },
		"params.rooms: must be at least 1":                     func(s *scenarios.Spec) { s.Behaviour.(*rooms).Rooms = 0 },
		"probe.routes[1]: crowd is given twice":                func(s *scenarios.Spec) { s.Probe.Routes = []string{"crowd", "crowd"} },
		"trust.cpu: 0% is not above 0% and up to 100%":         func(s *scenarios.Spec) { s.Trust.CPU = 0 },
		"target: must not contain a password: reports show it": func(s *scenarios.Spec) { s.Target = "http+poll://a:b@127.0.0.1" },
	} {
		spec := parse(t, minimal)
		change(spec)
		if got := spec.Check(); len(got) != 1 || got[0].String() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// TestSpecsAreSeparate guards against defaults that two specs share.
func TestSpecsAreSeparate(t *testing.T) {
	t.Parallel()
	a, b := parse(t, minimal), parse(t, minimal)
	a.Probe.Routes[0], a.Accounts.Provision.HTTP.Concurrency = "changed", 7
	if b.Probe.Routes[0] != "quiet" || b.Accounts.Provision.HTTP.Concurrency != 50 {
		t.Errorf("changed with the other spec: %+v", b)
	}
}
