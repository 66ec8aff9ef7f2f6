package httpdriver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/scenarios/pubsub"
)

func TestAnswersThatAreFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		want   string
	}{
		{http.StatusMovedPermanently, "301 Moved Permanently"}, // and not followed
		{http.StatusTemporaryRedirect, "307 Temporary Redirect"},
		{http.StatusBadRequest, "400 Bad Request"},
		{http.StatusUnauthorized, "401 Unauthorized"},
		{http.StatusForbidden, "403 Forbidden"},
		{http.StatusTooManyRequests, "429 Too Many Requests"},
		{http.StatusServiceUnavailable, "503 Service Unavailable"},
		{599, "599"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			fail := func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				w.Header().Set("Location", "/elsewhere")
				answer(tt.status, "student-1 at 127.0.0.1 may not")(w, r)
			}
			elsewhere := func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }
			s := newScripted(t, map[string]http.HandlerFunc{publishPattern: fail, pollPattern: fail, "/elsewhere": elsewhere})
			c := connect(t, s.driver, leased(1))
			err := c.Publish(t.Context(), "c", []byte("{}"))
			if err == nil || err.Error() != tt.want || errors.Is(err, pubsub.ErrAccountRefused) {
				t.Errorf("Publish answered with %d = %v, want %q", tt.status, err, tt.want)
			}
			if _, err := c.Subscribe(t.Context(), "c", pubsub.Handler{}); err == nil || err.Error() != tt.want {
				t.Errorf("Subscribe answered with %d = %v, want %q", tt.status, err, tt.want)
			}
			if n := requests.Load(); n != 2 {
				t.Errorf("the target saw %d requests, want 2", n)
			}
		})
	}
}

func TestRefusedLogIns(t *testing.T) {
	t.Parallel()
	for status, refused := range map[int]bool{
		http.StatusUnauthorized: true, http.StatusForbidden: true,
		http.StatusBadRequest: false, http.StatusNotFound: false, http.StatusServiceUnavailable: false, http.StatusFound: false,
	} {
		s := newScripted(t, map[string]http.HandlerFunc{"POST /login": answer(status, "no")})
		_, err := s.driver.Connect(t.Context(), leased(1), newDialer(t))
		if want := fmt.Sprintf("%d %s", status, http.StatusText(status)); err == nil || err.Error() != want {
			t.Errorf("Connect answered with %d = %v, want %q", status, err, want)
		}
		if errors.Is(err, pubsub.ErrAccountRefused) != refused {
			t.Errorf("Connect answered with %d = %v; account refused: want %t", status, err, refused)
		}
	}
}

func TestAnswersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	long := `{"token":"` + strings.Repeat("x", 100<<10) + `"}`
	for body, want := range map[string]string{
		"": "invalid answer: no token", "hello": "invalid answer: no token", "{}": "invalid answer: no token", `{"token":7}`: "invalid answer: no token",
		long: "answer too large",
	} {
		s := newScripted(t, map[string]http.HandlerFunc{"POST /login": answer(http.StatusOK, body)})
		if _, err := s.driver.Connect(t.Context(), leased(1), newDialer(t)); err == nil || err.Error() != want {
			t.Errorf("Connect answered with %.20q = %v, want %q", body, err, want)
		}
	}
	for body, want := range map[string]string{
		"": "invalid answer", "hello": "invalid answer", `{"position":"7"}`: "invalid answer", `{"events":[]}`: "invalid answer: no position", "null": "invalid answer: no position",
	} {
		s := newScripted(t, map[string]http.HandlerFunc{pollPattern: answer(http.StatusOK, body)})
		c := connect(t, s.driver, leased(1))
		if _, err := c.Subscribe(t.Context(), "c", pubsub.Handler{}); err == nil || err.Error() != want {
			t.Errorf("Subscribe answered with %q = %v, want %q", body, err, want)
		}
	}
}

