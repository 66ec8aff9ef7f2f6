package report

import (
	"fmt"
	"strings"
)

// exitInterrupted is the exit code of a run that was told to stop; it has a
// verdict all the same.
const exitInterrupted = 130

// verdict says how the run ended, and why: a sentence, with a line for each
// reason if there are several.
func verdict(s *Summary) []string {
	word, reasons := "NOT JUDGED", []string(nil)
	switch s.Run.Verdict {
	case VerdictPass:
		word = "PASSED"
	case VerdictFail:
		word, reasons = "FAILED", failures(s)
	case VerdictInconclusive:
		word = "INCONCLUSIVE"
		if s.Run.ExitCode != exitInterrupted {
			reasons = []string{"the error of the clocks is too large for the thresholds"}
		}
	case VerdictInvalid:
		word, reasons = "INVALID", invalidity(s)
	}
	var notes []string
	if s.Generator.Trust == TrustDegraded && s.Run.Verdict != VerdictInvalid {
		notes = append(notes, "generator degraded")
	}
	if s.Run.Validity.State == Partial {
		notes = append(notes, "without the windows below that do not count")
	}
	if s.Run.ExitCode == exitInterrupted {
		notes = append(notes, "interrupted before its end")
	}
	note := ""
	if len(notes) > 0 {
		note = " (" + strings.Join(notes, ", ") + ")"
	}
	if len(reasons) == 0 {
		return []string{word + note}
	}
	reasons[len(reasons)-1] += note
	word += ": "
	lines := wrapped(reasons[0], word)
	for _, reason := range reasons[1:] {
		lines = append(lines, wrapped(reason, strings.Repeat(" ", len(word)))...)
	}
	return lines
}

// failures says what a failed run failed by.
func failures(s *Summary) []string {
	var reasons []string
	for _, t := range s.Thresholds {
		switch {
		case t.OK:
		case thresholdValue(t) == notMeasured:
			reasons = append(reasons, fmt.Sprintf("threshold %s not measured", plain(t.Expr)))
		default:
			reasons = append(reasons, fmt.Sprintf("threshold %s crossed (%s)", plain(t.Expr), thresholdValue(t)))
		}
	}
	if len(reasons) == 0 {
		load, _ := split(overRun(s))
		total := totalRow(load)
		reasons = append(reasons, fmt.Sprintf("%d of %s failed", total.Failures, count(total.Count, "operation")))
	}
	return reasons
}

// invalidity says why a run does not count.
func invalidity(s *Summary) []string {
	var reasons []string
	for _, reason := range s.Run.Validity.Reasons {
		reasons = append(reasons, plain(reason))
	}
	if len(reasons) == 0 {
		reasons = append(reasons, "the run does not count")
	}
	return reasons
}

// generatorState says whether the generator can be believed, and if not, why.
func generatorState(g *Generator) string {
	state := "generator " + plain(g.Trust)
	if len(g.Reasons) > 0 {
		state += ": " + plain(strings.Join(g.Reasons, "; "))
	}
	return state
}
