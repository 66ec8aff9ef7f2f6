package web

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/throng-load/throng/master/report"
)

// metrics gives Prometheus the newest figures.
type metrics struct {
	server *Server

	state, users, wanted, workers, requests, failures, times, accounts, leases, delivery, latency, threshold, trust *prometheus.Desc
}

// newMetrics returns a registry of its own: nothing else registers there.
func newMetrics(s *Server) *prometheus.Registry {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("throng_"+name, help, labels, nil)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &metrics{
		server:    s,
		state:     desc("state", "1 for the state that the swarm is in.", "state"),
		users:     desc("users", "Users that run now."),
		wanted:    desc("users_target", "Users that the run will have when all are started."),
		workers:   desc("workers", "Workers by state.", "state"),
		requests:  desc("operations_total", "Operations that succeeded or failed in this run.", "type", "name"),
		failures:  desc("operation_failures_total", "Operations that failed in this run.", "type", "name"),
		times:     desc("operation_duration_seconds", "How long operations took in this run.", "type", "name"),
		accounts:  desc("accounts", "Accounts of the pool by state.", "pool", "role", "state"),
		leases:    desc("account_leases_total", "Leases of accounts in this run.", "pool", "role"),
		delivery:  desc("delivery_messages_total", "The probe's messages by outcome.", "route", "outcome"),
		latency:   desc("delivery_latency_seconds", "The probe's latency, from the intended time.", "route"),
		threshold: desc("threshold_ok", "1 while a threshold holds.", "expr"),
		trust:     desc("trust", "1 for what the generator's figures are worth.", "trust"),
	})
	return registry
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.state, m.users, m.wanted, m.workers, m.requests, m.failures, m.times,
		m.accounts, m.leases, m.delivery, m.latency, m.threshold, m.trust} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	f := m.server.newest()
	for _, state := range []State{StateReady, StateSpawning, StateRunning, StateStopped} {
		gauge(m.state, one(f.State == state), string(state))
	}
	gauge(m.users, float64(f.UserCount))
	workers := make(map[MemberState]int)
	for _, w := range f.Workers {
		workers[w.State]++
	}
	for _, state := range []MemberState{MemberReady, MemberSpawning, MemberRunning, MemberMissing} {
		gauge(m.workers, float64(workers[state]), string(state))
	}
	if f.view == nil || f.view.Summary == nil {
		return
	}
	summary := f.view.Summary
	gauge(m.wanted, float64(f.view.Target))
	// These count the whole run: a reset of the page must not turn a counter back.
	for _, op := range f.view.Operations {
		counter(m.requests, op.Count, op.Type, op.Name)
		counter(m.failures, op.Failures, op.Type, op.Name)
		if op.Took != nil {
			out <- prometheus.MustNewConstSummary(m.times, uint64(op.Took.Count()), op.Took.Sum().Seconds(), map[float64]float64{
				0.5: op.Took.Quantile(0.5).Seconds(), 0.95: op.Took.Quantile(0.95).Seconds(), 0.99: op.Took.Quantile(0.99).Seconds(),
			}, op.Type, op.Name)
		}
	}
	for _, a := range summary.Accounts {
		for state, n := range map[string]int64{"available": a.Available, "leased": a.Leased, "resting": a.Resting, "quarantined": a.Quarantined, "retired": a.Retired} {
			gauge(m.accounts, float64(n), a.Pool, a.Role, state)
		}
		counter(m.leases, a.Leases, a.Pool, a.Role)
	}
	for _, r := range summary.Delivery.Probe {
		for outcome, n := range map[string]int64{"on_time": r.OnTime, "late": r.Late, "lost": r.Lost, "duplicated": r.Duplicated, "reordered": r.Reordered, "unexpected": r.Unexpected} {
			counter(m.delivery, n, r.Route, outcome)
		}
		if r.Times != nil {
			out <- prometheus.MustNewConstSummary(m.latency, uint64(r.Received), r.MeanMS/1000*float64(r.Received), map[float64]float64{
				0.5: r.P50MS / 1000, 0.95: r.P95MS / 1000, 0.99: r.P99MS / 1000,
			}, r.Route)
		}
	}
	for _, t := range summary.Thresholds {
		gauge(m.threshold, one(t.OK), t.Expr)
	}
	for _, trust := range []string{report.TrustOK, report.TrustDegraded, report.TrustInvalid} {
		gauge(m.trust, one(summary.Generator.Trust == trust), trust)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