// dialerFunc is a pubsub.Dialer.
type dialerFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (f dialerFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

func TestNetworkFailuresHaveShortNames(t *testing.T) {
	t.Parallel()
	opError := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}, Err: err}
	}
	errno := func(e syscall.Errno) error { return opError(os.NewSyscallError("connect", e)) }
	tests := []struct {
		err  error
		want string
	}{
		{errno(syscall.ECONNREFUSED), "connection refused"},
		{errno(syscall.ECONNRESET), "connection reset"},
		{errno(syscall.EPIPE), "broken pipe"},
		{errno(syscall.EMFILE), "too many open files"},
		{errno(syscall.EADDRNOTAVAIL), "cannot assign requested address"},
		{errno(syscall.ETIMEDOUT), "timeout"},
		{opError(os.ErrDeadlineExceeded), "timeout"},
		{&net.DNSError{Err: "no such host", Name: "target.example", IsNotFound: true}, "host not found"},
		{&net.DNSError{Err: "server misbehaving", Name: "target.example", Server: "192.0.2.53:53"}, "name resolution failed"},
		{&dial.NotAllowedError{Host: "target.example", Addr: netip.MustParseAddr("192.0.2.1")}, "address not in safety.allow"},
		{fmt.Errorf("%w: %w", dial.ErrFenced, errors.New("holder gone")), "lease ran out"},
		{dial.ErrClosed, "connection closed"},
		{opError(net.ErrClosed), "connection closed"},
		{io.ErrUnexpectedEOF, "EOF"},
		{errors.New("student-1 at 127.0.0.1:4711 did what?"), "request failed"},
	}
	d := newDriver(t, "http://127.0.0.1:4711")
	for _, tt := range tests {
		_, err := d.Connect(t.Context(), leased(1), dialerFunc(func(context.Context, string, string) (net.Conn, error) { return nil, tt.err }))
		if err == nil || err.Error() != tt.want {
			t.Errorf("Connect when dialing says %q = %v, want %q", tt.err, err, tt.want)
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("Connect = %v does not wrap %q", err, tt.err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = newDriver(t, "http://"+l.Addr().String()).Connect(t.Context(), leased(1), newDialer(t))
	if err == nil || err.Error() != "connection refused" || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Connect to nobody = %v, want connection refused", err)
	}
}

func TestCertificatesMustBeTrusted(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(answer(http.StatusOK, `{"token":"t"}`))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, err := newDriver(t, s.URL).Connect(t.Context(), leased(1), newDialer(t))
	if err == nil || err.Error() != "certificate not trusted" {
		t.Errorf("Connect = %v, want the certificate refused", err)
	}
	plain := newScripted(t, nil)
	_, err = newDriver(t, strings.Replace(plain.URL, "http", "https", 1)).Connect(t.Context(), leased(1), newDialer(t))
	if err == nil || err.Error() != "TLS handshake failed" {
		t.Errorf("Connect with TLS to a target without = %v", err)
	}
}

// A load test counts what it asked for: when an answer fails to come on a kept
// connection, net/http must not ask again behind our back.
func TestNoRequestIsRepeatedSilently(t *testing.T) {
	t.Parallel()
	for name, hangUp := range map[string]func(net.Conn){
		"EOF":              func(net.Conn) {},
		"connection reset": func(nc net.Conn) { nc.(*net.TCPConn).SetLinger(0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var kept, dropped atomic.Int64
			var dropping atomic.Bool
			handle := func(w http.ResponseWriter, r *http.Request) {
				if !dropping.Load() {
					kept.Add(1)
					answer(http.StatusOK, `{"position":1}`)(w, r)
					return
				}
				dropped.Add(1)
				nc, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Errorf("hijack: %v", err)
					return
				}
				hangUp(nc)
				nc.Close()
			}
			s := newScripted(t, map[string]http.HandlerFunc{publishPattern: handle, pollPattern: handle})
			dials := atomic.Int64{}
			plain := newDialer(t)
			c, err := s.driver.Connect(t.Context(), leased(1), dialerFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return plain.DialContext(ctx, network, address)
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ask := map[string]func() error{
				"Publish": func() error { return c.Publish(t.Context(), "c", []byte("{}")) },
				"Subscribe": func() error {
					_, err := c.Subscribe(t.Context(), "c", pubsub.Handler{})
					return err
				},
			}
			for what, f := range ask {
				// A first one, so that the connection is a kept one.
				dropping.Store(false)
				if err := c.Publish(t.Context(), "c", []byte("{}")); err != nil {
					t.Fatalf("Publish = %v", err)
				}
				before := dropped.Load()
				dropping.Store(true)
				if err := f(); err == nil || err.Error() != name {
					t.Errorf("%s when the target hangs up = %v, want %q", what, err, name)
				}
				if n := dropped.Load() - before; n != 1 {
					t.Errorf("the target saw %d requests for one %s", n, what)
				}
			}
			if dials.Load() > 2 {
				t.Errorf("%d dials: the connections were not kept, and the test is void", dials.Load())
			}
		})
	}
}

// The payload is the caller's again when Publish returns, also when the target
// answers before it has read all of it and net/http is still sending.
func TestPayloadIsTheCallersAfterPublish(t *testing.T) {
	t.Parallel()
	release, spoiled := make(chan struct{}), make(chan bool, 1)
	s := newScripted(t, map[string]http.HandlerFunc{
		publishPattern: func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				t.Errorf("answer early: %v", err)
			}
			w.Header().Set("Content-Length", "5") // the answer is complete, the handler is not
			answer(http.StatusServiceUnavailable, "early")(w, r)
			w.(http.Flusher).Flush()
			<-release
			rest, _ := io.ReadAll(r.Body) // the other side hangs up in the middle of it
			spoiled <- bytes.IndexByte(rest, '!') >= 0
		},
	})
	c := connect(t, s.driver, leased(1))
	payload := bytes.Repeat([]byte("a"), 16<<20) // more than the network holds
	if err := c.Publish(t.Context(), "c", payload); err == nil || err.Error() != "503 Service Unavailable" {
		t.Errorf("Publish = %v, want the early answer", err)
	}
	for i := 0; i < len(payload); i += 1 << 10 { // seen by the race detector too
		payload[i] = '!'
	}
	close(release)
	if receive(t, spoiled, "the rest of the body") {
		t.Error("what the caller wrote into the payload after Publish was sent")
	}
}

