package scenarios_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/throng-load/throng/scenarios"
)

func parseDist(t *testing.T, src string) scenarios.Dist {
	t.Helper()
	var d scenarios.Dist
	if err := yaml.Unmarshal([]byte(src), &d); err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return d
}

func TestDistForms(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for src, want := range map[string]scenarios.Dist{
		"5s":                                    scenarios.Constant(5 * s),
		"300":                                   scenarios.Constant(300 * s),
		"{ constant: 5s }":                      scenarios.Constant(5 * s),
		"0s":                                    {},
		"{ uniform: [2s, 8s] }":                 scenarios.Uniform(2*s, 8*s),
		"{ exponential: 3s }":                   scenarios.Exponential(3*s, 0),
		"{ exponential: { mean: 3s } }":         scenarios.Exponential(3*s, 0),
		"{ exponential: {mean: 3s, max: 30s} }": scenarios.Exponential(3*s, 30*s),
		"{ lognormal: { median: 3s, sigma: 0.5, max: 60s } }": scenarios.LogNormal(3*s, 0.5, 60*s),
		"{ lognormal: { median: 3s, sigma: 0.5 } }":           scenarios.LogNormal(3*s, 0.5, 0),
	} {
		if got := parseDist(t, src); !equal(got, want) {
			t.Errorf("%s = %+v, want %+v", src, got, want)
		}
	}
}

func TestDistMistakes(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"bogus":                                          `1:1: "bogus" is not a duration`,
		"[1s, 2s]":                                       "must be a duration such as 5s or a distribution: one of constant, uniform",
		"{}":                                             "must have exactly one of constant, uniform",
		"{ constant: 1s, uniform: [1s, 2s] }":            "exactly one",
		"{ unifrom: [1s, 2s] }":                          `1:3: unifrom: unknown key; did you mean uniform?`,
		"{ uniform: 5s }":                                "uniform: \"5s\" must be a list",
		"{ uniform: [8s, 2s] }":                          "the lower one first",
		"{ uniform: [2s] }":                              "two values",
		"{ uniform: [2s, x] }":                           `1:17: uniform[1]: "x" is not a duration`,
		"{ exponential: 0s }":                            "the mean must be above 0",
		"{ exponential: { mean: 3s, max: 1s }}":          "max 1s is below the mean 3s",
		"{ lognormal: { sigma: 1 } }":                    "the median must be above 0",
		"{ lognormal: { median: 1s, sigma: -1 } }":       "sigma -1 is not from 0 to 10",
		"{ lognormal: { median: 1s, sigma: 11 } }":       "sigma 11 is not from 0 to 10",
		"{ lognormal: { median: 1s, max: 500ms } }":      "max 500ms is below the median 1s",
		"{ lognormal: { median: 1s, sigma: .inf } }":     "is not a number",
		"{ empirical: [] }":                              "exactly one",
		"{ empirical: [[0.5, 2s]] }":                     "the share 1",
		"{ empirical: [[0.5, 2s], [1, 1s]] }":            "the point 2 is not above",
		"{ empirical: [[0.5, 2s], [0.5, 3s], [1, 4s]] }": "the point 2 is not above",
		"{ empirical: [[0.5, 2s], [1, 4s], [1, 5s]] }":   "the point 3 is not above",
		"{ empirical: [5s] }":                            "empirical[0]: must be a pair of a share and a value, such as [90%, 5s]",
		"{ empirical: [[x, y], [1, 4s]] }":               `empirical[0][1]: "y" is not a duration`,
	} {
		var d scenarios.Dist
		err := d.UnmarshalYAML(parseNode(t, src))
		if err == nil {
			t.Errorf("%s was accepted", src)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %q", src, err, want)
		}
	}
}

// TestDistSamples compares a great many samples with what the distribution
// promises: bounds, mean, median, and nothing allocated.
func TestDistSamples(t *testing.T) {
	t.Parallel()
	const s = float64(time.Second)
	for src, want := range map[string]struct{ low, high, mean, median float64 }{
		"5s":                                              {5, 5, 5, 5},
		"{ uniform: [2s, 8s] }":                           {2, 8, 5, 5},
		"{ uniform: [3s, 3s] }":                           {3, 3, 3, 3},
		"{ exponential: 3s }":                             {0, 1e3, 3, 3 * math.Ln2},
		"{ exponential: { mean: 3s, max: 3s } }":          {0, 3, 3 * (1 - 1/math.E), 3 * math.Ln2},
		"{ lognormal: { median: 3s, sigma: 0.5 } }":       {0, 1e3, 3 * math.Exp(0.125), 3},
		"{ lognormal: { median: 3s, sigma: 0 } }":         {3, 3, 3, 3},
		"{ lognormal: {median: 3s, sigma: 1, max: 5s}}":   {0, 5, 3.0687, 3},
		"{ empirical: [[0.5, 2s], [0.9, 5s], [1, 20s]] }": {0, 20, 0.5*1 + 0.4*3.5 + 0.1*12.5, 2},
		"{ empirical: [[0, 1s], [100%, 2s]] }":            {1, 2, 1.5, 1.5},
	} {
		t.Run(src, func(t *testing.T) {
			t.Parallel()
			d := parseDist(t, src)
			r := rand.New(rand.NewPCG(1, 2))
			const n = 200_000
			var sum float64
			below := 0
			for range n {
				v := float64(d.Sample(r)) / s
				if v < want.low || v > want.high {
					t.Fatalf("drew %vs, want from %vs to %vs", v, want.low, want.high)
				}
				sum += v
				if v < want.median {
					below++
				}
			}
			tolerance := 0.02 * want.mean
			if got := sum / n; math.Abs(got-want.mean) > tolerance {
				t.Errorf("mean of samples %vs, want %vs", got, want.mean)
			}
			if got := d.Mean().Seconds(); math.Abs(got-want.mean) > 0.001*want.mean {
				t.Errorf("Mean() = %vs, want %vs", got, want.mean)
			}
			if share := float64(below) / n; want.low < want.high && math.Abs(share-0.5) > 0.01 {
				t.Errorf("%v of the samples are below the median, want 0.5", share)
			}
		})
	}
}

