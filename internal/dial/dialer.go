// Package dial is the one way in which load leaves a process. A Dialer opens
// the network connections of one user's session; it refuses addresses that
// safety.allow does not name, after name resolution and before the first
// packet; it asks the fence of the session's lease at the last moment before
// bytes leave; it counts bytes; and it closes everything it opened at once when
// the lease is over.
//
// It knows no protocol of a target, no account, no scenario and no Redis: the
// fence is all it sees of a lease.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// connectTimeout bounds one DialContext whose context allows more.
const connectTimeout = 10 * time.Second

// Errors of a Dialer and of the connections it opened.
var (
	// ErrClosed says that the Dialer was closed.
	ErrClosed = errors.New("dial: dialer is closed")
	// ErrFenced says that the fence held bytes or a connection back. The
	// fence's own error is wrapped beside it.
	ErrFenced = errors.New("dial: held back by the fence")
)

// Fence says whether traffic may leave now: nil, or why not. It is asked before
// every write, from many goroutines, so it must be cheap and safe for
// concurrent use. The lease of an account is one.
type Fence interface{ Check() error }

// Dialer opens the network connections of one user's session. It is safe for
// concurrent use and runs no goroutine. There are as many Dialers as users, so
// it is kept small.
type Dialer struct {
	allow *Allow
	fence Fence  // nil: nothing is fenced
	total *Bytes // nil: nobody else counts
	own   Bytes

	// mu guards the connections that are open. Once closed is set, conns stays
	// empty.
	mu     sync.Mutex
	closed bool
	conns  []*conn
}

// New returns a Dialer that dials what allow allows. A nil fence fences
// nothing: provisioning has no lease.
func New(allow *Allow, fence Fence) *Dialer {
	return &Dialer{allow: allow, fence: fence}
}

// CountInto adds all further bytes to total as well, which many Dialers may
// share. Call it before the first DialContext.
func (d *Dialer) CountInto(total *Bytes) { d.total = total }

// Bytes returns the counters of all connections that the Dialer ever opened.
func (d *Dialer) Bytes() *Bytes { return &d.own }

// DialContext connects like net.Dialer.DialContext, within 10 s if the context
// allows more. Network must be tcp, tcp4 or tcp6. Errors wrap ErrClosed,
// ErrFenced with the fence's error, or net's errors, or are a *NotAllowedError.
//
// Every Write on the connection asks the fence first; if it refuses, no byte
// leaves, the connection is closed and Write returns ErrFenced with the
// fence's error.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("dial: network %q is not supported; use tcp", network)
	}
	if d.isClosed() {
		return nil, ErrClosed
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: connectTimeout, Resolver: d.allow.resolver, Control: d.allow.control}
	nc, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, named(err, hostOf(address))
	}
	return d.keep(nc)
}

// Close closes every connection that the Dialer opened and makes it refuse new
// ones; a dial under way is closed as soon as it completes. It may be called at
// any time, from any goroutine, and again.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	conns := d.conns
	d.conns = nil
	d.mu.Unlock()

	var errs []error
	for _, c := range conns {
		if err := c.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close connection: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (d *Dialer) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// check asks the fence.
func (d *Dialer) check() error {
	if d.fence == nil {
		return nil
	}
	if err := d.fence.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return nil
}

// keep wraps a new connection, unless the Dialer was closed meanwhile.
func (d *Dialer) keep(nc net.Conn) (net.Conn, error) {
	c := &conn{Conn: nc, dialer: d}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		nc.Close() // never used: its error says nothing
		return nil, ErrClosed
	}
	d.conns = append(d.conns, c)
	d.mu.Unlock()
	return c, nil
}

// forget drops a connection that its user closes. A user has a handful, so a
// search is cheaper than a map.
func (d *Dialer) forget(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.conns, c); i >= 0 {
		d.conns = slices.Delete(d.conns, i, i+1)
	}
}
