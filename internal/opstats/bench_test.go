package opstats_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/opstats"
)

// BenchmarkRecord records successes of four operations from so many users at
// once. heap-KB is what the Recorder has cost by the end.
func BenchmarkRecord(b *testing.B) {
	names := []string{"class/progress", "class/started", "class/submitted", "control"}
	for _, users := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			before := heap()
			r := opstats.NewRecorder()
			each := b.N/users + 1
			var all sync.WaitGroup
			begin := make(chan struct{})
			for user := range users {
				all.Go(func() {
					<-begin
					for i := range each {
						took := time.Duration(1+(user+i)%500) * time.Millisecond
						r.Record("PUBLISH", names[(user+i)%len(names)], took, 256, nil)
					}
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			close(begin)
			all.Wait()
			b.StopTimer()
			b.ReportMetric(max(0, heap()-before)/1024, "heap-KB")
			runtime.KeepAlive(r)
		})
	}
}

func BenchmarkTake(b *testing.B) {
	for _, operations := range []int{1, 20} {
		b.Run(fmt.Sprintf("operations=%d", operations), func(b *testing.B) {
			r := opstats.NewRecorder()
			names := make([]string, operations)
			for i := range names {
				names[i] = fmt.Sprintf("operation %d", i)
			}
			var taking time.Duration
			b.ReportAllocs()
			for b.Loop() {
				for i := range 100 * operations {
					r.Record("PUBLISH", names[i%operations], time.Duration(i)*100*time.Microsecond, 256, nil)
				}
				start := time.Now()
				r.Take()
				taking += time.Since(start)
			}
			b.ReportMetric(float64(taking.Nanoseconds())/float64(b.N), "ns/take")
		})
	}
}

// heap returns the bytes in use after a collection. The second one empties
// what pools still hold.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
