package master

import (
	"fmt"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/scenarios"
)

// Exit codes of a run. Of several, the first in the order Interrupted,
// NotStarted, Invalid, Crossed, Failed counts.
const (
	ExitPassed      = 0
	ExitFailed      = 1 // operations failed and no threshold names failures
	ExitUsage       = 2
	ExitNotStarted  = 3
	ExitInvalid     = 98
	ExitCrossed     = 99 // a threshold was crossed
	ExitInterrupted = 130
)

// opProbe is the type of the probe's own operations, which are no load.
const opProbe = "PROBE"

// maxExcluded is the share of a run that may go unmeasured before thresholds on
// delivery make it invalid.
const maxExcluded = 0.1

// sharedMachine explains a generator in trouble where the target runs beside it.
const sharedMachine = "the target and Redis run on the same machine, which is fine for a trial"

// measure returns the value of a metric, and false when it was not measured.
func (t *totals) measure(metric scenarios.Metric) (float64, bool) {
	worst, measured := 0.0, false
	each := func(value func(i int) (float64, bool)) (float64, bool) {
		for i := range t.Routes {
			if v, ok := value(i); ok {
				worst, measured = max(worst, v), true
			}
		}
		return worst, measured
	}
	switch metric {
	case scenarios.DeliveryP95:
		return each(func(i int) (float64, bool) {
			latency := t.Routes[i].Latency
			if latency == nil || latency.Count() == 0 {
				return 0, false
			}
			return latency.Quantile(0.95).Seconds(), true
		})
	case scenarios.DeliveryLost:
		return each(func(i int) (float64, bool) { return float64(t.Routes[i].Lost), t.Routes[i].Sent > 0 })
	case scenarios.DeliveryDuplicated:
		return each(func(i int) (float64, bool) { return float64(t.Routes[i].Duplicated), t.Routes[i].Sent > 0 })
	case scenarios.Failures:
		count, failures := t.load()
		if count == 0 {
			return 0, false
		}
		return float64(failures) / float64(count), true
	}
	return 0, false
}

// load is how many operations the users have made, and how many failed. What
// was delivered to them is not what they did.
func (t *totals) load() (count, failures int64) {
	for _, op := range t.Operations {
		if op.Type != opProbe && op.Type != scenarios.OpDeliver {
			count += op.Count
			failures += op.Failures
		}
	}
	return count, failures
}

// judgeThresholds evaluates the thresholds. One that was not measured is not ok.
func (t *totals) judgeThresholds(thresholds []scenarios.Threshold) []report.Threshold {
	judged := make([]report.Threshold, len(thresholds))
	for i, threshold := range thresholds {
		judged[i] = report.Threshold{Expr: threshold.Expr}
		if v, measured := t.measure(threshold.Metric); measured {
			judged[i].Value = &v
			judged[i].OK = threshold.Holds(v)
		}
	}
	return judged
}

// judgeGenerator says whether the load generator can be believed, by the worst
// of its processes. Only late sends of the probe make a run invalid: a busy
// processor that did not delay them has done no harm.
func (t *totals) judgeGenerator(spec *scenarios.Spec, shared bool) report.Generator {
	g := report.Generator{Trust: report.TrustOK, Reasons: []string{}}
	limits := spec.Trust
	cpu, overload, lag := 0.0, 0.0, time.Duration(0)
	for _, process := range t.Generators {
		cpu = max(cpu, process.CPUMax)
		overload = max(overload, process.Overload)
		lag = max(lag, process.SchedLag.Quantile(0.99))
	}
	if len(t.Generators) > 0 {
		ms := milliseconds(lag)
		g.CPUMax, g.SchedLagP99MS = &cpu, &ms
	}
	if overload >= time.Duration(limits.CPUFor).Seconds() {
		g.Trust = report.TrustDegraded
		g.Reasons = append(g.Reasons, fmt.Sprintf("a process used over %s of its cores for %.0f s", limits.CPU, overload))
	}
	if lag > time.Duration(limits.SchedLag) {
		g.Trust = report.TrustDegraded
		g.Reasons = append(g.Reasons, fmt.Sprintf("goroutines of a process waited for a processor: p99 %.0f ms, over %s", milliseconds(lag), limits.SchedLag))
	}
	if len(t.Routes) > 0 {
		sent, late := int64(0), int64(0)
		for _, route := range t.Routes {
			sent += route.Sent + route.LeftOut
			late += route.LateSends + route.LeftOut
		}
		g.LateSends = &late
		if sent > 0 && float64(late)/float64(sent) > float64(limits.LateSends) {
			g.Trust = report.TrustInvalid
			g.Reasons = append(g.Reasons, fmt.Sprintf("%d of %d sends of the probe were late or left out by its own fault, over %s", late, sent, limits.LateSends))
		}
	}
	if shared && g.Trust != report.TrustOK {
		g.Reasons = append(g.Reasons, sharedMachine)
	}
	return g
}