func TestTimeoutOfTheCaller(t *testing.T) {
	t.Parallel()
	s := newScripted(t, map[string]http.HandlerFunc{
		publishPattern: func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then is the context told of the other side's end
			<-r.Context().Done()
		},
	})
	c := connect(t, s.driver, leased(1))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := c.Publish(ctx, "c", []byte("{}"))
	if err == nil || err.Error() != "timeout" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish = %v, want timeout", err)
	}
}

// A lease that ends cancels its user with a cause; both must be found.
func TestCauseOfACancelledRequestIsKept(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	s := newScripted(t, map[string]http.HandlerFunc{
		publishPattern: func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			entered <- struct{}{}
			<-r.Context().Done()
		},
	})
	c := connect(t, s.driver, leased(1))
	ctx, cancel := context.WithCancelCause(t.Context())
	lost := errors.New("lease lost")
	ended := make(chan error, 1)
	go func() { ended <- c.Publish(ctx, "c", []byte("{}")) }()
	receive(t, entered, "the publish")
	cancel(lost)
	err := receive(t, ended, "the end of the publish")
	if err == nil || err.Error() != "cancelled" || !errors.Is(err, context.Canceled) || !errors.Is(err, lost) {
		t.Errorf("Publish = %v, want cancelled with its cause", err)
	}
}

// fence is a lease that a test ends.
type fence struct{ over atomic.Bool }

var errLeaseOver = errors.New("lease is over")

func (f *fence) Check() error {
	if f.over.Load() {
		return errLeaseOver
	}
	return nil
}

func TestNothingLeavesBehindTheFence(t *testing.T) {
	t.Parallel()
	var published atomic.Int64
	s := newScripted(t, map[string]http.HandlerFunc{
		publishPattern: func(w http.ResponseWriter, _ *http.Request) {
			published.Add(1)
			w.WriteHeader(http.StatusCreated)
		},
	})
	f := &fence{}
	d := dial.New(dial.NewAllow(nil), f)
	defer d.Close()
	c, err := s.driver.Connect(t.Context(), leased(1), d)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Publish(t.Context(), "c", []byte("{}")); err != nil {
		t.Fatalf("Publish = %v", err)
	}
	f.over.Store(true)
	for range 3 { // over a kept connection, then over none
		err := c.Publish(t.Context(), "c", []byte("{}"))
		if err == nil || err.Error() != "lease ran out" || !errors.Is(err, errLeaseOver) {
			t.Errorf("Publish behind the fence = %v, want lease ran out", err)
		}
	}
	if n := published.Load(); n != 1 {
		t.Errorf("the target saw %d publishes, want 1", n)
	}
}
