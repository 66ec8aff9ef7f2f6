package hist_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

func TestMergeBinaryRefuses(t *testing.T) {
	t.Parallel()
	small := histogramOf([]time.Duration{100 * time.Microsecond, 3 * time.Millisecond})
	valid := binary(t, small)
	tests := map[string]string{
		"nothing":                    "",
		"another version":            "\x02" + valid[1:],
		"half a header":              valid[:3],
		"no buckets":                 "\x01\x00\x01\x00\x01\x00\x00",
		"a sum without a record":     "\x01\x00\x00\x00\x01\x00\x00",
		"last bucket missing":        valid[:len(valid)-3],
		"last count missing":         valid[:len(valid)-1],
		"one byte more":              valid + "\x01",
		"bounds in the wrong order":  "\x01\x02\x01\x00\x02\x00\x00\x01\x01",
		"bound over an hour":         "\x01\x00\x81\xa0\xb8\xf4\xe3\x68\x00\x00\x00\x00\x01\x01",
		"least in another bucket":    "\x01\x00\x00\x00\x00\x00\x00\x02\x01",
		"sum too small":              "\x01\x05\x05\x00\x04\x00\x00\x01\x01",
		"sum too large":              "\x01\x05\x05\x00\x06\x00\x00\x01\x01",
		"sum far too large":          "\x01\x05\x05\x01\x05\x00\x00\x01\x01",
		"bucket zero steps away":     "\x01\x00\x00\x00\x00\x00\x00\x00\x01",
		"bucket without a count":     "\x01\x00\x00\x00\x00\x00\x00\x01\x00",
		"bucket far out":             "\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01",
		"more mirrored than counted": "\x01\x05\x05\x00\x05\x00\x02\x01\x01",
		"clamped below an hour":      "\x01\x05\x05\x00\x05\x01\x00\x01\x01",
		"number over 64 bits":        "\x01" + strings.Repeat("\xff", 11),
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := histogramOf([]time.Duration{time.Second})
			before := binary(t, h)
			if err := h.MergeBinary([]byte(input)); err == nil {
				t.Errorf("%x: got no error", input)
			}
			if binary(t, h) != before {
				t.Errorf("%x: the histogram has changed", input)
			}
		})
	}
	if err := new(hist.Histogram).MergeBinary([]byte("\x01\x05\x05\x00\x05\x00\x01\x01\x01")); err != nil {
		t.Errorf("the form that the cases above are made from: %v", err)
	}
}

func TestMergeBinaryRefusesOverflow(t *testing.T) {
	t.Parallel()
	h := new(hist.Histogram)
	h.RecordN(time.Second, math.MaxInt64)
	before := binary(t, h)
	if err := h.MergeBinary([]byte(binary(t, histogramOf([]time.Duration{1})))); err == nil {
		t.Error("count beyond 63 bits: got no error")
	}
	if binary(t, h) != before {
		t.Error("the histogram has changed")
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	type message struct {
		Value   hist.Histogram  `json:"value"`
		Pointer *hist.Histogram `json:"pointer"`
		Absent  *hist.Histogram `json:"absent,omitempty"`
	}
	want := histogramOf(sample(1, 1000, distributions["lognormal"]))
	sent := message{Pointer: want}
	sent.Value.Merge(want)
	text, err := json.Marshal(sent) // not a pointer: nothing in it is addressable
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "absent") {
		t.Errorf("got %s, want no field absent", text)
	}
	var got message
	got.Value.Record(time.Hour) // is replaced
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("unmarshal %s: %v", text, err)
	}
	if binary(t, &got.Value) != binary(t, want) || binary(t, got.Pointer) != binary(t, want) {
		t.Error("the histograms received differ from the one sent")
	}

	for _, bad := range []string{`""`, `"?"`, `"AQ=="`, `17`, `{}`, `[1]`} {
		if err := got.Value.UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("unmarshal %s: got no error", bad)
		}
	}
	if err := json.Unmarshal([]byte(`{"value":null}`), &got); err != nil {
		t.Errorf("unmarshal null: %v", err)
	}
	if binary(t, &got.Value) != binary(t, want) {
		t.Error("refused texts and null have changed the histogram")
	}
}

