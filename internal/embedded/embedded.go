// Package embedded is the Redis that needs no installation: a miniredis on a
// port of its own, for trials and for runs on one machine.
//
// It knows nothing of what is stored in it. Everything that runs against a
// real Redis runs against it too, with the limits named at MaxAccounts.
package embedded

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// MaxAccounts is how many accounts a pool on an embedded server may have. Its
// sorted sets are Go maps that are sorted again for each range, so that a lease
// that takes microseconds on Redis takes several milliseconds here at this size
// and tens of them at ten times this size. Who fills a pool compares with this
// limit first and otherwise asks for a Redis.
const MaxAccounts = 10_000

// Server is a running embedded Redis. Its data lives in memory and is gone
// after Close. It is safe for concurrent use.
type Server struct {
	mini *miniredis.Miniredis
}

// Start starts a server on a free port of 127.0.0.1. Expiry follows the clock.
// The caller closes it.
func Start() (*Server, error) {
	mini := miniredis.NewMiniRedis()
	// Without this, expiry stands still until a test moves it by hand.
	mini.ClockTTL(true)
	if err := mini.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	return &Server{mini: mini}, nil
}

// Addr returns the server's address as host:port.
func (s *Server) Addr() string { return s.mini.Addr() }

// URL returns the server's address as processes are given it:
// redis://127.0.0.1:PORT.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Close stops the server, ends its connections and waits until they have
// ended. Calling it again does nothing.
func (s *Server) Close() { s.mini.Close() }
