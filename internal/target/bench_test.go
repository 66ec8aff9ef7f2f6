package target_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/throng-load/throng/internal/target"
)

// discard is a ResponseWriter that costs nothing: the benchmarks are of the
// handler.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

const payload = `{"throng":{"run":"r","src":"load","pub":"p","seq":1,"ch":"class/7/progress","at":1},"question":3,"correct":true}`

func benchmarkPublish(b *testing.B, channels int) {
	s := newService(b, target.Config{})
	ada := s.login("ada", "student")
	var number atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		path := fmt.Sprintf("/channels/class%%2F%d%%2Fprogress/events", int(number.Add(1))%channels)
		r := newRequest("POST", path, payload, "Authorization", ada, "X-Throng-Lease", "7")
		body := strings.NewReader(payload)
		closer := io.NopCloser(body)
		w := &discard{header: http.Header{}}
		for pb.Next() {
			body.Reset(payload)
			r.Body = closer
			s.Handler().ServeHTTP(w, r)
			if w.status != 201 {
				b.Errorf("got %d", w.status)
				return
			}
		}
	})
}

func BenchmarkPublish(b *testing.B)           { benchmarkPublish(b, 1000) }
func BenchmarkPublishOneChannel(b *testing.B) { benchmarkPublish(b, 1) }

func BenchmarkPollOneEvent(b *testing.B) {
	s := newService(b, target.Config{})
	ada := s.login("ada", "student")
	for range 1000 {
		s.publish(ada, "c", payload)
	}
	r := newRequest("GET", "/channels/c/events?after=999&wait=25s", "", "Authorization", ada, "X-Throng-Lease", "7")
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		s.Handler().ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatalf("got %d", w.status)
		}
	}
}

// BenchmarkDelivery is the whole way: a publish wakes a poll that waits.
func BenchmarkDelivery(b *testing.B) {
	s := newService(b, target.Config{})
	ada := s.login("ada", "student")
	wanted := make(chan int64)
	got := make(chan int)
	go func() {
		defer close(got)
		for after := range wanted {
			r := newRequest("GET", fmt.Sprintf("/channels/c/events?after=%d&wait=25s", after), "", "Authorization", ada)
			w := &discard{header: http.Header{}}
			s.Handler().ServeHTTP(w, r)
			got <- w.status
		}
	}()
	defer func() { close(wanted); <-got }()
	after := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		wanted <- after
		after = s.publish(ada, "c", payload)
		if status := <-got; status != 200 {
			b.Fatalf("got %d", status)
		}
	}
}
