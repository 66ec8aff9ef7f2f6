package trust_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/trust"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// The tests look at figures of the whole process, so none is parallel.

// spin keeps n goroutines busy until the test ends, or until the returned
// function has been called, which waits for them.
func spin(t *testing.T, n int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var spinning sync.WaitGroup
	var work atomic.Uint64
	for range n {
		spinning.Go(func() {
			for ctx.Err() == nil {
				work.Add(1)
			}
		})
	}
	stop = func() { cancel(); spinning.Wait() }
	t.Cleanup(stop)
	return stop
}

// sampled samples until a sample is as wanted, and returns it.
func sampled(t *testing.T, meter *trust.Meter, what string, wanted func(trust.Sample) bool) trust.Sample {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("no sample was %s", what)
		}
		s := meter.Sample()
		if s.CPU < 0 || s.CPU > 1 {
			t.Fatalf("CPU share %v", s.CPU)
		}
		if wanted(s) {
			return s
		}
	}
}

func TestABusyProcessIsOverloadedAndAnIdleOneNot(t *testing.T) {
	// Others may want the cores as well, so a fifth of one is busy enough.
	limit := 0.2 / float64(runtime.GOMAXPROCS(0))
	meter := trust.NewMeter(limit)
	idle := sampled(t, meter, "idle", func(s trust.Sample) bool { return s.CPU < limit })
	if idle.Overload != 0 {
		t.Errorf("overloaded for %v at %.0f %% of the cores", idle.Overload, 100*idle.CPU)
	}

	stop := spin(t, 1)
	busy := sampled(t, meter, "busy", func(s trust.Sample) bool { return s.CPU > limit })
	if busy.Overload <= 0 {
		t.Errorf("not overloaded at %.0f %% of the cores, with a limit of %.0f %%", 100*busy.CPU, 100*limit)
	}
	// It adds up from sample to sample as long as nothing breaks it.
	began := time.Now()
	last := busy.Overload
	sampled(t, meter, "overloaded for long", func(s trust.Sample) bool {
		switch {
		case s.Overload == 0:
			began = time.Now() // somebody else had the cores
		case s.Overload <= last && last != 0:
			t.Fatalf("overload fell from %v to %v", last, s.Overload)
		}
		last = s.Overload
		return s.Overload > 200*time.Millisecond
	})
	if passed := time.Since(began) + busy.Overload + patience/100; last > passed {
		t.Errorf("overloaded for %v in %v", last, passed)
	}

	stop()
	calm := sampled(t, meter, "calm", func(s trust.Sample) bool { return s.CPU < limit })
	if calm.Overload != 0 {
		t.Errorf("still overloaded for %v when idle", calm.Overload)
	}
}

// More runnable goroutines than processors: some of them wait.
func TestSchedulingLagIsCounted(t *testing.T) {
	meter := trust.NewMeter(0.85)
	stop := spin(t, 4*runtime.GOMAXPROCS(0))
	lagged := sampled(t, meter, "lagging", func(s trust.Sample) bool {
		return s.SchedLag.Count() > 0 && s.SchedLag.Max() > time.Millisecond
	})
	if lagged.SchedLag.Clamped() > 0 || lagged.SchedLag.Mirrored() > 0 {
		t.Errorf("lag from %v to %v", lagged.SchedLag.Min(), lagged.SchedLag.Max())
	}
	stop()
	// Each wait is in one sample only.
	meter.Sample()
	s := meter.Sample()
	if s.SchedLag.Count() > 1000 {
		t.Errorf("%d waits between two samples in a row: old ones are counted again", s.SchedLag.Count())
	}
}

// A sample is of the time since the one before, whoever else measures.
func TestMetersAreIndependent(t *testing.T) {
	a, b := trust.NewMeter(0.85), trust.NewMeter(0.85)
	var switches sync.WaitGroup
	done := make(chan struct{})
	for range 400 {
		switches.Go(func() { <-done })
	}
	close(done)
	switches.Wait()
	if n := a.Sample().SchedLag.Count(); n < 1 {
		t.Errorf("a counted %d scheduling delays", n)
	}
	if n := b.Sample().SchedLag.Count(); n < 1 {
		t.Errorf("b counted %d scheduling delays after a had", n)
	}
}
