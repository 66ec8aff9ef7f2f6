//go:build linux

package chaos_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"time"
)

// clockVariable tells a worker with a wrong clock how often its wall clock jumps.
const clockVariable = "THRONG_CHAOS_CLOCK"

// A holder asks the clock in one place how much of its term has passed. There, a
// worker with a wrong clock is told something else: that a hundredth less has
// passed, as far off as a clock may be; and by a wall clock that stands an hour
// back and right in turn, so that terms begin before a jump and end after it.
var (
	clockEdit = edit{
		file: "accounts/fence.go",
		old:  "return t.remaining(now.Sub(t.sent), time.Duration(now.UnixNano()-t.sent.UnixNano()))",
		new:  "return t.remaining(wrongly(t.sent, now))",
	}
	clockSource = map[string]string{"accounts/wrong_clock.go": fmt.Sprintf(`package accounts

import (
	"os"
	"sync"
	"time"
)

var jumps = sync.OnceValue(func() time.Duration {
	d, err := time.ParseDuration(os.Getenv(%q))
	if err != nil {
		panic(err)
	}
	return d
})

func wrongly(sent, now time.Time) (monotonic, wall time.Duration) {
	passed := now.Sub(sent) * 99 / 100
	return passed, passed + stands(now) - stands(sent)
}

var began = time.Now()

func stands(at time.Time) time.Duration {
	if at.Sub(began)/jumps()%%2 == 1 {
		return -time.Hour
	}
	return 0
}
`, clockVariable)}
)

// clockBuild is the worker with the wrong clock, while and after it is built.
type clockBuild struct {
	binary string
	done   chan struct{}
	err    error // once done is closed
}

// buildClock begins to build. It ends with ctx.
func buildClock(ctx context.Context, folder string) *clockBuild {
	b := &clockBuild{binary: filepath.Join(folder, "wrong-clock.test"), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		var path string
		if path, b.err = writeOverlay(folder, []edit{clockEdit}, clockSource); b.err == nil {
			b.err = buildTest(ctx, path, b.binary, raceEnabled)
		}
	}()
	return b
}

// wait waits until it is built.
func (b *clockBuild) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// jump returns how long ago a worker's wall clock jumped ahead last, and how long
// it is until one does so next. It stands right, an hour back, right, ...: every
// second change leads ahead. Without a wrong clock both are as long as can be.
func (r *rig) jump() (ago, in time.Duration) {
	ago, in = math.MaxInt64, math.MaxInt64
	of := 2 * r.clockPeriod
	for _, s := range r.slots {
		if !s.wrongClock {
			continue
		}
		passed := time.Duration(now() - s.process.started)
		if passed >= of {
			ago = min(ago, passed%of)
		}
		in = min(in, of-passed%of)
	}
	return ago, in
}

// noticed is how long after a jump a holder may end its leases: it looks at the
// wall clock four times a second.
const noticed = 500 * time.Millisecond

// countJumps counts the jumps that workers with wrong clocks have noticed: their
// leases ended as suspended, just when the wall clock jumped an hour ahead.
func (r *rig) countJumps() error {
	for _, p := range r.all {
		if !p.wrongClock {
			continue
		}
		seen := map[int64]bool{}
		err := readHistory(p.history, func(rec record) {
			if rec.Kind != ended || rec.Cause != suspended {
				return
			}
			passed := rec.To - p.started
			if of := 2 * int64(r.clockPeriod); passed >= of && passed%of < int64(time.Second) {
				seen[passed/of] = true
			}
		})
		if err != nil {
			return err
		}
		for range seen {
			r.report.happened("worker's wall clock jumped an hour ahead")
		}
	}
	return nil
}
