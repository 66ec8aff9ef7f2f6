package httpdriver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/scenarios/pubsub"
	httpdriver "github.com/throng-load/throng/scenarios/pubsub/http"
)

// pipes is a network in memory: a listener and the dialer to it. Nothing of it
// lies outside a synctest bubble, so hours pass in no time.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accept <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inBubble runs a test in a bubble, against a target in memory with these
// answers. Log-ins succeed unless handle says otherwise.
func inBubble(t *testing.T, handle map[string]http.HandlerFunc, test func(t *testing.T, d pubsub.Driver, p *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		if handle["POST /login"] == nil {
			mux.HandleFunc("POST /login", answer(http.StatusOK, `{"token":"t"}`))
		}
		for pattern, f := range handle {
			mux.HandleFunc(pattern, f)
		}
		p := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: mux}
		served := make(chan error, 1)
		go func() { served <- server.Serve(p) }()
		d, err := httpdriver.New(&url.URL{Scheme: "http+poll", Host: "target.example"})
		if err != nil {
			t.Fatal(err)
		}
		test(t, d, p)
		server.Close()
		<-served
	})
}

// listen connects and subscribes; attempts go to the returned channel, which
// holds many.
func listen(t *testing.T, d pubsub.Driver, dialer pubsub.Dialer, message func([]byte, time.Time)) (pubsub.Conn, pubsub.Subscription, <-chan pubsub.Attempt) {
	t.Helper()
	c, err := d.Connect(t.Context(), leased(1), dialer)
	if err != nil {
		t.Fatalf("Connect = %v", err)
	}
	attempts := make(chan pubsub.Attempt, 1000)
	sub, err := c.Subscribe(t.Context(), "c", pubsub.Handler{
		Message: message,
		Attempt: func(a pubsub.Attempt) { attempts <- a },
	})
	if err != nil {
		t.Fatalf("Subscribe = %v", err)
	}
	return c, sub, attempts
}

// polls answers the first request with position 0 and each long poll with what
// the test decides for its number, from 1.
func polls(poll func(n int64, w http.ResponseWriter, r *http.Request)) map[string]http.HandlerFunc {
	var n atomic.Int64
	return map[string]http.HandlerFunc{pollPattern: func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("after") {
			fmt.Fprint(w, `{"position":0}`)
			return
		}
		poll(n.Add(1), w, r)
	}}
}

// pass lets the bubble's clock run.
func pass(d time.Duration) { <-time.After(d) }

// checkPause compares the pause before a retry with its nominal length, give or
// take the jitter.
func checkPause(t *testing.T, n int, got, nominal time.Duration) {
	t.Helper()
	if low, high := nominal*3/4, nominal*5/4; got < low || got > high {
		t.Errorf("pause %d took %v, want %v to %v", n, got, low, high)
	}
}

func TestFailedPollsAreRetriedWithBackoff(t *testing.T) {
	t.Parallel()
	const failures = 10
	var starts []time.Time
	var cursors []string
	handle := polls(func(n int64, w http.ResponseWriter, r *http.Request) {
		starts = append(starts, time.Now()) // polls follow one another
		cursors = append(cursors, r.URL.Query().Get("after"))
		switch {
		case n == failures+1:
			fmt.Fprint(w, `{"position":3,"events":[{"position":3,"data":"hello"}]}`)
		case n <= failures+2:
			http.Error(w, "no", http.StatusServiceUnavailable)
		default:
			<-r.Context().Done()
		}
	})
	inBubble(t, handle, func(t *testing.T, d pubsub.Driver, p *pipes) {
		got := make(chan string, 1)
		c, _, attempts := listen(t, d, p, func(payload []byte, _ time.Time) { got <- string(payload) })
		if payload := <-got; payload != `"hello"` {
			t.Errorf("payload = %s", payload)
		}
		pass(time.Second) // beyond the pause after the success
		synctest.Wait()
		c.Close()

		want := 100 * time.Millisecond
		for i := range failures {
			checkPause(t, i+1, starts[i+1].Sub(starts[i]), want)
			want = min(2*want, 10*time.Second)
		}
		if pause := starts[failures+1].Sub(starts[failures]); pause != 0 {
			t.Errorf("after a success the next poll waited %v", pause)
		}
		checkPause(t, failures+2, starts[failures+2].Sub(starts[failures+1]), 100*time.Millisecond)
		for i, cursor := range cursors {
			if want := map[bool]string{true: "0", false: "3"}[i <= failures]; cursor != want {
				t.Errorf("poll %d asked after %s, want %s", i+1, cursor, want)
			}
		}
		for i := range len(starts) {
			a := <-attempts
			switch i {
			case failures:
				if a.Err != nil || a.Bytes == 0 {
					t.Errorf("attempt %d: %+v, want a success with bytes", i+1, a)
				}
			case failures + 2:
				if !errors.Is(a.Err, context.Canceled) {
					t.Errorf("attempt %d: %+v, want the poll that Close cancelled", i+1, a)
				}
			default:
				if a.Err == nil || a.Err.Error() != "503 Service Unavailable" {
					t.Errorf("attempt %d: %+v, want the 503", i+1, a)
				}
			}
		}
		if len(attempts) != 0 {
			t.Errorf("%d attempts more than requests", len(attempts))
		}
	})
}