// judge fills in the verdict and the exit code from the rest of the summary.
func (m *Master) judge(s *report.Summary) {
	crossed, unmeasured, namesFailures, namesDelivery := false, false, false, false
	for _, threshold := range s.Thresholds {
		crossed = crossed || !threshold.OK && threshold.Value != nil
		unmeasured = unmeasured || threshold.Value == nil
	}
	for _, threshold := range m.cfg.Spec.Thresholds {
		namesFailures = namesFailures || threshold.Metric == scenarios.Failures
		namesDelivery = namesDelivery || threshold.Metric != scenarios.Failures
	}
	_, failures := m.totals.load()

	s.Run.Validity = report.Validity{State: report.Valid, Excluded: m.totals.excluded(m.now)}
	if len(m.totals.Excluded) > 0 {
		s.Run.Validity.State = report.Partial
	}
	// Whether messages arrived is not known for a run that was not watched.
	missing := time.Duration(0)
	for _, window := range s.Run.Validity.Excluded {
		missing += window.To.Sub(window.From)
	}
	unwatched := namesDelivery && missing.Seconds() > maxExcluded*s.Run.DurationS
	if m.totals.LostAll || unwatched || s.Generator.Trust == report.TrustInvalid {
		s.Run.Validity.State = report.Invalid
	}
	switch {
	case s.Run.Validity.State == report.Invalid:
		s.Run.Verdict, s.Run.ExitCode = report.VerdictInvalid, ExitInvalid
	case crossed, unmeasured && !m.interrupted:
		s.Run.Verdict, s.Run.ExitCode = report.VerdictFail, ExitCrossed
	case failures > 0 && !namesFailures:
		s.Run.Verdict, s.Run.ExitCode = report.VerdictFail, ExitFailed
	case m.interrupted:
		s.Run.Verdict = report.VerdictInconclusive
	default:
		s.Run.Verdict, s.Run.ExitCode = report.VerdictPass, ExitPassed
	}
	if m.interrupted {
		s.Run.ExitCode = ExitInterrupted
	}
}

// excluded returns the windows that do not count; one that is still open ends
// now, or with the users: what comes after them is no part of the run.
func (t *totals) excluded(now time.Time) []report.Window {
	windows := append([]report.Window{}, t.Excluded...)
	if n := len(windows); n > 0 && windows[n-1].To.IsZero() {
		if !t.Stopped.IsZero() {
			now = t.Stopped
		}
		windows[n-1].To = now.UTC()
	}
	return windows
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// times is the distribution of a histogram, nil when it is empty.
func times(h *hist.Histogram) *report.Times {
	if h == nil || h.Count() == 0 {
		return nil
	}
	at := func(q float64) float64 { return milliseconds(h.Quantile(q)) }
	return &report.Times{
		MinMS: milliseconds(h.Min()), MeanMS: milliseconds(h.Mean()), MaxMS: milliseconds(h.Max()),
		P50MS: at(0.5), P90MS: at(0.9), P95MS: at(0.95), P99MS: at(0.99), P999MS: at(0.999),
	}
}
