// Package trust measures whether a process of the load generator can be
// believed: the share of its cores that it uses, and how long its goroutines
// wait for a processor. A generator that is short of either delays its own
// sends and blames the target.
//
// It knows the process it runs in; what the figures mean for a run is judged
// by the master.
package trust

import (
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/throng-load/throng/internal/hist"
)

const schedLatencies = "/sched/latencies:seconds"

// Meter measures from sample to sample. It belongs to one goroutine.
type Meter struct {
	limit    float64
	at       time.Time
	cpu      time.Duration
	buckets  []uint64
	overload time.Duration
	samples  []metrics.Sample
	lag      hist.Histogram // of all samples
}

// LagP99 is how long 99 % of all waits of goroutines for a processor took at
// most since the meter was started.
func (m *Meter) LagP99() time.Duration { return m.lag.Quantile(0.99) }

// Sample is what happened since the last sample.
type Sample struct {
	// CPU is the share of the process's cores that was used, 0 to 1.
	CPU float64
	// SchedLag is how long goroutines waited between becoming runnable and
	// running. Its buckets are the Go runtime's, taken at their upper ends.
	SchedLag *hist.Histogram
	// Overload is for how long without a break, up to now, CPU has been
	// above the limit.
	Overload time.Duration
}

// NewMeter returns a meter that calls a process overloaded above a share of
// its cores (0 to 1), and starts it.
func NewMeter(limit float64) *Meter {
	m := &Meter{limit: limit, samples: []metrics.Sample{{Name: schedLatencies}}}
	m.Sample()
	return m
}

// SampleAfter is Sample if the last one was at least every ago, and false if it
// was not.
func (m *Meter) SampleAfter(every time.Duration) (Sample, bool) {
	if time.Since(m.at) < every {
		return Sample{}, false
	}
	return m.Sample(), true
}

// Sample returns what happened since the last call.
func (m *Meter) Sample() Sample {
	now, cpu := time.Now(), cpuTime()
	s := Sample{SchedLag: new(hist.Histogram)}
	if !m.at.IsZero() {
		if wall := now.Sub(m.at); wall > 0 {
			s.CPU = min(1, float64(cpu-m.cpu)/float64(wall)/float64(runtime.GOMAXPROCS(0)))
			if s.CPU > m.limit {
				m.overload += wall
			} else {
				m.overload = 0
			}
		}
	}
	s.Overload = m.overload
	m.at, m.cpu = now, cpu

	metrics.Read(m.samples)
	lag := m.samples[0].Value.Float64Histogram()
	for i, n := range lag.Counts {
		before := uint64(0)
		if i < len(m.buckets) {
			before = m.buckets[i]
		}
		if n > before {
			upper := lag.Buckets[i+1]
			if math.IsInf(upper, 1) {
				upper = lag.Buckets[i]
			}
			s.SchedLag.RecordN(time.Duration(upper*float64(time.Second)), int64(n-before))
		}
	}
	m.buckets = append(m.buckets[:0], lag.Counts...)
	m.lag.Merge(s.SchedLag)
	return s
}

// Memory is what the Go runtime has of the process's memory, in bytes, without
// what it has given back to the system.
func Memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// cpuTime is the processor time of the process, user and system.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(fmt.Sprintf("trust: getrusage of the own process: %v", err)) // cannot fail with these arguments
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
