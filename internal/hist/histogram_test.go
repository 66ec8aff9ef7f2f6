package hist_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

// distributions are the shapes that the random tests draw from.
var distributions = map[string]func(*rand.Rand) time.Duration{
	"sub-microsecond": func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(3000)) },
	"uniform":         func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(20 * time.Millisecond))) },
	"lognormal": func(r *rand.Rand) time.Duration {
		return min(time.Duration(math.Exp(r.NormFloat64()*1.5)*float64(30*time.Millisecond)), time.Hour)
	},
	"all magnitudes": func(r *rand.Rand) time.Duration {
		return time.Duration(r.Int64N(int64(time.Hour)+1) >> r.IntN(42))
	},
	"constant": func(*rand.Rand) time.Duration { return 1234567 * time.Nanosecond },
	"two peaks": func(r *rand.Rand) time.Duration {
		return []time.Duration{time.Millisecond, 25 * time.Second}[r.IntN(2)]
	},
}

func sample(seed uint64, n int, draw func(*rand.Rand) time.Duration) []time.Duration {
	rnd := rand.New(rand.NewPCG(seed, 7))
	ds := make([]time.Duration, n)
	for i := range ds {
		ds[i] = draw(rnd)
	}
	return ds
}

func histogramOf(ds []time.Duration) *hist.Histogram {
	h := new(hist.Histogram)
	for _, d := range ds {
		h.Record(d)
	}
	return h
}

// binary is the whole state of h as a comparable value.
func binary(t testing.TB, h *hist.Histogram) string {
	t.Helper()
	b, err := h.AppendBinary(nil)
	if err != nil {
		t.Fatalf("AppendBinary: %v", err)
	}
	return string(b)
}

func TestQuantilesEqualTheLibrarys(t *testing.T) {
	t.Parallel()
	for name, draw := range distributions {
		for _, n := range []int{1, 2, 3, 10, 99, 100, 20_000} {
			ds := sample(uint64(n), n, draw)
			h, lib := histogramOf(ds), newHDR()
			for _, d := range ds {
				if err := lib.RecordValue(d.Microseconds()); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 1001 {
				q := float64(i) / 1000
				got := h.Quantile(q)
				want := min(max(lib.ValueAtQuantile(100*q), h.Min().Microseconds()), h.Max().Microseconds())
				if got.Microseconds() != want {
					t.Fatalf("%s, %d records, quantile %v: got %d µs, want %d µs", name, n, q, got.Microseconds(), want)
				}
				if got < h.Min() || got > h.Max() {
					t.Fatalf("%s, %d records, quantile %v: got %v outside of [%v, %v]", name, n, q, got, h.Min(), h.Max())
				}
			}
		}
	}
}

func TestFiguresAreExact(t *testing.T) {
	t.Parallel()
	for name, draw := range distributions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ds := sample(3, 5000, draw)
			var sum time.Duration
			for _, d := range ds {
				sum += d
			}
			whole := histogramOf(ds)
			merged := histogramOf(ds[:1234])
			merged.Merge(histogramOf(ds[1234:]))
			decoded := new(hist.Histogram)
			for _, part := range [][]time.Duration{ds[:1], ds[1:4000], ds[4000:]} {
				if err := decoded.MergeBinary([]byte(binary(t, histogramOf(part)))); err != nil {
					t.Fatalf("MergeBinary: %v", err)
				}
			}
			for way, h := range map[string]*hist.Histogram{"recorded": whole, "merged": merged, "decoded": decoded} {
				if h.Count() != int64(len(ds)) || h.Sum() != sum || h.Mean() != sum/time.Duration(len(ds)) ||
					h.Min() != slices.Min(ds) || h.Max() != slices.Max(ds) {
					t.Errorf("%s: got count %d sum %v mean %v min %v max %v, want %d %v %v %v %v", way,
						h.Count(), h.Sum(), h.Mean(), h.Min(), h.Max(),
						len(ds), sum, sum/time.Duration(len(ds)), slices.Min(ds), slices.Max(ds))
				}
				if binary(t, h) != binary(t, whole) {
					t.Errorf("%s: differs from the whole", way)
				}
			}
		})
	}
}

