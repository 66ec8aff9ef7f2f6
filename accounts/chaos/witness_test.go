//go:build linux

package chaos_test

import (
	"bufio"
	"fmt"
	"net"
	"sync"
)

// ledger is what a target can know: of each account the newest token that it
// has seen. A request with an older one is stale.
type ledger struct {
	onStale func(staleRequest) // called without the lock; nil for nobody

	mu     sync.Mutex
	newest map[uint32]int64
	seen   int64
	stale  []staleRequest
}

type staleRequest struct {
	account       uint32
	token, newest int64
	at            int64
}

func newLedger(onStale func(staleRequest)) *ledger {
	return &ledger{onStale: onStale, newest: map[uint32]int64{}}
}

func (l *ledger) note(account uint32, token int64) {
	l.mu.Lock()
	l.seen++
	newest := l.newest[account]
	var old *staleRequest
	if token < newest {
		old = &staleRequest{account: account, token: token, newest: newest, at: now()}
		l.stale = append(l.stale, *old)
	} else {
		l.newest[account] = token
	}
	l.mu.Unlock()
	if old != nil && l.onStale != nil {
		l.onStale(*old)
	}
}

func (l *ledger) figures() (seen int64, stale []staleRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen, append([]staleRequest(nil), l.stale...)
}

// witness is a target that does nothing but keep a ledger: a request is a line
// "account token", and is answered with a line "ok".
type witness struct {
	*ledger
	listener net.Listener

	serving sync.WaitGroup
	mu      sync.Mutex // guards what follows
	closed  bool
	conns   map[net.Conn]struct{}
}

// startWitness serves until close.
func startWitness(onStale func(staleRequest)) (*witness, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start witness: %w", err)
	}
	w := &witness{ledger: newLedger(onStale), listener: l, conns: map[net.Conn]struct{}{}}
	w.serving.Go(w.accept)
	return w, nil
}

func (w *witness) addr() string { return w.listener.Addr().String() }

func (w *witness) accept() {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		w.mu.Lock()
		if w.closed {
			conn.Close()
		} else {
			w.conns[conn] = struct{}{}
			w.serving.Go(func() { w.serve(conn) })
		}
		w.mu.Unlock()
	}
}

func (w *witness) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		w.mu.Lock()
		delete(w.conns, conn)
		w.mu.Unlock()
	}()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var account uint32
		var token int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &account, &token); err != nil {
			return // a worker that was killed in the middle of a line
		}
		w.note(account, token)
		if _, err := conn.Write([]byte("ok\n")); err != nil {
			return
		}
	}
}

func (w *witness) close() {
	w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for conn := range w.conns {
		conn.Close()
	}
	w.mu.Unlock()
	w.serving.Wait()
}
