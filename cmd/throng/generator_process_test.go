//go:build process

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/redistest"
	"github.com/throng-load/throng/master/report"
)

// sized is a spec with accounts for a part of its users.
func sized(t *testing.T, address string, limits string) string {
	t.Helper()
	path := spec(t, address, "load: { users: 60, spawn_rate: 60, run_time: 8s }")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), "accounts: { ", "accounts: { "+limits+", ", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runWith creates accounts and runs a swarm of two workers to its end.
func runWith(t *testing.T, file string) (*report.Summary, int) {
	t.Helper()
	redis := []string{"--redis", redistest.URL(t)}
	if code := start(t, append([]string{"accounts", "create", "-f", file}, redis...)...).wait(30 * time.Second); code != 0 {
		t.Fatalf("accounts create: exit code %d", code)
	}
	common := append([]string{"--swarm", name(t)}, redis...)
	result := filepath.Join(t.TempDir(), "summary.json")
	master := start(t, append([]string{"master", "--headless", "-f", file, "--expect-workers", "2",
		"--expect-workers-max-wait", "30s", "--json", result}, common...)...)
	for _, role := range []string{"worker", "worker", "probe"} {
		start(t, append([]string{role}, common...)...)
	}
	code := master.wait(90 * time.Second)
	return summary(t, result), code
}

// Fewer accounts than users, and room for more: they are made while users wait.
func TestTheGeneratorKeepsARoleFromRunningDry(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	s, code := runWith(t, sized(t, address, "size: 20, lease_wait: 20s"))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, a := range s.Accounts {
		if a.Role == "student" && (a.Created < 30 || a.PeakLeased < 54 || a.Failed != 0) {
			t.Errorf("students: %+v; want more accounts created, for all users", a)
		}
	}
	checkAccountsAreBack(t, s)
	known := int64(0)
	for _, a := range s.Accounts {
		known += a.Known
	}
	if c := counters(t, address); c.Accounts != known {
		t.Errorf("the target has %d accounts, the pool %d", c.Accounts, known)
	}
}

// Past the limit users wait; the run says for how long, and who is short.
func TestPastTheLimitUsersWait(t *testing.T) {
	t.Parallel()
	address := startTarget(t)
	s, code := runWith(t, sized(t, address, "size: 20, max: 34, lease_wait: 20s"))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	known := int64(0)
	for _, a := range s.Accounts {
		known += a.Known
		if a.Role == "student" && (a.WaitP99MS == nil || *a.WaitP99MS < 300 || len(a.Waits) == 0) {
			t.Errorf("students: %+v; want waits of more than 300 ms", a)
		}
	}
	if known > 34 {
		t.Errorf("the pool has %d accounts; the limit is 34", known)
	}
	checkAccountsAreBack(t, s)
}
