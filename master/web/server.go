package web

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/throng-load/throng/scenarios"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	// maxBody is far above any form.
	maxBody = 1 << 20
	// closeTimeout is how long answers may take when the server ends.
	closeTimeout = 2 * time.Second
	// startLimit is how long an accepted start may take to show in a view.
	startLimit = 15 * time.Second
)

// Config says what is served. Swarm, Spec and Log must be set.
type Config struct {
	Swarm Swarm
	// Spec is what a start begins with; the form changes a copy. Scenarios are
	// those of this executable: among them is the spec's.
	Spec      *scenarios.Spec
	Scenarios []scenarios.Scenario
	// File is the name of the run's file, for people.
	File    string
	Version string
	// BasePath is what every path begins with, such as /throng; empty means
	// none.
	BasePath string
	// ClassPicker shows the classes and the load shapes in the form.
	ClassPicker bool
	// FixedTarget refuses a start against another target than the spec's.
	FixedTarget bool
	// User and Password, if set, are asked of whoever wants anything.
	User, Password string
	// Logs are the master's last lines; may be nil.
	Logs *Logs
	Log  *zap.Logger
}

// Server answers the page and the API. Its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	log     *zap.Logger
	handler http.Handler
	login   *login // nil without

	view    atomic.Pointer[View]
	wake    chan struct{} // holds one: there is a view to take
	current atomic.Pointer[figures]

	// starting is held by the one request that starts, changes or resets.
	starting sync.Mutex

	mu      sync.Mutex // guards what follows
	tally   tally
	history history
	// spec is what the last start was made with, or the next would be.
	spec    *scenarios.Spec
	profile string
	// begun is when a start was accepted that no view shows yet, and after
	// which run; zero when there is none.
	begun      time.Time
	begunAfter string
	changed    chan struct{} // closed, and replaced, with each new figures
}

// New makes a server. It answers once Run runs.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Log.Named("web"), spec: cfg.Spec, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	if cfg.User != "" || cfg.Password != "" {
		s.login = newLogin(cfg.User, cfg.Password, cfg.BasePath)
	}
	var err error
	if s.handler, err = s.routes(); err != nil {
		return nil, err
	}
	s.refresh()
	return s, nil
}

// Observe takes the state of the swarm. It returns at once.
func (s *Server) Observe(view *View) {
	s.view.Store(view)
	select {
	case s.wake <- struct{}{}:
	default: // the view is taken with the one before
	}
}

// Run works on what Observe was given until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.refresh()
		}
	}
}

// Serve answers on the listener until ctx ends; over TLS with a certificate.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificate *tls.Certificate) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		ErrorLog: zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel)))}
	if certificate != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	ended := make(chan error, 1)
	go func() {
		if certificate != nil {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := server.Shutdown(closeCtx); err != nil {
		_ = server.Close() // a page that waits for a stop is let down
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// refresh computes the figures of the newest view.
func (s *Server) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	view := s.view.Load()
	before := s.tally.run
	state := s.state(view)
	f := s.tally.take(view, state)
	if s.tally.run != before {
		s.history = history{}
		if view.Spec != nil {
			s.spec = view.Spec // of a run that this process may not have started
		}
	}
	if view != nil && view.Summary != nil && f.total().NumRequests > 0 && state != StateReady && state != StateStopped {
		s.history.add(newPoint(f), view.Latencies)
	}
	s.current.Store(f)
	close(s.changed)
	s.changed = make(chan struct{})
}

// state is the swarm's state, of which a view tells only a little later that a
// start was accepted. The caller holds mu.
func (s *Server) state(view *View) State {
	if !s.begun.IsZero() {
		if view.runID() == s.begunAfter && (view == nil || view.Trouble == "") && time.Since(s.begun) < startLimit {
			return StateSpawning
		}
		s.begun = time.Time{}
	}
	return view.state()
}

// figures are the newest, and what is closed when there are newer ones.
func (s *Server) figures() (*figures, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.Load(), s.changed
}

// newest are the newest figures.
func (s *Server) newest() *figures { return s.current.Load() }

// settings are the spec and the profile of the last start, or of the next.
func (s *Server) settings() (*scenarios.Spec, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spec, s.profile
}

// reset makes the page's statistics and charts begin at zero. The run, its outcome and
// its thresholds do not know of it.
func (s *Server) reset() {
	s.mu.Lock()
	view := s.view.Load()
	s.tally.reset(view)
	s.history = history{}
	if view != nil {
		s.history.latencies = view.Latencies
	}
	s.mu.Unlock()
	s.refresh()
}

// points are the charts so far.
func (s *Server) points() []point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.all()
}
