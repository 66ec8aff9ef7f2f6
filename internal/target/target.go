package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	defaultRetain = 10_000

	// headerTimeout bounds how long a connection may take to send a header.
	headerTimeout = 10 * time.Second
	// stopGrace bounds how long Serve waits for answers in progress. Polls
	// end at once, so only a peer that does not read needs longer.
	stopGrace = 2 * time.Second
)

// errStopping is the cause with which the requests' contexts end when Serve
// ends; a poll tells by it that its subscriber is still there.
var errStopping = errors.New("target: stopping")

// Config says how a Server behaves. The zero value is a faultless one.
type Config struct {
	// Seed decides, with the order of acceptance, which messages meet which
	// fault.
	Seed uint64
	// Faults are the faults in force at the start; PUT /admin/faults replaces
	// them.
	Faults Faults
	// Retain is how many events a channel keeps for its polls; 0 means
	// 10,000.
	Retain int
	// Journal, if set, keeps the accounts: those that it tells of are there at
	// the start, and it is appended to. It is open for reading and appending,
	// and whoever opened it closes it when the server has ended.
	Journal *os.File
	// Log receives what happens to the server as a whole, never single
	// messages, and never a password. Nil means none.
	Log *zap.Logger
}

func (c Config) withDefaults() Config {
	if c.Retain == 0 {
		c.Retain = defaultRetain
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

func (c Config) validate() error {
	var problems []error
	if c.Retain < 0 {
		problems = append(problems, fmt.Errorf("retain %d: want a positive number of events", c.Retain))
	}
	return errors.Join(append(problems, c.Faults.validate())...)
}

// Server is one events service. All its state is in memory and ends with it, but
// for the accounts of a journal.
// It is safe for concurrent use.
type Server struct {
	log     *zap.Logger
	retain  int
	start   time.Time // the zero of every due time; carries the monotonic clock
	dice    dice
	faults  atomic.Pointer[Faults]
	handler http.Handler

	book     *book
	channels sync.Map // channel name -> *channel; made on first need, kept for good
	tally    *tally
}

// New returns a Server without channels, and without accounts but those of the
// journal. It starts nothing.
func New(config Config) (*Server, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("target: configure: %w", err)
	}
	config = config.withDefaults()
	s := &Server{
		log:    config.Log,
		retain: config.Retain,
		start:  time.Now(),
		dice:   dice{seed: config.Seed},
		tally:  newTally(),
	}
	s.book = newBook(s.tally)
	if config.Journal != nil {
		if err := s.book.restore(&journal{file: config.Journal}); err != nil {
			return nil, fmt.Errorf("target: accounts in %s: %w", config.Journal.Name(), err)
		}
	}
	s.faults.Store(&config.Faults)
	s.handler = s.routes()
	return s, nil
}

// Handler returns the HTTP interface. A poll that it serves ends early only
// when the request's context ends.
func (s *Server) Handler() http.Handler { return s.handler }

// Counters returns what the server has done so far. While requests are in
// progress the figures are read one after the other, not at one instant; at
// rest they are exact.
func (s *Server) Counters() Counters { return s.tally.counters() }

// Serve answers requests on the listener until the context ends, and closes
// the listener. Then polls are answered at once with what there is, requests in
// progress are finished, and it returns nil. Peers that have not taken their
// answers within two seconds are cut off.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	// The requests do not end with ctx: they are to be finished. Only polls
	// look at their context, and learn from its cause to answer now.
	base, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(errStopping)
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          zap.NewStdLog(s.log.Named("http")),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.log.Info("target serves", zap.Stringer("address", listener.Addr()))

	select {
	case err := <-served:
		stop(errStopping)
		return fmt.Errorf("target: serve: %w", errors.Join(err, server.Close()))
	case <-ctx.Done():
	}
	stop(errStopping)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		s.log.Warn("target cuts off connections that did not finish", zap.Error(err))
		if err := server.Close(); err != nil {
			s.log.Warn("target closes connections", zap.Error(err))
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("target: serve: %w", err)
	}
	return nil
}
