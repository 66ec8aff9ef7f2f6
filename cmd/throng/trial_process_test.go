//go:build process

package main_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestTrial(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "summary.json")
	p := start(t, "trial", "-u", "93", "-r", "60", "-t", "18s", "--json", file)
	if code := p.wait(60 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s := summary(t, file)
	if s.Schema != "throng.summary/v1" || s.Run.ExitCode != 0 || s.Run.Verdict != "pass" || s.Run.State != "ended" {
		t.Errorf("run %+v", s.Run)
	}
	if s.Run.UsersPeak != 93 || s.Run.Workers != 2 {
		t.Errorf("%d users at peak and %d workers, want 93 and 2", s.Run.UsersPeak, s.Run.Workers)
	}
	if operations(s, "PUBLISH", "class/progress submitted") == 0 {
		t.Error("nobody has submitted")
	}
	leases := int64(0)
	for _, a := range s.Accounts {
		if a.Role != "probe" {
			leases += a.Leases
		}
	}
	if leases < 3*93 {
		t.Errorf("%d leases for 93 users, want at least three per user", leases)
	}
	if operations(s, "DELIVER", "class/control") == 0 {
		t.Error("no student has heard of its proctor")
	}
	for _, route := range s.Delivery.Probe {
		if route.Sent == 0 || route.Sent != route.OnTime+route.Late+route.Lost+route.Open || route.Received != route.OnTime+route.Late {
			t.Errorf("route %+v does not add up", route)
		}
	}
	if len(s.Delivery.Probe) != 2 || len(s.Thresholds) != 4 {
		t.Errorf("%d routes and %d thresholds, want 2 and 4", len(s.Delivery.Probe), len(s.Thresholds))
	}
	checkAccountsAreBack(t, s)
	roles := map[string]int{}
	for _, process := range s.Run.Processes {
		roles[process.Role]++
		gone(t, process.PID)
	}
	if roles["master"] != 1 || roles["worker"] != 2 || roles["probe"] != 1 {
		t.Errorf("processes %v", roles)
	}
	p.says(`(?m)^Accounts: \d+ deleted from the target$`, time.Second)
	if found, _ := filepath.Glob(filepath.Join(p.cmd.Dir, "throng-runs", s.Run.ID, "summary.json")); len(found) != 1 {
		t.Error("no summary under throng-runs")
	}
}

// trialChildren starts a trial and waits until its children work.
func trialChildren(t *testing.T, args ...string) (*process, []int) {
	t.Helper()
	p := start(t, append([]string{"trial", "-u", "40", "-r", "40", "-t", "60s"}, args...)...)
	p.says(`users 40 `, 30*time.Second)
	kids := children(t, p.cmd.Process.Pid)
	if len(kids["throng worker"]) != 2 || len(kids["throng probe"]) != 1 {
		t.Fatalf("children are %v, want two `throng worker` and one `throng probe`", kids)
	}
	return p, append(kids["throng worker"], kids["throng probe"]...)
}

func TestTrialInterrupted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "summary.json")
	p, kids := trialChildren(t, "--json", file)
	p.signal(os.Interrupt)
	if code := p.wait(30 * time.Second); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	for _, pid := range kids {
		gone(t, pid)
	}
	s := summary(t, file)
	if s.Run.ExitCode != 130 || operations(s, "PUBLISH", "") == 0 {
		t.Errorf("the results so far: exit code %d, %d publishes", s.Run.ExitCode, operations(s, "PUBLISH", ""))
	}
	checkAccountsAreBack(t, s)
	p.says(`(?m)^Accounts: \d+ deleted from the target$`, time.Second)
}

func TestTrialKilled(t *testing.T) {
	t.Parallel()
	p, kids := trialChildren(t)
	p.signal(syscall.SIGKILL)
	p.wait(20 * time.Second) // until its children have let go of its output
	for _, pid := range kids {
		gone(t, pid)
	}
}