// A target that does not wait is not asked in a tight loop.
func TestTargetThatDoesNotWait(t *testing.T) {
	t.Parallel()
	var n int64
	handle := polls(func(i int64, w http.ResponseWriter, _ *http.Request) {
		n = i
		fmt.Fprint(w, `{"position":0,"events":[]}`)
	})
	inBubble(t, handle, func(t *testing.T, d pubsub.Driver, p *pipes) {
		c, _, attempts := listen(t, d, p, nil)
		pass(time.Minute)
		c.Close()
		if n < 8 || n > 16 {
			t.Errorf("%d polls in a minute, want 8 to 16", n)
		}
		for range n {
			if a := <-attempts; a.Err != nil {
				t.Errorf("attempt = %v, want success: the target did answer", a.Err)
			}
		}
	})
}

// The usual life of an idle subscription: poll after poll, each waiting in full,
// with no pause in between.
func TestIdlePollsFollowOneAnother(t *testing.T) {
	t.Parallel()
	handle := polls(func(_ int64, w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(25 * time.Second):
			fmt.Fprint(w, `{"position":0,"events":[]}`)
		case <-r.Context().Done():
		}
	})
	inBubble(t, handle, func(t *testing.T, d pubsub.Driver, p *pipes) {
		c, _, attempts := listen(t, d, p, nil)
		pass(255 * time.Second)
		c.Close()
		for i := range 10 {
			if a := <-attempts; a.Err != nil || a.Took != 25*time.Second {
				t.Errorf("attempt %d = %+v, want success after 25s", i+1, a)
			}
		}
		if a := <-attempts; !errors.Is(a.Err, context.Canceled) || a.Took != 5*time.Second {
			t.Errorf("last attempt = %+v, want it cancelled after 5s", a)
		}
	})
}

func TestRequestsTimeOutByThemselves(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then is the context told that the user left
		<-r.Context().Done()
	}
	handle := polls(func(_ int64, w http.ResponseWriter, r *http.Request) { hang(w, r) })
	handle[publishPattern] = hang
	inBubble(t, handle, func(t *testing.T, d pubsub.Driver, p *pipes) {
		c, _, attempts := listen(t, d, p, nil)
		started := time.Now()
		err := c.Publish(t.Context(), "c", []byte("{}"))
		if took := time.Since(started); err == nil || err.Error() != "timeout" || !errors.Is(err, context.DeadlineExceeded) || took != 30*time.Second {
			t.Errorf("Publish without an answer = %v after %v, want timeout after 30s", err, took)
		}
		// A poll may wait 25 s on top of that.
		if a := <-attempts; a.Err == nil || a.Err.Error() != "timeout" || a.Took != 55*time.Second {
			t.Errorf("poll without an answer = %+v, want timeout after 55s", a)
		}
		c.Close()
	})
	inBubble(t, map[string]http.HandlerFunc{"POST /login": hang}, func(t *testing.T, d pubsub.Driver, p *pipes) {
		started := time.Now()
		_, err := d.Connect(t.Context(), leased(1), p)
		if took := time.Since(started); err == nil || err.Error() != "timeout" || took != 30*time.Second {
			t.Errorf("Connect without an answer = %v after %v, want timeout after 30s", err, took)
		}
	})
}

// An answer that breaks off hands out nothing and moves nothing.
func TestTruncatedAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	const page = `{"position":2,"events":[{"position":1,"data":"a"},{"position":2,"data":"b"}]}`
	handle := polls(func(n int64, w http.ResponseWriter, r *http.Request) {
		switch after := r.URL.Query().Get("after"); {
		case n == 1:
			w.Header().Set("Content-Length", fmt.Sprint(len(page)))
			fmt.Fprint(w, page[:60])
		case n == 2:
			fmt.Fprint(w, page[:60])
		case after == "0":
			fmt.Fprint(w, page)
		default:
			<-r.Context().Done()
		}
	})
	inBubble(t, handle, func(t *testing.T, d pubsub.Driver, p *pipes) {
		got := make(chan string, 10)
		c, _, attempts := listen(t, d, p, func(payload []byte, _ time.Time) { got <- string(payload) })
		pass(time.Second)
		c.Close()
		close(got)
		if payloads := slices.Collect(values(got)); !slices.Equal(payloads, []string{`"a"`, `"b"`}) {
			t.Errorf("payloads = %v, want each once", payloads)
		}
		for _, want := range []string{"EOF", "invalid answer", "", "cancelled"} {
			if a := <-attempts; (a.Err == nil) != (want == "") || a.Err != nil && a.Err.Error() != want {
				t.Errorf("attempt = %v, want %q", a.Err, want)
			}
		}
	})
}

// values ranges over a channel that is closed.
func values[T any](c <-chan T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

// Closing in a pause between polls ends at once and reports nothing more.
func TestCloseInAPause(t *testing.T) {
	t.Parallel()
	handle := polls(func(_ int64, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	inBubble(t, handle, func(t *testing.T, d pubsub.Driver, p *pipes) {
		c, sub, attempts := listen(t, d, p, nil)
		pass(time.Minute)
		synctest.Wait() // the pauses take 10 s by now
		before, reported := time.Now(), len(attempts)
		if err := sub.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("Close took %v", waited)
		}
		if len(attempts) != reported {
			t.Errorf("Close reported an attempt although no poll was in flight")
		}
		if err := sub.Close(); err != nil {
			t.Errorf("second Close = %v", err)
		}
		c.Close()
	})
}
