package pubsubtest

import (
	"context"
	"net"
	"sync"
)

// dialer is a pubsub.Dialer that sees what a driver does with it. The zero value
// dials; it is safe for concurrent use.
type dialer struct {
	deny bool // set before use: every dial fails with errDenied

	mu    sync.Mutex
	dials int
	open  map[*watched]struct{}
}

// DialContext connects, unless the dialer denies it.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.dials++
	d.mu.Unlock()
	if d.deny {
		return nil, errDenied
	}
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &watched{Conn: nc, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = make(map[*watched]struct{})
	}
	d.open[c] = struct{}{}
	return c, nil
}

// counts returns how many dials there were and how many connections are open.
func (d *dialer) counts() (dials, open int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials, len(d.open)
}

// breakAll cuts the connections, as a failing network or a fence does.
func (d *dialer) breakAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.open {
		c.Conn.Close()
	}
}

// watched is a connection that tells its dialer when the driver closes it.
type watched struct {
	net.Conn
	dialer *dialer
}

func (c *watched) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
