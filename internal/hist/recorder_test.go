package hist_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

// TestTakeExactlyOnce records from many goroutines while others take. The
// parts must add up to precisely what was recorded, and each part must be
// whole: its figures those of the same records, which MergeBinary checks.
func TestTakeExactlyOnce(t *testing.T) {
	t.Parallel()
	const users, records = 50, 3000
	recorder := hist.NewRecorder()
	draw := distributions["all magnitudes"]

	var recording, taking sync.WaitGroup
	for user := range users {
		recording.Go(func() {
			for _, d := range sample(uint64(user), records, draw) {
				recorder.RecordSized(d, d.Nanoseconds())
			}
		})
	}
	var (
		done  atomic.Bool
		mu    sync.Mutex
		total hist.Histogram
		parts int
		size  int64
	)
	for range 2 {
		taking.Go(func() {
			for last := false; !last; {
				last = done.Load() // one more Take after the last record
				part := new(hist.Histogram)
				n := recorder.Take(part)
				if n != part.Sum().Nanoseconds() {
					t.Errorf("a part has sizes of %d for durations of %d", n, part.Sum())
				}
				mu.Lock()
				if err := total.MergeBinary([]byte(binary(t, part))); err != nil {
					t.Errorf("a part is not whole: %v", err)
				}
				size += n
				parts++
				mu.Unlock()
			}
		})
	}
	recording.Wait()
	done.Store(true)
	taking.Wait()

	want := new(hist.Histogram)
	for user := range users {
		want.Merge(histogramOf(sample(uint64(user), records, draw)))
	}
	if binary(t, &total) != binary(t, want) {
		t.Errorf("%d parts: got %d records, sum %v, want %d, %v, or their buckets differ",
			parts, total.Count(), total.Sum(), want.Count(), want.Sum())
	}
	if size != want.Sum().Nanoseconds() {
		t.Errorf("sizes: got %d, want %d", size, want.Sum())
	}
}

func TestTakeAddsAndEmpties(t *testing.T) {
	t.Parallel()
	recorder := hist.NewRecorder()
	into := histogramOf([]time.Duration{time.Second})
	if size := recorder.Take(into); size != 0 || into.Count() != 1 {
		t.Errorf("nothing recorded: got size %d, count %d, want 0, 1", size, into.Count())
	}
	recorder.RecordSized(time.Millisecond, 100)
	recorder.RecordSized(time.Minute, 23)
	if size := recorder.Take(into); size != 123 {
		t.Errorf("size: got %d, want 123", size)
	}
	want := histogramOf([]time.Duration{time.Second, time.Millisecond, time.Minute})
	if binary(t, into) != binary(t, want) {
		t.Error("Take has not added what was recorded to what was there")
	}
	// Both sides of a shard have been in use when this ends.
	for i := range 4 {
		recorder.Record(time.Duration(i+1) * time.Second)
		part := new(hist.Histogram)
		if size := recorder.Take(part); size != 0 || part.Count() != 1 || part.Min() != time.Duration(i+1)*time.Second {
			t.Errorf("take %d: got size %d, count %d, min %v", i, size, part.Count(), part.Min())
		}
	}
}

// Not parallel: other goroutines would allocate meanwhile.
func TestNoAllocation(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	recorder, total := hist.NewRecorder(), new(hist.Histogram)
	encoded := []byte(binary(t, histogramOf(sample(2, 1000, distributions["lognormal"]))))
	buffer := make([]byte, 0, 1<<16)
	spread := distributions["all magnitudes"]
	for range 50_000 { // meet every size of duration, on every shard and side
		recorder.Record(spread(rnd))
		if rnd.IntN(1000) == 0 {
			recorder.Take(total)
		}
	}
	work := map[string]func(){
		"Recorder.Record":        func() { recorder.Record(time.Duration(rnd.Int64N(int64(time.Second)))) },
		"Recorder.Take":          func() { recorder.Record(time.Second); recorder.Take(total) },
		"Histogram.Record":       func() { total.Record(time.Duration(rnd.Int64N(int64(time.Second)))) },
		"Histogram.MergeBinary":  func() { _ = total.MergeBinary(encoded) },
		"Histogram.AppendBinary": func() { buffer, _ = total.AppendBinary(buffer[:0]) },
		"Histogram.Quantile":     func() { total.Quantile(0.999) },
	}
	for name, f := range work {
		if n := testing.AllocsPerRun(500, f); n != 0 {
			t.Errorf("%s: got %v allocations, want none", name, n)
		}
	}
}
