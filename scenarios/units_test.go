package scenarios_test

import (
	"encoding"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"github.com/throng-load/throng/scenarios"
)

// The units are flags as well as keys.
var (
	_ pflag.Value = (*scenarios.Duration)(nil)
	_ pflag.Value = (*scenarios.Rate)(nil)
	_ pflag.Value = (*scenarios.Ratio)(nil)
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0":              0,
		"300":            5 * time.Minute,
		"20s":            20 * time.Second,
		"3m":             3 * time.Minute,
		"2h":             2 * time.Hour,
		"1h20m":          80 * time.Minute,
		"3h30m10s":       3*time.Hour + 30*time.Minute + 10*time.Second,
		"500ms":          500 * time.Millisecond,
		"1s500ms":        1500 * time.Millisecond,
		"1h1ms":          time.Hour + time.Millisecond,
		"90s":            90 * time.Second,
		"007":            7 * time.Second,
		"9223372036s":    9223372036 * time.Second,
		"1h2m3s4ms":      time.Hour + 2*time.Minute + 3*time.Second + 4*time.Millisecond,
		"0h0m0s0ms":      0,
		"2562047h47m16s": 2562047*time.Hour + 47*time.Minute + 16*time.Second,
	} {
		if got, err := scenarios.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "1.5s", "3s2m", "bogus", "-5s", "+5s", "5 s", " 5s", "5s ", "s", "5d", "1s1s", "1ms1s", "1m1h",
		"1h30", "5S", "1e3", "0x10", "1_000", "５s", "5µs", "5us", "h5", "1hm",
	} {
		if got, err := scenarios.ParseDuration(text); err == nil || !strings.Contains(err.Error(), "1h30m") {
			t.Errorf("ParseDuration(%q) = %v, %v; want an error that shows valid forms", text, got, err)
		}
	}
	for _, text := range []string{"9223372037s", "99999999999999999999", "2562047h48m", "9223372036854775807h"} {
		if got, err := scenarios.ParseDuration(text); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("ParseDuration(%q) = %v, %v; want too long", text, got, err)
		}
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                       "0s",
		90 * time.Second:        "1m30s",
		1500 * time.Millisecond: "1s500ms",
		2 * time.Hour:           "2h",
		time.Microsecond:        "1µs",
		-time.Second:            "-1s",
	} {
		if got := scenarios.Duration(d).String(); got != want {
			t.Errorf("Duration(%d).String() = %q, want %q", d, got, want)
		}
	}
	for _, d := range []scenarios.Duration{-1e9, 1, 1500} {
		if text, err := d.MarshalText(); err == nil {
			t.Errorf("MarshalText of %v = %q, want an error", time.Duration(d), text)
		}
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]scenarios.Rate{
		"20/s": 20, "20": 20, "0.5/s": 0.5, "1000/m": 1000. / 60, "5/h": 5. / 3600, "0": 0, "7200/h": 2,
		"1000000000/s": 1e9, ".5": 0.5, "5.": 5,
	} {
		if got, err := scenarios.ParseRate(text); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "/s", "20/", "20/d", "-1/s", "1e3/s", "inf", "NaN", "0x10", "1_0", "20 /s", "1/s/s", ".", "1.2.3"} {
		if got, err := scenarios.ParseRate(text); err == nil || !strings.Contains(err.Error(), "1000/m") {
			t.Errorf("ParseRate(%q) = %v, %v; want an error that shows valid forms", text, got, err)
		}
	}
	if _, err := scenarios.ParseRate("1000000001"); err == nil || !strings.Contains(err.Error(), "highest rate") {
		t.Errorf("a rate above the highest: %v", err)
	}
	for r, want := range map[scenarios.Rate]string{20: "20/s", 0: "0/s", 1000. / 60: "1000/m", 5. / 3600: "5/h", 0.5: "30/m"} {
		if got := r.String(); got != want {
			t.Errorf("Rate(%v).String() = %q, want %q", float64(r), got, want)
		}
	}
	for _, r := range []scenarios.Rate{-1, 2e9, scenarios.Rate(math.NaN())} {
		if text, err := r.MarshalText(); err == nil {
			t.Errorf("MarshalText of %v = %q, want an error", float64(r), text)
		}
	}
}

