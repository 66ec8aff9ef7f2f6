package httpdriver_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// What users did equals what the target counted, log-in by log-in and publish by
// publish, also when the target refuses some of them.
func TestOperationsEqualTheTargetsCounters(t *testing.T) {
	t.Parallel()
	const users, each = 8, 40
	s := newService(t, target.Config{Seed: 7, Faults: target.Faults{Refuse: 0.2}})
	var logins, loginsRefused, published, publishesRefused, polled, firstPolls, received atomic.Int64
	var wg sync.WaitGroup
	for range users {
		account := s.account(t)
		wg.Go(func() {
			var c pubsub.Conn
			for c == nil {
				var err error
				if c, err = s.driver.Connect(t.Context(), account, newDialer(t)); err != nil {
					if err.Error() != "503 Service Unavailable" {
						t.Errorf("Connect = %v", err)
						return
					}
					loginsRefused.Add(1)
					continue
				}
				logins.Add(1)
			}
			defer c.Close()
			firstPolls.Add(1)
			_, err := c.Subscribe(t.Context(), "all", pubsub.Handler{
				Message: func([]byte, time.Time) { received.Add(1) },
				Attempt: func(a pubsub.Attempt) {
					if a.Err == nil {
						polled.Add(1)
					} else if !errors.Is(a.Err, context.Canceled) {
						t.Errorf("poll = %v", a.Err)
					}
				},
			})
			if err != nil {
				t.Errorf("Subscribe = %v", err)
				return
			}
			for i := range each {
				switch err := c.Publish(t.Context(), "all", fmt.Appendf(nil, `{"n":%d}`, i)); {
				case err == nil:
					published.Add(1)
				case err.Error() == "503 Service Unavailable":
					publishesRefused.Add(1)
				default:
					t.Errorf("Publish = %v", err)
				}
			}
		})
	}
	wg.Wait()
	counters := s.Counters()
	for _, row := range []struct {
		what   string
		op     string
		status string
		want   int64
	}{
		{"log-ins", "login", "200", logins.Load()},
		{"log-ins refused", "login", "503", loginsRefused.Load()},
		{"publishes", "publish", "201", published.Load()},
		{"publishes refused", "publish", "503", publishesRefused.Load()},
	} {
		if got := int64(counters.Requests[row.op][row.status]); got != row.want {
			t.Errorf("%s: the target counted %d, the users %d", row.what, got, row.want)
		}
	}
	if logins.Load() != users || published.Load()+publishesRefused.Load() != users*each || publishesRefused.Load() == 0 {
		t.Errorf("%d log-ins, %d publishes, %d refused", logins.Load(), published.Load(), publishesRefused.Load())
	}
	// The target may have answered a poll that was cancelled on its way back,
	// so it can only have counted more than arrived.
	if got, want := int64(counters.Requests["poll"]["200"]), polled.Load()+firstPolls.Load(); got < want {
		t.Errorf("the target counted %d polls answered, the users %d", got, want)
	}
	if got, want := int64(counters.StaleTokenRequests), int64(0); got != want {
		t.Errorf("%d requests with stale tokens", got)
	}
	if got, want := int64(counters.Delivered), received.Load(); got < want {
		t.Errorf("the target delivered %d events, the users received %d", got, want)
	}
}
