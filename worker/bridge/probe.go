package bridge

import (
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/opstats"
)

// typeProbe is the type under which Locust's page shows what the probe does and
// measures.
const typeProbe = "PROBE"

// ProbeResults returns what a probe has reported as operations: what it did, and
// for each route the delivery of its messages, of which the lost ones are
// failures. It is empty for a worker's report.
func ProbeResults(r *coord.Report) []opstats.Delta {
	var results []opstats.Delta
	for _, op := range r.Operations {
		if op.Type == typeProbe {
			results = append(results, op)
		}
	}
	for i := range r.Routes {
		route := &r.Routes[i]
		delivery := opstats.Delta{
			Type: typeProbe, Name: route.Route,
			Count: route.OnTime + route.Late + route.Lost, Failures: route.Lost, Took: route.Latency,
		}
		if route.Lost > 0 {
			delivery.Errors = map[string]int64{"lost": route.Lost}
		}
		if delivery.Count > 0 {
			results = append(results, delivery)
		}
	}
	return results
}
