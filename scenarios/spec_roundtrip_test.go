package scenarios_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/scenarios"
)

// TestSpecRoundTrip: whatever the values, the text that workers get makes an
// equal spec.
func TestSpecRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		if found := spec.Check(); len(found) > 0 {
			t.Fatalf("drew a wrong spec: %v", found)
		}
		text, err := spec.Marshal()
		if err != nil {
			t.Fatalf("%+v: %v", spec, err)
		}
		env := testEnv()
		env.Flags = nil // as a worker reads it: settings are not its business
		got, err := scenarios.ParseSpec("redis", text, env)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !equal(got, spec) {
			t.Fatalf("got  %+v %+v\nwant %+v %+v\n%s", got, got.Behaviour, spec, spec.Behaviour, text)
		}
	})
}

func drawSpec(t *rapid.T) *scenarios.Spec {
	spec, err := scenarios.ParseSpec("", []byte(minimal), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	spec.Target = "http+sse://" + rapid.StringMatching(`[a-z0-9.-]{1,60}(:[0-9]{1,4})?(/[a-z?#&%20]{0,3})?`).
		Filter(func(s string) bool { return !strings.Contains(s, "%") }).Draw(t, "target")
	a := &spec.Accounts
	a.Pool = rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "pool")
	a.Size = scenarios.PoolSize(rapid.IntRange(0, 1e6).Draw(t, "size"))
	a.Headroom = rapid.Float64Range(0, 10).Draw(t, "headroom")
	a.LowWater = rapid.Float64Range(0, 1).Draw(t, "low_water")
	a.Rest = scenarios.Duration(rapid.Int64Range(0, 86_400_000).Draw(t, "rest")) * scenarios.Duration(time.Millisecond)
	a.MaxUses = rapid.IntRange(0, 1e9).Draw(t, "max_uses")
	a.Provision = drawProvision(t)
	spec.Load.Users = rapid.IntRange(1, 10000).Draw(t, "users")
	spec.Load.SpawnRate = rapid.Float64Range(1e-300, 1e300).Draw(t, "spawn_rate")
	spec.Load.RunTime = drawDuration(t, 0)
	if rapid.Bool().Draw(t, "stages") {
		spec.Load.Stages = []scenarios.Stage{
			{For: drawDuration(t, 1), Users: spec.Load.Users},
			{For: 1e9, Users: rapid.IntRange(0, spec.Load.Users).Draw(t, "down"), SpawnRate: rapid.Float64Range(10000, 1e9).Draw(t, "stage_rate")},
		}
	}
	spec.DeadMan = drawDuration(t, 3000)
	spec.Probe.Rate = scenarios.Rate(rapid.Float64Range(1./3600, 1e9).Draw(t, "rate"))
	spec.Probe.Routes = rapid.Permutation([]string{"quiet", "crowd"}).Draw(t, "routes")[:rapid.IntRange(0, 2).Draw(t, "n")]
	if len(spec.Probe.Routes) == 0 {
		spec.Probe.Routes = nil
	}
	spec.Trust.CPU = scenarios.Ratio(rapid.Float64Range(0.001, 1).Draw(t, "cpu"))
	for range rapid.IntRange(0, 3).Draw(t, "thresholds") {
		op := rapid.SampledFrom([]string{"<", "<=", "==", ">=", ">", "!="}).Draw(t, "op")
		expr := fmt.Sprintf("failures %s %v", op, scenarios.Ratio(rapid.Float64Range(0, 1).Draw(t, "failures")))
		if len(spec.Probe.Routes) > 0 {
			expr = fmt.Sprintf("delivery.p95 %s %v", op, drawDuration(t, 0))
		}
		threshold, err := scenarios.ParseThreshold(expr)
		if err != nil {
			t.Fatal(err)
		}
		spec.Thresholds = append(spec.Thresholds, threshold)
	}
	for range rapid.IntRange(0, 3).Draw(t, "allow") {
		raw := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		addr := netip.AddrFrom16([16]byte(raw))
		if rapid.Bool().Draw(t, "v4") {
			addr = netip.AddrFrom4([4]byte(raw[:4]))
		}
		spec.Safety.Allow = append(spec.Safety.Allow, netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, "bits")).Masked())
	}
	drawParams(t, spec.Behaviour.(*rooms))
	return spec
}

