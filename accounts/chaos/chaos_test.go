//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
)

// Environment variables of a run.
const (
	// longVariable asks for a long run, of at least that time.
	longVariable = "THRONG_CHAOS"
	// seedVariable repeats a run's draws.
	seedVariable = "THRONG_CHAOS_SEED"
	// reportVariable is a path that the report is written to, as JSON.
	reportVariable = "THRONG_CHAOS_REPORT"
	// failFastVariable ends a run with the first broken promise.
	failFastVariable = "THRONG_CHAOS_FAIL_FAST"
)

// handOversPerMinute is a million in ten minutes.
const handOversPerMinute = 100_000

// short makes every fault once.
func short() size {
	return size{
		accounts: 5000, workers: 3, users: 2200, sampled: 30, wires: 24, hold: 6 * time.Second,
		settings:    accounts.Settings{LeaseTTL: time.Second, LockDelay: 300 * time.Millisecond, ReplicaLag: time.Second},
		clockPeriod: 3 * time.Second, calm: 200 * time.Millisecond,
	}
}

// long is what `make chaos` asks for.
func long(lasts time.Duration) size {
	return size{
		accounts: 50_000, workers: 4, users: 16_500, sampled: 100, wires: 64, hold: 20 * time.Second,
		settings: accounts.Settings{LeaseTTL: 2 * time.Second, LockDelay: 500 * time.Millisecond, ReplicaLag: time.Second},
		lasts:    lasts, clockPeriod: 15 * time.Second, steady: 2 * time.Second, calm: time.Second,
	}
}

// TestAccountsAreNeverSharedNorLost is the proof of the package: see its comment.
func TestAccountsAreNeverSharedNorLost(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	of := short()
	if text := os.Getenv(longVariable); text != "" {
		lasts, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v; give a duration like 10m", longVariable, err)
		}
		of = long(lasts)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv("CI") == "" {
		t.Skip("redis-server is not installed")
	}
	r := &rig{
		size: of, t: t, folder: t.ArtifactDir(), seed: seed, random: rand.New(rand.NewPCG(seed, 0)),
		failFast: os.Getenv(failFastVariable) != "",
		report: &report{Seed: seed, Accounts: of.accounts, Workers: of.workers, Users: of.workers * (of.users + of.sampled),
			TTL: of.settings.LeaseTTL.Seconds(), Faults: map[string]int{}, from: time.Now()},
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r.stop = cancel
	err := r.run(ctx)
	if err != nil && !errors.Is(err, errViolated) && !errors.Is(context.Cause(ctx), errViolated) {
		t.Errorf("the run broke off: %v", err)
	}
	t.Log(r.report)
	if err := r.report.save(os.Getenv(reportVariable)); err != nil {
		t.Error(err)
	}
	if r.report.failed() {
		t.Error("a promise is broken")
	}
	if of.lasts > 0 && err == nil {
		if n := int64(of.lasts.Minutes() * handOversPerMinute); r.report.HandOvers < n {
			t.Errorf("%d hand-overs, want %d at least: the machine is too busy to prove anything", r.report.HandOvers, n)
		}
	}
}
