package web

import (
	"encoding/json"
	"time"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/master/report"
)

const (
	// historyEvery is how far apart the points of the charts are.
	historyEvery = 5 * time.Second
	// maxHistory bounds them: when there are more, every other one goes and
	// those to come are twice as far apart.
	maxHistory = 2000
)

// point is one moment of the charts.
type point struct {
	at       time.Time
	users    int
	rps      float64
	failRate float64
	avg      float64
	p50, p95 int64
	// What Throng's own tabs draw.
	accounts []report.Account
	delivery []report.Route
	// recent are the latencies since the point before, by route.
	recent map[string]*hist.Histogram
}

// stamp is a time as the charts want it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// MarshalJSON writes the point as Locust does: every value with its time.
func (p point) MarshalJSON() ([]byte, error) {
	at := stamp(p.at)
	pair := func(v any) [2]any { return [2]any{at, v} }
	return json.Marshal(map[string]any{
		"time": at, "user_count": pair(p.users),
		"current_rps": pair(p.rps), "current_fail_per_sec": pair(p.failRate),
		"total_avg_response_time":      pair(p.avg),
		"response_time_percentile_0.5": pair(p.p50), "response_time_percentile_0.95": pair(p.p95),
	})
}

// history keeps the points of a run.
type history struct {
	every  time.Duration
	points []point
	// latencies are those at the last point.
	latencies map[string]*hist.Histogram
}

// add takes a point if it is time for one, with the latencies of the run so far.
func (h *history) add(p point, latencies map[string]*hist.Histogram) {
	if h.every == 0 {
		h.every = historyEvery
	}
	if n := len(h.points); n > 0 && p.at.Sub(h.points[n-1].at) < h.every {
		return
	}
	p.recent = make(map[string]*hist.Histogram, len(latencies))
	for route, latency := range latencies {
		p.recent[route] = since(latency, h.latencies[route])
	}
	h.latencies = latencies
	if len(h.points) >= maxHistory {
		kept := make([]point, 0, maxHistory)
		for i := 0; i < len(h.points); i += 2 {
			kept = append(kept, h.points[i])
		}
		h.points, h.every = kept, 2*h.every
	}
	h.points = append(h.points, p)
}

// since is what has come since an earlier state; everything if there is less now, as
// when a master that took over has not merged all yet.
func since(now, earlier *hist.Histogram) *hist.Histogram {
	if earlier != nil && now.Count() < earlier.Count() {
		earlier = nil
	}
	return now.Since(earlier)
}

// all is a copy that later points do not change.
func (h *history) all() []point { return append([]point{}, h.points...) }