func TestParseRatio(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]scenarios.Ratio{
		"1%": 0.01, "0.01": 0.01, "85%": 0.85, "0": 0, "1": 1, "100%": 1, "0.5%": 0.005, "99.9%": 0.999,
	} {
		if got, err := scenarios.ParseRatio(text); err != nil || got != want {
			t.Errorf("ParseRatio(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "-1%", "101%", "85", "1.01", "1e-2", "1 %", "1%%", "nan"} {
		if got, err := scenarios.ParseRatio(text); err == nil || !strings.Contains(err.Error(), "0.01") {
			t.Errorf("ParseRatio(%q) = %v, %v; want an error that shows valid forms", text, got, err)
		}
	}
	for r, want := range map[scenarios.Ratio]string{0.85: "85%", 0.01: "1%", 0.999: "99.9%", 0: "0%", 1. / 3: "0.3333333333333333"} {
		if got := r.String(); got != want {
			t.Errorf("Ratio(%v).String() = %q, want %q", float64(r), got, want)
		}
	}
	for _, r := range []scenarios.Ratio{-1, 2, scenarios.Ratio(math.NaN())} {
		if text, err := r.MarshalText(); err == nil {
			t.Errorf("MarshalText of %v = %q, want an error", float64(r), text)
		}
	}
}

func TestUnitsAsFlags(t *testing.T) {
	t.Parallel()
	var (
		d     scenarios.Duration
		rate  scenarios.Rate
		ratio scenarios.Ratio
	)
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Var(&d, "run-time", "")
	flags.Var(&rate, "rate", "")
	flags.Var(&ratio, "ratio", "")
	if err := flags.Parse([]string{"--run-time", "1m30s", "--rate=30/m", "--ratio", "5%"}); err != nil {
		t.Fatal(err)
	}
	if time.Duration(d) != 90*time.Second || rate != 0.5 || ratio != 0.05 {
		t.Errorf("parsed %v, %v, %v", d, rate, ratio)
	}
	for _, bad := range []string{"--run-time=1.5s", "--rate=x", "--ratio=85"} {
		if err := flags.Parse([]string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	if time.Duration(d) != 90*time.Second || rate != 0.5 || ratio != 0.05 {
		t.Errorf("a wrong flag changed the value: %v, %v, %v", d, rate, ratio)
	}
}

// TestUnitsInPlainYAML uses the YAML library without this package's decoder.
func TestUnitsInPlainYAML(t *testing.T) {
	t.Parallel()
	type document struct {
		Seconds   scenarios.Duration  `yaml:"seconds"`
		Duration  scenarios.Duration  `yaml:"duration"`
		Rate      scenarios.Rate      `yaml:"rate"`
		Ratio     scenarios.Ratio     `yaml:"ratio"`
		Dist      scenarios.Dist      `yaml:"dist"`
		Constant  scenarios.Dist      `yaml:"constant"`
		Sizes     scenarios.CountDist `yaml:"sizes"`
		Threshold scenarios.Threshold `yaml:"threshold"`
	}
	var first, second document
	src := "seconds: 300\nduration: 1h30m\nrate: 1000/m\nratio: 1%\ndist: { uniform: [2s, 8s] }\n" +
		"constant: 5s\nsizes: { empirical: [[0.5, 10], [1, 99]] }\nthreshold: failures<1%\n"
	if err := yaml.Unmarshal([]byte(src), &first); err != nil {
		t.Fatal(err)
	}
	if first.Seconds != 300e9 || first.Rate != 1000./60 || first.Dist.Mean() != 5*time.Second || first.Threshold.Value != 0.01 {
		t.Errorf("decoded %+v", first)
	}
	text, err := yaml.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &second); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !equal(first, second) {
		t.Errorf("got %+v\nwant %+v\ntext:\n%s", second, first, text)
	}
}

// FuzzUnits holds the units to their promise: what is read is written in a form
// that reads back to the same value.
func FuzzUnits(f *testing.F) {
	for _, seed := range []string{"", "300", "1h30m", "1s500ms", "9223372036854775807", "20/s", "1000/m", "0.1/h", "1%", "0.3333"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d, d2 scenarios.Duration
		roundTrip(t, s, &d, &d2)
		var rate, rate2 scenarios.Rate
		roundTrip(t, s, &rate, &rate2)
		var ratio, ratio2 scenarios.Ratio
		roundTrip(t, s, &ratio, &ratio2)
	})
}

// text is what a value with a text form can do.
type text[T any] interface {
	*T
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

// roundTrip reads s into a, writes a, and reads that into b.
func roundTrip[T comparable, P text[T]](t *testing.T, s string, a, b P) {
	t.Helper()
	if err := a.UnmarshalText([]byte(s)); err != nil {
		var zero T
		if *a != zero {
			t.Fatalf("%q is refused and yet changes the value: %v", s, *a)
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Fatalf("%q: the error is not one short line: %v", s, err)
		}
		return
	}
	written, err := a.MarshalText()
	if err != nil {
		t.Fatalf("%q reads as %v, which does not marshal: %v", s, *a, err)
	}
	if err := b.UnmarshalText(written); err != nil || *a != *b {
		t.Fatalf("%q reads as %v, written %q, reads as %v, %v", s, *a, written, *b, err)
	}
}