func TestDistIsRepeatable(t *testing.T) {
	t.Parallel()
	d := scenarios.LogNormal(3*time.Second, 0.5, time.Minute)
	a, b := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(7, 7))
	for range 1000 {
		if x, y := d.Sample(a), d.Sample(b); x != y {
			t.Fatalf("equal seeds drew %v and %v", x, y)
		}
	}
}

func TestDistIsNeverNegativeNorOverflows(t *testing.T) {
	t.Parallel()
	const most = time.Duration(math.MaxInt64)
	r := rand.New(rand.NewPCG(1, 1))
	for _, d := range []scenarios.Dist{
		scenarios.Constant(-time.Second), scenarios.Constant(most), scenarios.Uniform(-most, most), scenarios.Uniform(most, most),
		scenarios.Exponential(most, 0), scenarios.Exponential(-1, 0), scenarios.LogNormal(most, 10, 0),
		scenarios.LogNormal(1, math.NaN(), 0), scenarios.LogNormal(1, math.Inf(1), 0), scenarios.LogNormal(-5, 1, 3),
	} {
		for range 1000 {
			if v := d.Sample(r); v < 0 {
				t.Fatalf("%+v drew %v", d, v)
			}
		}
		if d.Mean() < 0 {
			t.Errorf("%+v has the mean %v", d, d.Mean())
		}
	}
}

func TestDistSampleDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, src := range []string{
		"5s", "{ uniform: [2s, 8s] }", "{ exponential: 3s }", "{ lognormal: { median: 3s, sigma: 0.5, max: 60s } }",
		"{ empirical: [[0.5, 2s], [0.9, 5s], [1, 20s]] }",
	} {
		d := parseDist(t, src)
		if n := testing.AllocsPerRun(1000, func() { d.Sample(r) }); n != 0 {
			t.Errorf("%s: %v allocations a sample", src, n)
		}
	}
}

func TestCountDist(t *testing.T) {
	t.Parallel()
	var d scenarios.CountDist
	if err := yaml.Unmarshal([]byte("{ uniform: [1, 3] }"), &d); err != nil {
		t.Fatal(err)
	}
	if !equal(d, scenarios.UniformCount(1, 3)) {
		t.Errorf("decoded %+v", d)
	}
	r := rand.New(rand.NewPCG(3, 4))
	drawn := map[int64]int{}
	for range 30_000 {
		drawn[d.Sample(r)]++
	}
	for n := int64(1); n <= 3; n++ {
		if drawn[n] < 9_500 || drawn[n] > 10_500 {
			t.Errorf("%d was drawn %d times of 30000, want a third", n, drawn[n])
		}
	}
	if len(drawn) != 3 || d.Mean() != 2 {
		t.Errorf("drew %v, mean %v", drawn, d.Mean())
	}
	if got := scenarios.ConstantCount(7).Sample(r); got != 7 {
		t.Errorf("the constant 7 drew %d", got)
	}
	if got := scenarios.LogNormalCount(100, 1, 150).Sample(r); got < 0 || got > 150 {
		t.Errorf("lognormal up to 150 drew %d", got)
	}
	for src, want := range map[string]string{
		"5s": "is not a whole number", "-1": "is not a whole number", "[1]": "must be a whole number or a distribution",
		"9007199254740993":   "is not a whole number from 0 to 9007199254740992",
		"{ empirical: [7] }": "[90%, 500]",
	} {
		if err := new(scenarios.CountDist).UnmarshalYAML(parseNode(t, src)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}

// FuzzDist holds distributions to their promises for any text: no panic, no
// negative duration, and a written form that reads back to the same.
func FuzzDist(f *testing.F) {
	for _, seed := range []string{
		"5s", "{ uniform: [2s, 8s] }", "{ exponential: { mean: 3s, max: 30s } }", "exponential: 1h",
		"{ lognormal: { median: 3s, sigma: 0.5, max: 60s } }", "{ empirical: [[0.5, 2s], [90%, 5s], [1, 20s]] }", "7",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		node, err := tryParseNode(src)
		if err != nil {
			return
		}
		r := rand.New(rand.NewPCG(1, 1))
		var d, d2 scenarios.Dist
		if d.UnmarshalYAML(node) == nil {
			checkYAMLRoundTrip(t, d, &d2)
			if !equal(d, d2) || d.Sample(r) < 0 || d.Mean() < 0 {
				t.Fatalf("%s: %+v and %+v", src, d, d2)
			}
		}
		var c, c2 scenarios.CountDist
		if c.UnmarshalYAML(node) == nil {
			checkYAMLRoundTrip(t, c, &c2)
			if !equal(c, c2) || c.Sample(r) < 0 || c.Mean() < 0 {
				t.Fatalf("%s: %+v and %+v", src, c, c2)
			}
		}
	})
}

func checkYAMLRoundTrip(t *testing.T, from, to any) {
	t.Helper()
	text, err := yaml.Marshal(from)
	if err != nil {
		t.Fatalf("marshal %+v: %v", from, err)
	}
	if err := yaml.Unmarshal(text, to); err != nil {
		t.Fatalf("%+v: %v\n%s", from, err, text)
	}
}

func BenchmarkDistSample(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	d := scenarios.LogNormal(3*time.Second, 0.5, time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		d.Sample(r)
	}
}
