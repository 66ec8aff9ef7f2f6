package web_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/internal/hist"
	"github.com/throng-load/throng/internal/opstats"
	"github.com/throng-load/throng/master/report"
	"github.com/throng-load/throng/master/web"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// largeView is a run of 100 operations and 100 workers.
func largeView(spec *scenarios.Spec) *web.View {
	v := &web.View{Now: time.Now(), Spec: spec, Target: 1000, Summary: &report.Summary{Run: report.Run{ID: "large", State: "running", StartedAt: time.Now().Add(-time.Minute), Users: 1000}}}
	for i := range 100 {
		v.Members = append(v.Members, web.Member{ID: fmt.Sprint(i), Name: fmt.Sprintf("host-%d:1", i), Worker: true, State: web.MemberRunning, Users: 10})
		op := &opstats.Delta{Type: "PUBLISH", Name: fmt.Sprintf("channel/%03d", i), Count: 100_000, Failures: 10, Took: new(hist.Histogram), Errors: map[string]int64{"refused": 10}}
		for n := range 100_000 {
			op.Took.Record(time.Duration(n*n%3_000_000) * time.Microsecond)
		}
		v.Operations = append(v.Operations, op)
	}
	return v
}

// BenchmarkObserve is what the master pays for the page in a round, twice a
// second, alone and while 20 pages poll as fast as they can.
func BenchmarkObserve(b *testing.B) {
	for _, pages := range []int{0, 20} {
		b.Run(fmt.Sprintf("pages=%d", pages), func(b *testing.B) {
			spec := parseSpec(b, specText)
			server, err := web.New(web.Config{Swarm: &fakeSwarm{}, Spec: spec, Scenarios: []scenarios.Scenario{classroom.Scenario}, Log: zap.NewNop()})
			if err != nil {
				b.Fatal(err)
			}
			view := largeView(spec)
			server.Observe(view)
			ctx, stop := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { _ = server.Run(ctx) })
			listener := httptest.NewServer(server)
			var polls sync.Map
			for page := range pages {
				running.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						answer, err := http.Get(listener.URL + "/stats/requests")
						if err != nil {
							return
						}
						_, _ = io.Copy(io.Discard, answer.Body)
						answer.Body.Close()
						polls.Store(page, n)
					}
				})
			}
			worst := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				server.Observe(view)
				worst = max(worst, time.Since(began))
			}
			stop()
			running.Wait()
			listener.Close()
			total := 0
			polls.Range(func(_, n any) bool { total += n.(int); return true })
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "polls/s")
		})
	}
}
