package report_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/master/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func textOf(t *testing.T, s *report.Summary) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.WriteText(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func pointer[T any](v T) *T { return &v }

func start() time.Time { return time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC) }

func at(seconds float64) time.Time {
	return start().Add(time.Duration(seconds * float64(time.Second)))
}

func operation(kind, name string, count int64, times *report.Times) report.Operation {
	return report.Operation{Type: kind, Name: name, Count: count, RPS: float64(count) / 30, Bytes: 180 * count, Times: times}
}

// around is a distribution that reaches out from a median, in milliseconds.
func around(median float64) *report.Times {
	return &report.Times{
		MinMS: median / 8, MeanMS: median * 1.2, P50MS: median, P90MS: median * 2, P95MS: median * 2.5,
		P99MS: median * 4, P999MS: median * 8, MaxMS: median * 9,
	}
}

func route(name string, median float64) report.Route {
	times := around(median)
	times.P90MS = 0
	return report.Route{Route: name, Sent: 600, Received: 600, OnTime: 600, Times: times}
}

// passed is a trial that went well.
func passed() *report.Summary {
	polls := operation("POLL", "class/control", 4127, around(2210))
	polls.Cancelled = 1203
	return &report.Summary{
		Schema: report.Schema,
		Run: report.Run{
			ID: "0d7c5a1e-51b6-4a36-9d7e-0f6f7a3f8a11", Swarm: "default", Scenario: "classroom",
			Target: "http+poll://127.0.0.1:9090", StartedAt: start(), DurationS: 31.42,
			Users: 187, UsersPeak: 200, Workers: 2, State: "ended", Verdict: report.VerdictPass,
			Processes: []report.Process{{Role: "master", PID: 100}, {Role: "worker", PID: 101}, {Role: "worker", PID: 102}, {Role: "probe", PID: 103}},
			Validity:  report.Validity{State: report.Valid},
		},
		Operations: []report.Operation{
			operation("DELIVER", "class/progress", 11233, around(1.94)),
			operation("LOGIN", "proctor", 7, around(3.9)),
			operation("LOGIN", "student", 1211, around(1.21)),
			polls,
			operation("PROBE", "login", 4, around(0.91)),
			operation("PROBE", "publish quiet", 600, around(0.44)),
			operation("PUBLISH", "class/control pause", 41, around(0.8)),
			operation("PUBLISH", "class/progress answered", 3604, around(0.72)),
			operation("PUBLISH", "class/progress started", 1209, around(0.7)),
			operation("PUBLISH", "class/progress submitted", 1188, around(0.69)),
			operation("SUBSCRIBE", "class/control", 1211, around(0.055)),
		},
		Delivery: report.Delivery{Probe: []report.Route{route("crowd", 2.4), route("quiet", 1.3)}},
		Accounts: []report.Account{
			{Pool: "classroom", Role: "probe", Known: 6, Available: 6, Leases: 4, Releases: 4, PeakLeased: 4},
			{Pool: "classroom", Role: "proctor", Known: 10, Available: 10, Leases: 7, Releases: 7, PeakLeased: 7, WaitP99MS: pointer(0.81)},
			{Pool: "classroom", Role: "student", Known: 260, Available: 260, Leases: 1211, Releases: 1211, PeakLeased: 198, WaitP99MS: pointer(4.12)},
		},
		Thresholds: []report.Threshold{
			{Expr: "delivery.p95 <= 2s", Value: pointer(0.00601), OK: true},
			{Expr: "delivery.lost == 0", Value: pointer(0.0), OK: true},
			{Expr: "delivery.duplicated == 0", Value: pointer(0.0), OK: true},
			{Expr: "failures < 1%", Value: pointer(0.0), OK: true},
		},
		Generator: report.Generator{Trust: report.TrustOK, CPUMax: pointer(0.6213), SchedLagP99MS: pointer(1.27), LateSends: pointer(int64(0))},
	}
}

// empty is a run of which nothing was measured.
func empty() *report.Summary {
	return &report.Summary{
		Schema: report.Schema,
		Run: report.Run{
			ID: "0d7c5a1e", Swarm: "default", Scenario: "classroom", Target: "http+poll://127.0.0.1:9090",
			Verdict: report.VerdictFail, ExitCode: 99, State: "ended", Validity: report.Validity{State: report.Valid},
		},
		Operations: []report.Operation{{Type: "LOGIN", Name: "student", Cancelled: 3}},
		Delivery:   report.Delivery{Probe: []report.Route{{Route: "quiet"}}},
		Accounts:   []report.Account{{Pool: "classroom", Role: "student", Known: 20, Available: 20}},
		Thresholds: []report.Threshold{{Expr: "delivery.p95 <= 2s"}, {Expr: "failures < 1%"}},
	}
}