func TestOutOfRange(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		d, want           time.Duration
		clamped, mirrored int64
	}{
		{"zero", 0, 0, 0, 0},
		{"one hour", time.Hour, time.Hour, 0, 0},
		{"over an hour", time.Hour + 1, time.Hour, 1, 0},
		{"longest", math.MaxInt64, time.Hour, 1, 0},
		{"negative", -3 * time.Second, 3 * time.Second, 0, 1},
		{"negative over an hour", -2 * time.Hour, time.Hour, 1, 1},
		{"most negative", math.MinInt64, time.Hour, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			direct, taken := new(hist.Histogram), new(hist.Histogram)
			direct.Record(test.d)
			recorder := hist.NewRecorder()
			recorder.Record(test.d)
			recorder.Take(taken)
			for way, h := range map[string]*hist.Histogram{"Histogram": direct, "Recorder": taken} {
				if h.Count() != 1 || h.Min() != test.want || h.Max() != test.want || h.Sum() != test.want || h.Quantile(0.5) != test.want {
					t.Errorf("%s, %v: got count %d min %v max %v sum %v p50 %v, want %v once", way, test.d,
						h.Count(), h.Min(), h.Max(), h.Sum(), h.Quantile(0.5), test.want)
				}
				if h.Clamped() != test.clamped || h.Mirrored() != test.mirrored {
					t.Errorf("%s, %v: got %d clamped, %d mirrored, want %d, %d", way, test.d,
						h.Clamped(), h.Mirrored(), test.clamped, test.mirrored)
				}
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	check := func(what string, h *hist.Histogram) {
		t.Helper()
		if h.Count() != 0 || h.Sum() != 0 || h.Min() != 0 || h.Max() != 0 || h.Mean() != 0 ||
			h.Quantile(0) != 0 || h.Quantile(0.5) != 0 || h.Quantile(1) != 0 || h.Clamped() != 0 || h.Mirrored() != 0 {
			t.Errorf("%s: figures are not all zero", what)
		}
		if got, want := binary(t, h), binary(t, new(hist.Histogram)); got != want {
			t.Errorf("%s: encoding: got %x, want %x", what, got, want)
		}
	}
	h := new(hist.Histogram)
	check("zero value", h)
	h.RecordN(time.Second, 0)
	h.RecordN(time.Second, -1)
	h.Merge(nil)
	h.Merge(new(hist.Histogram))
	check("nothing recorded", h)
	if err := h.MergeBinary([]byte(binary(t, new(hist.Histogram)))); err != nil {
		t.Errorf("merge an empty one: %v", err)
	}
	check("empty one merged", h)
	h.RecordN(-2*time.Hour, 5)
	h.Record(time.Microsecond)
	h.Reset()
	check("reset", h)

	// What Reset left behind must not come back.
	h.Record(time.Minute)
	if want := histogramOf([]time.Duration{time.Minute}); binary(t, h) != binary(t, want) {
		t.Error("used after Reset: differs from a new one")
	}
}

func TestQuantileArguments(t *testing.T) {
	t.Parallel()
	h := histogramOf([]time.Duration{1500, 10 * time.Millisecond, 20*time.Millisecond + 1})
	for q, want := range map[float64]time.Duration{
		math.Inf(-1): h.Min(), -1: h.Min(), 0: h.Min(), 1e-300: h.Min(),
		1: h.Max(), 2: h.Max(), math.Inf(1): h.Max(),
	} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if got := h.Quantile(math.NaN()); got != h.Min() {
		t.Errorf("quantile NaN: got %v, want %v", got, h.Min())
	}
}

// TestSumBeyond64Bits merges more time than a time.Duration can hold.
func TestSumBeyond64Bits(t *testing.T) {
	t.Parallel()
	h := new(hist.Histogram)
	h.RecordN(time.Hour, 1<<50)
	h.RecordN(30*time.Minute, 1<<50)
	again := new(hist.Histogram)
	if err := again.MergeBinary([]byte(binary(t, h))); err != nil {
		t.Fatal(err)
	}
	again.Merge(h)
	if again.Sum() != math.MaxInt64 {
		t.Errorf("sum: got %v, want the longest duration", again.Sum())
	}
	if want := 45 * time.Minute; again.Mean() != want {
		t.Errorf("mean: got %v, want %v", again.Mean(), want)
	}
	if want := int64(1) << 52; again.Count() != want {
		t.Errorf("count: got %d, want %d", again.Count(), want)
	}
}

func TestMergeWithItself(t *testing.T) {
	t.Parallel()
	h := histogramOf([]time.Duration{1, time.Second, time.Minute})
	h.Merge(h)
	want := histogramOf([]time.Duration{1, 1, time.Second, time.Second, time.Minute, time.Minute})
	if binary(t, h) != binary(t, want) {
		t.Error("a histogram merged with itself is not twice itself")
	}
}
