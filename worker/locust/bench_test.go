// Package locust_test compares our recording of an operation with boomer's.
// It holds a benchmark only: boomer races with itself when it stops, and tests
// run under the race detector.
package locust_test

import (
	"fmt"
	"io"
	"log"
	"testing"
	"time"

	"github.com/myzhan/boomer"

	"github.com/throng-load/throng/internal/opstats"
)

// BenchmarkRecording records successes from many users at once, with boomer and
// then with our recorder, each with its consumer running. An op is one record;
// x-boomer is how many times longer boomer took for it.
func BenchmarkRecording(b *testing.B) {
	names := []string{"class/progress", "class/started", "class/submitted", "control"}
	for _, users := range []int{1, 100, 5000} { // for each processor
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			var boomerTook float64 // ns for each record
			b.Run("boomer", func(b *testing.B) {
				theirs := startBoomer(b)
				boomerTook = recordFromUsers(b, users, func(i int) {
					theirs.RecordSuccess("PUBLISH", names[i%len(names)], int64(1+i%500), 256)
				})
			})
			b.Run("throng", func(b *testing.B) {
				ours := opstats.NewRecorder()
				takeEverySecond(b, ours)
				took := recordFromUsers(b, users, func(i int) {
					ours.Record("PUBLISH", names[i%len(names)], time.Duration(1+i%500)*time.Millisecond, 256, nil)
				})
				if boomerTook > 0 { // 0 if -bench leaves boomer out
					b.ReportMetric(boomerTook/took, "x-boomer")
				}
			})
		})
	}
}

// recordFromUsers calls record b.N times, shared among so many users for each
// processor, and returns the nanoseconds that one took.
func recordFromUsers(b *testing.B, users int, record func(i int)) float64 {
	b.ReportAllocs()
	b.SetParallelism(users)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			record(i)
		}
	})
	b.StopTimer()
	return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
}

// startBoomer returns a boomer without a Locust master that is ready to record,
// and stops it when the benchmark ends. Its own user does nothing meanwhile.
// Unlike boomer's functions of the package, it needs no flags.
func startBoomer(b *testing.B) *boomer.Boomer {
	spawned, stopped, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	standalone := boomer.NewStandaloneBoomer(1, 1).WithLogger(log.New(io.Discard, "", 0))
	task := &boomer.Task{Name: "wait", Weight: 1, Fn: func() {
		close(spawned)
		<-stopped
	}}
	go func() {
		defer close(ended)
		standalone.Run(task)
	}()
	<-spawned // from here on there is a runner that takes records
	b.Cleanup(func() {
		standalone.Quit()
		<-ended
		close(stopped) // only now, or boomer would run the task once more
	})
	return standalone
}

// takeEverySecond drains r as a worker does, until the benchmark ends.
func takeEverySecond(b *testing.B, r *opstats.Recorder) {
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.Take()
			case <-stopped:
				return
			}
		}
	}()
	b.Cleanup(func() {
		close(stopped)
		<-ended
	})
}
