package target_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/throng-load/throng/internal/target"
)

// pipes is a listener in memory: a synctest bubble does not wait for sockets.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes {
	return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accepted <- there:
		return here, nil
	case <-p.closed:
		return nil, errors.New("refused")
	}
}

type reply struct {
	status int
	body   string
	err    error
}

func fetch(client *http.Client, r *http.Request) reply {
	response, err := client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, string(body), err}
}

func TestServeEndsPollsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{})
		ada := s.login("ada", "student")
		listener := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, listener) }()
		transport := &http.Transport{DialContext: listener.dial}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}

		const polls = 10
		replies := make(chan reply, polls)
		for range polls {
			go func() {
				r, err := http.NewRequestWithContext(t.Context(), "GET", "http://target/channels/c/events?after=0&wait=25s", nil)
				if err != nil {
					replies <- reply{err: err}
					return
				}
				r.Header.Set("Authorization", ada)
				replies <- fetch(client, r)
			}()
		}
		synctest.Wait() // all polls wait
		begin := time.Now()
		stop()
		for range polls {
			if got := <-replies; got.err != nil || got.status != 200 || got.body != `{"position":0,"events":[]}` {
				t.Errorf("got %+v, want an answer without events", got)
			}
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the end took %v", took)
		}
		if _, err := listener.dial(t.Context(), "", ""); err == nil {
			t.Error("the listener is open still")
		}
		if got := s.Counters().Requests["poll"]; got["200"] != polls {
			t.Errorf("poll: %v", got)
		}
	})
}

func TestServeCutsOffWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{})
		ada := s.login("ada", "student")
		listener := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, listener) }()
		conn, err := listener.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /channels/c/events?after=0&wait=25s HTTP/1.1\r\nHost: target\r\nAuthorization: "+ada+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(begin); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("the end took %v, want the grace of 2s", took)
		}
	})
}

func TestPollEndsWhenItsConnectionDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, target.Config{})
		ada := s.login("ada", "student")
		listener := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, listener) }()
		client := &http.Client{Transport: &http.Transport{DialContext: listener.dial}}
		polling, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(polling, "GET", "http://target/channels/c/events?after=0&wait=25s", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", ada)
		done := make(chan reply, 1)
		go func() { done <- fetch(client, r) }()
		synctest.Wait()
		leave()
		if got := <-done; !errors.Is(got.err, context.Canceled) {
			t.Errorf("got %+v", got)
		}
		synctest.Wait()
		if got := s.Counters().Requests["poll"]; got["499"] != 1 || got["200"] != 0 {
			t.Errorf("poll: %v", got)
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestServeReportsABrokenListener(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	listener := newPipes()
	listener.Close()
	if err := s.Serve(t.Context(), listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestServeOnLoopback(t *testing.T) {
	t.Parallel()
	s := newService(t, target.Config{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	transport := &http.Transport{}
	client := &http.Client{Transport: transport}
	url := "http://" + listener.Addr().String()
	call := func(method, path, body, authorization string) reply {
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			return reply{err: err}
		}
		r.Header.Set("Authorization", authorization)
		return fetch(client, r)
	}
	ada := s.login("ada", "student")
	for _, row := range []struct {
		method, path, body string
		want               reply
	}{
		{"GET", "/healthz", "", reply{status: 200, body: `{"status":"ok"}`}},
		{"POST", "/channels/class%2F7%2Fprogress/events", `{"a":1}`, reply{status: 201, body: `{"position":1}`}},
		{"GET", "/channels/class%2F7%2Fprogress/events?after=0&wait=25s", "", reply{status: 200, body: `{"position":1,"events":[{"position":1,"data":{"a":1}}]}`}},
		{"DELETE", "/accounts/ada", "", reply{status: 204}},
	} {
		if got := call(row.method, row.path, row.body, ada); got != row.want {
			t.Errorf("%s %s: got %+v, want %+v", row.method, row.path, got, row.want)
		}
	}
	transport.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if got := call("GET", "/healthz", "", ""); got.err == nil {
		t.Errorf("answered after the end: %+v", got)
	}
}