func drawParams(t *rapid.T, p *rooms) {
	p.Rooms = rapid.IntMin(1).Draw(t, "rooms")
	p.Members = rapid.Uint8Min(1).Draw(t, "members")
	p.Think = rapid.SampledFrom([]scenarios.Dist{
		{}, scenarios.Constant(time.Second), scenarios.Uniform(0, time.Hour), scenarios.Exponential(time.Second, time.Minute),
		scenarios.Exponential(0, 0), scenarios.LogNormal(time.Millisecond, 0.123456789, 0), scenarios.LogNormal(time.Hour, 10, 9*time.Hour),
	}).Draw(t, "think")
	p.Size = rapid.SampledFrom([]scenarios.CountDist{
		{}, scenarios.ConstantCount(1 << 53), scenarios.UniformCount(1, 1), scenarios.LogNormalCount(7, 1, 0),
	}).Draw(t, "size")
	// Letters that mean something to YAML, more often than any others.
	awkward := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune(" \t\n\r:#-?,[]{}&*!|>'\"%@`\\~=<._0aé\u0000\u0085\u2028\ufeff"))))
	words := rapid.OneOf(awkward, rapid.SampledFrom([]string{"null", "Null", "true", "~", "1e3", "0x1", ".inf", "yes", "---", "<<", ""}))
	p.Topic = words.Filter(func(s string) bool { return s != "" }).Draw(t, "topic")
	p.Share = rapid.Float64().Draw(t, "share")
	p.Loud = rapid.Bool().Draw(t, "loud")
	if p.Tags = rapid.SliceOfN(words, 0, 3).Draw(t, "tags"); len(p.Tags) == 0 {
		p.Tags = nil
	}
	p.Wait = time.Duration(drawDuration(t, 0))
	if rapid.Bool().Draw(t, "break") {
		p.Break = &pause{Every: scenarios.Rate(rapid.IntRange(0, 5).Draw(t, "every")), For: drawDuration(t, 0)}
	}
}

// drawDuration draws whole milliseconds from low up.
func drawDuration(t *rapid.T, low int64) scenarios.Duration {
	return scenarios.Duration(rapid.Int64Range(low, 1e12).Draw(t, "milliseconds")) * scenarios.Duration(time.Millisecond)
}

func TestSpecMarshalRefuses(t *testing.T) {
	t.Parallel()
	spec := parse(t, minimal)
	spec.Behaviour.(*rooms).Wait = time.Microsecond
	if text, err := spec.Marshal(); err == nil || !strings.Contains(err.Error(), "params: wait: ") {
		t.Errorf("a microsecond: %v\n%s", err, text)
	}
}

// FuzzParseSpec: any text is either a spec that survives being sent to a
// worker, or a SpecError whose problems have a place and one line.
func FuzzParseSpec(f *testing.F) {
	mistakes, err := os.ReadFile(filepath.Join("testdata", "mistakes.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(mistakes))
	f.Add(minimal)
	f.Add(minimal + "params: { think: { lognormal: { median: 1s, sigma: 2, max: 9s } }, break: {} }\nheadless: true\n")
	for _, name := range []string{"accounts.yaml", "provision.yaml"} {
		src, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src))
	}
	f.Add(minimal + "accounts: { provision: {} }\nsafety: { allow: [\"::1\", 10.0.0.0/8] }\nthresholds: [failures < 1%]\n")
	for _, src := range []string{"", "~", "|\n 0\n:", "a", "- a", "? a", "a: &b *b", "<<: *a", "--- a\n--- b", "%YAML 1.2\n---", "{", "!!map {}", "a: |\n b", "\t", "\x00", "load: \"\xff\""} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		spec, err := scenarios.ParseSpec("f", []byte(src), testEnv())
		if err != nil {
			checkSpecError(t, src, err)
			return
		}
		text, err := spec.Marshal()
		if err != nil {
			t.Fatalf("%q: %v", src, err)
		}
		again, err := scenarios.ParseSpec("f", text, testEnv())
		if err != nil {
			t.Fatalf("%q: %v\n%s", src, err, text)
		}
		spec.Settings, again.Settings = nil, nil
		if !equal(spec, again) {
			t.Fatalf("%q\ngot  %+v\nwant %+v\n%s", src, again, spec, text)
		}
	})
}

func checkSpecError(t *testing.T, src string, err error) {
	t.Helper()
	var specErr *scenarios.SpecError
	if !errors.As(err, &specErr) || len(specErr.Problems) == 0 {
		t.Fatalf("%q: %v is not a SpecError with problems", src, err)
	}
	sorted := slices.IsSortedFunc(specErr.Problems, func(a, b scenarios.Problem) int {
		return (a.Line-b.Line)*1_000_000 + a.Column - b.Column
	})
	if !sorted {
		t.Fatalf("%q: not in order:\n%v", src, err)
	}
	for _, p := range specErr.Problems {
		if p.Line < 1 || p.Column < 1 || p.File != "f" || p.Text == "" || strings.Contains(p.String(), "\n") {
			t.Fatalf("%q: problem %#v", src, p)
		}
	}
}