// workerLost is a run in which one of two workers was killed.
func workerLost() *report.Summary {
	s := passed()
	s.Run.Events = []report.Event{
		{Kind: report.EventWorkerLost, From: at(12.3), To: at(15.4), Detail: "worker rig:101 with 100 users"},
		{Kind: report.EventWorkerJoined, From: at(21), To: at(21), Detail: "rig:140"},
	}
	s.Run.Workers = 3
	a := &s.Accounts[2]
	a.Releases, a.Reclaimed, a.Leased, a.Uses = 1112, 97, 2, 4.65
	a.Quarantined, a.Created, a.Failed, a.Waiting = 13, 40, 3, 2
	a.Reasons = []report.Reason{{Reason: "POST /login answered 401 Unauthorized", Accounts: 12}, {Reason: "locked", Accounts: 1}}
	a.Short = &report.Short{Waiting: 12, HeldBy: []report.Held{{Name: "rig:101", Accounts: 99}, {Name: "rig:102", Accounts: 97}}}
	a.Waits = []report.Wait{{BelowMS: 1, Count: 1190}, {BelowMS: 8, Count: 19}}
	s.Generator.Trust = report.TrustDegraded
	s.Generator.Reasons = []string{"a process used over 85% of its cores for 6 s: in a trial the target shares the machine with the generator, so its work is part of it"}
	s.Operations[2].Failures = 14
	s.Errors = []report.Error{{Type: "LOGIN", Name: "student", Error: "connection reset", Occurrences: 14}}
	return s
}

// crossed is a run that failed by its thresholds.
func crossed() *report.Summary {
	s := passed()
	s.Run.Verdict, s.Run.ExitCode, s.Run.DurationS = report.VerdictFail, 99, 3725.4
	s.Delivery.Probe[0] = report.Route{
		Route: "crowd", Sent: 600, Received: 560, Open: 1, OnTime: 502, Late: 58, Lost: 39, AfterTimeout: 3,
		Duplicated: 5, Reordered: 2, Unexpected: 1, Times: around(900),
	}
	s.Operations[7].Failures, s.Operations[8].Failures = 412, 3
	s.Thresholds[0] = report.Threshold{Expr: "delivery.p95 <= 2s", Value: pointer(3.2)}
	s.Thresholds[1].Value, s.Thresholds[1].OK = pointer(39.0), false
	s.Thresholds[3].Value, s.Thresholds[3].OK = pointer(0.0184731), false
	return s
}

// invalid is a run whose generator could not be believed, and that somebody
// stopped besides.
func invalid() *report.Summary {
	s := passed()
	s.Run.Verdict, s.Run.ExitCode, s.Run.Validity.State = report.VerdictInvalid, 130, report.Invalid
	s.Run.Validity.Excluded = []report.Window{{From: at(3), To: at(9.5), Reason: "the probe stood still"}}
	s.Run.Events = []report.Event{{Kind: report.EventInterrupted, From: at(11), To: at(11), Detail: "told to stop before its time"}}
	s.Generator = report.Generator{
		Trust: report.TrustInvalid, Reasons: []string{"45 of 1200 sends of the probe were late or left out by its own fault, over 1%"},
		LateSends: pointer(int64(45)),
	}
	s.Run.Validity.Reasons = s.Generator.Reasons
	s.Undamaged = &report.Undamaged{DurationS: s.Run.DurationS - 6.5, Operations: slices.Clone(s.Operations[:1]), Delivery: report.Delivery{Probe: slices.Clone(s.Delivery.Probe[:1])}}
	return s
}

// oddNames is a run in which names are wide, empty, long and hostile.
func oddNames() *report.Summary {
	s := passed()
	s.Operations[1].Name = "教室/進捗"
	s.Operations[2].Name = "café crème"
	s.Operations[3].Name = ""
	s.Operations[6].Name = "red\x1b[31m\x1b[2J\ttab\r\nline \u202eback \xff"
	s.Operations[7].Name = "tenant/7f3b1f1e-0c57-4c0e-8a5e-6c1f3b0f5f7e/class/progress answered"
	s.Operations[8].Name = "tenant/7f3b1f1e-0c57-4c0e-8a5e-6c1f3b0f5f7e/class/progress started"
	s.Accounts[2].Role = "生徒"
	s.Errors = []report.Error{{Type: "PUBLISH", Name: "教室/進捗", Error: "接続が拒否されました\x1b]0;title\a", Occurrences: 2}}
	return s
}

// longErrors is a run with many errors, some of them long.
func longErrors() *report.Summary {
	s := passed()
	s.Run.Verdict, s.Run.ExitCode, s.Thresholds = report.VerdictFail, 1, nil
	s.Operations[7].Failures = 325
	for i := range 25 {
		s.Errors = append(s.Errors, report.Error{
			Type: "PUBLISH", Name: "class/progress answered", Error: fmt.Sprintf("status %d", 500+i), Occurrences: int64(25 - i),
		})
	}
	s.Errors[0].Error = "publish: post: connect to the target: " + strings.Repeat("while waiting for the connection ", 4) + "connection refused"
	s.Errors[1].Error = strings.Repeat("x", 200)
	return s
}
