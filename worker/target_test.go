package worker_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
)

// target is the driver and the target in one.
type target struct {
	address string
	// login, if set, says what comes of it. It may wait.
	login func(ctx context.Context, account accounts.Leased) error
	// publishing is how long a publish takes.
	publishing time.Duration

	mu        sync.Mutex
	logins    []loginAt
	published int
	conns     []*conn
}

// loginAt is one attempt to log in.
type loginAt struct {
	at       time.Time
	username string
	token    int64
}

type conn struct {
	target *target
	wire   net.Conn // through the user's Dialer, as with every driver
}

func (d *target) Connect(ctx context.Context, account accounts.Leased, dialer pubsub.Dialer) (pubsub.Conn, error) {
	d.mu.Lock()
	d.logins = append(d.logins, loginAt{time.Now(), account.Username, account.Token})
	d.mu.Unlock()
	if d.login != nil {
		if err := d.login(ctx, account); err != nil {
			return nil, err
		}
	}
	wire, err := dialer.DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	c := &conn{target: d, wire: wire}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, c)
	return c, nil
}

// attempts returns the log-ins so far.
func (d *target) attempts() []loginAt {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.logins)
}

// accepted is how many messages were acknowledged.
func (d *target) accepted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.published
}

// open is how many connections are open.
func (d *target) open() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		if c.isOpen() {
			n++
		}
	}
	return n
}

var errCut = errors.New("connection cut")

func (c *conn) isOpen() bool { return c.wire.SetDeadline(time.Time{}) == nil }

// Publish is acknowledged after a while, unless the connection is closed
// meanwhile.
func (c *conn) Publish(ctx context.Context, _ string, _ []byte) error {
	for left := c.target.publishing; left > 0; left -= 10 * time.Millisecond {
		if err := scenarios.Sleep(ctx, min(left, 10*time.Millisecond)); err != nil {
			return err
		}
		if !c.isOpen() {
			return errCut
		}
	}
	c.target.mu.Lock()
	defer c.target.mu.Unlock()
	c.target.published++
	return nil
}

func (c *conn) Subscribe(context.Context, string, pubsub.Handler) (pubsub.Subscription, error) {
	return nil, errors.New("nobody subscribes here")
}

func (c *conn) Close() error { return c.wire.Close() }
