package hist_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

// durations is a table to draw from, cheaper than a random number each time.
func durations() []time.Duration { return sample(9, 4096, distributions["lognormal"]) }

func BenchmarkHistogramRecord(b *testing.B) {
	ds, h, i := durations(), new(hist.Histogram), 0
	b.ReportAllocs()
	for b.Loop() {
		h.Record(ds[i%len(ds)])
		i++
	}
}

// BenchmarkRecorderRecord compares with -cpu 1,2,...: recording should not
// cost more on many processors than on one.
func BenchmarkRecorderRecord(b *testing.B) {
	for _, users := range []int{1, 100} { // for each processor
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			ds, r := durations(), hist.NewRecorder()
			b.ReportAllocs()
			b.SetParallelism(users)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					r.Record(ds[i%len(ds)])
				}
			})
		})
	}
}

// BenchmarkTake is a drain of one recorder after that many records.
func BenchmarkTake(b *testing.B) {
	for _, records := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			ds, r, h := durations(), hist.NewRecorder(), new(hist.Histogram)
			var taking time.Duration // stopping the timer would cost more than a Take
			b.ReportAllocs()
			for b.Loop() {
				for i := range records {
					r.Record(ds[i%len(ds)])
				}
				h.Reset()
				start := time.Now()
				r.Take(h)
				taking += time.Since(start)
			}
			b.ReportMetric(float64(taking.Nanoseconds())/float64(b.N), "ns/take")
		})
	}
}

func BenchmarkMergeBinary(b *testing.B) {
	for _, records := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			encoded := []byte(binary(b, histogramOf(sample(4, records, distributions["lognormal"]))))
			h := new(hist.Histogram)
			b.ReportAllocs()
			for b.Loop() {
				if err := h.MergeBinary(encoded); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(encoded)), "encoded-B")
		})
	}
}

func BenchmarkAppendBinary(b *testing.B) {
	h := histogramOf(sample(4, 1000, distributions["lognormal"]))
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, _ = h.AppendBinary(buffer[:0])
	}
}

func BenchmarkQuantile(b *testing.B) {
	h := histogramOf(sample(4, 100_000, distributions["lognormal"]))
	b.ReportAllocs()
	for b.Loop() {
		h.Quantile(0.99)
	}
}
