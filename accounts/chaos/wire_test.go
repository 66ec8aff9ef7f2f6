//go:build linux

package chaos_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/dial"
)

// longWrite is how long a write may take before it is worth a record: one that
// was under way while the process was stopped takes longer.
const longWrite = 50 * time.Millisecond

// fence is a lease as the Dialer sees it, which remembers when it last let
// something pass. Without a lease everything may pass.
type fence struct {
	lease  atomic.Pointer[accounts.Lease]
	passed atomic.Int64
}

// Check reads the clock before it asks, so that what passed did so no earlier.
func (f *fence) Check() error {
	l := f.lease.Load()
	if l == nil {
		return nil
	}
	at := now()
	if err := l.Check(); err != nil {
		return err
	}
	f.passed.Store(at)
	return nil
}

// timed records writes that took long: of a stale request, whether its process
// was stopped between the fence and the network.
type timed struct {
	net.Conn
	late func(from, to int64)
}

func (c timed) Write(p []byte) (int, error) {
	from := now()
	n, err := c.Conn.Write(p)
	if to := now(); to-from > int64(longWrite) {
		c.late(from, to)
	}
	return n, err
}

// wire is a connection to the witness that the users of a worker share, one
// request after the other: one for each user would be more than a process may
// open. It is the product's own: a Dialer's, whose fence is the lease of the
// user that has the wire, asked in the connection's Write as the last thing
// before the bytes leave. When the fence refuses, the connection is closed and
// the next user opens another, as in the product.
type wire struct {
	witness string
	history *history
	dialer  *dial.Dialer
	fence   fence

	conn    net.Conn // nil: none
	replies *bufio.Reader
	line    []byte
	lease   *accounts.Lease // whose request is under way
	account uint32
}

func newWire(allow *dial.Allow, witness string, history *history) *wire {
	w := &wire{witness: witness, history: history}
	w.dialer = dial.New(allow, &w.fence)
	return w
}

// send makes one request under the lease. The error wraps dial.ErrFenced when
// the fence held it back. It waits for the answer whatever becomes of the lease:
// an account must not go back while a request is under way.
func (w *wire) send(ctx context.Context, l *accounts.Lease, account uint32) error {
	if w.conn == nil {
		conn, err := w.dialer.DialContext(ctx, "tcp", w.witness)
		if err != nil {
			return fmt.Errorf("reach witness: %w", err)
		}
		w.conn = timed{conn, func(from, to int64) {
			w.history.add(record{Kind: heldUp, Account: w.account, Token: w.lease.Token, From: from, To: to})
		}}
		w.replies = bufio.NewReaderSize(conn, 16)
	}
	w.lease, w.account = l, account
	w.line = strconv.AppendUint(w.line[:0], uint64(account), 10)
	w.line = append(w.line, ' ')
	w.line = strconv.AppendInt(w.line, l.Token, 10)
	w.line = append(w.line, '\n')
	w.fence.lease.Store(l)
	_, err := w.conn.Write(w.line)
	w.fence.lease.Store(nil)
	if err == nil {
		_, err = w.replies.ReadSlice('\n')
	}
	if err != nil {
		w.close()
		return err
	}
	w.history.add(record{Kind: used, Account: account, Token: l.Token, From: w.fence.passed.Load(), To: now()})
	return nil
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}
