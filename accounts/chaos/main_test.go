//go:build linux

package chaos_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// workerVariable makes a copy of this test binary a worker: it carries the
// worker's order.
const workerVariable = "THRONG_CHAOS_WORKER"

func TestMain(m *testing.M) {
	// Both libraries report every broken connection; here they are the point.
	zerolog.SetGlobalLevel(zerolog.Disabled)
	redis.SetLogger(silent{})
	if text := os.Getenv(workerVariable); text != "" {
		os.Exit(work(text, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// now is the machine's CLOCK_MONOTONIC in nanoseconds: one clock for all
// processes, which a wall clock that is wrong does not move.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return t.Nano()
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
