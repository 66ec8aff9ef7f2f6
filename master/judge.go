package master

import (
	"fmt"
	"time"

	"github.com/throng-load/throng/internal/coord"
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

// sharedMachine explains a generator in trouble where the target runs beside it.
const sharedMachine = "the target and Redis run on the same machine, which is fine for a trial"

// measure returns the value of a metric, and false when it was not measured.
func (t *tally) measure(metric scenarios.Metric) (float64, bool) {
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

// judgeThresholds evaluates the thresholds. One that was not measured is not ok.
func (t *tally) judgeThresholds(thresholds []scenarios.Threshold) []report.Threshold {
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
func (t *totals) judgeGenerator(routes []*coord.Route, spec *scenarios.Spec, shared bool) report.Generator {
	g := report.Generator{Trust: report.TrustOK, Reasons: []string{}}
	limits := spec.Trust
	cpu, overload, waited := 0.0, 0.0, 0.0
	for _, process := range t.Generators {
		cpu = max(cpu, process.CPUMax)
		overload = max(overload, process.Overload)
		waited = max(waited, process.SchedLag)
	}
	lag := time.Duration(waited * float64(time.Second))
	if len(t.Generators) > 0 {
		ms := hist.Milliseconds(lag)
		g.CPUMax, g.SchedLagP99MS = &cpu, &ms
	}
	if overload >= time.Duration(limits.CPUFor).Seconds() {
		g.Trust = report.TrustDegraded
		g.Reasons = append(g.Reasons, fmt.Sprintf("a process used over %s of its cores for %.0f s", limits.CPU, overload))
	}
	if lag > time.Duration(limits.SchedLag) {
		g.Trust = report.TrustDegraded
		g.Reasons = append(g.Reasons, fmt.Sprintf("goroutines of a process waited for a processor: p99 %.0f ms, over %s", hist.Milliseconds(lag), limits.SchedLag))
	}
	if len(routes) > 0 {
		sent, late := int64(0), int64(0)
		for _, route := range routes {
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
// Whole are the figures of the whole run.
func (m *Master) judge(s *report.Summary, whole *tally, windows []window) {
	crossed, unmeasured, namesFailures, namesDelivery := false, false, false, false
	for _, threshold := range s.Thresholds {
		crossed = crossed || !threshold.OK && threshold.Value != nil
		unmeasured = unmeasured || threshold.Value == nil
	}
	for _, threshold := range m.cfg.Spec.Thresholds {
		namesFailures = namesFailures || threshold.Metric == scenarios.Failures
		namesDelivery = namesDelivery || threshold.Metric != scenarios.Failures
	}
	_, failures := whole.load()

	s.Run.Validity = m.validity(windows, namesDelivery, s)
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

// validity says whether the run still counts, and why not.
func (m *Master) validity(windows []window, namesDelivery bool, s *report.Summary) report.Validity {
	v := report.Validity{State: report.Valid, Reasons: []string{}, Excluded: []report.Window{}}
	for _, w := range windows {
		v.State = report.Partial
		v.Excluded = append(v.Excluded, w.Window)
	}
	invalid := func(format string, args ...any) {
		v.State = report.Invalid
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	if m.totals.Broken != "" {
		invalid("%s", m.totals.Broken)
	}
	if m.totals.LostAll {
		invalid("no worker was left")
	}
	trust := m.cfg.Spec.Trust
	excluded, unwatched := covered(windows)
	share := func(d time.Duration) float64 { return d.Seconds() / max(s.Run.DurationS, 1e-9) }
	if share(excluded) > float64(trust.Excluded) {
		invalid("%.0f %% of the run are left out, over %s: too little of it is undamaged", 100*share(excluded), trust.Excluded)
	}
	// Whether messages arrived is not known for a run that was not watched.
	if namesDelivery && share(unwatched) > float64(trust.Unwatched) {
		invalid("delivery was not measured for %.0f %% of the run, over %s", 100*share(unwatched), trust.Unwatched)
	}
	if s.Generator.Trust == report.TrustInvalid {
		v.State = report.Invalid
		v.Reasons = append(v.Reasons, s.Generator.Reasons...)
	}
	return v
}

// times is the distribution of a histogram, nil when it is empty.
func times(h *hist.Histogram) *report.Times {
	if h == nil || h.Count() == 0 {
		return nil
	}
	at := func(q float64) float64 { return hist.Milliseconds(h.Quantile(q)) }
	return &report.Times{
		MinMS: hist.Milliseconds(h.Min()), MeanMS: hist.Milliseconds(h.Mean()), MaxMS: hist.Milliseconds(h.Max()),
		P50MS: at(0.5), P90MS: at(0.9), P95MS: at(0.95), P99MS: at(0.99), P999MS: at(0.999),
	}
}
