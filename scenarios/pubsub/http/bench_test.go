package httpdriver_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/throng-load/throng/scenarios/pubsub"
)

// BenchmarkPublish measures a publish over loopback against the same request
// made with net/http and nothing around it, turn by turn in the same run. The
// metric "x" is how much longer ours takes.
func BenchmarkPublish(b *testing.B) {
	s := newScripted(b, map[string]http.HandlerFunc{
		publishPattern: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"position":1}`)
		},
	})
	c := connect(b, s.driver, leased(1))
	payload, err := pubsub.AppendPayload(nil, pubsub.Envelope{
		Run: "run", Source: pubsub.SourceLoad, Publisher: "1.1", Sequence: 1, Channel: "class/7/progress", At: time.Now().UnixMicro(),
	}, []byte(`{"question":3,"answer":"b"}`))
	if err != nil {
		b.Fatal(err)
	}
	bare := &http.Transport{DisableCompression: true}
	defer bare.CloseIdleConnections()
	publishBare := func() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.URL+"/channels/class%2F7%2Fprogress/events", bytes.NewReader(payload))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer t")
		req.Header.Set("X-Throng-Lease", "1001")
		resp, err := bare.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}

	var ours, theirs time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if err := c.Publish(context.Background(), "class/7/progress", payload); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		publishBare()
		ours += middle.Sub(start)
		theirs += time.Since(middle)
	}
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "ns/publish")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N), "ns/bare")
	b.ReportMetric(float64(ours)/float64(theirs), "x")
}
