package dial

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// Bytes counts bytes that went over connections. The zero value is ready; it is
// safe for concurrent use.
type Bytes struct {
	in, out atomic.Int64
}

// In returns the bytes read so far.
func (b *Bytes) In() int64 { return b.in.Load() }

// Out returns the bytes written so far.
func (b *Bytes) Out() int64 { return b.out.Load() }

// conn is a connection under the Dialer's fence. It embeds the interface and
// not *net.TCPConn on purpose: a ReadFrom or a SyscallConn would let bytes
// leave past Write.
type conn struct {
	net.Conn
	dialer *Dialer
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.dialer.own.in.Add(int64(n))
	if total := c.dialer.total; total != nil {
		total.in.Add(int64(n))
	}
	// A write that the fence held back has closed the connection: whoever reads
	// learns why.
	if err != nil && errors.Is(err, net.ErrClosed) {
		if fenced := c.dialer.check(); fenced != nil {
			err = fmt.Errorf("%w: %w", fenced, err)
		}
	}
	return n, err
}

// Write asks the fence as the last thing before the bytes leave: any earlier
// leaves a gap in which the process may be paused while the lease runs out.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.dialer.check(); err != nil {
		c.Close() // what is in flight belongs to an account of somebody else by now
		return 0, err
	}
	n, err := c.Conn.Write(p)
	c.dialer.own.out.Add(int64(n))
	if total := c.dialer.total; total != nil {
		total.out.Add(int64(n))
	}
	return n, err
}

func (c *conn) Close() error {
	c.dialer.forget(c)
	return c.Conn.Close()
}
