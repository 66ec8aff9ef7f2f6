package locust

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout = 3 * time.Second
	// silence is how long the master's machine may leave what was sent without
	// an answer, which it gets a heartbeat's worth of each second.
	silence = 60 * time.Second
)

// relay passes bytes between boomer and the Locust master, so that somebody sees
// the connection end.
type relay struct {
	over    chan struct{} // closed when either side has ended
	passing sync.WaitGroup
	passed  chan struct{} // closed when nothing passes any more

	mu    sync.Mutex // guards what follows
	conns []io.Closer
	ended bool
	// left says that it was boomer that hung up. It does not change any more once
	// over is closed.
	left bool
}

// dial connects to the Locust master.
func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, Control: setUserTimeout}
	return dialer.DialContext(ctx, "tcp", address)
}

// newRelay returns a relay that begins when boomer connects to the port. It owns
// the connection to the master.
func newRelay(master net.Conn) (r *relay, port int, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		master.Close()
		return nil, 0, err
	}
	r = &relay{over: make(chan struct{}), passed: make(chan struct{}), conns: []io.Closer{listener, master}}
	r.passing.Go(func() {
		boomer, err := listener.Accept()
		listener.Close()
		if err != nil {
			return // closed before it came
		}
		if !r.own(boomer) {
			return
		}
		r.passing.Go(func() { r.pass(boomer, master, true) })
		r.passing.Go(func() { r.pass(master, boomer, false) })
	})
	go func() {
		r.passing.Wait()
		close(r.passed)
	}()
	return r, listener.Addr().(*net.TCPAddr).Port, nil
}

// own makes sure that a connection ends with the relay.
func (r *relay) own(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		conn.Close()
		return false
	}
	r.conns = append(r.conns, conn)
	return true
}

// pass copies until one side ends, and tells the other, which may still have
// something to say.
func (r *relay) pass(from, to net.Conn, left bool) {
	_, err := io.Copy(to, from)
	r.end(left && err == nil) // an error is of the other side, or of the relay's end
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	} else {
		to.Close()
	}
	if err != nil {
		from.Close()
	}
}

func (r *relay) end(left bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.ended, r.left = true, left
		close(r.over)
	}
}

// close ends the relay and waits until nothing passes any more.
func (r *relay) close() {
	r.end(false)
	r.mu.Lock()
	for _, conn := range r.conns {
		conn.Close()
	}
	r.mu.Unlock()
	<-r.passed
}

// finish lets pass what is still on its way for at most so long, and ends the
// relay.
func (r *relay) finish(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.passed:
	case <-timer.C:
	}
	r.close()
}
