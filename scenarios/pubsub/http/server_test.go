package httpdriver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/internal/target"
	"github.com/throng-load/throng/scenarios/pubsub"
	httpdriver "github.com/throng-load/throng/scenarios/pubsub/http"
)

// patience bounds waits that only a broken driver reaches.
const patience = 15 * time.Second

// service is the built-in target on loopback, with a witness in front of it.
type service struct {
	*target.Server
	driver   pubsub.Driver
	accounts atomic.Int64

	mu     sync.Mutex
	tokens map[int64]bool
}

func newService(t testing.TB, config target.Config) *service {
	t.Helper()
	server, err := target.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Server: server, tokens: make(map[int64]bool)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.witness(t, r)
		server.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.driver = newDriver(t, front.URL)
	return s
}

// witness checks the headers that every request must carry.
func (s *service) witness(t testing.TB, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/accounts") {
		return
	}
	token, err := strconv.ParseInt(r.Header.Get("X-Throng-Lease"), 10, 64)
	if err != nil {
		t.Errorf("%s %s without a fencing token: %v", r.Method, r.URL.Path, err)
	}
	if r.URL.Path != "/login" && !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		t.Errorf("%s %s without Authorization", r.Method, r.URL.Path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = true
}

func (s *service) tokenSeen(token int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[token]
}

// account creates an account in the target.
func (s *service) account(t testing.TB) accounts.Leased {
	t.Helper()
	n := s.accounts.Add(1)
	a := leased(n)
	body, err := json.Marshal(map[string]string{"username": a.Username, "password": a.Password.Reveal(), "role": a.Role})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/accounts", bytes.NewReader(body)))
	if answer.Code != http.StatusCreated {
		t.Fatalf("create account: %d %s", answer.Code, answer.Body)
	}
	return a
}

// leased returns the n-th account, whether a target knows it or not.
func leased(n int64) accounts.Leased {
	return accounts.Leased{
		Account: accounts.Account{
			Username: fmt.Sprintf("student-%d", n),
			Password: accounts.NewSecret(fmt.Sprintf("secret-%d", n)),
			Role:     "student",
		},
		Token: 1000 + n,
	}
}

// newDriver returns the driver for an http or https URL.
func newDriver(t testing.TB, base string) pubsub.Driver {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme += "+poll"
	d, err := httpdriver.New(u)
	if err != nil {
		t.Fatalf("New(%s) = %v", u, err)
	}
	return d
}

// newDialer returns a user's dialer as a worker has it, without a fence.
func newDialer(t testing.TB) *dial.Dialer {
	t.Helper()
	d := dial.New(dial.NewAllow(nil), nil)
	t.Cleanup(func() { d.Close() })
	return d
}

// connect logs an account in and closes the connection with the test.
func connect(t testing.TB, d pubsub.Driver, account accounts.Leased) pubsub.Conn {
	t.Helper()
	c, err := d.Connect(t.Context(), account, newDialer(t))
	if err != nil {
		t.Fatalf("Connect = %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// scripted is a target whose answers a test writes. Log-ins succeed unless the
// test says otherwise.
type scripted struct {
	*httptest.Server
	driver pubsub.Driver
}

func newScripted(t testing.TB, handle map[string]http.HandlerFunc) *scripted {
	t.Helper()
	mux := http.NewServeMux()
	if handle["POST /login"] == nil {
		mux.HandleFunc("POST /login", answer(http.StatusOK, `{"token":"t"}`))
	}
	for pattern, f := range handle {
		mux.HandleFunc(pattern, f)
	}
	s := &scripted{Server: httptest.NewServer(mux)}
	t.Cleanup(s.Close)
	s.driver = newDriver(t, s.URL)
	return s
}

// answer returns a handler that always answers the same.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

const (
	publishPattern = "POST /channels/{channel}/events"
	pollPattern    = "GET /channels/{channel}/events"
)

// receive waits for a value that the code under test sends.
func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case v := <-from:
		return v
	case <-timeout.C:
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}