// A decoded histogram is the one that was encoded, whatever is done with it.
func TestUnmarshalBinary(t *testing.T) {
	t.Parallel()
	decoded := func(t *testing.T, from *hist.Histogram) *hist.Histogram {
		t.Helper()
		b, err := from.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		h := histogramOf([]time.Duration{time.Hour, 1}) // is replaced
		if err := h.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		clear(b) // is the caller's again
		return h
	}
	recorder := func() *hist.Recorder {
		r := hist.NewRecorder()
		r.Record(time.Second)
		return r
	}
	more := histogramOf(sample(3, 100, distributions["all magnitudes"]))
	uses := map[string]func(h *hist.Histogram){
		"nothing":          func(*hist.Histogram) {},
		"record":           func(h *hist.Histogram) { h.RecordN(3*time.Second, 7) },
		"merge":            func(h *hist.Histogram) { h.Merge(more) },
		"merge with none":  func(h *hist.Histogram) { h.Merge(new(hist.Histogram)) },
		"merge decoded":    func(h *hist.Histogram) { h.Merge(decoded(t, more)) },
		"merge itself":     func(h *hist.Histogram) { h.Merge(h) },
		"merge binary":     func(h *hist.Histogram) { _ = h.MergeBinary([]byte(binary(t, more))) },
		"merge malformed":  func(h *hist.Histogram) { _ = h.MergeBinary(nil) },
		"take":             func(h *hist.Histogram) { recorder().Take(h) },
		"reset and record": func(h *hist.Histogram) { h.Reset(); h.Record(time.Minute) },
	}
	sources := map[string]*hist.Histogram{"empty": new(hist.Histogram)}
	for name, draw := range distributions {
		sources[name] = histogramOf(sample(1, 500, draw))
	}
	for name, source := range sources {
		for use, f := range uses {
			t.Run(name+"/"+use, func(t *testing.T) {
				t.Parallel()
				want, got := new(hist.Histogram), decoded(t, source)
				want.Merge(source)
				f(want)
				f(got)
				for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.999, 1} {
					if got.Quantile(q) != want.Quantile(q) {
						t.Errorf("quantile %v: got %v, want %v", q, got.Quantile(q), want.Quantile(q))
					}
				}
				if binary(t, got) != binary(t, want) || got.Mean() != want.Mean() {
					t.Errorf("got %x, want %x", binary(t, got), binary(t, want))
				}
				sum := histogramOf([]time.Duration{time.Millisecond})
				sum.Merge(got)
				if sum.Count() != want.Count()+1 {
					t.Errorf("merged into one record: got %d, want %d", sum.Count(), want.Count()+1)
				}
			})
		}
	}
}

// Merging what was decoded is what a master does most.
func TestMergingDecodedAllocatesNothing(t *testing.T) {
	source := histogramOf(sample(1, 500, distributions["lognormal"]))
	var h, sum hist.Histogram
	if err := h.UnmarshalBinary([]byte(binary(t, source))); err != nil {
		t.Fatal(err)
	}
	sum.Merge(&h)
	if n := testing.AllocsPerRun(100, func() { sum.Merge(&h) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzMergeBinary(f *testing.F) {
	f.Add([]byte(binary(f, new(hist.Histogram))))
	for _, draw := range distributions {
		f.Add([]byte(binary(f, histogramOf(sample(5, 50, draw)))))
	}
	f.Add([]byte(binary(f, histogramOf([]time.Duration{-5 * time.Hour, math.MinInt64, -1, 0}))))
	f.Fuzz(func(t *testing.T, input []byte) {
		h := histogramOf([]time.Duration{time.Millisecond, time.Minute})
		before := binary(t, h)
		decoded := new(hist.Histogram)
		refused := decoded.UnmarshalBinary(input)
		if err := h.MergeBinary(input); err != nil {
			// Too many to add to two is no mistake in itself.
			if refused == nil && decoded.Count() <= math.MaxInt64-2 {
				t.Fatalf("decoded, but not merged: %v", err)
			}
			if binary(t, h) != before {
				t.Fatal("a refused input has changed the histogram")
			}
			return
		}
		if refused != nil {
			t.Fatalf("merged, but not decoded: %v", refused)
		}
		alone := new(hist.Histogram)
		if err := alone.MergeBinary(input); err != nil {
			t.Fatalf("accepted once, then: %v", err)
		}
		if h.Count() != alone.Count()+2 {
			t.Fatalf("count: got %d, want %d", h.Count(), alone.Count()+2)
		}
		again := new(hist.Histogram)
		if err := again.MergeBinary([]byte(binary(t, alone))); err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if binary(t, again) != binary(t, alone) {
			t.Fatal("encoding and decoding changed the histogram")
		}
		for _, q := range []float64{0, 0.5, 0.99, 1} {
			if got := decoded.Quantile(q); got != alone.Quantile(q) {
				t.Fatalf("quantile %v: got %v of what was decoded, %v of what was merged", q, got, alone.Quantile(q))
			}
			if got := alone.Quantile(q); got < alone.Min() || got > alone.Max() {
				t.Fatalf("quantile %v: got %v outside of [%v, %v]", q, got, alone.Min(), alone.Max())
			}
		}
		if m := alone.Mean(); m < alone.Min() || m > alone.Max() {
			t.Fatalf("mean: got %v outside of [%v, %v]", m, alone.Min(), alone.Max())
		}
	})
}
