package report_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/throng-load/throng/master/report"
)

func TestTextGolden(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*report.Summary{
		"passed": passed(), "empty": empty(), "worker_lost": workerLost(), "crossed": crossed(),
		"invalid": invalid(), "odd_names": oddNames(), "long_errors": longErrors(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := textOf(t, s)
			golden(t, "text_"+name+".txt", got)
			checkText(t, got)
		})
	}
}

// checkText finds lines that are too wide, and what does not belong in a log.
func checkText(t *testing.T, got string) {
	t.Helper()
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		if width := text.StringWidthWithoutEscSequences(line); width > 120 {
			t.Errorf("line is %d columns wide: %q", width, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("line ends in spaces: %q", line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("line has more than text: %q", line)
		}
	}
}

func TestTextVerdict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*report.Summary)
		want   string
	}{
		"passed": {func(*report.Summary) {}, "PASSED"},
		"passed and interrupted": {
			func(s *report.Summary) { s.Run.ExitCode = 130 },
			"PASSED (interrupted before its end)",
		},
		"passed with a degraded generator": {
			func(s *report.Summary) { s.Generator.Trust = report.TrustDegraded },
			"PASSED (generator degraded)",
		},
		"partial": {
			func(s *report.Summary) { s.Run.Validity.State = report.Partial },
			"PASSED (without the windows below that do not count)",
		},
		"threshold crossed": {
			func(s *report.Summary) {
				s.Run.Verdict = report.VerdictFail
				s.Thresholds[0] = report.Threshold{Expr: "delivery.p95 <= 2s", Value: pointer(3.2)}
			},
			"FAILED: threshold delivery.p95 <= 2s crossed (3.2s)",
		},
		"threshold not measured": {
			func(s *report.Summary) {
				s.Run.Verdict = report.VerdictFail
				s.Thresholds[0] = report.Threshold{Expr: "delivery.p95 <= 2s"}
			},
			"FAILED: threshold delivery.p95 <= 2s not measured",
		},
		"several reasons": {
			func(s *report.Summary) {
				s.Run.Verdict, s.Run.ExitCode = report.VerdictFail, 130
				s.Thresholds[1] = report.Threshold{Expr: "delivery.lost == 0", Value: pointer(39.0)}
				s.Thresholds[3] = report.Threshold{Expr: "failures < 1%"}
			},
			"FAILED: threshold delivery.lost == 0 crossed (39)\n" +
				"        threshold failures < 1% not measured (interrupted before its end)",
		},
		"operations failed, the probe's not counted": {
			func(s *report.Summary) {
				s.Run.Verdict = report.VerdictFail
				s.Operations[2].Failures = 3
				s.Operations[4].Failures = 1
			},
			"FAILED: 3 of 12598 operations failed",
		},
		"inconclusive": {
			func(s *report.Summary) { s.Run.Verdict = report.VerdictInconclusive },
			"INCONCLUSIVE: the error of the clocks is too large for the thresholds",
		},
		"all workers lost": {
			func(s *report.Summary) {
				s.Run.Verdict, s.Run.Validity.State = report.VerdictInvalid, report.Invalid
				s.Run.Validity.Reasons = []string{"no worker was left"}
			},
			"INVALID: no worker was left",
		},
		"invalid without a reason": {
			func(s *report.Summary) { s.Run.Verdict = report.VerdictInvalid },
			"INVALID: the run does not count",
		},
		"not over yet": {
			func(s *report.Summary) { s.Run.Verdict = "" },
			"NOT JUDGED",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := passed()
			test.change(s)
			got := textOf(t, s)
			if !strings.Contains(got, "\n\n"+test.want+"\n\n") {
				t.Errorf("want the line %q in\n%s", test.want, got)
			}
		})
	}
}

// TestTextThresholdUnits checks that values have the unit of their metric.
func TestTextThresholdUnits(t *testing.T) {
	t.Parallel()
	for expr, test := range map[string]struct {
		value float64
		want  string
	}{
		"delivery.p95 <= 2s":      {0.3456, "345.6ms"},
		"delivery.crowd.max < 1s": {1.25, "1.25s"},
		"PUBLISH.p99 < 1s":        {75.25, "75.25s"},
		"PUBLISH.mean < 1s":       {0, "0ms"},
		"delivery.lost == 0":      {12345678, "12345678"},
		"failures < 1%":           {0.0100001, "1.00001%"},
		"PUBLISH.failures < 1%":   {1, "100%"},
		"delivery.p95 > 0":        {0.00001235, "0.01235ms"},
		"delivery.px == 3":        {3, "3"},
	} {
		t.Run(expr, func(t *testing.T) {
			t.Parallel()
			s := passed()
			s.Thresholds = []report.Threshold{{Expr: expr, Value: &test.value}}
			want := expr + " " + test.want + " CROSSED"
			got := textOf(t, s)
			for line := range strings.Lines(got) {
				if strings.Join(strings.Fields(line), " ") == want {
					return
				}
			}
			t.Errorf("value %v: want a line %q in\n%s", test.value, want, got)
		})
	}
}

// TestTextLeavesSummary checks that writing does not change what is written.
func TestTextLeavesSummary(t *testing.T) {
	t.Parallel()
	s := invalid()
	s.Errors = []report.Error{{Type: "A", Occurrences: 1}, {Type: "B", Occurrences: 2}}
	first := textOf(t, s)
	if s.Errors[0].Type != "A" || len(s.Run.Events) != 1 {
		t.Errorf("the summary has changed: %+v, %+v", s.Errors, s.Run.Events)
	}
	if second := textOf(t, s); second != first {
		t.Errorf("second text differs:\n%s\nfirst:\n%s", second, first)
	}
}

func TestTextWriteError(t *testing.T) {
	t.Parallel()
	err := report.WriteText(brokenWriter{}, passed())
	if !errors.Is(err, errBroken) || err.Error() != "write summary as text: broken" {
		t.Errorf("got %v, want it to name the operation and wrap %v", err, errBroken)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// FuzzText puts text from outside everywhere and checks that tables hold.
func FuzzText(f *testing.F) {
	f.Add("class/progress", "status 500", 12.3)
	f.Add("生命\x1b[31m", strings.Repeat("接続 ", 100), -1e300)
	f.Add("\u0301\u200d\xff\r\n\t", "\x1b", 0.0)
	f.Add(strings.Repeat("n", 15), strings.Repeat("x슁", 100), 1.0) // a wide character at the margin
	f.Add(strings.Repeat("n", 300), strings.Repeat("e\u0301", 300), 99999999.0)
	f.Fuzz(func(t *testing.T, name, failure string, ms float64) {
		s := passed()
		s.Operations[0].Type, s.Operations[0].Name = name, failure
		s.Operations[1].Name = name
		s.Delivery.Probe[0].Route = name
		s.Accounts[0].Pool, s.Accounts[0].Role = name, failure
		s.Generator.Reasons = []string{failure}
		s.Run.Events = []report.Event{{Kind: name, Detail: failure}}
		s.Errors = []report.Error{{Type: name, Name: name, Error: failure, Occurrences: 1}}
		if ms >= 0 && ms < 4e5 { // the longest time then is an hour, the most that is measured
			s.Operations[0].Times = around(ms)
		}
		checkText(t, textOf(t, s))
	})
}
